"""Small data sets whose faults are known because they were put there."""

from __future__ import annotations

import numpy as np

from basewise.sequence.alphabet import decode_rows
from basewise.types import Codes, Record

EVEN = (0.25, 0.25, 0.25, 0.25)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bases(draw: np.random.Generator, n: int, length: int, shares=EVEN) -> Codes:
    return draw.choice(4, size=(n, length), p=shares).astype(np.uint8)


def natural(draw: np.random.Generator, n: int, length: int) -> Codes:
    """Rows whose GC content differs from row to row, as in a genome."""
    gc = draw.uniform(0.3, 0.75, (n, 1))
    strong = draw.random((n, length)) < gc
    return np.where(
        strong, draw.integers(1, 3, (n, length)), draw.choice([0, 3], (n, length))
    ).astype(np.uint8)


def records(codes: Codes, label: str | float | None, name: str) -> list[Record]:
    return [
        Record(id=f"{name}{i}", sequence=sequence, label=label)
        for i, sequence in enumerate(decode_rows(codes))
    ]


def chimeras(
    draw: np.random.Generator,
    parents: Codes,
    block: int,
    kept: int,
    *,
    phase: int = 0,
    always: int | None = None,
) -> Codes:
    """Each parent with all but `kept` of its blocks replaced by uniform bases.

    Cuts at `phase`, `phase + block`, ...; the bases before and behind whole blocks belong to
    the first and last block. `always` is a block that is always kept.
    """
    n, length = parents.shape
    cuts = np.arange(phase or block, length - block + 1, block)
    number = np.searchsorted(cuts, np.arange(length), side="right")
    blocks = len(cuts) + 1
    order = draw.random((n, blocks))
    if always is not None:
        order[:, always] = -1
    keep = order.argsort(1).argsort(1) < kept
    return np.where(keep[:, number], parents, bases(draw, n, length))


def clean(seed: int, n: int, length: int, motif: str = "TGACTCA") -> dict[str, list[Record]]:
    """Train, dev and test of two classes that differ by a motif in 40 % of one of them."""
    from basewise.sequence.alphabet import encode

    draw = rng(seed)
    splits = {}
    for name, rows in (("train", n), ("dev", n // 4), ("test", n // 3)):
        yes, no = natural(draw, rows, length), natural(draw, rows, length)
        chosen = np.flatnonzero(draw.random(rows) < 0.4)
        at = draw.integers(0, length - len(motif) + 1, len(chosen))
        yes[chosen[:, None], at[:, None] + np.arange(len(motif))] = encode(motif)
        splits[name] = records(yes, "bound", f"{name}-b") + records(no, "unbound", f"{name}-u")
    return splits
