"""Sequences written as k-mers joined by spaces, put together again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from basewise.types import Bools, Codes

__all__ = ["join_kmers"]

_SPACE = ord(" ")


def join_kmers(texts: Sequence[str]) -> tuple[list[str], Bools]:
    """Sequences without spaces, and which of them could not be put together, (n,).

    Words of one length k, each of which repeats the last k - 1 letters of the one before,
    are overlapping k-mers (`ACG CGT GTA` is `ACGTA`). Whether the words of a file overlap is
    decided for the file: if most rows with spaces do, the others are broken; if not, spaces
    are only removed (`ACGTACGTAC GTACG`).

    Parameters
    ----------
    texts : n str
        With or without spaces inside.
    """
    spaced = np.array([" " in text for text in texts], bool)
    joined, fits = list(texts), np.zeros(len(texts), bool)
    shapes: dict[tuple[int, int], list[int]] = {}
    for i in np.flatnonzero(spaced).tolist():
        shapes.setdefault((texts[i].index(" "), len(texts[i])), []).append(i)
    for (k, _), rows in shapes.items():
        words = _words([texts[i] for i in rows], k)
        if words is None:
            continue
        overlaps = (words[:, 1:, : k - 1] == words[:, :-1, 1:k]).all(axis=(1, 2))
        overlaps &= (words[:, :, k] == _SPACE).all(axis=1) & (words[..., :k] != _SPACE).all((1, 2))
        letters = np.concatenate([words[:, 0, :k], words[:, 1:, k - 1]], axis=1)
        for i, whole, text in zip(rows, overlaps.tolist(), letters, strict=True):
            fits[i] = whole
            if whole:
                joined[i] = text.tobytes().decode("latin-1")
    if fits.sum() * 2 > spaced.sum():
        return joined, spaced & ~fits
    return [text.replace(" ", "") for text in texts], np.zeros(len(texts), bool)


def _words(texts: list[str], k: int) -> Codes | None:
    """Texts of one length as (n, words, k + 1) letters, each word with the space behind it."""
    content = " ".join(texts).encode("latin-1", "replace") + b" "
    letters = np.frombuffer(content, np.uint8)
    if (len(texts[0]) + 1) % (k + 1):
        return None
    return letters.reshape(len(texts), -1, k + 1)
