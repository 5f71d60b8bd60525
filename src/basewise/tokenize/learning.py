"""Learning a byte-pair vocabulary (Sennrich et al. 2016) from sequences, as DNABERT-2's was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from basewise.errors import DataError
from basewise.tokenize.bpe import Bpe

__all__ = ["learn_bpe"]

SPECIAL = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")


def learn_bpe(sequences: Sequence[str], entries: int, path: Path) -> Bpe:
    """A vocabulary of byte pairs, laid out as DNABERT-2's `tokenizer.json`.

    Parameters
    ----------
    sequences : sequence of str
        What the merges are counted on; a stretch without `N` is a word.
    entries : int
        Of the vocabulary: five special tokens, four bases, and merges; fewer where the
        sequences give no more.
    path : Path
        Where the `tokenizer.json` is written.

    Raises
    ------
    DataError
        If there is nothing to learn from, or no entry is left for a merge.
    """
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors, trainers

    words = [word for sequence in sequences for word in re.findall("[ACGT]+", sequence)]
    least = len(SPECIAL) + len("ACGT") + 1
    if not words or entries < least:
        raise DataError(
            f"{entries} entries of byte pairs from {len(words)} stretches of bases; at least "
            f"{least} entries and one stretch are needed."
        )
    made = tokenizers.Tokenizer(models.BPE(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=entries,
        special_tokens=list(SPECIAL),
        initial_alphabet=list("ACGT"),
        show_progress=False,
    )
    made.train_from_iterator(words, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(str(path))
    return Bpe(file=path)
