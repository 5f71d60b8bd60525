"""What was asked, and the short answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from markupsafe import Markup

from basewise.picture.words import counted, listing, quantity
from basewise.registry import component
from basewise.report.as_published import element_sentences
from basewise.report.audit import audit_verdict
from basewise.report.bases import base_sentences
from basewise.report.biology import biology_sentences
from basewise.report.blocks import Block, Callout, Section, Table, Text, Tile, Tiles, Tone
from basewise.report.conservation import conservation_sentences
from basewise.report.genomes import few_genomes, set_sentences
from basewise.report.interventions import intervention_sentences
from basewise.report.localisation import localisation_sentences
from basewise.report.lock import target_of
from basewise.report.quality import Verdict, verdict_sentences, verdicts
from basewise.study.results import Run
from basewise.types import Target

__all__ = ["Question"]

_READ = {
    "log_odds": "the natural logarithm of p/(1 − p), where p is the probability the model gives "
    "to {label}; 0 is undecided, +1 makes the odds 2.7 times as high",
    "logit": "the raw output of the model for {label}",
    "probability": "the probability that the model gives to {label}",
    "margin": "the raw output for {label} minus the largest other one",
    "value": "the number that the model gives for {label}",
}


@component
class Question:
    """The question, the data, and what came out, in plain sentences."""

    title: ClassVar[str] = "The question and the short answer"
    place: ClassVar[int] = 10

    def render(self, run: Run) -> Section | None:
        """The section."""
        blocks: list[Block] = []
        if asked := run.lock.get("study", {}).get("question"):
            blocks.append(Text(Markup('<span class="lead">{}</span>').format(asked)))
        tiles = _tiles(run)
        if tiles:
            blocks.append(Tiles(tiles))
        if answer := _answer(run):
            blocks.append(Callout(_tone(run), "In short", answer))
        blocks.append(Text(_design(run)))
        if run.data:
            blocks.append(_data(run))
        return Section(self.title, tuple(blocks))


def _answer(run: Run) -> tuple[str, ...]:
    """The sentences that matter most: the model, the data, the bases, the motifs."""
    said = verdict_sentences(verdicts(run))
    said += base_sentences(run)
    if run.audit is not None:
        said.append(audit_verdict(run.audit))
    said += localisation_sentences(run)
    said += biology_sentences(run, 3, 2)
    said += intervention_sentences(run, 2)
    said += few_genomes(run) + set_sentences(run) + conservation_sentences(run)
    said += [sentence for sentence in element_sentences(run) if sentence not in said]
    return tuple(said)


def _tone(run: Run) -> Tone:
    """A warning where a model is no better than the baseline, or the audit found something."""
    poor = any(verdict.better is False for verdict in verdicts(run))
    audit = run.audit
    return "warning" if poor or (audit and audit.worst != "info") else "good"


def _tiles(run: Run) -> tuple[Tile, ...]:
    tiles = [
        Tile(
            v.value.partition(" ")[0],
            f"{v.metric} of {v.model}",
            v.value.partition(" ")[2] + (f"; baseline {v.against}" if v.against else ""),
        )
        for v in _extremes(verdicts(run))
    ]
    explained = len(run.records("explained"))
    if explained:
        tiles.append(
            Tile(
                quantity(explained),
                f"{_explained(run)} explained",
                counted(len(run.explainers), "explainer"),
            )
        )
    audit = run.audit
    if audit is not None:
        grave = [f.severity for f in audit.findings if f.severity != "info"]
        note = counted(grave.count("error"), "error") if "error" in grave else ""
        what = "audit warning" if len(grave) == 1 else "audit warnings"
        tiles.append(Tile(quantity(len(grave)), what, f"{note} among them" if note else ""))
    return tuple(tiles)


def _explained(run: Run) -> str:
    return "sequences" if run.lock["target"].get("where") is None else "regions of bases"


def _extremes(found: Sequence[Verdict]) -> list[Verdict]:
    """The best model, and of several the least good one."""
    ranked = sorted(found, key=lambda v: -v.size)
    return [*ranked[:1], *ranked[1:][-1:]]


def _design(run: Run) -> str:
    """Which models, which target, which explainers."""
    lock = run.lock
    target = target_of(run)
    parts = []
    task = "tell the classes apart" if run.bases("bases").empty else "label bases"
    models = [_model(name, settings) for name, settings in lock.get("models", {}).items()]
    if models:
        parts.append(
            Markup("{} learned to {}: {}.").format(
                counted(len(models), "model"), task, Markup(", ").join(models)
            )
            if len(models) > 1
            else Markup("The model {} learned to {}.").format(models[0], task)
        )
    if target is not None:
        parts.append(_read(target))
    if run.explainers:
        who = "They were" if len(models) > 1 else "It was"
        parts.append(Markup("{} explained by {}.").format(who, listing(run.explainers)))
    return Markup(" ").join(parts)


def _model(name: str, settings: Mapping[str, Any]) -> Markup:
    kind = settings.get("type", name)
    return Markup("<b>{}</b>").format(name) + ("" if kind == name else f" ({kind})")


def _read(target: Target) -> Markup:
    meaning = _READ[target.read].format(label=target.label)
    return Markup(
        "What is explained is the <b>{}</b>: {}. A positive score speaks for <b>{}</b>, a negative "
        "one against it."
    ).format(str(target), meaning, target.label)


def _data(run: Run) -> Table:
    data = run.data
    labels = sorted({label for split in data.values() for label in split.get("labels", {})})
    rows = [
        (
            name,
            quantity(split.get("n")),
            *(quantity(split.get("labels", {}).get(label, 0)) for label in labels),
            _length(split),
            _problems(split) or "none",
            str(split.get("source", "")),
        )
        for name, split in data.items()
    ]
    kept = ""
    if any(map(_problems, data.values())):
        kept = " Rows with a problem were skipped, those with a contradictory label kept."
    return Table(
        "The data: one row per split, counts of sequences, lengths in bases. Models learn on "
        f"train, choices are made on dev, quality is measured on test.{kept}",
        ("Split", "Sequences", *labels, "Length", "Problems", "Source"),
        rows,
    )


def _length(split: Mapping[str, Any]) -> str:
    shortest, longest = split.get("shortest"), split.get("longest")
    return quantity(shortest) + ("" if longest == shortest else f"–{quantity(longest)}")


def _problems(split: Mapping[str, Any]) -> str:
    """What the reader found wrong, counted by kind."""
    return ", ".join(
        f"{quantity(count)} × {kind.replace('_', ' ')}"
        for kind, count in (split.get("skipped") or {}).items()
    )
