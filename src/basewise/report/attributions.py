"""What the explainers say: a few records base by base, then the mean over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd
from markupsafe import Markup

from basewise.drawing import logo_of
from basewise.picture.axis import place
from basewise.picture.logo import best_window
from basewise.picture.words import counted, equals, listing, number
from basewise.registry import component
from basewise.report.blocks import Block, Figure, Section, SubHeading, Text
from basewise.report.draw import Curve, profile
from basewise.report.lock import target_of, tss_of
from basewise.store import read_attributions
from basewise.study.results import Run
from basewise.types import Attribution, Floats, Record, Span, Target

__all__ = ["Attributions"]

LETTERS = 100  # bases drawn as letters
RULE = "share of the rule"
LOGOS = 60  # panels in one report: more would make the page heavy and nobody read it
MOTIFS = 24  # hits bracketed on one record

Example = tuple[str, str]  # what kind of example, record id


@dataclass
class _Tally:
    """Sums per position over the records of one predicted class."""

    total: Floats
    squares: Floats
    n: int = 0

    @classmethod
    def empty(cls, length: int) -> _Tally:
        return cls(np.zeros(length), np.zeros(length))

    def add(self, track: Floats) -> None:
        self.n += 1
        self.total += track
        self.squares += track**2

    def curve(self, name: str) -> Curve:
        """The mean with a pointwise 95 % interval (normal, over records)."""
        mean = self.total / self.n
        error = np.sqrt(np.maximum(self.squares / self.n - mean**2, 0) / max(self.n - 1, 1))
        return Curve(f"{name} (n = {self.n:,})", mean, mean - 1.96 * error, mean + 1.96 * error)


@dataclass
class _Told:
    """What one explainer says of one model: the examples, and the sums over all records."""

    examples: dict[str, Attribution] = field(default_factory=dict)
    tallies: dict[str, _Tally] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)
    rules: bool = False


@component
class Attributions:
    """Logos of a few records under every explainer, and profiles over all."""

    title: ClassVar[str] = "What does the model look at?"
    place: ClassVar[int] = 40

    def render(self, run: Run) -> Section | None:
        """The section; None before anything is explained."""
        target = target_of(run)
        if target is None:
            return None
        blocks: list[Block] = []
        room = LOGOS // max(len(run.models), 1)
        for model in run.models:
            predictions = run.predictions(model)
            chosen = _examples(run, model, predictions, target)
            told = _read(run, model, predictions, [id for _, id in chosen])
            if not told:
                continue
            if len(run.models) > 1:
                blocks.append(SubHeading(f"Model {model}"))
            shown = chosen[: room // len(told)]
            figures = _logos(run, told, shown, predictions, target)
            if figures:
                blocks.append(_reading(run, target, list(told), chosen))
            blocks += figures
            if len(shown) < len(chosen):
                blocks.append(Text(f"The page holds {room} logos of a model at most."))
            if not isinstance(
                target.where, str
            ):  # else regions are at other places in every record
                blocks += _profiles(run, told, target)
        return Section(self.title, tuple(blocks)) if blocks else None


def _examples(run: Run, model: str, predictions: pd.DataFrame, target: Target) -> list[Example]:
    """Of the explained records the most confident of each kind, and a true positive of median
    confidence, since the most confident may be far from typical."""
    ids = {record.id for record in run.records("explained")}
    score = f"p:{target.label}"
    if not {"record_id", "label", "predicted", score} <= set(predictions.columns):
        return [("Record explained", id) for id in sorted(ids)[:4]]
    frame = predictions[predictions["record_id"].isin(ids)]
    if frame.empty:
        frame = predictions
    truly, called = frame["label"] == target.label, frame["predicted"] == target.label
    found = []
    for name, rows, ascending in (
        ("True positive", truly & called, False),
        ("False positive", ~truly & called, False),
        ("False negative", truly & ~called, True),
        ("True negative", ~truly & ~called, True),
    ):
        ranked = frame[rows].sort_values([score, "record_id"], ascending=[ascending, True])
        ids_ranked = [str(id) for id in ranked["record_id"]]
        found += [(f"{name}, the most confident", id) for id in ids_ranked[:1]]
        if name == "True positive" and len(ids_ranked) > 2:
            found.append((f"{name}, typical", ids_ranked[len(ids_ranked) // 2]))
    return found


def _read(
    run: Run, model: str, predictions: pd.DataFrame, examples: Sequence[str]
) -> dict[str, _Told]:
    """Go once through the attributions of a model, part by part."""
    classes: Mapping[str, str] = {}
    if {"record_id", "predicted"} <= set(predictions.columns):
        classes = dict(zip(predictions["record_id"], predictions["predicted"], strict=True))
    found: dict[str, _Told] = {}
    for explainer in run.explainers:
        told = _Told()
        for a in _attributions(run, model, explainer):
            track = a.per_base()
            told.lengths.add(len(track))
            told.rules = a.kind == "rule"
            if len(told.lengths) == 1:
                name = str(classes.get(a.record_id, "all records"))
                told.tallies.setdefault(name, _Tally.empty(len(track))).add(track)
            if a.record_id in examples:
                told.examples[a.record_id] = a
        if told.lengths:
            found[explainer] = told
    return found


def _attributions(run: Run, model: str, explainer: str) -> Iterable[Attribution]:
    for part in run.parts(model, explainer):
        yield from read_attributions(part)


def _absent(examples: Sequence[Example]) -> str:
    """Which kinds of records there are none of."""
    kinds = ("True positive", "False positive", "False negative", "True negative")
    here = " ".join(kind for kind, _ in examples)
    absent = [kind.lower() for kind in kinds if kind not in here]
    return f" (no explained record is a {' or a '.join(absent)})" if 0 < len(absent) < 4 else ""


def _reading(run: Run, target: Target, explainers: list[str], examples: Sequence[Example]) -> Text:
    ids, of_regions = {id for _, id in examples}, isinstance(target.where, str)
    marks = ""
    if any(record.truth for record in run.records("explained") if record.id in ids):
        what = (
            "the region explained" if of_regions else "stretches planted by the maker of the data"
        )
        marks += f"Yellow: {what}. "
    if any(_hits_of(run.hits, id) for id in ids):
        marks += (
            "Brackets: motifs of the panel found in the sequence, whether the model uses them or "
            "not. "
        )
    return Text(
        f"Each figure is one sequence under {counted(len(explainers), 'explainer')}: a base stands "
        f"above the line where it speaks for {target.label}, hangs below where it speaks "
        f"against, and is as tall as its share of the {target}. Each explainer has its own scale; "
        f"where it scores stretches of several bases, these share the score equally. {marks}"
        f"These are examples, chosen by the model's confidence{_absent(examples)}"
        f"{'.' if of_regions else '; the profiles below speak for all.'}"
    )


def _logos(
    run: Run,
    told: Mapping[str, _Told],
    examples: Sequence[Example],
    predictions: pd.DataFrame,
    target: Target,
) -> list[Block]:
    records = {record.id: record for record in run.records("explained")}
    hits = run.hits
    tss = tss_of(run)
    blocks: list[Block] = []
    for kind, id in examples:
        stacked = {name: t.examples[id] for name, t in told.items() if id in t.examples}
        if stacked:
            said = _said(predictions, id, target)
            blocks.append(_logo(stacked, kind, said, records.get(id), _hits_of(hits, id), tss))
    return blocks


def _said(predictions: pd.DataFrame, id: str, target: Target) -> str:
    """What is known of a record: its label, and what the model says."""
    if not {"record_id", "label", "predicted"} <= set(predictions.columns):
        return ""
    row = predictions[predictions["record_id"] == id]
    if row.empty:
        return ""
    first = row.iloc[0]
    said = f"labelled {first['label']}, predicted {first['predicted']}"
    chance = first.get(f"p:{target.label}")
    return said if chance is None else f"{said}, {equals(f'p({target.label})', chance)}"


def _hits_of(hits: pd.DataFrame, id: str) -> list[Span]:
    if not {"record_id", "motif", "start", "end"} <= set(hits.columns):
        return []
    own = hits[hits["record_id"] == id]
    if "in_window" in own:
        own = own[own["in_window"]]
    if "p" in own:
        own = own.sort_values("p", kind="stable")
    rows = zip(own["start"], own["end"], own["motif"], strict=True)
    return [Span(int(a), int(b), str(name)) for a, b, name in rows][:MOTIFS]


def _logo(
    stacked: Mapping[str, Attribution],
    kind: str,
    said: str,
    record: Record | None,
    hits: list[Span],
    tss: int | None,
) -> Figure:
    found = list(stacked.values())
    first = found[0]
    tracks = [a.per_base() for a in found]
    truth = record.truth if record else ()
    length = len(first.sequence)
    start, end = best_window(tracks, LETTERS)
    window = ""
    if end - start < length:
        window = (
            f" Letters show positions {place(start, tss)} to {place(end - 1, tss)} of "
            f"{length:,} bases, where most of the attribution lies; the strip above is the whole."
        )
    peaks = listing(
        f"{name} at {place(int(np.abs(t).argmax()), tss)} "
        f"({first.sequence[int(np.abs(t).argmax())]}, {number(t[np.abs(t).argmax()])})"
        for name, t in zip(stacked, tracks, strict=True)
    )
    drawing = logo_of(found, names=list(stacked), tss=tss, truth=truth, hits=hits, width=LETTERS)
    return Figure(
        f"{kind}: {first.record_id}",
        drawing,
        f"Logos of record {first.record_id}, {said or kind}. Largest absolute score: {peaks}.",
        f"{said[:1].upper()}{said[1:]}.{window}" if said else window,
        least_width=760,
    )


def _profiles(run: Run, told: Mapping[str, _Told], target: Target) -> list[Block]:
    tss = tss_of(run)
    same = {name: t for name, t in told.items() if len(t.lengths) == 1}
    if not same:
        return [
            Text(
                "The records differ in length, so there is no profile over positions: "
                "their positions do not correspond."
            )
        ]
    parts, seen = [], []
    names: list[str] = []
    for explainer, t in same.items():
        curves = [tally.curve(name) for name, tally in sorted(t.tallies.items())]
        names = [c.name for c in curves]
        parts.append(
            Markup('<div class="panel"><h4>{}</h4>{}</div>').format(
                explainer, profile(curves, RULE if t.rules else str(target), tss=tss)
            )
        )
        tops = listing(
            f"{place(int(c.mean.argmax()), tss)} for {c.name}" for c in curves if len(c.mean)
        )
        seen.append(f"{explainer} is highest at {tops}")
    legend = Markup("").join(
        Markup('<span class="key c{}">{}</span>').format(i % 6, f"predicted {name}")
        for i, name in enumerate(names)
    )
    return [
        SubHeading("On average over all explained records"),
        Figure(
            "",
            Markup('<p class="legend">{}</p><div class="panels wide">{}</div>').format(
                legend, Markup("").join(parts)
            ),
            f"Mean attribution per position for each explainer: {'; '.join(seen)}.",
            f"Mean attribution of each position, by the class the model predicts. Above the zero "
            f"line the bases at a position speak on average for {target.label}, below against; "
            "the band is the 95 % interval of the mean over records, for each position by itself.",
        ),
    ]
