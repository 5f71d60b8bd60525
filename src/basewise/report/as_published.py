"""A published reading of importance, and what the same numbers say when they are read soundly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import pandas as pd
from markupsafe import Markup

from basewise.picture.words import (
    NONE,
    counted,
    estimate,
    listing,
    number,
    p_value,
    percent,
    quantity,
)
from basewise.registry import component
from basewise.report.blocks import (
    Block,
    Bullets,
    Callout,
    Details,
    Figure,
    Section,
    SubHeading,
    Table,
    Text,
)
from basewise.report.draw import Dot, Row, intervals
from basewise.report.frames import groups, having, rows_of
from basewise.report.lock import target_of
from basewise.study.as_published import AS_PUBLISHED
from basewise.study.results import Run

__all__ = ["AsPublished", "as_published_sentences"]

LEVEL = 0.05
_NAMED, _LAST, _OTHER = "by position", "last occurrence", "other class"
_SAME = "same sequence"
_NULLS = {
    _SAME: "matched stretches of the same sequence",
    "same position": "the same place in sequences without it",
}


class _Found(NamedTuple):
    """The tables of a run, with the names that sentences need."""

    word: str
    element: str  # the letters of the motif that the word is taken for
    label: str
    top: int
    presence: pd.DataFrame
    signs: pd.DataFrame
    counts: pd.DataFrame
    attribution: pd.DataFrame
    strings: pd.DataFrame
    pairs: pd.DataFrame
    borders: pd.DataFrame
    rules: pd.DataFrame

    @property
    def together(self) -> pd.DataFrame:
        """The counts of all tokens that hold the word, of each explanation."""
        return self.counts[self.counts["token"] == ""] if len(self.counts) else self.counts


def _found(run: Run) -> _Found | None:
    settings, target = run.lock.get("as_published", {}), target_of(run)
    if not settings.get("word") or target is None:
        return None
    tables = {name: having(run.as_published(name), *columns) for name, columns in
              AS_PUBLISHED.items()}  # fmt: skip
    if all(table.empty for table in tables.values()):
        return None
    word = str(settings["word"])
    presence = tables["presence"]
    motifs = [str(motif) for motif in presence["motif"].unique()] if len(presence) else []
    element = next((motif for motif in motifs if motif != word), word)
    return _Found(word, element, target.label, int(settings["top"]), **tables)


def as_published_sentences(run: Run) -> list[str]:
    """What the published reading would conclude, and the numbers that contradict it."""
    found = _found(run)
    return [] if found is None else list(_contradictions(found))


@component
class AsPublished:
    """Counts and signs of the word's tokens, each beside what it leaves out."""

    title: ClassVar[str] = "As published, and soundly"
    place: ClassVar[int] = 62

    def render(self, run: Run) -> Section | None:
        """The section; None where no published reading was asked for."""
        found = _found(run)
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
        if said := tuple(_contradictions(found)):
            blocks.append(Callout("warning", "Where the two readings part", said))
        if said := tuple(_agreements(found)):
            blocks.append(Bullets(said))
        blocks += [*_presence(found), *_signs(found), *_counts(found), *_rules(found)]
        return Section(self.title, tuple(blocks))


# ---------------------------------------------------------------------- sentences


def _contradictions(found: _Found) -> Iterator[str]:
    """One sentence for each way in which the published reading misleads here."""
    yield from _other_class(found)
    yield from _marks_the_others(found)
    yield from _no_more_than_chance(found)
    yield from _signs_without_match(found)
    yield from _strings(found)
    yield from _borders(found)
    yield from _leave_one_out(found)


def _agreements(found: _Found) -> Iterator[str]:
    """What holds in both readings."""
    more = [row for row in rows_of(found.together) if row.q < LEVEL and row.effect > 1]
    if more:
        row = max(more, key=lambda row: row.effect)
        yield (
            f"In {len(more)} of {counted(len(found.together), 'explanation')} (models by "
            f"explainers) tokens with {found.word} are among the top {found.top} more often than "
            f"the same scores at other places would have them, most in {_who(row)}: "
            f"{quantity(row.count)} against {number(row.expected)} expected, ratio {_ratio(row)}."
        )
    held = [key for key, rows in _by_class(found) if _holds(rows)]
    if held:
        yield (
            f"{_capital(found.element)} gets other attribution than matched stretches of the same "
            f"sequences and the same places of others, in the same direction, for "
            f"{listing(f'{label} in {model} by {name}' for model, name, label in held[:6])}"
            f"{f' and {len(held) - 6} more' if len(held) > 6 else ''}."
        )


