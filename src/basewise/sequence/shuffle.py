"""Shuffled sequences that keep the counts of bases or of dinucleotides, exactly.

Unknown bases (N) stay where they are. A mononucleotide shuffle permutes the known bases of
a sequence; a dinucleotide shuffle works on each stretch of known bases by itself.

Every shuffle with the same dinucleotide counts, first and last base is an Euler walk of the
graph whose vertices are the bases and whose edges are the dinucleotides. All of them are
equally likely here: the last edges that leave each vertex form a tree into the last base;
the tree is drawn with its exact probability, the other edges are put in random order
(Altschul & Erickson 1985, Mol Biol Evol 2:526; Aardenne-Ehrenfest & de Bruijn 1951).
Altschul & Erickson draw trees until one connects; with four bases there are only 16, so
they are all weighed instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from basewise.sequence.alphabet import N
from basewise.types import Codes, Ints

__all__ = ["shuffle_dinucleotides", "shuffle_mononucleotides"]

Generators = np.random.Generator | Sequence[np.random.Generator]

_BLOCK = 1 << 23  # cells of random numbers held at once: 64 MB
# A sort key of 64 bits: the base an edge leaves, whether it must come last, 57 random bits,
# the base it enters. Sorting the keys groups the edges by base, each group in random order.
_LEAVES, _LAST, _RANDOM = np.uint64(61), np.uint64(1 << 60), np.uint64(3)


def shuffle_mononucleotides(codes: Codes, rng: Generators, draws: int = 1) -> Codes:
    """Sequences with the bases of each row in random order.

    Parameters
    ----------
    codes : (n, b) uint8
        A 0, C 1, G 2, T 3; N 4 stays in place.
    rng : Generator, or one per row
        With one per row, the shuffles of a row do not depend on its neighbours.
    draws : int
        Independent shuffles per row.

    Returns
    -------
    (n, draws, b) uint8
    """
    shuffled = np.repeat(codes[:, None], draws, axis=1)
    for rows in _blocks(len(codes), draws * codes.shape[1]):
        keys = _bits(rng, rows, (draws, codes.shape[1])) << _RANDOM | shuffled[rows]
        unknown = shuffled[rows] >= N
        keys[unknown] = np.iinfo(np.uint64).max  # behind all known bases
        keys.sort(axis=-1)
        known = np.arange(keys.shape[-1]) < (~unknown).sum(axis=-1, keepdims=True)
        shuffled[rows][~unknown] = keys[known] & np.uint64(7)
    return shuffled


def shuffle_dinucleotides(codes: Codes, rng: Generators, draws: int = 1) -> Codes:
    """Sequences with exactly the dinucleotides of each row, all equally likely.

    The first and the last base of each stretch between Ns stay as they are.

    Parameters
    ----------
    codes : (n, b) uint8
        A 0, C 1, G 2, T 3; N 4 stays in place.
    rng : Generator, or one per row
        With one per row, the shuffles of a row do not depend on its neighbours.
    draws : int
        Independent shuffles per row.

    Returns
    -------
    (n, draws, b) uint8
    """
    shuffled = np.repeat(codes[:, None], draws, axis=1)
    for rows in _blocks(len(codes), draws * codes.shape[1]):
        bits = _bits(rng, rows, (draws, codes.shape[1]))
        row, start, end = _stretches(codes[rows])
        if not len(row):
            continue
        at = start[:, None] + np.arange((end - start).max())
        inside = at < end[:, None]
        at = np.minimum(at, end[:, None] - 1)
        stretches = np.where(inside, codes[rows][row[:, None], at], N).astype(np.uint8)
        walked = _walk(stretches, end - start, bits[row[:, None], :, at].transpose(0, 2, 1))
        stretch, place = np.nonzero(inside)
        shuffled[rows][row[stretch], :, at[stretch, place]] = walked[stretch, :, place]
    return shuffled


def _blocks(n: int, cells: int) -> list[slice]:
    """Slices of rows, each row of `cells` random numbers, that fit the memory held at once."""
    size = max(_BLOCK // max(cells, 1), 1)
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def _bits(rng: Generators, rows: slice, shape: tuple[int, ...]) -> NDArray[np.uint64]:
    """57 random bits for every cell of every row."""
    top, n = 1 << 57, rows.stop - rows.start
    if isinstance(rng, np.random.Generator):
        return rng.integers(0, top, (n, *shape), np.uint64)
    return np.stack([each.integers(0, top, shape, np.uint64) for each in rng[rows]])


def _stretches(codes: Codes) -> tuple[Ints, Ints, Ints]:
    """Row, start and end of every stretch of known bases."""
    edge = np.diff(np.pad((codes < N).astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, start = np.nonzero(edge == 1)
    return row, start, np.nonzero(edge == -1)[1]


def _trees() -> Ints:
    """[root, tree, base]: where each base's last edge goes, (4, 16, 4); the root to itself."""
    found = np.empty((4, 16, 4), np.int64)
    for root in range(4):
        into = [[root] if u == root else [v for v in range(4) if v != u] for u in range(4)]
        trees = [to for to in itertools.product(*into) if _reaches(to, root)]
        found[root] = trees
    return found


