"""The tables of motifs of a run: hits, hits by class, attribution inside hits; what happens when
motifs are edited; stretches of high attribution, and the motifs that they hold in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import pandas as pd

from basewise.biology.discovery import PATTERNS, discover
from basewise.biology.enrichment import (
    MINIMUM,
    class_enrichment,
    enrichment_table,
    shuffle_enrichment,
)
from basewise.biology.interventions import INTERVENTIONS, knock_in, knock_out
from basewise.biology.reliance import attribution_enrichment
from basewise.biology.seqlets import SEQLETS, call_seqlets
from basewise.errors import CapabilityError, DataError, UnknownName
from basewise.motifs.naming import name_motifs
from basewise.motifs.panel import PANELS
from basewise.motifs.scan import in_window, scan

if TYPE_CHECKING:
    from basewise.models.model import Model
    from basewise.motifs.motif import Motif
    from basewise.study.results import Run
    from basewise.study.study import Biology
    from basewise.types import Attribution, Record, Target

__all__ = ["TABLES", "panel_of", "tables"]

_NAMED = (*PATTERNS, "match", "q", "reason")
TABLES = (
    "hits",
    "class_enrichment",
    "attribution_enrichment",
    "interventions",
    "seqlets",
    "patterns",
)
"""The tables of the step, each a file in the folder `biology` of a run."""


def tables(
    run: Run,
    models: Mapping[str, Model],
    settings: Biology,
    target: Target,
    tss: int | None,
    seed: int,
    progress: Callable[[int, int, str], None],
) -> dict[str, pd.DataFrame]:
    """All tables of `TABLES`.

    Hits, interventions and attributions are of the explained records, `class_enrichment` is of
    the whole test split (classes of fewer than `MINIMUM` records are not compared).
    """
    panel = panel_of(settings.panel)
    explained, test = run.records("explained"), run.records("test")
    reliance, seqlets, patterns = [], [_empty(SEQLETS)], [_empty(_NAMED)]
    for model in run.models:
        for explainer in run.explainers:
            found = run.attributions(model, explainer)
            of = {"model": model, "explainer": explainer}
            reliance.append(
                attribution_enrichment(
                    explained, found, panel, tss=tss, draws=settings.draws, seed=seed
                ).assign(**of)
            )
            with suppress(DataError):  # of few records chance is not known well enough
                seqlets.append(call_seqlets(found, seed=seed).assign(**of))
            if settings.discovery:
                patterns.append(_patterns(found, panel).assign(**of))
    classes = [enrichment_table([])]
    sizes = Counter(str(record.label) for record in test)
    if min(sizes[target.label], len(test) - sizes[target.label]) >= MINIMUM:
        classes.append(class_enrichment(test, panel, label=target.label, tss=tss))
    if many := [record for record in test if sizes[str(record.label)] >= MINIMUM]:
        classes.append(shuffle_enrichment(many, panel, tss=tss, draws=settings.shuffles, seed=seed))
    hits = scan(explained, panel)
    return {
        "hits": hits if tss is None else in_window(hits, panel, tss),
        "class_enrichment": _joined(classes),
        "attribution_enrichment": _joined(reliance),
        "interventions": _interventions(models, explained, settings, target, tss, seed, progress),
        "seqlets": _joined(seqlets),
        "patterns": _joined(patterns),
    }


def _interventions(
    models: Mapping[str, Model],
    records: Sequence[Record],
    settings: Biology,
    target: Target,
    tss: int | None,
    seed: int,
    progress: Callable[[int, int, str], None],
) -> pd.DataFrame:
    """Every motif knocked out of and into the explained records, by every model."""
    found = [_empty(INTERVENTIONS).drop(columns="explainer")]
    if settings.interventions:
        for name, model in models.items():
            for edit in (knock_out, knock_in):
                said = f"{name}, {edit.__name__.replace('_', '-')}"

                def told(done: int, whole: int, said: str = said) -> None:
                    progress(done, whole, said)

                table = edit(
                    model,
                    records,
                    panel_of(settings.panel),
                    target=model.target(target),
                    tss=tss,
                    sequences=settings.interventions,
                    flips=settings.draws,
                    seed=seed,
                    progress=told,
                )
                found.append(table.assign(model=name))
    return _joined(found)


def _patterns(found: Sequence[Attribution], panel: Sequence[Motif]) -> pd.DataFrame:
    """What is discovered in attributions, named by the panel; or why nothing can be."""
    try:
        discovery = discover(found)
    except (CapabilityError, DataError) as error:
        return _typed(pd.DataFrame([{"reason": str(error)}]))
    named = name_motifs(discovery.motifs, panel, matches=1).set_index("motif")[["match", "q"]]
    return _typed(discovery.patterns.join(named, on="pattern"))


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns `_NAMED`, texts empty and numbers NaN where there is nothing."""
    frame = frame.reindex(columns=_NAMED)
    for name in _NAMED:
        text = name in ("pattern", "consensus", "match", "reason")
        frame[name] = frame[name].fillna("").astype(str) if text else frame[name].astype(float)
    return frame


def _empty(columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(columns=["model", "explainer", *columns])


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All frames as one; those without rows would spoil the types of its columns."""
    return pd.concat([f for f in frames if len(f)] or frames[:1], ignore_index=True)


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