def _other_class(found: _Found) -> Iterator[str]:
    """An index instead of a name turns every sign."""
    mine = _reading(found, _NAMED, found.label)
    other = _reading(found, _OTHER, found.label)
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
            f" {_capital(pair.first)} and {pair.second} of {pair.model} agree in the sign of "
            f"{quantity(pair.same)} of {quantity(pair.tokens)} tokens that both have among the "
            f"top; had one of them explained the other class, in "
            f"{quantity(pair.tokens - pair.same)}."
        )
    yield said


def _of_lime_and_shap(row: Any) -> bool:
    """Whether these are the two whose signs were published as opposite; both need tokens."""
    names = f"{row.first} {row.second}"
    return "lime" in names and "shap" in names and row.tokens > 0


def _marks_the_others(found: _Found) -> Iterator[str]:
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
        f"{_ratio(letters)}: in these data the letters mark the others."
    )
    placed = [r for r in rows if r.motif == found.element and r.window != "anywhere"]
    if placed:
        said += (
            f" {found.element} at {_window(placed[0].window)} of the start site: "
            f"{percent(placed[0].observed)} against {percent(placed[0].expected)}, odds ratio "
            f"{_ratio(placed[0])}."
        )
    yield said


def _no_more_than_chance(found: _Found) -> Iterator[str]:
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
        f"{said}. {_capital(row.explainer)} of {row.model} would be published with "
        f"{counted(int(row.published), 'sequence')} that have such a token among the top; by "
        f"position it is {quantity(row.count)} occurrences, and chance gives "
        f"{number(row.expected)}: ratio {_ratio(row)}."
    )


def _signs_without_match(found: _Found) -> Iterator[str]:
    """Majorities of signs that matched stretches do not bear out."""
    matched = dict(_by_class(found))
    bare = []
    for row in rows_of(found.signs):
        if row.reading != _NAMED or math.isnan(row.low) or row.low <= 0.5 <= row.high:
            continue
        rows = matched.get((row.model, row.explainer, row.label), [])
        if not rows:
            continue
        sign = 1 if row.share > 0.5 else -1
        if not (_holds(rows) and all(sign * r.effect > 0 for r in rows)):
            bare.append((row, rows))
    if not bare:
        return
    row, rows = max(bare, key=lambda pair: (not any(r.reason for r in pair[1]), pair[0].tokens))
    numbers = listing(
        f"{_ratio(r)} ({p_value(r.q)}) against {_NULLS.get(r.null, r.null)}" for r in rows
    )
    where = _window(str(rows[0].window))
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


def _strings(found: _Found) -> Iterator[str]:
    """One score per string, where strings repeat."""
    rows = [row for row in rows_of(found.strings) if row.repeated]
    if rows:
        row = max(rows, key=lambda row: row.turned / row.occurrences)
        yield (
            "The strings: one score per different token string would give "
            f"{quantity(row.repeated)} of {counted(int(row.occurrences), 'token')} in {_who(row)} "
            f"the score of a later one of the same letters; {quantity(row.turned)} would change "
            "sign."
        )


def _borders(found: _Found) -> Iterator[str]:
    """Words that tokens cut."""
    for row in rows_of(found.borders):
        if row.places and row.whole < row.places:
            yield (
                f"The borders: of {counted(int(row.places), 'place')} where {found.word} stands "
                f"in the explained sequences, the tokens of {row.model} hold it whole in "
                f"{quantity(row.whole)} ({percent(row.whole / row.places)}); the others are not "
                "counted by any table of tokens."
            )


def _leave_one_out(found: _Found) -> Iterator[str]:
    """What was published as Anchors has no rule, and no coverage that is measured."""
    said = [
        f"{_who(row)} coverage {percent(row.coverage)} (from {percent(row.least)} to "
        f"{percent(row.most)}) and precision {percent(row.precision)}"
        for row in rows_of(found.rules)
    ]
    if said:
        yield (
            "The rules: what was published as ANCHOR leaves out one token at a time, has no sign "
            "and a coverage that is set and not measured; it is the explainer occlusion here. "
            f"Rules that are searched for have, as measured and in the median: {listing(said)}."
        )


# ---------------------------------------------------------------------- tables and figures


