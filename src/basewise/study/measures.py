"""Tables that say how good models and explainers are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from basewise.evaluate.localisation import SUMMARY, localise, summarise
from basewise.explainers.sensitivity import sensitivity
from basewise.registry import Registry
from basewise.train.metrics import classification_metrics
from basewise.types import Floats, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model
    from basewise.study.results import Run

__all__ = [
    "BASELINE",
    "REFERENCES",
    "REFERENCE_RECORDS",
    "architecture",
    "explainers",
    "localisation",
    "predictions",
    "quality",
    "reference_records",
    "references",
]

BASELINE = "6-mer baseline"

REFERENCES = (
    "model", "explainer", "n", "references", "rank_correlation", "lowest_rank_correlation",
    "lowest_top_overlap", "lowest_sign_agreement", "relative_spread", "changes",
)  # fmt: skip
"""Columns of `references`: medians over records of the numbers of `explainers.sensitivity`, and
the share of records whose story changes with the reference."""

REFERENCE_RECORDS = ("model", "explainer", "record_id", *REFERENCES[3:])
"""Columns of `reference_records`: the same numbers of every record, and whether its story
changes."""


def predictions(
    labels: Sequence[str], split: str, records: Sequence[Record], scores: Floats
) -> pd.DataFrame:
    """record_id, split, label, predicted, and `p:<label>` for every label."""
    frame = pd.DataFrame(
        {
            "record_id": [record.id for record in records],
            "split": split,
            "label": [str(record.label) for record in records],
            "predicted": np.asarray(labels, object)[scores.argmax(1)],
        }
    )
    for i, label in enumerate(labels):
        frame[f"p:{label}"] = scores[:, i]
    return frame


def architecture(model: Model, seconds: float) -> str:
    """What a model is, and how long it took to train or load, as JSON; see `Run.training`."""
    network, tokenizer = model.network, model.tokenizer
    config = getattr(network, "config", None)
    said = {
        "architecture": getattr(config, "model_type", type(network).__name__),
        "parameters": model.parameters,
        "tokenizer": "" if tokenizer is None else Registry.name_of(tokenizer),
        "vocabulary": None if tokenizer is None else tokenizer.vocabulary_size,
        "seconds": seconds,
        "device": _device(model),
    }
    return json.dumps(said, indent=1) + "\n"


def _device(model: Model) -> str:
    """What the model was trained on."""
    import torch

    if model.device.type == "cuda":
        return torch.cuda.get_device_name(model.device)
    threads = torch.get_num_threads()
    return f"{threads} thread{'' if threads == 1 else 's'} of the CPU"


def quality(
    name: str,
    kind: str,
    parameters: int,
    split: str,
    records: Sequence[Record],
    scores: Floats,
    labels: Sequence[str],
    target: Target,
    seed: int,
) -> pd.DataFrame:
    """model, kind, parameters, split, positive, metric, value, low, high, n."""
    found = classification_metrics(
        [str(record.label) for record in records],
        scores,
        labels,
        positive=target.label if len(labels) == 2 else None,
        rng=np.random.default_rng([seed, 2]),
    )
    about = {"model": name, "kind": kind, "parameters": parameters, "split": split}
    about["positive"] = target.label if len(labels) == 2 else "(macro)"
    return pd.DataFrame(
        [about | {"metric": metric} | estimate._asdict() for metric, estimate in found.items()]
    )


def explainers(run: Run) -> pd.DataFrame:
    """model, explainer, method, kind, n, evaluations, median_gap, largest_gap, median_r2."""
    rows: list[dict[str, Any]] = []
    for model in run.models:
        for name in run.explainers:
            found = run.attributions(model, name)
            gaps = np.abs([a.gap for a in found])
            r2 = [a.extras["r2"] for a in found if "r2" in a.extras]
            rows.append(
                {
                    "model": model,
                    "explainer": name,
                    "method": found[0].method,
                    "kind": found[0].kind,
                    "n": len(found),
                    "evaluations": float(np.mean([a.evaluations for a in found])),
                    "median_gap": float(np.median(gaps)),
                    "largest_gap": float(np.max(gaps)),
                    "median_r2": float(np.median(r2)) if r2 else float("nan"),
                }
            )
    return pd.DataFrame(rows)


def reference_records(run: Run) -> pd.DataFrame:
    """Record by record, of explainers that ran over several references (`REFERENCE_RECORDS`)."""
    tables = [pd.DataFrame(columns=list(REFERENCE_RECORDS))]
    for model in run.models:
        for name in run.explainers:
            found = run.attributions(model, name)
            if found and all("references" in a.extras for a in found):
                table = sensitivity(found).assign(model=model, explainer=name)
                tables.append(table[list(REFERENCE_RECORDS)])
    return pd.concat(tables[1:] or tables, ignore_index=True)


def references(records: pd.DataFrame) -> pd.DataFrame:
    """How much explainers depend on their references (`REFERENCES`), from `reference_records`."""
    rows = []
    for (model, name), table in records.groupby(["model", "explainer"], sort=False):
        middle = table[list(REFERENCES[4:-1])].astype(float).median().tolist()
        most, changes = int(table["references"].max()), float(table["changes"].mean())
        rows.append((model, name, len(table), most, *middle, changes))
    return pd.DataFrame(rows, columns=list(REFERENCES))


def localisation(run: Run, seed: int) -> pd.DataFrame:
    """model, explainer, metric, value, low, high, n, chance: how much known truth was found.

    Truth speaks for its record's own class. Where that is not the one explained, scores are
    turned round if there are two classes (what speaks against the one speaks for the other),
    and left out if there are more. Where a region of bases is explained, truth says which one,
    and not what makes it so: nothing is measured.
    """
    target = run.lock["target"]["label"]
    two = len({record.label for record in run.records("train")}) == 2
    records = [r for r in run.records("explained") if r.truth and (two or r.label == target)]
    if run.lock["target"]["where"] is not None:
        records = []
    against = {record.id for record in records if record.label != target}
    tables = [pd.DataFrame(columns=["model", "explainer", *SUMMARY])]
    if records:
        ids = {record.id for record in records}
        for model in run.models:
            for name in run.explainers:
                found = [
                    replace(a, scores=-a.scores) if a.record_id in against else a
                    for a in run.attributions(model, name)
                    if a.record_id in ids
                ]
                table = summarise(localise(records, found), seed=seed)
                tables.append(table.assign(model=model, explainer=name))
    return pd.concat(tables[1:] or tables, ignore_index=True)
