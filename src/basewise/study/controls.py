"""The tables of a run that say whether explanations can be believed: faithfulness, controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from basewise.evaluate.controls import CONTROL, Case, check_controls, verdict_table
from basewise.evaluate.faithfulness import CURVES, FAITHFULNESS, Faithfulness
from basewise.types import Attribution, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model
    from basewise.study.results import Run
    from basewise.study.source import Source
    from basewise.study.study import Study

__all__ = ["controls", "faithfulness", "retraining"]

Progress = Callable[[int, int, str], None]


def faithfulness(
    run: Run,
    models: Mapping[str, Model],
    settings: Faithfulness,
    some: Sequence[Record],
    target: Target,
    seed: int,
    progress: Progress,
) -> dict[str, pd.DataFrame]:
    """`faithfulness` and `faithfulness_curves`, with model and explainer; of explanations of
    records, not of data sets."""
    summaries = [pd.DataFrame(columns=["model", "explainer", *FAITHFULNESS[1:]])]
    curves = [pd.DataFrame(columns=["model", "explainer", *CURVES[1:]])]
    for name, model in models.items():
        tracks = {x: _of(run.attributions(name, x), some) for x in run.explainers}
        tracks = {x: found for x, found in tracks.items() if found[0].kind != "corpus"}
        if not tracks:
            continue

        def told(done: int, whole: int, name: str = name) -> None:
            progress(done, whole, name)

        found = settings.measure(model, some, tracks, target, seed, told)
        for tables, frame in ((summaries, found.summary), (curves, found.curves)):
            tables.append(frame.rename(columns={"track": "explainer"}).assign(model=name))
    return {
        name: pd.concat(tables[1:] or tables, ignore_index=True)[list(tables[0])]
        for name, tables in (("faithfulness", summaries), ("faithfulness_curves", curves))
    }


def controls(
    run: Run,
    models: Mapping[str, Model],
    study: Study,
    some: Sequence[Record],
    retrained: Mapping[str, Callable[[int], Model] | None],
    progress: Progress,
) -> pd.DataFrame:
    """model, explainer, and the columns of `evaluate.controls.CONTROL`.

    Parameters
    ----------
    some : sequence of Record
        Of those explained, the ones that controls examine.
    retrained : mapping of str to callable or None
        What trains each model on permuted labels, where the study trains it; see `retraining`.
    """
    tables = [pd.DataFrame(columns=["model", "explainer", *CONTROL])]
    chosen = study.controls.explainers or list(study.explainers)
    for i, (name, model) in enumerate(models.items()):
        for j, explainer in enumerate(chosen):
            progress(i * len(chosen) + j, len(models) * len(chosen), f"{name} by {explainer}")
            found = _of(run.attributions(name, explainer), some)
            if found[0].kind == "corpus":
                continue
            case = Case(
                model=model,
                explainer=study.explainers[explainer],
                target=model.target(study.target),
                records=some,
                found=found,
                seed=study.about.seed,
                retrain=retrained.get(name),
            )
            table = verdict_table(check_controls(case, study.controls.use))
            tables.append(table.assign(model=name, explainer=explainer))
    table = pd.concat(tables[1:] or tables, ignore_index=True)
    return table[list(tables[0])]


def retraining(
    name: str,
    source: Source,
    records: Mapping[str, Sequence[Record]],
    folder: Path,
    seed: int,
) -> Callable[[int], Model] | None:
    """What trains a model of the study on permuted labels, for so many epochs, and only once.

    None where the study does not train it. Labels of train and dev are permuted among
    themselves, so their shares stay.
    """
    training: Any = getattr(source, "training", None)
    if training is None:
        return None

    @cache
    def retrain(epochs: int) -> Model:
        rng = np.random.default_rng([seed, 10])
        short: Any = replace(source, training=replace(training, epochs=epochs), stages=[])  # type: ignore[type-var]
        permuted = {split: _permuted(records[split], rng) for split in ("train", "dev")}
        model: Model = short.model(
            f"{name} (permuted labels)",
            permuted["train"],
            permuted["dev"],
            folder,
            seed,
            lambda *_: None,
        )
        return model

    return retrain


def _permuted(records: Sequence[Record], rng: np.random.Generator) -> list[Record]:
    order = rng.permutation(len(records)).tolist()
    return [replace(r, label=records[i].label) for r, i in zip(records, order, strict=True)]


def _of(found: Sequence[Attribution], records: Sequence[Record]) -> list[Attribution]:
    """The attributions of some records, in their order."""
    known = {attribution.record_id: attribution for attribution in found}
    return [known[record.id] for record in records]
