"""One track from several, and how far they lie apart at every base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from basewise.errors import DataError
from basewise.evaluate.agreement import tracks_of
from basewise.types import Attribution, Floats

__all__ = ["Consensus", "Scale", "consensus", "scaled"]

Scale = Literal["unit", "rank"]
"""How tracks are made comparable. unit: divided by their root mean square, so that signs and
proportions stay. rank: ranks from -1 (lowest) to 1 (highest), equal scores their mean."""


class Consensus(NamedTuple):
    """What several explanations of one record say together.

    Attributes
    ----------
    record_id, sequence : str
    scores : (b,) float
        Mean over the tracks, each scaled.
    spread : (b,) float
        Standard deviation over the tracks at each base: where it is larger than the score, they
        do not agree that the base matters.
    names : tuple of str
        Of the tracks.
    """

    record_id: str
    sequence: str
    scores: Floats
    spread: Floats
    names: tuple[str, ...]


def consensus(
    tracks: Mapping[str, Sequence[Attribution]], scale: Scale = "unit"
) -> list[Consensus]:
    """The mean of scaled tracks, with their spread, of every record that all tracks have.

    Parameters
    ----------
    tracks : mapping of str to sequence of Attribution
        As `agree` takes them. Tracks that never score below 0 do not say for or against the
        class; leave them out, or they turn what speaks against it into what speaks for it.
    scale : str
        `unit` or `rank`.

    Returns
    -------
    list of Consensus
        In the order of the first track.

    Raises
    ------
    DataError
        As `agree`, and for an unknown scale.
    """
    if scale not in ("unit", "rank"):
        raise DataError(f"scale = {scale!r}: 'unit' or 'rank' is needed.")
    known = tracks_of(tracks)
    letters = {a.record_id: a.sequence for a in next(iter(tracks.values()))}
    found: dict[int, Consensus] = {}
    for rows, scores in known.groups:
        values = np.stack([scaled(track, scale) for track in scores])
        mean, spread = values.mean(0), values.std(0, ddof=1)
        for place, row in enumerate(rows.tolist()):
            id = known.ids[row]
            found[row] = Consensus(id, letters[id], mean[place], spread[place], tuple(known.names))
    return [found[row] for row in range(len(known.ids))]


def scaled(scores: Floats, scale: Scale) -> Floats:
    """Tracks, (n, b), made comparable; a track of zeros stays zeros."""
    if scale == "rank":
        from scipy.stats import rankdata

        b = scores.shape[1]
        return np.asarray((2 * rankdata(scores, axis=1) - b - 1) / max(b - 1, 1))
    size = np.sqrt((scores**2).mean(1, keepdims=True))
    found: Floats = np.divide(scores, size, out=np.zeros(scores.shape), where=size > 0)
    return found
