"""The values that cross module boundaries: frozen, plain, arrays in numpy.

Coordinates are 0-based and half-open everywhere. Letters of shapes: `n` rows or
records, `t` tokens, `u` units, `b` bases of one sequence, `k` labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from basewise.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from basewise.picture.heat import Panel
    from basewise.picture.logo import Track

__all__ = [
    "BACKGROUND",
    "Attribution",
    "Bools",
    "Codes",
    "Floats",
    "Interval",
    "Ints",
    "Kind",
    "Precision",
    "Read",
    "Record",
    "Span",
    "Target",
    "Tokens",
    "Where",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.uint8]

BACKGROUND = "background"
"""The label of bases in no labelled stretch, where labels are of bases."""

Kind = Literal["additive", "ranking", "rule", "corpus"]
"""What scores mean. additive: they sum to output - baseline. ranking: their order and sign
speak, not their sum. rule: 1 inside a sufficient rule, 0 outside. corpus: they describe the
data set and its labels, not one prediction."""

_ATTENTION = ("attention", "attention_rollout")
_BLIND = dict.fromkeys(_ATTENTION, "share of attention") | {"random": "random numbers"}
"""What methods score that know nothing of the target."""

Read = Literal["log_odds", "logit", "probability", "margin", "top", "value"]
"""How a model's outputs become the one number explained; see `Target`."""


Where = tuple[int, int] | Literal["predicted", "labelled"] | None
"""Of which bases a target is; see `Target`."""


class Interval(NamedTuple):
    """A place in a genome: 0-based, half-open, strand `+` or `-`."""

    chrom: str
    start: int
    end: int
    strand: str = "+"

    def __str__(self) -> str:
        return f"{self.chrom}:{self.start}-{self.end}({self.strand})"


class Span(NamedTuple):
    """A named stretch of one sequence: 0-based, half-open."""

    start: int
    end: int
    name: str = ""


Precision = Literal["full", "auto", "bfloat16"]
"""What a network calculates with while perturbed rows are evaluated. full: the numbers it came
with. bfloat16: rounded copies of its weights. auto: those where they are faster and their noise is
small on a sample; see `basewise.models.precision`."""


@dataclass(frozen=True, slots=True)
class Record:
    """One sequence, with where it came from and what is known about it.

    Attributes
    ----------
    id : str
        Unique within a data set.
    sequence : str
        Upper-case letters of `ACGTN`.
    label : str, float or None
        A class *name*, a measured value, or unknown.
    locus : Interval or None
        Where the sequence lies in a genome; `sequence` reads along `locus.strand`.
    truth : tuple of Span
        Stretches known to matter (planted motifs, annotated regions).
    """

    id: str
    sequence: str
    label: str | float | None = None
    locus: Interval | None = None
    truth: tuple[Span, ...] = ()

    def __len__(self) -> int:
        return len(self.sequence)

    def __repr__(self) -> str:
        shown = self.sequence if len(self.sequence) <= 40 else f"{self.sequence[:37]}..."
        label = "" if self.label is None else f", label={self.label!r}"
        return f"Record(id={self.id!r}, sequence={shown!r}{label}, length={len(self.sequence)})"


