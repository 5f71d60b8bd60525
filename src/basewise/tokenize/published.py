"""The tokenizer of a published checkpoint, told by its files and its architecture.

Vocabularies are compared whole with those that basewise generates; nothing else of a
published tokenizer's settings is used. (DNABERT's ask for lower case, which would make every
k-mer unknown.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basewise.errors import CapabilityError, StoreError
from basewise.tokenize.base import FILE, Encoded, Tokenizer, load_tokenizer
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.nucleotide_transformer import NucleotideTransformer
from basewise.types import Codes, Tokens

__all__ = ["NoTokenizer", "published_tokenizer"]

GENERATED: dict[tuple[str, int], Tokenizer] = {
    # An architecture and its number of embedding rows where no file is needed.
    ("basewise-nucleotide-transformer", 4107): NucleotideTransformer(version=2),
    ("esm", 4105): NucleotideTransformer(version=1),
}
LONGEST_KMER = 8


class NoTokenizer(Tokenizer):
    """In the place of a tokenizer that a folder lacks; whatever needs one says which file."""

    def __init__(self, folder: Path, rows: int):
        self.folder, self.rows = folder, rows

    def encode(self, sequence: str) -> Tokens:
        raise self._missing()

    def encode_codes(self, codes: Codes) -> Encoded:
        raise self._missing()

    def vocabulary(self) -> list[str]:
        raise self._missing()

    @property
    def special(self) -> Mapping[str, int]:
        raise self._missing()

    def save(self, folder: Path) -> None:
        """Nothing: a folder without a tokenizer is written as it was read."""

    def _missing(self) -> CapabilityError:
        return CapabilityError(
            f"{self.folder} holds no tokenizer for the {self.rows} rows of its embedding: "
            "put the checkpoint's tokenizer.json (byte pairs) or vocab.txt (k-mers) there, "
            "or load it in Python by Model.load(folder, tokenizer=...)."
        )


def published_tokenizer(folder: Path, model_type: str, rows: int) -> Tokenizer:
    """The tokenizer of a checkpoint's folder; a `NoTokenizer` where no file says which.

    Parameters
    ----------
    folder : Path
        May hold `basewise_tokenizer.json`, `vocab.txt` or `tokenizer.json`.
    model_type : str
        Of the network's configuration.
    rows : int
        Of its embedding.

    Raises
    ------
    StoreError
        If a file is broken, or its vocabulary is none that basewise knows.
    """
    listed, described = folder / "vocab.txt", folder / "tokenizer.json"
    if (folder / FILE).exists():
        return load_tokenizer(folder)
    if model_type == "basewise-hyenadna":
        return Nucleotide(layout="hyenadna")
    if listed.exists():
        return _of_vocabulary(listed.read_text(encoding="utf-8").split(), listed)
    if described.exists():
        words = _words(described)
        return load_tokenizer(folder) if words is None else _of_vocabulary(words, described)
    return GENERATED.get((model_type, rows), NoTokenizer(folder, rows))


def _words(path: Path) -> list[str] | None:
    """The vocabulary of a `tokenizer.json` whose tokens are whole words; None for byte pairs."""
    try:
        model: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["model"]
        if model["type"] not in ("WordPiece", "WordLevel"):
            return None
        return sorted(model["vocab"], key=model["vocab"].__getitem__)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is not a whole tokenizer.json ({error!r}).") from None


def _of_vocabulary(words: list[str], path: Path) -> Tokenizer:
    known: list[Tokenizer] = [Kmer(k=k) for k in range(1, LONGEST_KMER + 1)]
    known += [NucleotideTransformer(version=version) for version in (1, 2)]
    for tokenizer in known:
        size = tokenizer.vocabulary_size
        # The files of Nucleotide Transformer v1 end with two tokens that its network lacks.
        if size <= len(words) <= size + 2 and tokenizer.vocabulary() == words[:size]:
            rest = set(words[size:])
            if rest <= {"<eos>", "<bos>"}:
                return tokenizer
    raise StoreError(
        f"{path} lists {len(words)} tokens ({', '.join(words[:7])}, ...), which are neither "
        "DNABERT's k-mers nor those of the Nucleotide Transformer; load it in "
        "Python by Model.load(folder, tokenizer=...)."
    )
