"""The tables of motifs of a run: hits, hits by class, attribution inside hits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from basewise.biology.enrichment import class_enrichment, shuffle_enrichment
from basewise.biology.panel import PANELS
from basewise.biology.reliance import attribution_enrichment
from basewise.biology.scan import in_window, scan
from basewise.errors import UnknownName

if TYPE_CHECKING:
    from basewise.study.results import Run
    from basewise.study.study import Biology
    from basewise.types import Target

__all__ = ["tables"]


def tables(
    run: Run, settings: Biology, target: Target, tss: int | None, seed: int
) -> dict[str, pd.DataFrame]:
    """`hits` on the explained records, `class_enrichment` on the whole test split, and
    `attribution_enrichment` per model and explainer."""
    if settings.panel not in PANELS:
        raise UnknownName("panel", settings.panel, PANELS)
    panel = PANELS[settings.panel]
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
    classes = [
        class_enrichment(test, panel, label=target.label, tss=tss),
        shuffle_enrichment(test, panel, tss=tss, draws=settings.shuffles, seed=seed),
    ]
    hits = scan(explained, panel)
    return {
        "hits": hits if tss is None else in_window(hits, panel, tss),
        "class_enrichment": pd.concat(classes, ignore_index=True),
        "attribution_enrichment": pd.concat(reliance, ignore_index=True),
    }
