"""Tables of a run that repeat a published reading of importance, beside the sound ones.

The reading is that of work which concluded from tokens holding `TATA` that a model relies on
the TATA box: how many sequences hold the letters, and the signs and counts of such tokens among
the top ten. What each leaves out stands beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from basewise.biology.enrichment import (
    ENRICHMENT,
    MINIMUM,
    class_enrichment,
    enrichment_table,
    shuffle_enrichment,
)
from basewise.biology.reliance import attribution_enrichment
from basewise.errors import ConfigError
from basewise.evaluate.top_tokens import (
    TOP_COUNTS,
    TOP_SIGNS,
    repeats,
    same_signs,
    top_counts,
    top_signs,
    whole_words,
)
from basewise.motifs.motif import Motif, Strands
from basewise.stats import benjamini_hochberg
from basewise.study.biology import panel_of

if TYPE_CHECKING:
    from basewise.study.results import Run
    from basewise.study.study import AsPublished, Biology
    from basewise.types import Attribution, Record, Target

__all__ = ["AS_PUBLISHED", "element", "tables"]

_TURN = ("log_odds", "margin", "probability", "top")
_EXPLANATION = ("model", "explainer")
AS_PUBLISHED: Mapping[str, tuple[str, ...]] = {
    "presence": ENRICHMENT,
    "signs": (*_EXPLANATION, *TOP_SIGNS),
    "counts": (*_EXPLANATION, *TOP_COUNTS),
    "attribution": (*_EXPLANATION, *ENRICHMENT),
    "strings": (*_EXPLANATION, "occurrences", "repeated", "turned"),
    "pairs": ("model", "first", "second", "tokens", "same"),
    "borders": ("model", "places", "whole"),
    "rules": (*_EXPLANATION, "n", "precision", "coverage", "least", "most", "units"),
}
"""The tables by name, with their columns.

presence : how often sequences of the test split hold the letters and the element, anywhere and
    in its window, by class and against shuffles.
signs, counts : see `evaluate.top_tokens`. In `counts`, q of all tokens with the word together
    is corrected over the explanations.
attribution : inside hits against matched stretches, for the sequences of one class at a time.
strings : what one score per token string would change.
pairs : of two explainers of a model, tokens that both have among the top and on how many their
    signs agree.
borders : places of the letters in the explained sequences, and of these inside one token.
rules : of explainers that give rules: medians of precision and coverage, the least and the
    largest coverage, the median number of units in a rule.
"""


def tables(
    run: Run,
    settings: AsPublished,
    biology: Biology,
    target: Target,
    tss: int | None,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Every table of `AS_PUBLISHED`; those that a run has nothing for are empty."""
    motifs = _motifs(settings, biology, tss)
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in AS_PUBLISHED}
    found["presence"].append(_presence(run.records("test"), motifs, target.label, tss, biology))
    explained = run.records("explained")
    # Of two classes the other one's number is the negative, but for a raw output.
    turns = len({r.label for r in run.records("train")}) == 2 and target.read in _TURN
    for model in run.models:
        signed: dict[str, pd.DataFrame] = {}
        for name in run.explainers:
            about = {"model": model, "explainer": name}
            attributions = run.attributions(model, name)
            occurrences = run.occurrences(model, name)
            if attributions and attributions[0].kind == "rule":
                found["rules"].append(_rules(attributions).assign(**about))
            if occurrences.empty:
                continue
            counts = top_counts(occurrences, settings.word, top=settings.top, seed=seed)
            found["counts"].append(counts.assign(**about))
            if not (occurrences["score"] < 0).any():
                continue
            signed[name] = occurrences
            signs = top_signs(occurrences, settings.word, top=settings.top, seed=seed)
            if not turns:
                signs = signs[signs["reading"] != "other class"]
            found["signs"].append(signs.assign(**about))
            found["strings"].append(pd.DataFrame([repeats(occurrences)]).assign(**about))
            by_class = _by_class(explained, attributions, motifs, tss, biology.draws, seed)
            found["attribution"].append(by_class.assign(**about))
        rows: list[dict[str, Any]] = [
            {"model": model, "first": a, "second": b}
            | same_signs(signed[a], signed[b], top=settings.top)._asdict()
            for a, b in combinations(signed, 2)
        ]
        found["pairs"].append(pd.DataFrame(rows))
        if signed:
            every = [record.sequence for record in explained]
            whole = whole_words(next(iter(signed.values())), settings.word, every)
            found["borders"].append(pd.DataFrame([whole]).assign(model=model))
    made = {name: _table(name, parts) for name, parts in found.items()}
    counts = made["counts"]
    together = (counts["token"] == "").to_numpy(bool)
    counts.loc[together, "q"] = benjamini_hochberg(counts.loc[together, "p"].to_numpy(float))
    return made


