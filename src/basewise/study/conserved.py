"""The tables of a run that hold explanations of genes against what their family keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from basewise.biology.conservation import CONSERVATION, conservation, follow_conservation
from basewise.checks.clusters import clusters
from basewise.errors import DataError
from basewise.evaluate.reconstruction import RECONSTRUCTION, reconstruct

if TYPE_CHECKING:
    from basewise.models.model import Model
    from basewise.study.gene_settings import Conservation
    from basewise.study.results import Run
    from basewise.types import Target

__all__ = ["TABLES", "tables"]

_EXPLANATION = ("model", "explainer")
TABLES: Mapping[str, tuple[str, ...]] = {
    "conservation": (*_EXPLANATION, *CONSERVATION),
    "reconstruction": ("model", *RECONSTRUCTION),
    "conservation_profile": (*_EXPLANATION, "record_id", "position", "score", "conserved"),
}
"""The tables by name, with their columns.

conservation : see `biology.conservation.CONSERVATION`; of the explained records of the class.
reconstruction : see `evaluate.reconstruction.RECONSTRUCTION`; orders are those of the explainers,
    and that of conservation itself.
conservation_profile : of one gene of each cluster, score and conservation of every base.
"""


def tables(
    run: Run,
    models: Mapping[str, Model],
    settings: Conservation,
    target: Target,
    seed: int,
    progress: Callable[[int, int, str], None],
) -> dict[str, pd.DataFrame]:
    """Every table of `TABLES`, of the explained records that have the class of the target.

    Conservation is that among all records of the class, of every split.

    Raises
    ------
    DataError
        If no explained record has the class, or its records are all near copies.
    """
    own = [r for r in run.records("explained") if r.label == target.label]
    if not own:
        raise DataError(f"No explained record is {target.label!r}; explain more of the test split.")
    splits = ("train", "dev", "test")
    family = [r for name in splits for r in run.records(name) if r.label == target.label]
    place = {record.id: i for i, record in enumerate(family)}
    homes = clusters(family)
    of = [place[record.id] for record in own]
    sequences = [record.sequence for record in own]
    ids, mine = [record.id for record in own], [homes[i] for i in of]
    conserved = conservation([r.sequence for r in family], homes, settings.k, of)
    first = sorted({cluster: i for i, cluster in reversed(list(enumerate(mine)))}.values())
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for done, (name, model) in enumerate(models.items()):
        progress(done, len(models), name)
        orders = {"conservation": conserved}
        for explainer in run.explainers:
            known = {a.record_id: a.per_base() for a in run.attributions(name, explainer)}
            scores = orders[explainer] = [known[id] for id in ids]
            of_both = {"model": name, "explainer": explainer}
            table = follow_conservation(
                scores, conserved, sequences, ids, mine, settings.k,
                resamples=settings.resamples, seed=seed,
            )  # fmt: skip
            found["conservation"].append(table.assign(**of_both))
            for i in first:
                drawn = {"position": range(len(scores[i])), "score": scores[i]}
                profile = pd.DataFrame(drawn | {"conserved": conserved[i]})
                found["conservation_profile"].append(profile.assign(record_id=ids[i], **of_both))
        again = reconstruct(
            model, own, orders, target, shares=settings.shares, draws=settings.draws,
            clusters=mine, seed=seed,
        )  # fmt: skip
        found["reconstruction"].append(again.assign(model=name))
    return {name: _table(parts, TABLES[name]) for name, parts in found.items()}


def _table(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True)[list(columns)]
