"""Gradients summed along straight paths, packed over records and streamed over steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from basewise.errors import CapabilityError
from basewise.models.batch import Batch
from basewise.models.evaluator import check_finite
from basewise.models.gradient import frozen, value_and_gradient, value_at
from basewise.types import Floats, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Path", "Rule", "Walker", "nodes", "refinement", "weights_of"]

Rule = Literal["trapezoid", "gauss_legendre"]


@dataclass(frozen=True, eq=False)
class Path:
    """Straight lines from d references (d, t, e) to one sequence's embedding x (t, e).

    `places` (d, 2) are for methods that look at one place of each line, and at the number of the
    start that it has; `weights` (t,) say what every token counts in a target of a region.
    """

    ids: Tensor
    x: Tensor
    references: Tensor
    places: Floats
    weights: Tensor | None = None


def nodes(rule: Rule, steps: int) -> tuple[Floats, Floats]:
    """Places (s,) in [0, 1] and weights (s,) that sum to 1.

    `trapezoid` has `steps` intervals and `steps + 1` places, both ends among them;
    `gauss_legendre` has `steps` places, none at an end.
    """
    if rule == "gauss_legendre":
        at, weight = np.polynomial.legendre.leggauss(steps)
        return (at + 1) / 2, weight / 2
    weight = np.full(steps + 1, 1.0 / steps)
    weight[[0, -1]] /= 2
    return np.linspace(0, 1, steps + 1), weight


def refinement(rule: Rule, steps: int) -> tuple[Floats, Floats, float]:
    """Places and weights that double the steps, and the factor the integral so far keeps.

    The trapezoid rule needs only the new places half-way between the old ones.
    """
    if rule == "gauss_legendre":
        return *nodes(rule, 2 * steps), 0.0
    return (np.arange(steps) + 0.5) / steps, np.full(steps, 0.5 / steps), 0.5


class Walker:
    """Reads values and gradients of one target of one model along paths.

    Only sums are kept, so memory is that of one batch whatever the number of steps.
    """

    def __init__(self, model: Model, target: Target):
        if target.read == "top":
            raise CapabilityError(
                f"The {target} is 0 or 1 and has no gradient; read the log_odds or the logit."
            )
        self.model, self.target = model, target
        self.size = model.batch_size("backward")

    def integrate(self, paths: Sequence[Path], at: Floats, weight: Floats) -> tuple[Tensor, Tensor]:
        """Walk n paths of one width, from d references each.

        Parameters
        ----------
        paths : sequence of n Path
        at : (s,) or (n, d, s)
            Places: 0 is the reference, 1 the sequence.
        weight : (s,)
            Of each place.

        Returns
        -------
        gradients : (n, d, t, e)
            Weighted sums over places.
        values : (n, d, s) double, on the CPU
            The target at every place.
        """
        x = _side_by_side([path.x for path in paths])
        start = _side_by_side([path.references for path in paths])
        ids, weighed = _side_by_side([path.ids for path in paths]), weights_of(paths)
        n, draws, width = start.shape[:3]
        shape = (n, draws, at.shape[-1])
        places, weights = (
            torch.tensor(np.broadcast_to(v, shape).ravel(), dtype=x.dtype, device=x.device)
            for v in (at, weight)
        )
        steps, starts = shape[2], start.flatten(0, 1)
        line = torch.arange(n * draws, device=x.device).repeat_interleave(steps)
        gradients = torch.zeros_like(start, memory_format=torch.contiguous_format)
        sums = gradients.view(n * draws, -1)
        values = torch.empty(len(line), dtype=torch.double)

        def add(rows: slice) -> None:
            first, last = rows.start // steps, (rows.stop - 1) // steps
            lines: Tensor | slice = line[rows]
            path: Tensor | slice = line[rows] // draws
            if first == last:  # views: a single line may be of megabases
                lines, path = slice(first, first + 1), slice(first // draws, first // draws + 1)
            points = torch.lerp(starts[lines], x[path], places[rows, None, None])
            own = ids[path].expand(len(points), -1).contiguous()  # as foreign code may ask
            batch = Batch(own, None, None if weighed is None else weighed[path].expand_as(own))
            value, gradient = value_and_gradient(self.model, batch, points, self.target)
            values[rows] = value.cpu()
            if first == last:
                sums[first].addmv_(gradient.flatten(1).T, weights[rows])
            else:
                sums.index_add_(0, line[rows], gradient.flatten(1) * weights[rows, None])

        with frozen(self.model):
            self.size.over(len(line), width, add)
        check_finite(values.numpy(), self.model, self.target)
        return gradients, values.view(shape)

    def values(self, paths: Sequence[Path], points: Tensor) -> Tensor:
        """The target, (m,) double on the CPU, where tokens are embedded at points (m, t, e).

        Of n paths, m / n points each.
        """
        each = len(points) // len(paths)
        ids = torch.stack([path.ids for path in paths]).repeat_interleave(each, 0)
        weights = weights_of(paths)
        weights = None if weights is None else weights.repeat_interleave(each, 0)
        values = torch.empty(len(points), dtype=torch.double)

        def read(rows: slice) -> None:
            batch = Batch(ids[rows], None, None if weights is None else weights[rows])
            values[rows] = value_at(self.model, batch, points[rows], self.target).cpu()

        with frozen(self.model), torch.no_grad():
            self.size.over(len(points), ids.shape[1], read)
        check_finite(values.numpy(), self.model, self.target)
        return values

    def outputs(self, paths: Sequence[Path]) -> list[float]:
        """The target at each sequence of one width."""
        found: list[float] = self.values(paths, _side_by_side([path.x for path in paths])).tolist()
        return found

    def baselines(self, paths: Sequence[Path]) -> Floats:
        """The target at each sequence's references, (n, d)."""
        references = torch.cat([path.references for path in paths])
        return self.values(paths, references).view(len(paths), -1).numpy()


def _side_by_side(tensors: Sequence[Tensor]) -> Tensor:
    """A stack; of one tensor without a copy, for sequences of megabases."""
    return tensors[0][None] if len(tensors) == 1 else torch.stack(list(tensors))


def weights_of(paths: Sequence[Path]) -> Tensor | None:
    """What tokens count in a target of a region, (n, t); None for other targets."""
    weights = [path.weights for path in paths if path.weights is not None]
    return torch.stack(weights) if weights else None