@dataclass(frozen=True, eq=False)
class Tokens:
    """A tokenised sequence.

    Attributes
    ----------
    ids : (t,) int
        Vocabulary ids.
    spans : (t, 2) int
        The bases each token covers; special tokens cover none (`start == end`).
    """

    ids: Ints
    spans: Ints

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Target:
    """The one number of a model's output that is explained.

    Attributes
    ----------
    label : str
        Which output, **by name**; there is no default and no index.
    read : str
        `log_odds` (log of p/(1-p) of the label, the default for classifiers), `logit`
        (the raw output), `probability`, `margin` (logit minus the best other logit), `top`
        (1 where the label is predicted, else 0), or `value` (the number as it stands:
        regressions and functions that give scores).
    where : (start, end), str or None
        The bases read, where a model labels bases: a region (0-based, half-open; one base is
        `(i, i + 1)`), or each region of every record that is `predicted` (the label is the most
        probable one) or `labelled` (a stretch of its truth with that name). The number is the
        mean over the bases of what is read at each; a base has what is read at the token that
        predicts it (by the mean, where several do), so it is a mean of log-odds and not the
        log-odds of a mean. None: the whole sequence, of which a model of bases gives the mean
        over its tokens.
    """

    label: str
    read: Read = "log_odds"
    where: Where = None

    def index(self, labels: Sequence[str]) -> int:
        """Where the label stands among a model's labels.

        Raises
        ------
        UnknownName
            If the model has no such label.
        """
        if self.label not in labels:
            raise UnknownName("label of this model", self.label, labels)
        return list(labels).index(self.label)

    @property
    def region(self) -> tuple[int, int]:
        """The bases read: `where`, once it is known which they are.

        Raises
        ------
        ConfigError
            If it is a word, which `basewise.explain` puts into numbers record by record.
        """
        if not isinstance(self.where, tuple):
            raise ConfigError(
                f"where = {self.where!r} is no region; basewise.explain finds those of every "
                "record, an explainer by itself takes (start, end)."
            )
        return self.where

    def __str__(self) -> str:
        said = f"{self.read.replace('_', '-')} of {self.label}"
        if self.where is None:
            return said
        if isinstance(self.where, str):
            return f"{said} in each {self.where} region"
        return f"{said} at {self.where[0]}-{self.where[1]}"


