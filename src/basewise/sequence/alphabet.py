"""Letters and their codes: A 0, C 1, G 2, T 3, N 4; everything vectorised over rows.

`N` is an unknown base. Lower case (soft-masking) is read as upper case by the readers;
no other letter is allowed anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from basewise.types import Codes

__all__ = ["LETTERS", "N", "decode", "decode_rows", "encode", "encode_rows", "reverse_complement"]

LETTERS = "ACGTN"
N = 4
ILLEGAL = 255

_CODE = np.full(256, ILLEGAL, np.uint8)
for _i, _letter in enumerate(LETTERS):
    _CODE[ord(_letter)] = _CODE[ord(_letter.lower())] = _i
_LETTER = np.frombuffer(LETTERS.encode(), np.uint8)
_COMPLEMENT_CODE = np.array([3, 2, 1, 0, 4], np.uint8)
_COMPLEMENT_TEXT = str.maketrans("ACGTNacgtn", "TGCANtgcan")


def encode(sequence: str) -> Codes:
    """Codes of a sequence, (b,); a letter outside `ACGTNacgtn` gives 255."""
    return _CODE[np.frombuffer(sequence.encode("latin-1", "replace"), np.uint8)]


def encode_rows(sequences: Sequence[str]) -> Codes:
    """Codes of sequences of one length, (n, b)."""
    return encode("".join(sequences)).reshape(len(sequences), -1)


def decode(codes: Codes) -> str:
    """The letters of codes, (b,)."""
    return _LETTER[codes].tobytes().decode()


def decode_rows(codes: Codes) -> list[str]:
    """The letters of rows of codes, (n, b), as n strings."""
    width = codes.shape[1]
    text = _LETTER[codes].tobytes().decode()
    return [text[i : i + width] for i in range(0, len(text), width)] if width else [""] * len(codes)


def reverse_complement(sequence: str | Codes) -> str | Codes:
    """The other strand of a string, or of codes along the last axis."""
    if isinstance(sequence, str):
        return sequence.translate(_COMPLEMENT_TEXT)[::-1]
    return _COMPLEMENT_CODE[sequence[..., ::-1]]
