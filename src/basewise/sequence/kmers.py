"""k-mers as numbers: which occur, how often, on one strand or both. Vectorised over rows.

A k-mer is the number its letters spell in base 4, the first letter the most significant:
with A 0, C 1, G 2, T 3, ACG is 0*16 + 1*4 + 2 = 6. A k-mer and its reverse complement
name the same piece of double-stranded DNA; the smaller of the two numbers is canonical.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from basewise.errors import ConfigError
from basewise.sequence.alphabet import LETTERS
from basewise.types import Codes, Ints

__all__ = [
    "canonical",
    "count_kmers",
    "kmer_numbers",
    "kmer_texts",
    "reverse_complement_numbers",
]

_LONGEST = 31  # 4**31 is the last power of four that an int64 holds twice over


def kmer_numbers(codes: Codes, k: int) -> Ints:
    """The number of every k-mer along the last axis.

    Parameters
    ----------
    codes : (..., b) uint8
        A 0, C 1, G 2, T 3; anything else is unknown.
    k : int
        Length, 1 to 31.

    Returns
    -------
    (..., max(b - k + 1, 0)) int
        At `i` the k-mer of bases `i` to `i + k`; -1 where it holds an unknown base.
    """
    _check(k)
    width = max(codes.shape[-1] - k + 1, 0)
    numbers = np.zeros((*codes.shape[:-1], width), np.int64)
    unknown = np.zeros(numbers.shape, bool)
    for shift in range(k):
        letters = codes[..., shift : shift + width]
        numbers *= 4
        numbers += letters
        unknown |= letters > 3
    numbers[unknown] = -1
    return numbers


def reverse_complement_numbers(numbers: ArrayLike, k: int) -> Ints:
    """The numbers of the reverse complements; -1 stays -1."""
    _check(k)
    left = np.asarray(numbers, np.int64)
    unknown = left < 0
    found = np.zeros_like(left)
    for _ in range(k):
        found = found * 4 + (3 - left % 4)
        left = left // 4
    found[unknown] = -1
    return found


def canonical(numbers: ArrayLike, k: int) -> Ints:
    """The smaller of each number and that of its reverse complement; -1 stays -1."""
    numbers = np.asarray(numbers, np.int64)
    found: Ints = np.minimum(numbers, reverse_complement_numbers(numbers, k))
    return found


def kmer_texts(numbers: ArrayLike, k: int) -> list[str]:
    """The letters of k-mer numbers, (m,); -1 gives `N` k times."""
    _check(k)
    numbers = np.asarray(numbers, np.int64)
    places = 4 ** np.arange(k - 1, -1, -1)
    digits = np.where(numbers[:, None] < 0, 4, numbers[:, None] // places % 4)
    letters = np.frombuffer(LETTERS.encode(), np.uint8)[digits]
    text = letters.tobytes().decode()
    return [text[i : i + k] for i in range(0, len(text), k)]


def count_kmers(codes: Codes, k: int, both_strands: bool = False) -> Ints:
    """How often each k-mer occurs in each row.

    Parameters
    ----------
    codes : (n, b) uint8
    k : int
        Length, 1 to 12: the result has 4**k columns.
    both_strands : bool
        Count every occurrence under its canonical k-mer; the columns of k-mers that are not
        canonical stay 0.

    Returns
    -------
    (n, 4**k) int
        Column j counts the k-mer of number j; k-mers with an unknown base are not counted.
    """
    if k > 12:
        raise ConfigError(f"k = {k}: a table of 4**k columns is made for k up to 12.")
    numbers = kmer_numbers(codes, k)
    if both_strands:
        numbers = canonical(numbers, k)
    rows, columns = len(codes), 4**k
    row = np.broadcast_to(np.arange(rows)[:, None], numbers.shape)
    known = numbers >= 0
    flat = row[known] * columns + numbers[known]
    counts: Ints = np.bincount(flat, minlength=rows * columns).reshape(rows, columns)
    return counts


def _check(k: int) -> None:
    if not 1 <= k <= _LONGEST:
        raise ConfigError(f"k = {k}: a k-mer has 1 to {_LONGEST} bases.")