@dataclass(frozen=True, eq=False)
class Attribution:
    """Scores of the units of one sequence for one number of one model.

    Attributes
    ----------
    record_id, sequence : str
        What was explained.
    model : str
        Name of the model.
    target : Target
        What was read from it.
    method : str
        Registered name of the explainer.
    kind : str
        What the scores mean; see `Kind`.
    spans : (u, 2) int
        Bases each unit covers.
    scores : (u,) float
        One score per unit, in the units of the target.
    output, baseline : float
        The target at the sequence and where every unit is switched off.
    evaluations : int
        Forward passes paid for this record (rows, not batches).
    seed : int
        Seed of the run; the record's own random numbers derive from it, the id and the method.
    settings : mapping
        Every setting of the explainer.
    standard_error : (u,) float or None
        Of each score, where the estimator has one or the masking draws several times.
    hypothetical : (b, 4) float or None
        What each base (A, C, G, T) would have scored at each position (one-hot gradients).
    extras : mapping of str to float
        What only this method reports (a surrogate's R2, a rule's precision).
    """

    record_id: str
    sequence: str
    model: str
    target: Target
    method: str
    kind: Kind
    spans: Ints
    scores: Floats
    output: float
    baseline: float
    evaluations: int
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    standard_error: Floats | None = None
    hypothetical: Floats | None = None
    extras: Mapping[str, float] = field(default_factory=dict)

    @property
    def gap(self) -> float:
        """Completeness error: `output - baseline - sum(scores)`; NaN unless scores are additive."""
        if self.kind != "additive":
            return float("nan")
        return self.output - self.baseline - float(self.scores.sum())

    def per_base(self) -> Floats:
        """Scores on bases, (b,): a unit's score is shared equally by its bases, so the sum is kept.

        Units that cover no base (none are made by basewise) would lose their score; bases
        in no unit score 0.
        """
        lengths = self.spans[:, 1] - self.spans[:, 0]
        first = np.repeat(self.spans[:, 0] - np.cumsum(lengths) + lengths, lengths)
        track = np.zeros(len(self.sequence))
        np.add.at(
            track,
            first + np.arange(lengths.sum()),
            np.repeat(self.scores / np.maximum(lengths, 1), lengths),
        )
        return track

    @property
    def of_bases(self) -> bool:
        """Whether every score is that of a single base, so that a logo shows it."""
        single = (self.spans[:, 1] - self.spans[:, 0] == 1).all()
        return self.written is None and bool(single)

    @property
    def written(self) -> str | None:
        """The motif that the scores are of, written at each place; None where they are of the
        sequence's own bases."""
        return self.settings.get("motif")

    @property
    def unit(self) -> str:
        """What a score is, for an axis: the target, where the method looks at it."""
        if self.kind == "rule":
            return "1 in the rule, 0 outside of it"
        return _BLIND.get(self.method, str(self.target))

    @property
    def told(self) -> str:
        """What the scores add up to, and how far they miss it, for a reader."""
        return self.told_from(None)

    def told_from(self, tss: int | None) -> str:
        """`told`, with bases counted from a TSS (0-based index of the +1 base) or from 1."""
        from basewise.picture.words import gap, number

        if self.kind == "rule":
            return self._told_of_rule(tss)
        if self.unit != str(self.target):
            return f"the same for every target; {self.target} {number(self.output)}"
        said = f"output {number(self.output)}"
        if self.written is not None:
            kept = self.settings.get("keep")
            said = (
                f"{self.written} written at each place, in "
                f"{f'shuffles that keep {kept}' if kept else 'backgrounds'}; {said}"
            )
        if not np.isnan(self.baseline):
            said += f", baseline {number(self.baseline)}"
        return f"{said}, gap {gap(self.gap)}" if self.kind == "additive" else said

    def _told_of_rule(self, tss: int | None) -> str:
        """What a rule keeps, how surely, what is in it, and whether it is one."""
        from basewise.picture.words import number

        kept = self.target.label if self.output > 0 else f"not {self.target.label}"
        said = [f"{name} {number(self.extras[name])}" for name in ("precision", "coverage")
                if name in self.extras]  # fmt: skip
        if members := self._members(tss):
            said.append(f"in the rule: {members}")
        if self.extras.get("enough") == 0:
            said.append("no rule was found within the budget, this is the most precise")
        elif not members:
            said.append("no base is needed")
        return "; ".join([f"a rule that keeps the prediction {kept}", *said])

    def _members(self, tss: int | None) -> str:
        """The units in a rule, the first eight of them: `T15, GATA 18–21 and 3 more`."""
        from basewise.picture.axis import place
        from basewise.picture.words import listing

        said = []
        for start, end in self.spans[self.scores > 0].tolist():
            letters = self.sequence[start:end] if end - start <= 10 else ""
            if end - start > 1:
                said.append(f"{letters} {place(start, tss)}–{place(end - 1, tss)}".lstrip())
            else:
                said.append(f"{letters}{place(start, tss)}")
        rest = [f"{len(said) - 8} more"] if len(said) > 8 else []
        return listing(said[:8] + rest)

    def panel(self, name: str, tss: int | None = None) -> Panel:
        """A part of a heat map; bases are counted from a TSS or from 1."""
        from basewise.picture.heat import Panel

        spans, told, letters = self.spans, self.told_from(tss), ""
        if self.written is not None:
            spans, letters = self._places(self.written)
            if not letters.strip():
                told += "; a box is where it begins"
        looks = self.method in _ATTENTION
        if looks:
            legend = f"{self.unit}, from the least (white) to the most (orange)"
        else:
            legend = "" if self.unit == str(self.target) else self.unit
        return Panel(
            name, spans, self.scores, self.per_base(), self.unit, told, legend, letters, looks
        )

    def _places(self, motif: str) -> tuple[Ints, str]:
        """Stretches that do not overlap, (u, 2), one for each place of a motif; and what stands
        there: the motif, or nothing where the places overlap."""
        starts = self.spans[:, 0]
        step = int(starts[1] - starts[0]) if len(starts) > 1 else len(motif)
        letters = np.full(len(self.sequence), " ")
        if step >= len(motif):
            letters[starts[:, None] + np.arange(len(motif))] = list(motif)
        return np.stack([starts, starts + min(step, len(motif))], 1), "".join(letters)

    def track(self, name: str, tss: int | None = None) -> Track:
        """A part of a logo; bases are counted from a TSS or from 1."""
        from basewise.picture.logo import Track

        told = self.told_from(tss)
        if self.written is not None:
            told += "; its bases share the score of a place"
        return Track(name, self.per_base(), self.unit, told, letters=self.written is None)

    def _repr_html_(self) -> str:
        """What a notebook shows: a logo of bases, a heat map of longer units."""
        from basewise.picture.heat import heat_map
        from basewise.picture.logo import logo
        from basewise.picture.svg import framed

        name = f"{self.record_id}, {self.method.replace('_', ' ')}"
        if self.of_bases:
            return framed(logo(self.sequence, [self.track(name)]))
        return framed(heat_map(self.sequence, [self.panel(name)]))

    def __repr__(self) -> str:
        return (
            f"Attribution({self.record_id!r}, {self.method}, {self.target}, "
            f"{len(self.scores)} units, output={self.output:.3f}, "
            f"baseline={self.baseline:.3f}, gap={self.gap:.2g}, "
            f"evaluations={self.evaluations})"
        )
