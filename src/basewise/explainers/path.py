"""Integrals of gradients along straight paths, packed over records and streamed over steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from basewise.models.evaluator import Batch
from basewise.models.gradient import frozen, value_and_gradient, value_at
from basewise.types import Floats, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Integral", "Path", "Rule", "ends", "integrate", "nodes"]

Rule = Literal["trapezoid", "gauss_legendre"]


@dataclass(frozen=True, eq=False)
class Path:
    """Straight lines from d references (d, t, e) to one sequence's embedding x (t, e)."""

    ids: Tensor
    x: Tensor
    references: Tensor


@dataclass(frozen=True, eq=False)
class Integral:
    """What a walk along one sequence's path found, averaged over its references.

    Attributes
    ----------
    contributions : (t, e) float
        `(x - r) * g` per channel; they sum to the gain, up to the completeness gap.
    hypothetical : (t, e) float
        `g_c - sum_c r_c g_c`: what channel c would have contributed were x one-hot there.
    """

    contributions: Floats
    hypothetical: Floats


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


def integrate(
    model: Model, target: Target, paths: Sequence[Path], rule: Rule, steps: int, tokens: int
) -> list[Integral]:
    """Walk paths of one width and one number of references, `tokens` tokens in a batch.

    Only sums are kept, so memory is that of one batch whatever the number of steps.
    """
    x = torch.stack([path.x for path in paths])
    start = torch.stack([path.references for path in paths])
    ids = torch.stack([path.ids for path in paths])
    at, weight = (torch.tensor(v, dtype=x.dtype, device=x.device) for v in nodes(rule, steps))
    n, draws, width = start.shape[:3]
    gradients, start_gradients = torch.zeros_like(x), torch.zeros_like(x)
    rows = torch.cartesian_prod(torch.arange(n), torch.arange(draws), torch.arange(len(at)))
    with frozen(model):
        for some in rows.to(x.device).split(max(tokens // width, 1)):
            path, draw, step = some.unbind(1)
            r = start[path, draw]
            points = torch.lerp(r, x[path], at[step, None, None])
            _, gradient = value_and_gradient(model, Batch(ids[path], None), points, target)
            gradient = gradient * (weight[step, None, None] / draws)
            gradients.index_add_(0, path, gradient)
            start_gradients.index_add_(0, path, r * gradient)
    contributions = x * gradients - start_gradients
    hypothetical = gradients - start_gradients.sum(2, keepdim=True)
    return [
        Integral(c.double().cpu().numpy(), h.double().cpu().numpy())
        for c, h in zip(contributions, hypothetical, strict=True)
    ]


def ends(
    model: Model, target: Target, paths: Sequence[Path], tokens: int
) -> list[tuple[float, float]]:
    """The target at each sequence, and its mean over the sequence's references."""
    points = torch.cat([torch.cat([path.x[None], path.references]) for path in paths])
    ids = torch.cat([path.ids.expand(len(path.references) + 1, -1) for path in paths])
    values = []
    with frozen(model), torch.no_grad():
        for i in range(0, len(points), step := max(tokens // ids.shape[1], 1)):
            batch = Batch(ids[i : i + step], None)
            values.append(value_at(model, batch, points[i : i + step], target))
    parts = torch.cat(values).double().cpu().split([len(p.references) + 1 for p in paths])
    return [(float(part[0]), float(part[1:].mean())) for part in parts]
