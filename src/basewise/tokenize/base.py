"""What every tokenizer offers, and the folder it is kept in."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from basewise.errors import ConfigError, DataError, StoreError
from basewise.registry import Registry, settings_of
from basewise.sequence.alphabet import ILLEGAL, LETTERS, encode
from basewise.store import write_text
from basewise.types import Codes, Ints, Tokens

__all__ = ["FILE", "Encoded", "Tokenizer", "check_codes", "check_letters", "load_tokenizer"]

FILE = "basewise_tokenizer.json"
_FORMAT = 1


class Encoded(NamedTuple):
    """The ids of many sequences.

    Attributes
    ----------
    ids : (n, t) int
        Padded on the right with the tokenizer's `pad_id`; `t` is the longest row.
    lengths : (n,) int
        How many ids of each row are real.
    """

    ids: Ints
    lengths: Ints


class Tokenizer(ABC):
    """Sequences to ids. Components; equal settings give equal ids.

    Letters are `ACGTN` (lower case is read as upper case). Every token covers bases
    `start` to `end`, 0-based and half-open; special tokens cover none: those in front
    have the span `(0, 0)`, those behind `(b, b)`.
    """

    @abstractmethod
    def encode(self, sequence: str) -> Tokens:
        """The tokens of one sequence, with the bases each covers.

        Raises
        ------
        DataError
            If a letter is not one of `ACGTN`, or the sequence is too short for one token.
        """

    @abstractmethod
    def encode_codes(self, codes: Codes) -> Encoded:
        """The ids of rows of letter codes (A 0, C 1, G 2, T 3, N 4), (n, b).

        Row for row the same ids as `encode`; raises `DataError` for the same reasons.
        """

    @abstractmethod
    def vocabulary(self) -> list[str]:
        """The text of every id, by id; an id that no token has is the empty string."""

    @property
    @abstractmethod
    def special(self) -> Mapping[str, int]:
        """Ids that spell no letters, by role: `pad`, `mask`, `unknown`, `cls`, `sep`, ..."""

    @property
    def vocabulary_size(self) -> int:
        """The rows an embedding needs; published checkpoints may hold more, as padding."""
        return len(self.vocabulary())

    @property
    def pad_id(self) -> int:
        """The id that fills rows on the right."""
        return self.special["pad"]

    @property
    def mask_id(self) -> int | None:
        """The mask token, where the vocabulary has one (whether it was trained, it cannot say)."""
        return self.special.get("mask")

    @property
    def unknown_id(self) -> int | None:
        """The id of text outside the vocabulary, where it has one."""
        return self.special.get("unknown")

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Every id that spells no letters, ascending."""
        return tuple(sorted(self.special.values()))

    @property
    def tokens_are_bases(self) -> bool:
        """Whether token i covers base i alone, so that ids can be changed base by base."""
        return False

    @property
    def frame_safe_n(self) -> bool:
        """Whether an N in place of a base leaves every token that does not cover it unchanged."""
        return False

    def save(self, folder: Path) -> None:
        """Write what `load_tokenizer` needs into `folder`."""
        said = {"format": _FORMAT, "type": Registry.name_of(self)} | settings_of(self)
        write_text(Path(folder) / FILE, json.dumps(said, indent=2, default=str) + "\n")


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer that `save` wrote into a folder.

    A folder without `basewise_tokenizer.json` but with a BPE `tokenizer.json`, as hubs
    publish it, gives that one.

    Raises
    ------
    StoreError
        If neither file is there, or what is there is broken or of another format.
    """
    from basewise.tokenize import TOKENIZERS

    path, published = Path(folder) / FILE, Path(folder) / "tokenizer.json"
    if not path.exists():
        if published.exists():
            return _build({"type": "bpe", "file": published}, published)
        raise StoreError(
            f"{folder} has no tokenizer: neither {FILE} nor tokenizer.json is there; "
            "save one into it or give a tokenizer."
        )
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); save the tokenizer again.") from None
    if not isinstance(said, dict) or said.pop("format", None) != _FORMAT or "type" not in said:
        raise StoreError(
            f"{path} is not a tokenizer of format {_FORMAT}; save it again with this basewise."
        )
    if said["type"] not in TOKENIZERS.names():
        raise StoreError(
            f"{path}: no tokenizer of type {said['type']!r}; "
            f"known are {', '.join(TOKENIZERS.names())}."
        )
    if said["type"] == "bpe":
        said["file"] = published
    return _build(said, path)


def _build(said: dict[str, object], path: Path) -> Tokenizer:
    from basewise.tokenize import TOKENIZERS

    try:
        tokenizer: Tokenizer = TOKENIZERS.build(said)
    except ConfigError as error:
        raise StoreError(f"{path}: {error}") from None
    tokenizer.vocabulary()  # a broken vocabulary file is found now, not in the middle of a run
    return tokenizer


def check_letters(sequence: str) -> Codes:
    """The codes of a sequence, (b,), refused where a letter is none of `ACGTN`."""
    codes = encode(sequence)
    if (codes == ILLEGAL).any():
        at = int(np.argmax(codes == ILLEGAL))
        raise DataError(
            f"Letter {sequence[at]!r} at base {at} of the sequence is not one of {LETTERS}; "
            "write unknown bases as N."
        )
    return codes


def check_codes(codes: Codes) -> Codes:
    """Codes as they are, refused unless (n, b) and from 0 to 4."""
    if codes.ndim != 2:
        raise DataError(f"Codes of shape {codes.shape}: rows of sequences, (n, b), are needed.")
    if codes.size and int(codes.max()) >= len(LETTERS):
        row, at = np.argwhere(codes >= len(LETTERS))[0]
        raise DataError(
            f"Code {codes[row, at]} at base {at} of row {row} is none of 0 to 4 ({LETTERS})."
        )
    return codes
