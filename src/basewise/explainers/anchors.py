"""Anchors: a small rule that suffices for the prediction (Ribeiro, Singh & Guestrin 2018)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator
from scipy.special import entr, rel_entr

from basewise.explainers.count import Count, at_most
from basewise.explainers.game import Estimate, Game, Key, Play, keys_of
from basewise.explainers.perturbation import Perturbation
from basewise.registry import component
from basewise.types import Attribution, Bools, Floats, Kind, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Anchors", "carried_by"]

DRAWS = 10  # times `evaluations`: what is drawn again is free, and ends too


@component
class Anchors(Perturbation):
    """The units that, kept while all others come and go, keep the prediction.

    Each unit outside of the rule is switched off with chance 1/2. The precision of a rule is
    the share of such samples that are predicted as the sequence is; it is known only up to
    its interval (Kullback-Leibler bounds). A beam search grows rules unit by unit; on each
    level KL-LUCB (Kaufmann & Kalyanakrishnan 2013) samples the rules that are hard to tell
    apart until the best `beam` are known (algorithms 1 and 2 of the paper). Samples of a rule
    serve those that extend it, where they contain the extension too.

    The target is read as `top`: whether the label is predicted. Scores are 1 in the rule and
    0 outside. Extras: `precision`, `precision_low`, `precision_high`, `coverage` (the chance
    that a sample without rule contains it), `units`, and `enough`: 1 where the rule reaches the
    precision asked for, 0 where none did within the budget and the most precise is given.

    Attributes
    ----------
    precision : float
        Wanted share of samples that keep the prediction.
    delta : float
        Chance that a bound does not hold.
    slack : float
        A rule is taken when its lower bound is above `precision - slack`, once its mean
        reaches `precision`.
    tolerance : float
        KL-LUCB stops when no rule left out can be better than one kept by more than this.
    beam : int
        Rules kept on each level.
    samples : int
        Drawn for a rule before those that extend it are compared.
    batch : int
        Samples drawn at once where more are needed.
    evaluations : int
        Coalitions valued after which the search draws no more, at least `samples`: what it draws
        at once is finished. A sample drawn before costs nothing; the search ends after ten times
        as many samples, too.
    """

    kind: ClassVar[Kind] = "rule"

    precision: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.1
    slack: Annotated[float, Field(gt=0, lt=1)] = 0.05
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.15
    beam: Annotated[int, Field(ge=1)] = 4
    samples: Annotated[int, Field(ge=2)] = 500
    batch: Annotated[int, Field(ge=1)] = 100
    evaluations: Annotated[int, Field(ge=2)] = 20_000

    @model_validator(mode="after")
    def _enough_for_one_rule(self) -> Anchors:
        if self.evaluations < self.samples:
            raise ValueError(
                f"evaluations = {self.evaluations} are fewer than samples = {self.samples}, which "
                "are drawn before any rule can be compared; give more evaluations or fewer samples"
            )
        return self

    def explain(
        self,
        model: Model,
        records: Sequence[Record],
        target: Target,
        seed: int = 0,
        progress: Callable[[Attribution], None] | None = None,
    ) -> list[Attribution]:
        top = model.target(replace(target, read="top"))
        return super().explain(model, records, top, seed, progress)

    def coalitions(self, units: int) -> Count:
        # The search looks at what it has paid between draws; this is the most drawn at once.
        last = max(self.beam * (self.samples + units), 2 * self.batch)
        return at_most(min(max(self.samples, self.evaluations - 1 + last) + 2, 2**units))

    def estimate(self, game: Game, rng: np.random.Generator) -> Play:
        search = _Search(self, game, rng)
        best = yield from search.run()
        low, high = search.interval(best)
        extras = {
            "precision": best.mean,
            "precision_low": low,
            "precision_high": high,
            "coverage": 0.5 ** int(best.units.sum()),
            "units": float(best.units.sum()),
            "enough": float(search.enough(best)),
        }
        return Estimate(best.units.astype(float), extras=extras)


def carried_by(rule: Attribution, sequences: Sequence[str]) -> float:
    """The share of sequences that have the bases of a rule in the same places."""
    wanted = [(start, rule.sequence[start:end]) for start, end in rule.spans[rule.scores > 0]]
    return float(np.mean([all(s.startswith(part, at) for at, part in wanted) for s in sequences]))


# ------------------------------------------------------------------------------ bounds


def bounds(mean: Floats, level: Floats, above: Bools) -> Floats:
    """The furthest q with `KL(mean, q) <= level`, above the mean or below it, elementwise.

    Newton's method on a convex function, from outside: every step stays outside. It starts at
    the nearer of Pinsker's bound and of the one that leaves out `p log(1 / q)`.
    """
    p = np.where(above, mean, 1 - mean)
    rest = np.maximum(1 - p, 1e-300)
    q = np.maximum(rest - np.sqrt(level / 2), rest * np.exp(-(level + entr(p)) / rest))  # 1 - q
    q = np.maximum(q, 1e-300)
    for _ in range(6):
        excess = rel_entr(p, 1 - q) + rel_entr(rest, q) - level
        step = np.divide(excess * q * (1 - q), rest - q, out=np.zeros_like(q), where=excess > 0)
        q = q + step
    return np.asarray(np.where(above, 1 - q, q))


def exploration(arms: int, t: int, delta: float) -> float:
    """The level of KL-LUCB's bounds at step t (Kaufmann & Kalyanakrishnan 2013, theorem 8)."""
    log = np.log(405.5 * arms * t**1.1 / delta)
    return float(log + np.log(log))