def element(settings: AsPublished, biology: Biology) -> Motif:
    """The motif of the panel that the word is taken for.

    Raises
    ------
    ConfigError
        If the panel has no such motif, or one without a pattern.
    """
    panel = () if biology.panel == "none" else panel_of(biology.panel)
    known = {motif.name: motif for motif in panel if motif.pattern}
    if settings.motif not in known:
        raise ConfigError(
            f"[as_published] motif = {settings.motif!r} is no motif of the panel "
            f"{biology.panel!r} with a pattern; it has {', '.join(known) or 'none'}."
        )
    return known[settings.motif]


def _motifs(settings: AsPublished, biology: Biology, tss: int | None) -> list[Motif]:
    """The letters and the element's pattern; in its window first, where there is one."""
    motif = element(settings, biology)
    pattern = str(motif.pattern)
    texts: dict[str, Strands] = {settings.word: "+", pattern: motif.strands}
    windows = [None if motif.window is None else (motif.window.first, motif.window.last), None]
    return [
        Motif.from_iupac(text, text, window=window, strands=strands)
        for window in dict.fromkeys(windows if tss is not None else [None])
        for text, strands in texts.items()
    ]


def _places(motifs: Sequence[Motif]) -> list[list[Motif]]:
    """Motifs by window: within one, every name is used once."""
    return [[m for m in motifs if m.where == where] for where in dict.fromkeys(_where(motifs))]


def _where(motifs: Sequence[Motif]) -> list[str]:
    return [motif.where for motif in motifs]


def _presence(
    test: Sequence[Record],
    motifs: Sequence[Motif],
    label: str,
    tss: int | None,
    biology: Biology,
) -> pd.DataFrame:
    """The letters and the element by class; classes of fewer than `MINIMUM` are left out."""
    sizes = Counter(str(record.label) for record in test)
    many = [record for record in test if sizes[str(record.label)] >= MINIMUM]
    parts = []
    for own in _places(motifs):
        if min(sizes[label], len(test) - sizes[label]) >= MINIMUM:
            parts.append(class_enrichment(test, own, label=label, tss=tss))
        if many:
            parts.append(shuffle_enrichment(many, own, tss=tss, draws=biology.shuffles))
    return _corrected(parts)


def _by_class(
    explained: Sequence[Record],
    found: Sequence[Attribution],
    motifs: Sequence[Motif],
    tss: int | None,
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """Attribution inside hits for the sequences of one class at a time."""
    parts = []
    for label in sorted({str(record.label) for record in explained}):
        ids = {record.id for record in explained if str(record.label) == label}
        own = [attribution for attribution in found if attribution.record_id in ids]
        for some in _places(motifs):
            table = attribution_enrichment(
                explained, own, some, tss=tss, draws=draws, seed=seed
            ).assign(label=label)
            parts.append(table)
    return _corrected(parts)


def _corrected(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of enrichment as one, q values over all of it."""
    rows = [
        {str(name): value for name, value in row.items()}
        for part in parts
        for row in part.to_dict("records")
    ]
    return enrichment_table(rows)


def _rules(found: Sequence[Attribution]) -> pd.DataFrame:
    """What the rules of one explainer are worth, as measured."""
    coverage = np.array([a.extras.get("coverage", np.nan) for a in found])
    precision = np.array([a.extras.get("precision", np.nan) for a in found])
    row = {
        "n": len(found),
        "precision": float(np.median(precision)),
        "coverage": float(np.median(coverage)),
        "least": float(coverage.min()),
        "most": float(coverage.max()),
        "units": float(np.median([(a.scores > 0).sum() for a in found])),
    }
    return pd.DataFrame([row])


def _table(name: str, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Parts as one table with its columns, also where there are none."""
    columns = list(AS_PUBLISHED[name])
    some = [part for part in parts if len(part)]
    if not some:
        return pd.DataFrame({column: pd.Series(dtype=_dtype(column)) for column in columns})
    return pd.concat(some, ignore_index=True)[columns]


def _dtype(column: str) -> str:
    texts = {*_EXPLANATION, "token", "reading", "label", "first", "second", "motif", "window"}
    return "object" if column in texts | {"null", "measure", "reason"} else "float64"
