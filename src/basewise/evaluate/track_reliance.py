"""How much of a decision about bases is a track: predictions with it and without it.

Without means that the network reads the track's mean everywhere (a knock-out to the mean), and the
same bases. What it finds in the bases by itself stays, so this is what the track adds; a network
that was trained without it may do better than one that lost it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basewise.errors import ConfigError, DataError, UnknownName
from basewise.evaluate.bases import predict_label
from basewise.models.batch import by_length
from basewise.models.model import Model
from basewise.stats import Estimate, bootstrap
from basewise.train.metrics import ratio
from basewise.types import Bools, Floats, Record

__all__ = ["TRACK_MEASURES", "track_reliance", "track_values", "without_track"]

TRACK_MEASURES = (
    "f1",
    "f1_without",
    "f1_difference",
    "log_odds",
    "log_odds_without",
    "log_odds_difference",
)


def track_reliance(
    model: Model,
    records: Sequence[Record],
    label: str,
    track: str,
    threshold: float,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """What a model of bases loses without a track.

    Parameters
    ----------
    records : sequence of Record
        With stretches named `label` as truth; the track's mean is that over all their bases.
    threshold : float
        From which probability on a base is called, chosen elsewhere; the same without the track.
    rng : numpy.random.Generator
        Draws the resamples, of whole records and for both alike.

    Returns
    -------
    dict
        `f1` of calls, `f1_without`, and their `f1_difference`, over all bases; `log_odds`, the mean
        at bases that have the label, `log_odds_without`, and their `log_odds_difference`. Each with
        its interval, `n` the bases it is over.

    Raises
    ------
    ConfigError
        If the threshold is not a number from 0 to 1.
    DataError
        If no base has the label.
    UnknownName
        If the model reads no such track.
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold = {threshold}: a number from 0 to 1 is needed.")
    values = track_values(model, track, records)
    bases = sum(map(len, values))
    if not bases:
        raise DataError("No records; the reliance on a track needs some with labelled bases.")
    without = without_track(model, track, float(sum(each.sum() for each in values) / bases))
    real, gone = (predict_label(each, records, label) for each in (model, without))
    truth, n = real.truth, len(records)

    def summed(of: Floats | Bools) -> Floats:
        return np.bincount(real.record, weights=of, minlength=n).astype(float)

    counts = [summed(truth)]
    for found in (real, gone):
        called = found.scores >= threshold
        odds = _log_odds(found.scores) * truth
        counts += [summed(called), summed(called & truth), summed(odds)]
    table = np.stack(counts, axis=1)

    def measured(name: str) -> Estimate:
        return bootstrap(
            lambda rows: _measures(rows.sum(0))[name],
            table,
            rng=np.random.default_rng(seed),
            resamples=resamples,
            level=level,
        )._replace(n=bases if name.startswith("f1") else int(truth.sum()))

    seed = int(rng.integers(1 << 32))  # one draw of records for all measures
    return {name: measured(name) for name in TRACK_MEASURES}


def without_track(model: Model, track: str, level: float) -> Model:
    """A copy of a model that reads `level` at every base in place of a track.

    The bases stay, so what the network itself finds in them does too.

    Raises
    ------
    UnknownName
        If the model reads no such track.
    """
    _track(model, track)
    network: Any = copy.deepcopy(model.network)
    network.tracks[track] = _Level(level)
    return replace(model, network=network, name=f"{model.name} without {track}")


def track_values(model: Model, track: str, records: Sequence[Record]) -> list[Floats]:
    """What a model reads at every base in a track, (b,) for each record.

    Raises
    ------
    UnknownName
        If the model reads no such track.
    """
    layer = _track(model, track)
    if model.tracks is not None:
        named = [file.name for file in model.tracks.files]
        if track in named:
            at = named.index(track)
            return [own[:, at].astype(float) for own in model.tracks.read(records)]
    found = [np.empty(0)] * len(records)
    with torch.inference_mode():
        for rows, codes in by_length(records):
            for some in np.array_split(rows, max(codes.size >> 16, 1)):
                batch = model.batch_of(codes[np.searchsorted(rows, some)])
                values = layer(model.embedding(batch.ids)).double().cpu().numpy()
                for row, own in zip(some.tolist(), values, strict=True):
                    found[row] = own
    return found


class _Level(nn.Module):
    """A track that says the same everywhere: rows (n, b, c) to (n, b)."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return torch.full_like(x[..., 0], self.value)


def _track(model: Model, track: str) -> nn.Module:
    tracks: Any = getattr(model.network, "tracks", {})
    if track not in tracks:
        raise UnknownName(f"track of {model.name}", track, list(tracks))
    layer: nn.Module = tracks[track]
    return layer


def _measures(counts: Floats) -> dict[str, float]:
    """The measures of sums over records, (7,)."""
    true = counts[0]
    found: dict[str, float] = {}
    for name, (called, hits, odds) in (("", counts[1:4]), ("_without", counts[4:])):
        found["f1" + name] = float(ratio(2 * hits, called + true, 0.0))
        found["log_odds" + name] = float(ratio(odds, true, np.nan))
    for name in ("f1", "log_odds"):
        found[f"{name}_difference"] = found[name] - found[f"{name}_without"]
    return found


def _log_odds(p: Floats) -> Floats:
    """log(p / (1 - p)), of probabilities kept a rounding error from 0 and 1."""
    kept = np.clip(p, 1e-12, 1 - 1e-12)
    found: Floats = np.log(kept) - np.log1p(-kept)
    return found
