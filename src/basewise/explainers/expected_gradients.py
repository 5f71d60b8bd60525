"""Expected gradients (Erion et al. 2021, arXiv 1906.10670)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from basewise.explainers.count import Count, exactly
from basewise.explainers.gradient import Found, Gradient, Mean
from basewise.explainers.path import Path, Walker
from basewise.explainers.references import ShuffledReference, Starts, in_parts, shares
from basewise.registry import component
from basewise.types import Floats, Ints, Kind, Record, Tokens

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
        held, held_at = x.new_empty(0, *x.shape), np.empty(0)
        for reference in in_parts(self.reference, most):
            references = reference.embedded(record, tokens, x, model, rng)
            if places is None:
                places = (rng.permutation(self.draws) + rng.random(self.draws)) / self.draws
            of_these = (before <= turns) & (turns < before + len(references))
            lines = np.flatnonzero(of_these)
            for i in range(0, len(lines), most):
                some = lines[i : i + most]
                at = torch.from_numpy(turns[some] - before).to(x.device)
                # Parts of one size: chance gives each record other numbers of these.
                held = torch.cat([held, references[at]])
                held_at = np.append(held_at, places[some])
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
        kinds = [np.flatnonzero(share) for share in shares(self.reference)]
        rounds, rest = divmod(self.draws, len(kinds))
        if rest or any(rounds % len(kind) for kind in kinds):
            kinds = [rng.permutation(kinds[i]) for i in rng.permutation(len(kinds))]
        turns = [divmod(i, len(kinds)) for i in range(self.draws)]
        return np.array([kinds[kind][turn % len(kinds[kind])] for turn, kind in turns])

    def rows(self) -> Count:
        return exactly(1 + 2 * self.draws)

    def find(self, walker: Walker, parts: Iterable[Sequence[Path]]) -> list[Found]:
        means: list[Mean] = []
        for paths in parts:
            at = np.stack([path.places for path in paths])[..., None]
            gradients, _ = walker.integrate(paths, at, np.ones(1))
            means = means or [Mean(path.x, self.draws) for path in paths]
            baselines = walker.baselines(paths)
            for mean, *each in zip(means, paths, gradients, baselines, strict=True):
                mean.add(*each)
        rows, outputs = 1 + 2 * self.draws, walker.outputs(paths)
        return [mean.found(output, rows) for mean, output in zip(means, outputs, strict=True)]
