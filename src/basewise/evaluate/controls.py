"""Controls: experiments whose outcome is known if an explanation explains the model.

Each is an ordinary run of the explainer: on random scores, on a model that has forgotten, on a
model that learned nothing, on sequences with a motif that means nothing, on the other strand, on
shifted sequences. Each ends in one line: a statistic with its interval over records, a threshold,
and why it is that one. The line says *pass* where the whole interval lies on the good side of the
threshold, *fail* where all of it lies on the bad side, and *undecided* between: more records
would tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
import pandas as pd

from basewise.errors import CapabilityError, DataError
from basewise.evaluate import CONTROLS, DEFAULT_CONTROLS
from basewise.evaluate.faithfulness_measures import rank_correlation
from basewise.explainers.count import Count
from basewise.explainers.regions import explain_in_place
from basewise.stats import Estimate, mean_interval
from basewise.types import Attribution, Floats, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = [
    "CONTROL",
    "MINIMUM",
    "Case",
    "Control",
    "Outcome",
    "Side",
    "Verdict",
    "check_controls",
    "correlations",
    "judged",
    "verdict_table",
]

MINIMUM = 5
"""Fewest records behind a verdict other than `undecided`."""

Side = Literal["above", "within"]
"""Where a statistic should lie: above the threshold, or between minus it and it."""

Outcome = Literal["pass", "fail", "undecided", "not expected", "not run"]

CONTROL = (
    "control", "stage", "outcome", "statistic", "value", "low", "high", "n", "side", "threshold",
    "why", "evaluations",
)  # fmt: skip
"""Columns of `verdict_table`: one row per verdict (stage is empty), and one per stage of it, such
as the share of layers that were initialised anew (outcome is empty)."""


@dataclass(frozen=True, eq=False)
class Case:
    """What a control examines: one explainer on one model.

    Attributes
    ----------
    model : Model
    explainer : component
    target : Target
    records : sequence of Record
    found : sequence of Attribution
        Of these records, in their order.
    seed : int
    retrain : callable, optional
        Trains the model anew, with permuted labels, for so many epochs.
    """

    model: Model
    explainer: Any
    target: Target
    records: Sequence[Record]
    found: Sequence[Attribution]
    seed: int = 0
    retrain: Callable[[int], Model] | None = None

    def explain(
        self, model: Model | None = None, records: Sequence[Record] | None = None
    ) -> list[Attribution]:
        """The same explanation of another model, or of other records."""
        return explain_in_place(
            self.explainer,
            model or self.model,
            self.records if records is None else records,
            self.target,
            self.seed,
        )


class Verdict(NamedTuple):
    """The line in which a control ends.

    Attributes
    ----------
    control : str
    outcome : str
        See `Outcome`. `not expected`: what the control asks for does not follow for this model,
        so it is told and not judged.
    statistic : str
        What was measured, in words.
    estimate : Estimate
        Mean over records, its 95 % interval, and how many records.
    side, threshold
        Where it should lie.
    why : str
        Why this threshold; or why there is no verdict.
    evaluations : int
        Rows that went through networks for it.
    stages : tuple of (str, Estimate)
        The same statistic on the way.
    """

    control: str
    outcome: Outcome
    statistic: str
    estimate: Estimate
    side: Side
    threshold: float
    why: str
    evaluations: int
    stages: tuple[tuple[str, Estimate], ...] = ()


class Control(Protocol):
    """Settings of a control, and its verb."""

    def judge(self, case: Case) -> Verdict: ...

    def cost(self, explainer: Any, model: Model, record: Record) -> Count:
        """How many evaluations judging an explainer takes for a record."""


def judged(estimate: Estimate, side: Side, threshold: float) -> Outcome:
    """Whether an interval lies on the good side of a threshold."""
    if estimate.n < MINIMUM:
        return "undecided"
    _, low, high, _ = estimate
    good = {
        "above": low > threshold,
        "within": -threshold <= low and high <= threshold,
    }
    bad = {
        "above": high <= threshold,
        "within": high < -threshold or low > threshold,
    }
    return "pass" if good[side] else "fail" if bad[side] else "undecided"


def correlations(first: Sequence[Floats], second: Sequence[Floats], seed: int) -> Estimate:
    """Mean rank correlation of pairs of tracks, with its interval over records."""
    values = [rank_correlation(a, b) for a, b in zip(first, second, strict=True)]
    return mean_interval(np.array(values), np.random.default_rng([seed, 8]))


def check_controls(case: Case, controls: Iterable[Any] = DEFAULT_CONTROLS) -> list[Verdict]:
    """Run controls on one explainer of one model.

    Parameters
    ----------
    case : Case
    controls : iterable
        Names of `CONTROLS`, tables with `type`, or controls already built.

    Returns
    -------
    list of Verdict
        One per control. What the model or the explainer cannot do is `not run`, with the reason.

    Raises
    ------
    DataError
        If the attributions are not those of the records, in their order, or score no records.
    UnknownName
        If there is no such control.
    """
    if [a.record_id for a in case.found] != [r.id for r in case.records] or not case.records:
        raise DataError(
            f"Controls need one attribution per record, in the same order; there are "
            f"{len(case.records)} records and {len(case.found)} attributions."
        )
    if case.found[0].kind == "corpus":
        raise DataError(
            f"The scores of {case.found[0].method} describe the data set, not single records; "
            "controls examine explanations of records."
        )
    verdicts = []
    for control in map(CONTROLS.build, controls):
        try:
            verdict = control.judge(case)
        except CapabilityError as error:
            nothing = Estimate(np.nan, np.nan, np.nan, 0)
            verdict = Verdict("", "not run", "", nothing, "within", np.nan, str(error), 0)
        verdicts.append(verdict._replace(control=CONTROLS.name_of(control)))
    return verdicts


def verdict_table(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """Verdicts, and the stages on the way to them, with the columns of `CONTROL`."""
    rows: list[dict[str, Any]] = []
    for v in verdicts:
        about = {
            "control": v.control,
            "statistic": v.statistic,
            "side": v.side,
            "threshold": v.threshold,
        }
        rows.append(
            about
            | {"stage": "", "outcome": v.outcome, "why": v.why, "evaluations": v.evaluations}
            | v.estimate._asdict()
        )
        rows += [
            about
            | {"stage": stage, "outcome": "", "why": "", "evaluations": 0}
            | estimate._asdict()
            for stage, estimate in v.stages
        ]
    return pd.DataFrame(rows, columns=list(CONTROL))
