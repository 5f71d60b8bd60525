"""Integrated Gradients (Sundararajan, Taly & Yan 2017)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from basewise.explainers.count import Count
from basewise.explainers.gradient import Found, Gradient, Mean, contributions
from basewise.explainers.path import Path, Rule, Walker, nodes, refinement
from basewise.explainers.references import Several, ShuffledReference, Starts, shares
from basewise.registry import component
from basewise.types import Floats, Kind, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["IntegratedGradients"]


@component
class IntegratedGradients(Gradient):
    """`(x - r) * integral of the gradient from r to x`, on one-hot input or on embeddings.

    With one-hot networks the hypothetical scores (b, 4) come along: what each base would
    have scored, `g_c - sum_c r_c g_c` (equation 1 of the paper with x one-hot). With the
    `uniform` reference that is the gradient minus its mean over bases, the simplex
    correction of Majdandzic et al. 2023. Several references are averaged; how far a score
    depends on which of them was taken is its standard error, and extras say how much they
    disagree (see `explainers.sensitivity`). The extras `steps` and `gap` say where the doubling
    of steps ended, and what is then left of the completeness gap.

    Attributes
    ----------
    reference : Reference, list of them, or array
        Where the path starts: `shuffled` (default; dinucleotide shuffles, averaged), `zero`,
        `uniform`, `frequencies`, `token`, `array`. The members of a list count alike.
    rule : str
        `trapezoid` or `gauss_legendre`.
    steps : int
        Intervals (trapezoid) or places (Gauss-Legendre) of the first try.
    tolerance : float or None
        Steps are doubled for the records whose completeness gap exceeds this share of
        `|output - baseline|` (at least of 1), for any of several references, up to `most_steps`;
        None keeps `steps`.
    most_steps : int
        Where doubling ends.
    aggregate : str
        `sum` over channels (signed, additive) or `abs_sum` (magnitude only).
    """

    kind: ClassVar[Kind] = "additive"

    reference: Starts = ShuffledReference()
    rule: Rule = "trapezoid"
    steps: Annotated[int, Field(ge=1)] = 50
    tolerance: Annotated[float, Field(gt=0)] | None = 0.01
    most_steps: Annotated[int, Field(ge=1)] = 800
    aggregate: Literal["sum", "abs_sum"] = "sum"

    @property
    def meaning(self) -> Kind:
        return "additive" if self.aggregate == "sum" else "ranking"

    def start(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        return self.reference.embedded(record, tokens, x, model, rng)

    def rows(self) -> Count:
        tries = [self.steps]
        while self.tolerance is not None and 2 * tries[-1] <= self.most_steps:
            tries.append(2 * tries[-1])
        draws = self.reference.draws
        if self.rule == "trapezoid":  # keeps the places of earlier tries
            return Count(draws * (tries[-1] + 1), len(tries) == 1)
        return Count(draws * sum(tries) + 1 + draws, len(tries) == 1)

    def find(self, walker: Walker, parts: Iterable[Sequence[Path]]) -> list[Found]:
        (paths,) = parts
        at, weight = nodes(self.rule, self.steps)
        gradients, values = walker.integrate(paths, at, weight)
        draws, rows = values.shape[1], values[0].numel()
        if self.rule == "trapezoid":  # both ends are among the places
            outputs, baselines = values[:, 0, -1].tolist(), values[..., 0].numpy()
        else:
            outputs, baselines = walker.outputs(paths), walker.baselines(paths)
            rows += 1 + draws
        of = shares(self.reference)
        compared = of if isinstance(self.reference, Several) else of.mean(0, keepdims=True)
        walks = [
            _Walk(*each, of, compared, self.steps, rows)
            for each in zip(paths, gradients, outputs, baselines, strict=True)
        ]
        far, steps = walks, self.steps
        while self.tolerance is not None and 2 * steps <= self.most_steps:
            far = [walk for walk in far if walk.relative_gap > self.tolerance]
            if not far:
                break
            at, weight, kept = refinement(self.rule, steps)
            gradients, values = walker.integrate([walk.path for walk in far], at, weight)
            steps *= 2
            for walk, more in zip(far, gradients, strict=True):
                walk.gradients.mul_(kept).add_(more)
                walk.steps, walk.rows = steps, walk.rows + values[0].numel()
        return [walk.found(self.aggregate == "sum") for walk in walks]


@dataclass(eq=False)
class _Walk:
    """The paths of one sequence, walked with so many steps so far."""

    path: Path
    gradients: Tensor
    output: float
    baselines: Floats
    shares: Floats
    compared: Floats
    steps: int
    rows: int

    @property
    def gaps(self) -> Floats:
        """`output - baseline - sum(scores)`, (r,), of each of several references, or of the one."""
        sums = np.array([float(c.sum()) for c in contributions(self.path, self.gradients)])
        return np.asarray(self.compared @ (self.output - self.baselines - sums))

    @property
    def relative_gap(self) -> float:
        """The largest: those of several references may cancel while no path is walked well."""
        gains = self.output - self.compared @ self.baselines
        return float((np.abs(self.gaps) / np.maximum(np.abs(gains), 1.0)).max())

    def found(self, signed: bool) -> Found:
        mean = Mean(self.path.x, len(self.baselines), self.shares)
        mean.add(self.path, self.gradients, self.baselines)
        found = mean.found(self.output, self.rows, signed)
        return replace(found, extras={"steps": float(self.steps), "gap": float(self.gaps.mean())})
