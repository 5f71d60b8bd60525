"""The tables of motifs of a run: hits, hits by class, attribution inside hits."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd

from basewise.biology.enrichment import (
    MINIMUM,
    class_enrichment,
    enrichment_table,
    shuffle_enrichment,
)
from basewise.biology.reliance import attribution_enrichment
from basewise.errors import UnknownName
from basewise.motifs.panel import PANELS
from basewise.motifs.scan import in_window, scan

if TYPE_CHECKING:
    from basewise.motifs.motif import Motif
    from basewise.study.results import Run
    from basewise.study.study import Biology
    from basewise.types import Target

__all__ = ["panel_of", "tables"]


def tables(
    run: Run, settings: Biology, target: Target, tss: int | None, seed: int
) -> dict[str, pd.DataFrame]:
    """`hits` on the explained records, `class_enrichment` on the whole test split (classes of
    fewer than `MINIMUM` records are not compared), and `attribution_enrichment` per model and
    explainer."""
    panel = panel_of(settings.panel)
    explained, test = run.records("explained"), run.records("test")
    reliance = [
        attribution_enrichment(
            explained,
            run.attributions(model, explainer),
            panel,
            tss=tss,
            draws=settings.draws,
            seed=seed,
        ).assign(model=model, explainer=explainer)
        for model in run.models
        for explainer in run.explainers
    ]
    classes = [enrichment_table([])]
    sizes = Counter(str(record.label) for record in test)
    if min(sizes[target.label], len(test) - sizes[target.label]) >= MINIMUM:
        classes.append(class_enrichment(test, panel, label=target.label, tss=tss))
    if many := [record for record in test if sizes[str(record.label)] >= MINIMUM]:
        classes.append(shuffle_enrichment(many, panel, tss=tss, draws=settings.shuffles, seed=seed))
    hits = scan(explained, panel)
    return {
        "hits": hits if tss is None else in_window(hits, panel, tss),
        "class_enrichment": pd.concat(classes[1:] or classes, ignore_index=True),
        "attribution_enrichment": pd.concat(reliance, ignore_index=True),
    }


def panel_of(name: str) -> tuple[Motif, ...]:
    """The motifs of a panel.

    Raises
    ------
    UnknownName
        If there is none of that name.
    """
    if name not in PANELS:
        raise UnknownName("panel", name, [*PANELS, "none"])
    return PANELS[name]
