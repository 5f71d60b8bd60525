"""A published reading of importance, and what the same numbers say when they are read soundly."""

from __future__ import annotations

from typing import ClassVar

from basewise.registry import component
from basewise.report.blocks import Block, Bullets, Callout, Section, Text
from basewise.report.interventions import intervention_sentences
from basewise.report.published_blocks import counts, presence, rules, signs
from basewise.report.published_run import found_in
from basewise.report.published_sentences import agreements, contradictions, in_sequences, reliance
from basewise.study.results import Run

__all__ = ["AsPublished", "as_published_sentences", "element_sentences"]


def as_published_sentences(run: Run) -> list[str]:
    """What the published reading would conclude, and the numbers that contradict it."""
    found = found_in(run)
    return [] if found is None else list(contradictions(found))


def element_sentences(run: Run) -> list[str]:
    """Of the element that was asked about: whether it marks the classes, whether explanations
    give it other scores than both nulls, whether edits of it change the models."""
    found = found_in(run)
    if found is None:
        return []
    motif = str(run.lock["as_published"]["motif"])
    return [*in_sequences(found), *reliance(found), *intervention_sentences(run, 2, motif)]


@component
class AsPublished:
    """Counts and signs of the word's tokens, each beside what it leaves out."""

    title: ClassVar[str] = "As published, and soundly"
    place: ClassVar[int] = 62

    def render(self, run: Run) -> Section | None:
        """The section; None where no published reading was asked for."""
        found = found_in(run)
        if found is None:
            return None
        blocks: list[Block] = [
            Text(
                f"Published work has concluded from tokens that hold {found.word} that models "
                f"rely on the element: from how many sequences hold the letters, and from the "
                f"signs and counts of such tokens among the {found.top} of largest absolute score "
                "in each sequence. Here is that reading of this run, and beside it the same "
                "question with the class named, every occurrence by itself, a null, an interval "
                "and a q value."
            )
        ]
        if said := tuple(contradictions(found)):
            blocks.append(Callout("warning", "Where the two readings part", said))
        if said := tuple(agreements(found)):
            blocks.append(Bullets(said))
        blocks += [*presence(found), *signs(found), *counts(found), *rules(found)]
        return Section(self.title, tuple(blocks))
