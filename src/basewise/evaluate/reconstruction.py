"""Input reconstruction: is a sequence recognised by the bases that an explanation ranks first?

The first x % of the bases by score are kept, the rest is replaced, and the model is asked again,
as *input reconstruction from attributions* was tried on 16S rRNA genes. What the rest becomes
decides what is found: here it is dinucleotide shuffles of the same sequence, so that composition
and length stay and say nothing. Beside the own order stand random orders of the same bases, and
the own order reversed. It is the curve of insertion (Petsiuk, Das & Saenko 2018) by that masking,
with how often the class is recognised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from basewise.errors import ConfigError, DataError
from basewise.evaluate.faithfulness_measures import inserted, places
from basewise.explainers.masking import Shuffled
from basewise.explainers.units import Bases, tokens_of
from basewise.models.evaluator import Evaluator
from basewise.stats import bootstrap, random_numbers
from basewise.types import Floats, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["RECONSTRUCTION", "reconstruct"]

RECONSTRUCTION = (
    "order", "share", "value", "low", "high", "recognised", "recognised_low", "recognised_high",
    "whole", "n",
)  # fmt: skip
"""Columns of a reconstruction: by order and share of kept bases, the mean target over records with
its 95 % interval, the share of rows whose target is above 0 (for log-odds and margins: the class is
recognised) with its interval, and the mean target of the whole sequences. Order is the name of the
scores, that with ` reversed`, or `random`. Intervals are of a bootstrap over clusters."""


def reconstruct(
    model: Model,
    records: Sequence[Record],
    scores: Mapping[str, Sequence[Floats]],
    target: str | Target,
    *,
    shares: Sequence[float] = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
    draws: int = 4,
    orders: int = 3,
    clusters: Sequence[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Predict sequences of which only the bases that come first are kept.

    Parameters
    ----------
    records : n records
    scores : mapping of str to n (b,) float
        By name, the scores of every record's bases; the highest are kept first, equal ones in
        random order.
    shares : sequence of float
        Of the bases that are kept.
    draws : int
        Dinucleotide shuffles that the rest is taken from; the target is averaged over them.
    orders : int
        Random orders of each record.
    clusters : n str, optional
        Near copies are one observation: they are resampled together.

    Returns
    -------
    DataFrame
        With the columns of `RECONSTRUCTION`.

    Raises
    ------
    ConfigError
        If a share is not between 0 and 1.
    DataError
        If there are no records, or scores do not fit them.
    """
    target = model.target(target)
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise ConfigError(f"shares = {list(shares)}: shares of the bases lie from 0 to 1.")
    if not records:
        raise DataError("There are no records to reconstruct.")
    for name, own in scores.items():
        if [len(each) for each in own] != [len(record) for record in records]:
            raise DataError(f"The scores {name!r} are not one for each base of each record.")
    evaluator, masking = Evaluator(model, target), Shuffled(draws=draws)
    found: dict[str, list[Floats]] = {}
    whole = []
    for i, record in enumerate(records):
        rng = random_numbers(seed, record.id, "reconstruction")
        b = len(record)
        counts = np.rint(np.array(shares) * b).astype(np.int64)
        tracks = {name: places(own[i], rng) for name, own in scores.items()}
        tracks |= {f"{name} reversed": b - 1 - place for name, place in tracks.items()}
        tracks |= {f"random {j}": rng.permutation(b) for j in range(orders)}
        tokens = tokens_of(model, record)
        units = Bases().spans(record, tokens)
        board = masking.switchboard(record, tokens, units, model, rng)
        rows = np.concatenate([inserted(place, counts) for place in tracks.values()])
        (values,) = evaluator.by_draw([(board, np.concatenate([rows, np.ones((1, b), bool)]))])
        whole.append(float(values[-1].mean()))
        for name, block in zip(tracks, np.split(values[:-1], len(tracks)), strict=True):
            order = "random" if name.startswith("random ") else name
            found.setdefault(order, []).append(block)
    n = len(records)
    labels = np.arange(n) if clusters is None else np.asarray(clusters)
    rows_out = []
    for order, blocks in found.items():
        # (records, orders * draws, shares)
        cube = np.stack(blocks).reshape(n, -1, len(shares), draws).swapaxes(2, 3)
        flat = cube.reshape(n, -1, len(shares))
        for s, share in enumerate(shares):
            columns = [flat[:, :, s].mean(1), (flat[:, :, s] > 0).mean(1)]
            mean, seen = (
                bootstrap(np.mean, each, rng=np.random.default_rng([seed, 9]), clusters=labels)
                for each in columns
            )
            rows_out.append((order, share, *mean[:3], *seen[:3], float(np.mean(whole)), n))
    return pd.DataFrame(rows_out, columns=list(RECONSTRUCTION))
