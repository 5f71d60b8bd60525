"""Which known motifs a new one resembles: TOMTOM, by the library memelite.

TOMTOM (Gupta et al. 2007, Genome Biol 8:R24) aligns two motifs in every way, sums the distances of
their columns, and says how likely a sum as good is by chance. Chance is made of all columns of the
library; a library of fewer than `COLUMNS_OF` motifs is completed by random ones for that
purpose, which are never a match.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import pandas as pd

from basewise.errors import DataError, MissingExtra
from basewise.motifs.motif import Motif
from basewise.stats import benjamini_hochberg

__all__ = ["MATCHES", "name_motifs"]

MATCHES = ("motif", "match", "p", "q", "overlap", "offset", "strand")
"""Columns of a table of matches, ordered by motif and p.

motif, match : names of the motif asked about and of one of the library; p : of the best alignment,
by TOMTOM; q : by Benjamini & Hochberg over the library; overlap : columns aligned; offset : where
the motif begins in the match; strand : `-` where the match is turned.
"""

COLUMNS_OF = 100  # motifs that chance is read from


def name_motifs(
    motifs: Sequence[Motif], library: Sequence[Motif], *, matches: int = 3
) -> pd.DataFrame:
    """The motifs of a library that each motif resembles most.

    Parameters
    ----------
    motifs, library : sequence of Motif
        Compared by their matrices in both orientations; windows play no part.
    matches : int
        Rows per motif, the smallest p first.

    Returns
    -------
    DataFrame
        With the columns of `MATCHES`.

    Raises
    ------
    DataError
        If the library is empty or no match is asked for.
    MissingExtra
        If memelite is not installed.
    """
    if not library:
        raise DataError("The library holds no motif; read one with read_motifs.")
    if matches < 1:
        raise DataError(f"matches is {matches}; at least 1 is needed.")
    if find_spec("memelite") is None:
        raise MissingExtra(
            "Naming motifs needs the library memelite: pip install 'basewise[motifs]'."
        )
    if not motifs:
        return pd.DataFrame({name: [] for name in MATCHES})
    from memelite import tomtom

    targets = [np.ascontiguousarray(motif.matrix.T) for motif in [*library, *_random(len(library))]]
    queries = [np.ascontiguousarray(motif.matrix.T) for motif in motifs]
    p, _, offset, overlap, strand = (
        np.asarray(found)[:, : len(library)] for found in tomtom(queries, targets, n_jobs=1)
    )
    best = np.argsort(p, axis=1, kind="stable")[:, :matches]
    at = np.repeat(np.arange(len(motifs)), best.shape[1]), best.ravel()
    q = np.array([benjamini_hochberg(row) for row in p])
    return pd.DataFrame(
        {
            "motif": pd.Series([motifs[i].name for i in at[0].tolist()], dtype=str),
            "match": pd.Series([library[j].name for j in at[1].tolist()], dtype=str),
            "p": p[at],
            "q": q[at],
            "overlap": overlap[at].astype(np.int64),
            "offset": offset[at].astype(np.int64),
            "strand": pd.Series(np.where(strand[at] > 0, "-", "+"), dtype=str),
        },
        columns=list(MATCHES),
    )


def _random(known: int) -> list[Motif]:
    """Motifs that complete a small library: columns from nearly certain to nearly uniform."""
    rng = np.random.default_rng(0)
    return [
        Motif(f"random {i}", rng.dirichlet([0.3] * 4, rng.integers(6, 16)))
        for i in range(known, COLUMNS_OF)
    ]
