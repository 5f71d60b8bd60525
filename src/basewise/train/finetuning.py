"""Training in stages: each starts from what the one before it made, and none sees another's dev.

Long windows with a low threshold first, then short ones with a high threshold, is such a
training. It is sound only with one split through all stages: a record that one stage trains on
must not be what another one chooses its best epoch by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from basewise.errors import DataError
from basewise.models.model import Model
from basewise.tokenize.labelling import Labelling
from basewise.train.progress import Progress
from basewise.train.training import Trained, Training
from basewise.types import Record

__all__ = ["Stage", "check_one_split", "train_in_stages"]


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage: how it trains, on what, what its best epoch is chosen by, and how labels of bases
    become labels of tokens where that is not as the model says."""

    training: Training
    train: Sequence[Record]
    dev: Sequence[Record]
    labelling: Labelling | None = None


def train_in_stages(
    model: Model,
    stages: Sequence[Stage],
    folder: str | Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Trained:
    """Train a copy of `model` in stages, one after the other.

    Parameters
    ----------
    folder : path
        For the checkpoints of all stages. A training that was killed continues in the stage
        where it was.

    Returns
    -------
    Trained
        The model of the last stage, with its labelling; `history` has the column `stage`, from 1
        on, and `best_epoch` is that of the last stage.

    Raises
    ------
    DataError
        If there is no stage, or a stage trains on what another one holds out.
    """
    if not stages:
        raise DataError("No stages to train in; at least one is needed.")
    check_one_split(stages)
    histories = []
    for number, stage in enumerate(stages, 1):
        trained = stage.training.train(
            replace(model, labelling=stage.labelling or model.labelling),
            stage.train,
            stage.dev,
            Path(folder) / f"stage-{number}",
            seed=seed,
            progress=progress,
        )
        model = trained.model
        histories.append(trained.history.assign(stage=number))
    return replace(trained, history=pd.concat(histories, ignore_index=True))


def check_one_split(stages: Sequence[Stage]) -> None:
    """Refuse stages of which one trains on a sequence or a place that another holds out.

    A sequence that a stage has on both sides of its own split is a fault of the data, which
    the audit names, and not of the stages. Places are compared where records have a locus.

    Raises
    ------
    DataError
        Naming the records and the stages.
    """
    for a, trains in enumerate(stages, 1):
        for b, holds in enumerate(stages, 1):
            pair = None if a == b else _same(trains, holds) or _overlapping(trains, holds)
            if pair:
                raise DataError(
                    f"Record {pair[0].id!r} that stage {a} trains on is or overlaps record "
                    f"{pair[1].id!r} that stage {b} holds out; split the data once, and make all "
                    "stages from that split."
                )


def _same(trains: Stage, holds: Stage) -> tuple[Record, Record] | None:
    """A trained and a held-out record with one sequence."""
    held = {record.sequence: record for record in holds.dev}
    for record in holds.train:
        held.pop(record.sequence, None)
    pairs = ((r, held[r.sequence]) for r in trains.train if r.sequence in held)
    return next(pairs, None)


def _overlapping(trains: Stage, holds: Stage) -> tuple[Record, Record] | None:
    """A trained and a held-out record whose loci overlap."""
    held: dict[str, list[tuple[int, int, Record]]] = {}
    for record in holds.dev:
        if record.locus is not None:
            place = (record.locus.start, record.locus.end, record)
            held.setdefault(record.locus.chrom, []).append(place)
    sorted_ends = {}
    for chrom, places in held.items():
        places.sort(key=lambda place: place[:2])
        starts, ends = np.array([place[:2] for place in places]).T
        sorted_ends[chrom] = starts, np.maximum.accumulate(ends)
    for record in trains.train:
        if record.locus is None or record.locus.chrom not in held:
            continue
        # Of those that start before its end, does the one that reaches furthest reach into it?
        starts, ends = sorted_ends[record.locus.chrom]
        before = int(np.searchsorted(starts, record.locus.end)) - 1
        if before >= 0 and ends[before] > record.locus.start:
            furthest = int(np.argmax(ends == ends[before]))
            return record, held[record.locus.chrom][furthest][2]
    return None