# ------------------------------------------------------------------------------ search


class Rule:
    """Units (u,) that are kept, samples (n, u) that keep them, and whether each was a hit."""

    def __init__(self, units: Bools, samples: Bools, hits: Floats):
        self.units, self.samples, self.hits = units, samples, hits

    @property
    def tried(self) -> int:
        return len(self.hits)

    @property
    def mean(self) -> float:
        return float(self.hits.mean())

    def learn(self, samples: Bools, hits: Floats) -> None:
        self.samples = np.concatenate([self.samples, samples])
        self.hits = np.concatenate([self.hits, hits])


class _Level:
    """All rules, (m,), of one unit more than their parents have."""

    def __init__(self, parents: Sequence[Rule]):
        self._parents = parents
        arms = [(i, f) for i, rule in enumerate(parents) for f in np.flatnonzero(~rule.units)]
        parent, unit = np.array(arms).T
        rules = np.stack([rule.units for rule in parents])[parent]
        rules[np.arange(len(rules)), unit] = True
        child: dict[Key, int] = {}  # two may have the same
        for i, key in enumerate(keys_of(rules)):
            child.setdefault(key, i)
        first = np.array(list(child.values()))
        self._parent, self._unit, self.units = parent[first], unit[first], rules[first]
        tried = np.stack([rule.samples.sum(0) for rule in parents])
        hits = np.stack([rule.hits @ rule.samples for rule in parents])
        self.tried = tried[self._parent, self._unit].astype(float)
        self.hits = hits[self._parent, self._unit]
        self._more: dict[int, list[tuple[Bools, Floats]]] = {}

    def learn(self, arm: int, samples: Bools, hits: Floats) -> None:
        self._more.setdefault(arm, []).append((samples, hits))
        self.tried[arm] += len(hits)
        self.hits[arm] += hits.sum()

    def rule(self, arm: int) -> Rule:
        """The rule with all its samples: its parent's that keep it too, and its own."""
        parent = self._parents[self._parent[arm]]
        kept = parent.samples[:, self._unit[arm]]
        rule = Rule(self.units[arm], parent.samples[kept], parent.hits[kept])
        for samples, hits in self._more.get(arm, []):
            rule.learn(samples, hits)
        return rule


