"""Pruning a BPE vocabulary to short tokens, and what that did.

Long tokens hide bases: a score on a token of 20 bases says little about each. Method and
numbers: tokens of at most L bases are kept together with the merges that make them
(methods described for DNABERT-2 and GENA-LM on Z-DNA); ids stay as published, or are
renumbered with an id map so that the unreachable embedding rows can be dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from basewise.errors import ConfigError, DataError
from basewise.tokenize.bpe import Bpe

__all__ = ["PruningAudit", "audit_pruning", "prune_bpe"]


def prune_bpe(tokenizer: str | Path | Bpe, max_length: int, compact: bool = False) -> Bpe:
    """A BPE tokenizer without tokens of more than `max_length` bases.

    Parameters
    ----------
    tokenizer : path or Bpe
        A `tokenizer.json`, or the tokenizer read from it.
    max_length : int
        Bases of the longest token kept.
    compact : bool
        Keep the published ids (default), or number the kept tokens 0, 1, 2, ...; then
        `published_ids` maps new ids to published ones, and `embedding[published_ids]`
        are the rows that go with them.

    Returns
    -------
    Bpe
        `save(folder)` writes it as a `tokenizer.json` that `transformers` loads.

    Raises
    ------
    StoreError
        If the file is missing, broken, or not a BPE tokenizer of DNA.
    """
    if not isinstance(tokenizer, Bpe):
        tokenizer = Bpe(file=Path(tokenizer))
    if tokenizer.max_length is not None and tokenizer.max_length < max_length:
        raise ConfigError(
            f"max_length = {max_length}: this tokenizer is already pruned to "
            f"{tokenizer.max_length} bases."
        )
    pruned = replace(tokenizer, max_length=max_length, compact=compact)
    pruned.vocabulary()
    return pruned


@dataclass(frozen=True)
class PruningAudit:
    """What pruning did to a vocabulary and to real sequences.

    Attributes
    ----------
    entries_before, entries_after : int
        Vocabulary entries, special tokens included.
    rows_before, rows_after : int
        Embedding rows the ids need.
    rows_unused : int
        Rows of `rows_after` that no token has: they can be dropped by compacting.
    unreachable : tuple of str
        Kept tokens of letters that no sequence produces. A token is reachable exactly when
        its own text is encoded as itself: merges inside a token do not depend on what
        stands around it.
    sequences : int
        How many were tried.
    changed_text : int
        Sequences whose token texts, joined, are not the sequence (unknown bases apart).
    tokens_before, tokens_after : float
        Mean tokens per sequence, special tokens not counted.
    """

    entries_before: int
    entries_after: int
    rows_before: int
    rows_after: int
    rows_unused: int
    unreachable: tuple[str, ...]
    sequences: int
    changed_text: int
    tokens_before: float
    tokens_after: float


def audit_pruning(before: Bpe, after: Bpe, sequences: Sequence[str]) -> PruningAudit:
    """Reachability, round trip and tokens per sequence of a pruned tokenizer.

    Parameters
    ----------
    before, after : Bpe
    sequences : sequence of str
        Real ones; at least one.
    """
    if not sequences:
        raise DataError("The audit of a pruned tokenizer needs at least one sequence.")
    texts = after.vocabulary()
    special = set(after.special_ids)
    letters = [text for i, text in enumerate(texts) if i not in special and set(text) <= _BASES]
    unreachable = tuple(text for text in letters if text and _pieces(after, texts, text) != [text])
    pieces = [_pieces(after, texts, sequence) for sequence in sequences]
    changed = sum(
        set(sequence) <= set("ACGT") and "".join(found) != sequence
        for sequence, found in zip(sequences, pieces, strict=True)
    )
    old = before.vocabulary()
    counts = [len(_pieces(before, old, sequence)) for sequence in sequences]
    return PruningAudit(
        entries_before=sum(map(bool, old)),
        entries_after=sum(map(bool, texts)),
        rows_before=len(old),
        rows_after=len(texts),
        rows_unused=sum(not text for text in texts),
        unreachable=unreachable,
        sequences=len(sequences),
        changed_text=changed,
        tokens_before=sum(counts) / len(counts),
        tokens_after=sum(map(len, pieces)) / len(pieces),
    )


_BASES = frozenset("ACGTN")


def _pieces(tokenizer: Bpe, texts: list[str], sequence: str) -> list[str]:
    """The texts of the tokens that cover bases."""
    tokens = tokenizer.encode(sequence)
    covers = tokens.spans[:, 0] < tokens.spans[:, 1]
    return [texts[i] for i in tokens.ids[covers]]
