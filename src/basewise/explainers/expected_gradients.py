"""Expected gradients (Erion et al. 2021, arXiv 1906.10670)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from basewise.explainers.count import Count, exactly
from basewise.explainers.gradient import Found, Gradient, Mean
from basewise.explainers.path import Path, Walker
from basewise.explainers.references import (
    Reference,
    Several,
    ShuffledReference,
    Starts,
    in_parts,
)
from basewise.registry import component
from basewise.types import Bools, Floats, Ints, Kind, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["ExpectedGradients"]


@component
class ExpectedGradients(Gradient):
    """Integrated Gradients over a distribution of references, as one expectation.

    Each draw takes a reference and one place on the line from it. The places are one in each
    of `draws` equal parts of the line, in random order: as unbiased as independent places
    (equation 3 of the paper), and steadier. Scores sum to the gain on average only; the gap
    shrinks as draws grow. Lines are drawn and walked a few at a time, so memory does not grow
    with them.

    The standard error is how much scores vary over seeds, so it counts what is drawn. Shuffles are
    drawn, and lines from one share it: the error is that of the mean over shuffles, and more lines
    from the same ones do not make it smaller. A reference that is given is always the same, and of
    lines from it only the places are drawn: what the members of a list give apart is no error.
    As places are in equal parts rather than independent, scores from given references vary less
    than it says, from one alone much less. There is none where of a drawn reference a single start
    is walked; where given ones have a single line each, they count as drawn too.

    Attributes
    ----------
    reference : Reference, list of them, or array
        Where lines start; by default 100 dinucleotide shuffles.
    draws : int
        Lines; references take turns, and so do the starts of each. Where there are fewer lines
        than starts, or not equally many for each, chance says which are left out: scores are then
        those of all references on average over seeds.
    """

    kind: ClassVar[Kind] = "additive"

    reference: Starts = ShuffledReference(draws=100)
    draws: Annotated[int, Field(ge=2)] = 100

    def start(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        return self.reference.embedded(record, tokens, x, model, rng)

    def starts(
        self,
        record: Record,
        tokens: Tokens,
        x: Tensor,
        model: Model,
        rng: np.random.Generator,
        most: int,
    ) -> Iterator[tuple[Tensor, Floats]]:
        turns, places, before = self.turns(rng), None, 0
        held, held_at = x.new_empty(0, *x.shape), np.empty((0, 2))
        for reference in in_parts(self.reference, most):
            references = reference.embedded(record, tokens, x, model, rng)
            if places is None:
                places = (rng.permutation(self.draws) + rng.random(self.draws)) / self.draws
            of_these = (before <= turns) & (turns < before + len(references))
            lines = np.flatnonzero(of_these)
            lines = lines[np.argsort(turns[lines], kind="stable")]  # those of one start together
            for i in range(0, len(lines), most):
                some = lines[i : i + most]
                at = torch.from_numpy(turns[some] - before).to(x.device)
                # Parts of one size: chance gives each record other numbers of these.
                held = torch.cat([held, references[at]])
                held_at = np.concatenate([held_at, np.stack([places[some], turns[some]], 1)])
                if len(held) >= most:
                    yield held[:most], held_at[:most]
                    held, held_at = held[most:], held_at[most:]
            before += len(references)
        if len(held):
            yield held, held_at

    def turns(self, rng: np.random.Generator) -> Ints:
        """Which start each line has, (draws,).

        Where not all of them have equally many, chance says which have one more, so that each
        counts as it should on average over seeds.
        """
        sizes = [1] * self.reference.draws
        if isinstance(self.reference, Several):
            sizes = [one.draws for one in self.reference.of]
        kinds = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
        rounds, rest = divmod(self.draws, len(kinds))
        if rest or any(rounds % len(kind) for kind in kinds):
            kinds = [rng.permutation(kinds[i]) for i in rng.permutation(len(kinds))]
        turns = [divmod(i, len(kinds)) for i in range(self.draws)]
        return np.array([kinds[kind][turn % len(kinds[kind])] for turn, kind in turns])

    def rows(self) -> Count:
        return exactly(1 + 2 * self.draws)

    def find(self, walker: Walker, parts: Iterable[Sequence[Path]]) -> list[Found]:
        means: list[Mean] = []
        spreads: list[_Spread] = []
        for paths in parts:
            at = np.stack([path.places[:, :1] for path in paths])
            gradients, _ = walker.integrate(paths, at, np.ones(1))
            if not means:
                means = [Mean(path.x, self.draws) for path in paths]
                spreads = [_Spread(self.reference, len(path.x)) for path in paths]
            baselines = walker.baselines(paths)
            for mean, spread, *each in zip(
                means, spreads, paths, gradients, baselines, strict=True
            ):
                spread.add(mean.add(*each), each[0].places[:, 1])
        rows, found = 1 + 2 * self.draws, []
        for mean, spread, output in zip(means, spreads, walker.outputs(paths), strict=True):
            found.append(replace(mean.found(output, rows), standard_error=spread.error()))
        return found


def _distributions(reference: Reference) -> tuple[Ints, Bools]:
    """Where the starts of each distribution end, (k,), and whether they are drawn from it, (k,).

    A start that is given is a distribution by itself.
    """
    members = reference.of if isinstance(reference, Several) else (reference,)
    sizes: list[int] = []
    drawn: list[bool] = []
    for one in members:
        draws = isinstance(one, ShuffledReference)
        sizes += [one.draws] if draws else [1] * one.draws
        drawn += [draws] * (len(sizes) - len(drawn))
    return np.cumsum(sizes), np.array(drawn)


class _Spread:
    """Standard errors of scores that are the mean of lines, from clusters that are drawn.

    A cluster is what is drawn at one time: a start with its lines, or, where the start is given,
    a line. The variance is that of the total of a sample of clusters within each distribution
    (Cochran 1977, Sampling Techniques, 9A.1), summed over these.
    """

    def __init__(self, reference: Reference, tokens: int):
        self._ends, self._drawn = _distributions(reference)
        k = len(self._ends)
        self._lines, self._clusters, self._weights = np.zeros((3, k, 1))
        self._sums, self._middles, self._squares = np.zeros((3, k, tokens))
        self._start, self._of, self._n, self._sum = -1, 0, 0, np.zeros(tokens)  # the open cluster

    def add(self, scores: Floats, starts: Floats) -> None:
        """Lines, (d, t), from such starts, (d,); those from one start come one after another."""
        of = np.searchsorted(self._ends, starts, "right")
        for line, start, k in zip(scores, starts.tolist(), of.tolist(), strict=True):
            if start != self._start or not self._drawn[k]:
                self._close()
                self._start, self._of = start, k
            self._n, self._sum = self._n + 1, self._sum + line

    def _close(self) -> None:
        """Take the cluster in: its mean counts by the square of its lines (West 1979)."""
        k, n, weight = self._of, self._n, self._n**2
        if n:
            self._lines[k] += n
            self._sums[k] += self._sum
            self._clusters[k] += 1
            self._weights[k] += weight
            away, share = self._sum / n - self._middles[k], weight / self._weights[k]
            self._squares[k] += weight * (1 - share) * away**2
            self._middles[k] += share * away
        self._n, self._sum = 0, np.zeros_like(self._sum)

    def error(self) -> Floats | None:
        """Standard errors, (t,); None where something that is drawn was drawn once."""
        self._close()
        given, groups = np.flatnonzero(~self._drawn), list(np.flatnonzero(self._drawn)[:, None])
        alone = (self._clusters[given] > 1).all()
        groups += list(given[:, None]) if alone else [given]
        variance = np.zeros_like(self._sum)
        for group in groups:
            clusters = self._clusters[group].sum()
            if clusters < 2:
                return None
            middle = self._sums[group].sum(0) / self._lines[group].sum()
            away = self._weights[group] * (self._middles[group] - middle) ** 2
            variance += clusters / (clusters - 1) * (self._squares[group] + away).sum(0)
        error: Floats = np.sqrt(variance) / self._lines.sum()
        return error