@dataclass(eq=False)
class _Search:
    """One record's search; its parts are generators, as estimators are."""

    settings: Anchors
    game: Game
    rng: np.random.Generator
    draws: int = 0

    def run(self) -> Generator[Bools, Floats, Rule]:
        """The smallest rule that is enough, or the most precise one found."""
        u = self.game.n_units
        root = Rule(np.zeros(u, bool), np.empty((0, u), bool), np.empty(0))
        beam, seen = [root], [root]
        yield from self.more(root, self.settings.samples)
        yield from self.settle(root)
        while not any(self.enough(rule) for rule in beam):
            if self.broke or beam[0].units.all():
                return max(seen, key=lambda rule: self.interval(rule)[0])
            for rule in beam:
                yield from self.more(rule, self.settings.samples - rule.tried)
            level = _Level(beam)
            chosen = yield from self.best(level)
            beam = [level.rule(arm) for arm in chosen]
            for rule in beam:
                yield from self.settle(rule)
            seen += beam
        return max(filter(self.enough, beam), key=lambda rule: self.interval(rule)[0])

    def best(self, level: _Level) -> Generator[Bools, Floats, list[int]]:
        """The rules of a level that are most precise, by KL-LUCB (algorithm 2 of the paper)."""
        if len(untried := np.flatnonzero(level.tried == 0)):
            samples, hits = yield from self.drawn(level.units[untried], 1)
            for arm, *both in zip(untried.tolist(), samples, hits, strict=True):
                level.learn(arm, *both)
        top, step = min(self.settings.beam, len(level.units)), 1
        while True:
            mean = level.hits / level.tried
            order = np.argsort(-mean, kind="stable")
            inside, outside = order[:top], order[top:]
            if not len(outside) or self.broke:
                return [int(arm) for arm in inside]
            above = np.arange(len(order)) >= top
            bound = exploration(len(mean), step, self.settings.delta)
            furthest = bounds(mean[order], bound / level.tried[order], above)
            low, high = furthest[:top], furthest[top:]
            if high.max() - low.min() <= self.settings.tolerance:
                return [int(arm) for arm in inside]
            unclear = [int(outside[high.argmax()]), int(inside[low.argmin()])]
            samples, hits = yield from self.drawn(level.units[unclear], self.settings.batch)
            for arm, *both in zip(unclear, samples, hits, strict=True):
                level.learn(arm, *both)
            step += 1

    def settle(self, rule: Rule) -> Generator[Bools, Floats, None]:
        """Sample a rule until it is clear whether it is enough."""
        wanted, slack = self.settings.precision, self.settings.slack
        while not self.broke:
            low, high = self.interval(rule)
            if rule.mean >= wanted and low > wanted - slack:
                return
            if rule.mean < wanted and high < wanted + slack:
                return
            yield from self.more(rule, self.settings.batch)

    def enough(self, rule: Rule) -> bool:
        low, _ = self.interval(rule)
        wanted = self.settings.precision
        return rule.mean >= wanted and low > wanted - self.settings.slack

    def interval(self, rule: Rule) -> tuple[float, float]:
        """Bounds of the precision that hold together for all rules a search may settle."""
        chances = 1 + (self.settings.beam - 1) * self.game.n_units
        level = np.full(2, np.log(chances / self.settings.delta) / rule.tried)
        low, high = bounds(np.full(2, rule.mean), level, np.array([False, True]))
        return float(low), float(high)

    def more(self, rule: Rule, n: int) -> Generator[Bools, Floats, None]:
        if n > 0:
            samples, hits = yield from self.drawn(rule.units[None], n)
            rule.learn(samples[0], hits[0])

    def drawn(self, rules: Bools, n: int) -> Generator[Bools, Floats, tuple[Bools, Floats]]:
        """Samples (k, n, u) that keep the units of k rules, (k, u): were they hits, (k, n)?"""
        k, u = rules.shape
        samples = (self.rng.integers(0, 2, (k, n, u), np.uint8) > 0) | rules[:, None]
        values = (yield samples.reshape(-1, u)).reshape(k, n)
        self.draws += k * n
        return samples, values if self.game.full else 1 - values

    @property
    def broke(self) -> bool:
        paid, most = self.game.evaluations // self.game.draws, self.settings.evaluations
        return paid >= most or self.draws >= DRAWS * most