def _presence(found: _Found) -> list[Block]:
    """Share of sequences with the letters, by class."""
    frame = found.presence
    if frame.empty:
        return []
    rows, dots = [], []
    for row in rows_of(frame):
        name = f"{row.motif}, {_window(str(row.window))}"
        null = "other sequences" if row.null == "other classes" else "its shuffles"
        rows.append(
            (
                name,
                str(row.label),
                percent(row.observed),
                null,
                percent(row.expected),
                _cell(row, row.reason),
                NONE if row.reason else p_value(row.q, ""),
            )
        )
        if row.null == "other classes" and not row.reason:
            tone = ("up" if row.effect > 1 else "down") if row.q < LEVEL else "muted"
            dots.append(Row(name, (Dot(row.effect, row.low, row.high, tone),), said=_ratio(row)))
    blocks: list[Block] = [
        SubHeading(f"Which sequences hold {found.word}"),
        Text(
            f"As published: the share of sequences of each class that hold {found.word} anywhere. "
            f"Soundly: the same with an odds ratio, the element ({found.element}) in the window "
            "where it works, and shuffles of each sequence that keep its dinucleotides."
        ),
    ]
    if dots:
        blocks.append(
            Figure(
                "",
                intervals(dots, "odds ratio", log=True, reference=1.0),
                "Odds ratios of the letters and the element; the table below holds the numbers.",
                f"How much more often {found.label} sequences of the test split hold it than the "
                "others, with its 95 % interval; left of the dashed line less often.",
            )
        )
    blocks.append(
        Table(
            "One row per pattern, place, class and comparison; odds ratio with its 95 % interval, "
            "q over all rows of one class and comparison.",
            ("Pattern", "Class", "Share", "Compared with", "Share there", "Odds ratio", "q"),
            rows,
        )
    )
    return blocks


def _signs(found: _Found) -> list[Block]:
    """Importance sign by label, as published and by name; attribution inside the element."""
    if found.signs.empty:
        return []
    labels = [str(label) for label in found.signs["label"].unique()]
    by_key = {(r.model, r.explainer, r.reading, r.label): r for r in rows_of(found.signs)}
    explanations = list(dict.fromkeys((r.model, r.explainer) for r in rows_of(found.signs)))
    matched = dict(_by_class(found))
    readings = [r for r in (_NAMED, _LAST, _OTHER) if (found.signs["reading"] == r).any()]
    rows = [
        (
            f"{name}, {model}",
            label,
            *(_plus_minus(by_key.get((model, name, reading, label))) for reading in readings),
            percent(by_key[model, name, _NAMED, label].others),
            *_matched_cells(matched.get((model, name, label), [])),
        )
        for model, name in explanations
        for label in labels
    ]
    window = next(
        (_window(str(r.window)) for _, some in _by_class(found) for r in some), "its window"
    )
    heads = {_NAMED: "By position", _LAST: "Last of its string", _OTHER: "Other class"}
    return [
        SubHeading(f"The sign of tokens with {found.word}"),
        Text(
            f"As published: top tokens with {found.word}, positive and negative, by class. The "
            "readings differ in one thing each: every occurrence with its own score for "
            f"{found.label}; one score per token string, the last; the other class explained. "
            f"Soundly: attribution inside {found.element} against matched stretches, in the "
            "sequences of one class."
        ),
        Figure(
            "",
            _sign_panels(found, labels, explanations, by_key),
            "Shares of positive scores among top tokens with the word, one panel per class, one "
            "row per explanation; the table below holds the numbers.",
            f"Share of top tokens with {found.word} that have a positive score, with its 95 % "
            "bootstrap interval over sequences. Filled: each occurrence by itself, "
            f"{found.label} explained by name; open: the other class explained. The small bar is "
            "the share among all other top tokens: where the dot is not apart from it, the sign "
            f"is not one of {found.word}.",
        ),
        Details(
            "The numbers, and the attribution inside the element",
            (
                Table(
                    "One row per explanation and class. First the published counts, positive and "
                    f"negative top tokens with {found.word}, by reading; then the positive share "
                    f"of other top tokens; then the standardised mean difference inside "
                    f"{found.element} ({window}) against stretches of the same sequences and "
                    "against the same place of others, with 95 % intervals and q.",
                    (
                        "Explanation",
                        "Class",
                        *(f"{heads[reading]}: + / −" for reading in readings),
                        "Others +",
                        "Against same sequence",
                        "q",
                        "Against same position",
                        "q",
                    ),
                    rows,
                ),
            ),
        ),
    ]


def _sign_panels(
    found: _Found, labels: list[str], explanations: list[tuple[str, str]], by_key: dict[Any, Any]
) -> Markup:
    panels = []
    for label in labels:
        rows = []
        for model, name in explanations:
            kinds = [by_key.get((model, name, reading, label)) for reading in (_NAMED, _OTHER)]
            dots = tuple(
                Dot(row.share, row.low, row.high, "up" if row.share > 0.5 else "down")
                for row in kinds
                if row is not None and row.tokens
            )
            if dots:
                chance = None if kinds[0] is None else float(kinds[0].others)
                rows.append(Row(f"{name}, {model}", dots, chance=chance))
        if rows:
            title = f"{label} sequences"
            drawing = intervals(rows, "share of positive scores", reference=0.5)
            panels.append(Markup('<div class="panel"><h4>{}</h4>{}</div>').format(title, drawing))
    return Markup('<div class="panels">{}</div>').format(Markup("").join(panels))