def _reaches(to: Sequence[int], root: int) -> bool:
    """Whether following `to` three times leads every base to the root."""
    return all(to[to[to[base]]] == root for base in range(4))


_TREES = _trees()


def _walk(stretches: Codes, lengths: Ints, bits: NDArray[np.uint64]) -> Codes:
    """Euler walks, (m, d, w), of stretches of known bases, (m, w), padded with N.

    `bits`, (m, d, w), are all the randomness: those at an edge's first base order it; those
    at a stretch's last base, which no edge leaves, choose its tree.
    """
    m, draws, w = bits.shape
    stretch, draw = np.arange(m)[:, None], np.arange(draws)
    leaves, enters = stretches[:, :-1].astype(np.int64), stretches[:, 1:].astype(np.int64)
    leaves = np.where(enters == N, N, leaves)  # padding: sorts behind all edges
    row, place = np.nonzero(leaves < N)
    pair = leaves[row, place], enters[row, place]
    counts = np.zeros((m, 4, 4))
    np.add.at(counts, (row, *pair), 1)
    some_edge = np.zeros((m, 4, 4), np.int64)
    some_edge[(row, *pair)] = place

    last = lengths - 1
    root = stretches[np.arange(m), last]
    uniform = bits[stretch, draw, last[:, None]] / float(1 << 57)
    to = _TREES[root[:, None], _choose(counts, root, uniform)]

    keys = (
        leaves.astype(np.uint64)[:, None] << _LEAVES
        | bits[..., :-1] << _RANDOM
        | enters.astype(np.uint64)[:, None]
    )
    present = counts.sum(axis=2) > 0
    for base in range(4):
        i, j = np.nonzero(np.broadcast_to((present[:, base] & (root != base))[:, None], (m, draws)))
        keys[i, j, some_edge[i, base, to[i, j, base]]] |= _LAST
    keys.sort(axis=-1)
    successors = (keys & np.uint64(7)).astype(np.uint8).reshape(m * draws, w - 1)

    leaving = np.cumsum(counts.sum(axis=2), axis=1).astype(np.int64)
    used = np.repeat(np.pad(leaving, ((0, 0), (1, 1)))[:, :5], draws, axis=0)
    each = np.arange(m * draws)
    # Walks that are over go on stepping through bases that are then not read.
    walked = np.full((w, m * draws), N, np.uint8)
    walked[0] = np.repeat(stretches[:, 0], draws)
    for step in range(1, w):
        here = walked[step - 1]
        edge = used[each, here]
        walked[step] = successors[each, np.minimum(edge, w - 2)]
        used[each, here] = edge + 1
    return walked.T.reshape(m, draws, w)


def _choose(counts: NDArray[np.float64], root: Codes, uniform: NDArray[np.float64]) -> Ints:
    """Which of the 16 trees into each root, (m, d), drawn in proportion to its edges."""
    m = np.arange(len(counts))
    weight = counts.copy()
    # A base that does not occur hangs on the root; what leaves the root is in no tree.
    absent = counts.sum(axis=2) == 0
    weight[m, :, root] = np.where(absent, 1.0, weight[m, :, root])
    weight[m, root, root] = 1.0
    trees = _TREES[root]
    products = np.take_along_axis(weight[:, None], trees[..., None], axis=3)[..., 0].prod(axis=2)
    cumulated = np.cumsum(products, axis=1)
    point = uniform * cumulated[:, -1:]
    chosen: Ints = np.minimum((cumulated[:, None] <= point[..., None]).sum(axis=2), 15)
    return chosen
