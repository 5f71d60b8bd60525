"""Where a published reading of a run misleads, in sentences, and what holds in both readings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from basewise.picture.words import counted, listing, number, p_value, percent, quantity
from basewise.report.biology import LEVEL, null_name, window_name
from basewise.report.frames import rows_of
from basewise.report.published_run import (
    NAMED,
    OTHER,
    Found,
    by_class,
    capital,
    holds,
    ratio,
    who,
)

__all__ = ["agreements", "contradictions", "in_sequences", "reliance"]


def contradictions(found: Found) -> Iterator[str]:
    """One sentence for each way in which the published reading misleads here."""
    yield from _other_class(found)
    yield from in_sequences(found)
    yield from _no_more_than_chance(found)
    yield from _signs_without_match(found)
    yield from _strings(found)
    yield from _borders(found)
    yield from _leave_one_out(found)


def agreements(found: Found) -> Iterator[str]:
    """What holds in both readings."""
    more = [row for row in rows_of(found.together) if row.q < LEVEL and row.effect > 1]
    if more:
        row = max(more, key=lambda row: row.effect)
        yield (
            f"In {len(more)} of {counted(len(found.together), 'explanation')} (models by "
            f"explainers) tokens with {found.word} are among the top {found.top} more often than "
            f"the same scores at other places would have them, most in {who(row)}: "
            f"{quantity(row.count)} against {number(row.expected)} expected, ratio {ratio(row)}."
        )
    held = [key for key, rows in by_class(found) if holds(rows)]
    if held:
        yield (
            f"{capital(found.element)} gets other attribution than matched stretches of the same "
            f"sequences and the same places of others, in the same direction, for "
            f"{listing(f'{label} in {model} by {name}' for model, name, label in held[:6])}"
            f"{f' and {len(held) - 6} more' if len(held) > 6 else ''}."
        )


def _other_class(found: Found) -> Iterator[str]:
    """An index instead of a name turns every sign."""
    mine = _reading(found, NAMED, found.label)
    other = _reading(found, OTHER, found.label)
    rows = [row for row in rows_of(mine) if row.tokens]
    if other.empty or not rows:
        return
    best = max(rows, key=lambda row: row.tokens)
    turned = next(
        row for row in rows_of(other) if (row.model, row.explainer) == (best.model, best.explainer)
    )
    said = (
        f"The class: explaining the other class instead of {found.label}, as an index that was "
        f"guessed does, turns every sign. Of {counted(int(best.tokens), 'top token')} with "
        f"{found.word} in {found.label} sequences, {best.explainer} of {best.model} gives "
        f"{quantity(best.positive)} a positive score ({percent(best.share)}); for the other class "
        f"it is {quantity(turned.positive)} ({percent(turned.share)})."
    )
    if len(found.pairs) and found.pairs["tokens"].max():
        pair = max(rows_of(found.pairs), key=lambda row: (_of_lime_and_shap(row), row.tokens))
        said += (
            f" {capital(pair.first)} and {pair.second} of {pair.model} agree in the sign of "
            f"{quantity(pair.same)} of {quantity(pair.tokens)} tokens that both have among the "
            f"top; had one of them explained the other class, in "
            f"{quantity(pair.tokens - pair.same)}."
        )
    yield said


def _of_lime_and_shap(row: Any) -> bool:
    """Whether these are the two whose signs were published as opposite; both need tokens."""
    names = f"{row.first} {row.second}"
    return "lime" in names and "shap" in names and row.tokens > 0


def in_sequences(found: Found) -> Iterator[str]:
    """Letters that are more frequent in the other class are no sign for this one."""
    rows = [
        row
        for row in rows_of(found.presence)
        if row.null == "other classes" and row.label == found.label and not row.reason
    ]
    letters = next((r for r in rows if r.motif == found.word and r.window == "anywhere"), None)
    if letters is None or not letters.q < LEVEL or letters.effect > 1:
        return
    said = (
        f"The letters: {found.word} stands in {percent(letters.observed)} of {found.label} "
        f"sequences and in {percent(letters.expected)} of the others, odds ratio "
        f"{ratio(letters)}: in these data the letters mark the others."
    )
    placed = [r for r in rows if r.motif == found.element and r.window != "anywhere"]
    if placed:
        said += (
            f" {found.element} at {window_name(placed[0].window)} of the start site: "
            f"{percent(placed[0].observed)} against {percent(placed[0].expected)}, odds ratio "
            f"{ratio(placed[0])}."
        )
    yield said


def reliance(found: Found) -> Iterator[str]:
    """In how many explanations of each class the element differs from both nulls, and how."""
    by_label: dict[str, list[tuple[str, list[Any]]]] = {}
    for (model, name, label), rows in by_class(found):
        by_label.setdefault(label, []).append((f"{name} of {model}", rows))
    alike: dict[tuple[int, str], list[str]] = {}
    for label, tested in by_label.items():
        more = [who for who, rows in tested if holds(rows) and rows[0].effect > 0]
        less = [who for who, rows in tested if holds(rows) and rows[0].effect < 0]
        open_ = sum(any(row.reason for row in rows) for _, rows in tested)
        said = [
            f"{side} than both nulls in {len(some)} ({listing(some[:3])}"
            f"{' and others' if len(some) > 3 else ''})"
            for side, some in (("more attribution", more), ("less", less))
            if some
        ]
        rest = len(tested) - len(more) - len(less) - open_
        if rest:
            said.append(f"no difference from both nulls is shown in {rest}")
        if open_:
            said.append(f"{open_} cannot be tested against both")
        alike.setdefault((len(tested), listing(said)), []).append(label)
    for (n, outcome), labels in alike.items():
        yield (
            f"{capital(found.element)} in {listing(labels)} sequences, by "
            f"{counted(n, 'explanation')}{' of each' if len(labels) > 1 else ''} (models by "
            f"explainers): {outcome}."
        )


def _no_more_than_chance(found: Found) -> Iterator[str]:
    """Counts that chance gives as well."""
    rows = rows_of(found.together)
    weak = [row for row in rows if not (row.q < LEVEL and row.effect > 1) and row.published]
    if not weak:
        return
    row = max(weak, key=lambda row: row.published)
    less = sum(1 for r in weak if r.q < LEVEL and r.effect < 1)
    said = (
        f"The counts: in {len(weak)} of {counted(len(rows), 'explanation')} tokens with "
        f"{found.word} are not shown to be among the top {found.top} more often than the same "
        f"scores at other places would have them"
    )
    said += f" (in {less} of them less often)" if less else ""
    yield (
        f"{said}. {capital(row.explainer)} of {row.model} would be published with "
        f"{counted(int(row.published), 'sequence')} that have such a token among the top; by "
        f"position it is {quantity(row.count)} occurrences, and chance gives "
        f"{number(row.expected)}: ratio {ratio(row)}."
    )


def _signs_without_match(found: Found) -> Iterator[str]:
    """Majorities of signs that matched stretches do not bear out."""
    matched = dict(by_class(found))
    bare = []
    for row in rows_of(found.signs):
        if row.reading != NAMED or math.isnan(row.low) or row.low <= 0.5 <= row.high:
            continue
        rows = matched.get((row.model, row.explainer, row.label), [])
        if not rows:
            continue
        sign = 1 if row.share > 0.5 else -1
        if not (holds(rows) and all(sign * r.effect > 0 for r in rows)):
            bare.append((row, rows))
    if not bare:
        return
    row, rows = max(bare, key=lambda pair: (not any(r.reason for r in pair[1]), pair[0].tokens))
    numbers = listing(f"{ratio(r)} ({p_value(r.q)}) against {null_name(r.null)}" for r in rows)
    where = window_name(str(rows[0].window))
    place = "" if where == "anywhere" else f" at {where}"
    said = (
        f"The sign: {counted(len(bare), 'majority', 'majorities')} of signs of {found.word} tokens "
        f"(of one class, in one explanation) cannot be said of {found.element}{place}: against "
        "matched stretches there is no difference, none to that side, or too little to test. "
        f"In {row.label} sequences {row.explainer} of {row.model} gives a positive score to "
        f"{percent(row.share)} of {counted(int(row.tokens), 'top token')} with {found.word} (other "
        f"top tokens {percent(row.others)})"
    )
    reasons = [r.reason for r in rows if r.reason]
    if reasons:
        yield f"{said}; for a test of {found.element}{place}, {reasons[0]}."
    else:
        yield (
            f"{said}; the standardised mean difference inside {found.element}{place} is {numbers}."
        )


def _strings(found: Found) -> Iterator[str]:
    """One score per string, where strings repeat."""
    rows = [row for row in rows_of(found.strings) if row.repeated]
    if rows:
        row = max(rows, key=lambda row: row.turned / row.occurrences)
        yield (
            "The strings: one score per different token string would give "
            f"{quantity(row.repeated)} of {counted(int(row.occurrences), 'token')} in {who(row)} "
            f"the score of a later one of the same letters; {quantity(row.turned)} would change "
            "sign."
        )


def _borders(found: Found) -> Iterator[str]:
    """Words that tokens cut."""
    for row in rows_of(found.borders):
        if row.places and row.whole < row.places:
            yield (
                f"The borders: of {counted(int(row.places), 'place')} where {found.word} stands "
                f"in the explained sequences, the tokens of {row.model} hold it whole in "
                f"{quantity(row.whole)} ({percent(row.whole / row.places)}); the others are not "
                "counted by any table of tokens."
            )


def _leave_one_out(found: Found) -> Iterator[str]:
    """What was published as Anchors has no rule, and no coverage that is measured."""
    said = [
        f"{who(row)} coverage {percent(row.coverage)} (from {percent(row.least)} to "
        f"{percent(row.most)}) and precision {percent(row.precision)}"
        for row in rows_of(found.rules)
    ]
    if said:
        yield (
            "The rules: what was published as ANCHOR leaves out one token at a time, has no sign "
            "and a coverage that is set and not measured; it is the explainer occlusion here. "
            f"Rules that are searched for have, as measured and in the median: {listing(said)}."
        )


def _reading(found: Found, reading: str, label: str) -> pd.DataFrame:
    frame = found.signs
    if frame.empty:
        return frame
    return frame[(frame["reading"] == reading) & (frame["label"] == label)]
