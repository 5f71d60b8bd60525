"""KernelSHAP: Shapley values by constrained weighted least squares (Lundberg & Lee 2017)."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from itertools import combinations
from math import comb
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from basewise.errors import ConfigError
from basewise.explainers.coalitions import check_fits, fit_pairs, subsets
from basewise.explainers.count import Count, at_most, exactly
from basewise.explainers.game import Estimate, Game, Play
from basewise.explainers.until import Stoppable, in_rounds
from basewise.registry import component
from basewise.types import Bools, Floats, Kind

__all__ = ["KernelShap", "budget_for", "first_round", "gains_of", "pairs_of_size"]

CELL = 15.0  # bytes of a unit of a coalition, at the peak of drawing and fitting pairs (measured)


@component
class KernelShap(Stoppable):
    """KernelSHAP with complement pairs.

    Sizes of coalitions that the budget allows to enumerate are enumerated, from the smallest
    and largest inwards; the rest is sampled with the Shapley kernel, every coalition together
    with its complement (Covert & Lee 2021, section 4.2). No units are selected away: a default
    of the `shap` package keeps ten and so never converges. With `until`, the sizes enumerated
    are those that the first round allows.

    Attributes
    ----------
    evaluations : int or None
        Coalitions asked for beside the two ends, at least 4 per unit; None means
        `2 * units + 2048`, as in `shap`. Those drawn twice are paid for once.
    """

    kind: ClassVar[Kind] = "additive"

    evaluations: Annotated[int, Field(ge=2)] | None = None

    def coalitions(self, units: int) -> Count:
        budget = budget_for("kernel_shap", self.evaluations, units)
        if budget + 2 == 2**units:
            return exactly(2**units)
        return at_most(2 * (budget // 2) + 2)

    def estimate(self, game: Game, rng: np.random.Generator) -> Play:
        budget = budget_for("kernel_shap", self.evaluations, game.n_units)
        if game.n_units == 1:
            return Estimate(np.array([game.full - game.empty]), np.zeros(1))
        first = budget if self.until is None else first_round(game.n_units, budget)
        drawn = pairs(game.n_units, budget, rng, first)
        return (
            yield from in_rounds(
                self.until, first // 2, budget // 2, partial(self._estimated, game, drawn)
            )
        )

    def _estimated(self, game: Game, pairs: tuple[Bools, Floats, Floats], m: int) -> Play:
        """Play with the first m pairs: all that are enumerated, and some of those drawn."""
        half, weights, drawn = pairs[0][:m], pairs[1][:m], pairs[2][:m]
        share = drawn.sum() / max(pairs[2].sum(), 1)
        gains = yield from gains_of(half)
        weights = np.where(drawn > 0, weights / (share or 1), weights)
        return Estimate(*fit_pairs(half, gains, weights, drawn, game.full - game.empty))


def first_round(u: int, budget: int) -> int:
    """Coalitions to ask for before looking at intervals: a little more than can be fitted."""
    return budget if budget + 2 >= 2**u else min(6 * u, budget)


def gains_of(half: Bools) -> Generator[Bools, Floats, Floats]:
    """Ask for coalitions, (m, u), and their complements: what each is worth more, (m,)."""
    values = yield np.concatenate([half, ~half])
    return values[: len(half)] - values[len(half) :]


def budget_for(method: str, evaluations: int | None, u: int, least: int = 4) -> int:
    """Coalitions to ask for beside the two ends, at least so many for each unit.

    Raises
    ------
    ConfigError
        If fewer than `least` per unit were given, and not all there are.
    CapabilityError
        If they do not fit into memory.
    """
    every: int = 2**u - 2
    if evaluations is None:
        return min(max(2 * u + 2048, least * u), every)
    if evaluations < min(least * u, every):
        raise ConfigError(
            f"{method}: evaluations = {evaluations} is too few for {u} units; at least "
            f"{min(least * u, every)} are needed. Give more, or use larger units (units='windows')."
        )
    found = min(evaluations, every)
    check_fits(method, "evaluations", found, u, CELL)
    return found


def pairs(
    u: int, budget: int, rng: np.random.Generator, listing: int | None = None
) -> tuple[Bools, Floats, Floats]:
    """Complement pairs that stand for the Shapley kernel over `u` units.

    Parameters
    ----------
    listing : int, optional
        Enumerate the sizes that this budget allows, instead of those that the whole does.

    Returns
    -------
    half : (m, u) bool
        One coalition of each pair; 2 m is at most `budget`.
    weights : (m,) float
    drawn : (m,) float
        1 where a pair was drawn at random, 0 where all of its size are there.
    """
    sizes = np.arange(1, u // 2 + 1)
    kernel = (u - 1) / (sizes * (u - sizes))
    kernel[2 * sizes == u] /= 2  # its complements are of the same size
    kernel /= kernel.sum()
    blocks: list[Bools] = []
    weights: list[Floats] = []
    room, first = (listing or budget) // 2, 0
    for size, mass in zip(sizes.tolist(), kernel.tolist(), strict=True):
        number = comb(u, size) // (2 if 2 * size == u else 1)
        if number > room * mass / kernel[first:].sum() * (1 + 1e-9):
            break
        blocks.append(pairs_of_size(u, size))
        weights.append(np.full(number, mass / number))
        room, first = room - number, first + 1
    listed = sum(map(len, blocks))
    sampled = budget // 2 - listed if first < len(sizes) else 0
    if sampled:
        rest = kernel[first:]
        blocks.append(subsets(rng.choice(sizes[first:], sampled, p=rest / rest.sum()), u, rng))
        weights.append(np.full(sampled, rest.sum() / sampled))
    drawn = np.arange(listed + sampled) >= listed
    return np.concatenate(blocks), np.concatenate(weights), drawn.astype(float)


def pairs_of_size(u: int, size: int) -> Bools:
    """One coalition, (m, u), of every complement pair of `size` and `u - size` units."""
    if 2 * size == u:  # each coalition's complement has its size too: take those with unit 0
        rest = pairs_of_size(u - 1, size - 1) if size > 1 else np.zeros((1, u - 1), bool)
        return np.pad(rest, ((0, 0), (1, 0)), constant_values=True)
    members = np.array(list(combinations(range(u), size)))
    half = np.zeros((len(members), u), bool)
    np.put_along_axis(half, members, True, axis=1)
    return half
