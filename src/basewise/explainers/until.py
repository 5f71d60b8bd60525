"""Stopping when the largest scores are known well enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PlainValidator
from scipy.special import stdtrit

from basewise.errors import ConfigError
from basewise.explainers.game import Estimate, Play
from basewise.explainers.perturbation import Perturbation
from basewise.registry import component

__all__ = ["Stoppable", "Until", "in_rounds"]

GROWTH = 1.5  # of the coalitions from round to round; a round fits everything anew
LEVEL = 0.95  # of the intervals


@component
class Until:
    """Stop when the 95 % intervals of the largest scores are narrow enough, or at the budget.

    The intervals are looked at after rounds of evaluations, and each record stops by itself.
    The extras say how it ended: `width` is the width that was reached, `narrow` 1 where that is
    narrow enough. Where the masking draws, its spread is in both; it is not what is waited for,
    since no evaluation makes it narrower, only more draws do. Intervals are Student's where the
    explainer knows from how few draws its errors come. At a moment chosen for being narrow they
    are slightly too narrow: over 300 games of 12 units those of the regressions and of orders hold
    89 to 94 % of the truth; `permutation_shap` says where its own hold least.

    Attributes
    ----------
    top : int
        How many units, those with the largest absolute scores; all if there are fewer.
    width : float
        Widest allowed interval, in the units of the target.
    """

    top: Annotated[int, Field(ge=1)] = 10
    width: Annotated[float, Field(gt=0)]

    def told(self, estimate: Estimate) -> Estimate:
        """The estimate, with what was reached among its extras."""
        width = self.reached(estimate)
        said = {"narrow": float(width <= self.width), "width": width}
        return replace(estimate, extras={**estimate.extras, **said})

    def reached(self, estimate: Estimate) -> float:
        """Width of the widest interval among the top units; infinite where there is none."""
        if estimate.standard_error is None:
            return np.inf
        largest = np.argsort(-np.abs(estimate.scores), kind="stable")[: self.top]
        errors = float(stdtrit(estimate.freedom, (1 + LEVEL) / 2))  # that an interval has each way
        return float(2 * errors * estimate.standard_error[largest].max())


def _until(given: Any) -> Until | None:
    """An `Until` from its settings.

    Raises
    ------
    ConfigError
        If it is no table of settings.
    """
    if given is None or isinstance(given, Until):
        return given
    if not isinstance(given, dict):
        raise ConfigError("a table such as { top = 10, width = 0.1 } is needed")
    return Until(**given)


@component
class Stoppable(Perturbation):
    """Settings of perturbation explainers that may stop before their budget is spent.

    Attributes
    ----------
    until : Until or None
        `{top = 10, width = 0.1}`: stop when the 95 % intervals of the ten largest scores are no
        wider than 0.1; None spends the whole budget.
    """

    until: Annotated[Until | None, PlainValidator(_until)] = None

    def judged(self, estimate: Estimate) -> Estimate:
        return estimate if self.until is None else self.until.told(estimate)


def in_rounds(
    stop: Until | None, first: int, budget: int, estimated: Callable[[int], Play]
) -> Play:
    """Play with more and more coalitions until told to stop, or once with all.

    Parameters
    ----------
    first, budget : int
        Of what `estimated` counts, in the first round and at most.
    estimated : callable
        Plays with the first so many; what was asked for before costs nothing.
    """
    if stop is None:
        return (yield from estimated(budget))
    n = min(first, budget)
    while True:
        estimate = yield from estimated(n)
        if stop.reached(estimate) <= stop.width or n == budget:
            return stop.told(estimate)
        n = min(max(int(n * GROWTH), n + 1), budget)
