"""Every model explained on one record before any is trained: what would fail late, fails now.

A model's abilities follow from its architecture, its tokenizer and its labels, and not from its
weights. So the model as training finds it is asked to do the work, instead of a second list of
what explainers need. That costs what one record costs, out of the many that will be explained.
Faithfulness and controls are tried in the same way, in their smallest form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from basewise.errors import BasewiseError, ConfigError, UnknownName
from basewise.evaluate.controls import Case, check_controls
from basewise.explainers.regions import explain_regions
from basewise.models.batch import by_length
from basewise.models.model import Model
from basewise.study.records import read_of
from basewise.study.study import Study
from basewise.types import Attribution, Record

__all__ = ["naming", "rehearse", "untrained_models"]

ROWS = 1000  # tokenised at once


def rehearse(
    study: Study,
    records: Mapping[str, Sequence[Record]],
    explained: Sequence[Record],
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Refuse what a model or an explainer could not do on these records.

    Parameters
    ----------
    records : mapping
        Of every split.
    explained : sequence of Record
        Of these the longest and the shortest are explained.

    Raises
    ------
    CapabilityError, ConfigError, DataError
        Naming the model, and the explainer where it is its fault.
    """
    total = len(study.models) * len(study.explainers)
    done = 0
    for name, model in untrained_models(study, records):
        target, some = model.target(read_of(study)), _ends(explained)
        found = {}
        for explainer, settings in study.explainers.items():
            with naming(f"[explainers.{explainer}] with [models.{name}]"):
                found[explainer] = explain_regions(settings, model, some, target, study.about.seed)
            done += 1
            if progress:
                progress(done, total, f"{name} by {explainer}")
        _put_to_the_test(study, model, some, found)


def _put_to_the_test(
    study: Study, model: Model, some: Sequence[Record], found: Mapping[str, list[Attribution]]
) -> None:
    """Faithfulness by a few rows, and every control once, of one of the explainers."""
    tracks = {name: each for name, each in found.items() if each[0].kind != "corpus"}
    if not tracks:
        return
    target, seed = model.target(read_of(study)), study.about.seed
    if study.faithfulness is not None:
        short = replace(
            study.faithfulness,
            steps=2,
            orders=1,
            perturbations=min(study.faithfulness.perturbations, 1),
            correlations=False,
        )
        with naming(f"[faithfulness] with [models.{model.name}]"):
            short.measure(model, some, tracks, target, seed)
    chosen = [name for name in study.controls.explainers or tracks if name in tracks]
    if study.controls.use and chosen:
        case = Case(
            model,
            study.explainers[chosen[0]],
            target,
            some,
            tracks[chosen[0]],
            seed,
            lambda _: model,
        )
        with naming(f"[controls] with [models.{model.name}]"):
            check_controls(case, study.controls.use)


def untrained_models(
    study: Study, records: Mapping[str, Sequence[Record]]
) -> Iterator[tuple[str, Model]]:
    """Every model as training finds it, with its name; refused where it does not fit the data."""
    for name, source in study.models.items():
        with TemporaryDirectory() as folder, naming(f"[models.{name}]"):
            model = source.untrained(name, records["train"], Path(folder), study.about.seed)
            model.target(study.target)
            _check_labels(model, records)
            for some in records.values():
                _check_lengths(model, some)
        yield name, replace(model, precision=study.about.precision)


@contextmanager
def naming(table: str) -> Iterator[None]:
    """Errors say which table of the study they are about."""
    try:
        yield
    except UnknownName:
        raise
    except BasewiseError as error:
        raise type(error)(f"{table}: {error}") from None


def _check_labels(model: Model, records: Mapping[str, Sequence[Record]]) -> None:
    """A model that is used as it is has labels of its own."""
    for split, some in records.items():
        for record in some:
            if record.label not in model.labels:
                raise ConfigError(
                    f"record {record.id!r} of {split} is {record.label!r}, which is none of the "
                    f"model's labels ({', '.join(model.labels)}); name its outputs with labels = "
                    "[...], or train it with training = { ... }."
                )


def _check_lengths(model: Model, records: Sequence[Record]) -> None:
    """Refuse records that have more tokens than the network takes, in any split."""
    if model.longest is None:
        return
    for rows, codes in by_length(records):
        for i in range(0, len(rows), ROWS):
            lengths = model.tokenizer.encode_codes(codes[i : i + ROWS]).lengths
            at = int(np.argmax(lengths))
            model.check_length(int(lengths[at]), codes.shape[1], records[rows[i + at]].id)


def _ends(records: Sequence[Record]) -> list[Record]:
    """The longest record, and the shortest if it is shorter."""
    longest, shortest = max(records, key=len), min(records, key=len)
    return [longest] if len(longest) == len(shortest) else [longest, shortest]