def _counts(found: _Found) -> list[Block]:
    """Counts among the top tokens, beside what chance gives."""
    together = found.together
    if together.empty:
        return []
    dots = []
    for row in rows_of(together):
        tone = ("up" if row.effect > 1 else "down") if row.q < LEVEL else "muted"
        if math.isfinite(row.effect):
            dot = Dot(row.effect, row.low, row.high, tone)
            dots.append(Row(f"{row.explainer}, {row.model}", (dot,), said=_ratio(row)))
    tables = [
        _count_table(own, f"{said['explainer']} of {said['model']}")
        for said, own in groups(found.counts[found.counts["token"] != ""], ("model", "explainer"))
    ]
    return [
        SubHeading(f"Tokens with {found.word} among the top {found.top}"),
        Text(
            "As published: in how many sequences a token string is among the top. Soundly: how "
            "many occurrences are, against the same scores turned round in their sequences, which "
            "keeps how large and how clustered they are."
        ),
        Figure(
            "",
            intervals(dots, "counted over expected", reference=1.0),
            "Ratios of counts over expectation, one row per explanation; the table below holds "
            "the numbers.",
            f"How often tokens with {found.word} are among the top {found.top}, over how often "
            "chance has them there, with its 95 % bootstrap interval over sequences. Grey: q of "
            f"{LEVEL} or more.",
        ),
        _count_table(together, f"all tokens with {found.word}, by explanation", together=True),
        Details("The tokens counted most, as a published table has them", tuple(tables)),
    ]


def _count_table(frame: pd.DataFrame, title: str, *, together: bool = False) -> Table:
    rows = [
        (
            f"{row.explainer}, {row.model}" if together else str(row.token),
            quantity(row.published),
            quantity(row.count),
            quantity(row.occurrences),
            number(row.expected),
            estimate(row.effect, row.low, row.high),
            p_value(row.q, ""),
        )
        for row in rows_of(frame)
    ]
    return Table(
        f"{_capital(title)}, one row per {'explanation' if together else 'token'}: sequences with "
        "the string among the top, as published; then occurrences among the top, in all, those "
        "that chance puts there, and their ratio with its 95 % interval.",
        (
            "Explanation" if together else "Token",
            "As published",
            "Among the top",
            "In all",
            "By chance",
            "Ratio",
            "q",
        ),
        rows,
    )


def _rules(found: _Found) -> list[Block]:
    """Precision and coverage as measured."""
    if found.rules.empty:
        return []
    rows = [
        (
            f"{row.explainer}, {row.model}",
            quantity(row.n),
            number(row.units),
            percent(row.precision),
            percent(row.coverage),
            f"{percent(row.least)} to {percent(row.most)}",
        )
        for row in rows_of(found.rules)
    ]
    return [
        SubHeading("Rules with a measured precision and coverage"),
        Table(
            "One row per explanation: sequences, and over them medians of the units in a rule, its "
            "precision and its coverage, and the range of the coverage.",
            ("Explanation", "Sequences", "Units", "Precision", "Coverage", "Range"),
            rows,
        ),
    ]


# ---------------------------------------------------------------------- helpers


def _reading(found: _Found, reading: str, label: str) -> pd.DataFrame:
    frame = found.signs
    if frame.empty:
        return frame
    return frame[(frame["reading"] == reading) & (frame["label"] == label)]


def _by_class(found: _Found) -> Iterator[tuple[tuple[str, str, str], list[Any]]]:
    """Model, explainer and class, with the rows of the element in its window, one per null."""
    frame = found.attribution
    if frame.empty:
        return
    frame = frame[frame["motif"] == found.element]
    placed = frame[frame["window"] != "anywhere"]
    for said, own in groups(placed if len(placed) else frame, ("model", "explainer", "label")):
        yield (said["model"], said["explainer"], said["label"]), rows_of(own)


def _holds(rows: list[Any]) -> bool:
    """Whether the difference holds against every null, to one side."""
    known = [row for row in rows if not row.reason]
    if not known or any(not row.q < LEVEL for row in known):
        return False
    return len({row.effect > 0 for row in known}) == 1


def _matched_cells(rows: list[Any]) -> tuple[str, str, str, str]:
    """Effect and q against stretches of the same sequence and the same place of others."""
    cells = {
        row.null: (
            "too few" if row.reason else _ratio(row),
            "" if row.reason else p_value(row.q, ""),
        )
        for row in rows
    }
    first, second = cells.get(_SAME, (NONE, "")), cells.get("same position", (NONE, ""))
    return (*first, *second)


def _plus_minus(row: Any) -> str:
    return NONE if row is None else f"{quantity(row.positive)} / {quantity(row.negative)}"


def _cell(row: Any, reason: str) -> str:
    return reason or _ratio(row)


def _ratio(row: Any) -> str:
    return estimate(row.effect, row.low, row.high)


def _window(window: str) -> str:
    return window.replace("-", "−").replace("..", " to ")


def _who(row: Any) -> str:
    return f"{row.explainer} of {row.model}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
