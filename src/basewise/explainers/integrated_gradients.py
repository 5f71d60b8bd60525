"""Integrated Gradients (Sundararajan, Taly & Yan 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PlainValidator

from basewise.explainers import REFERENCES
from basewise.explainers.path import Integral, Path, Rule, ends, integrate, nodes
from basewise.explainers.perturbation import random_numbers
from basewise.explainers.references import Reference, ShuffledReference, is_one_hot
from basewise.models.evaluator import Batch
from basewise.models.gradient import embed
from basewise.registry import Registry, component, settings_of
from basewise.types import Attribution, Kind, Record, Target, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["IntegratedGradients"]

BLOCK = 64  # records whose paths are walked side by side
BATCH_TOKENS = 1 << 14  # in a batch, where the model does not say


@component
class IntegratedGradients:
    """`(x - r) * integral of the gradient from r to x`, on one-hot input or on embeddings.

    Scores are on tokens; special tokens stay as they are along the path, so they score 0.
    With one-hot networks the hypothetical scores (b, 4) come along: what each base would
    have scored, `g_c - sum_c r_c g_c` (equation 1 of the paper with x one-hot). With the
    `uniform` reference that is the gradient minus its mean over bases, the simplex
    correction of Majdandzic et al. 2023.

    Attributes
    ----------
    reference : Reference
        Where the path starts: `shuffled` (default; dinucleotide shuffles, averaged), `zero`,
        `uniform`, `frequencies`, `token`.
    rule : str
        `trapezoid` or `gauss_legendre`.
    steps : int
        Intervals (trapezoid) or places (Gauss-Legendre) of the first try.
    tolerance : float or None
        Steps are doubled for the records whose completeness gap exceeds this share of
        `|output - baseline|` (at least of 1), up to `most_steps`; None keeps `steps`.
    most_steps : int
        Where doubling ends.
    aggregate : str
        `sum` over channels (signed, additive) or `abs_sum` (magnitude only).
    """

    kind: ClassVar[Kind] = "additive"

    reference: Annotated[Reference, PlainValidator(REFERENCES.build)] = ShuffledReference()
    rule: Rule = "trapezoid"
    steps: Annotated[int, Field(ge=1)] = 50
    tolerance: Annotated[float, Field(gt=0)] | None = 0.01
    most_steps: Annotated[int, Field(ge=1)] = 800
    aggregate: Literal["sum", "abs_sum"] = "sum"

    def explain(
        self,
        model: Model,
        records: Sequence[Record],
        target: Target,
        seed: int = 0,
        progress: Callable[[Attribution], None] | None = None,
    ) -> list[Attribution]:
        """One attribution per record; paths of records of one width share batches."""
        found: dict[int, Attribution] = {}
        tokens = [model.tokenizer.encode(record.sequence) for record in records]
        for block in _blocks([len(t) for t in tokens]):
            paths = [self._path(model, records[i], tokens[i], seed) for i in block]
            for i, walk in zip(block, self._walk(model, target, paths), strict=True):
                found[i] = self._attribution(model, records[i], target, tokens[i], seed, walk)
                if progress:
                    progress(found[i])
        return [found[i] for i in range(len(records))]

    def _path(self, model: Model, record: Record, tokens: Tokens, seed: int) -> Path:
        ids = torch.from_numpy(tokens.ids).to(model.device)
        x = embed(model, Batch(ids[None], None))[0]
        rng = random_numbers(seed, record.id, Registry.name_of(self))
        return Path(ids, x, self.reference.embedded(record, tokens, x, model, rng))

    def _walk(self, model: Model, target: Target, paths: list[Path]) -> list[_Walk]:
        budget = model.batch_tokens or BATCH_TOKENS
        both = ends(model, target, paths, budget)
        paid = [len(path.references) + 1 for path in paths]
        unsettled, steps = list(range(len(paths))), self.steps
        walks: dict[int, _Walk] = {}
        while unsettled:
            some = [paths[i] for i in unsettled]
            for i, integral in zip(
                unsettled, integrate(model, target, some, self.rule, steps, budget), strict=True
            ):
                paid[i] += len(paths[i].references) * len(nodes(self.rule, steps)[0])
                walks[i] = _Walk(integral, *both[i], steps, paid[i])
            if self.tolerance is None or 2 * steps > self.most_steps:
                break
            unsettled = [i for i in unsettled if walks[i].relative_gap > self.tolerance]
            steps *= 2
        return [walks[i] for i in range(len(paths))]

    def _attribution(
        self,
        model: Model,
        record: Record,
        target: Target,
        tokens: Tokens,
        seed: int,
        walk: _Walk,
    ) -> Attribution:
        bases = tokens.spans[:, 1] > tokens.spans[:, 0]
        channels = walk.integral.contributions[bases]
        signed = self.aggregate == "sum"
        return Attribution(
            record_id=record.id,
            sequence=record.sequence,
            model=model.name,
            target=target,
            method=Registry.name_of(self),
            kind="additive" if signed else "ranking",
            spans=tokens.spans[bases],
            scores=channels.sum(1) if signed else np.abs(channels).sum(1),
            output=walk.output,
            baseline=walk.baseline,
            evaluations=walk.evaluations,
            seed=seed,
            settings=settings_of(self),
            hypothetical=walk.integral.hypothetical[bases] if is_one_hot(model) else None,
            extras={"steps": walk.steps},
        )


@dataclass(frozen=True, eq=False)
class _Walk:
    """A path walked with so many steps, and what it cost."""

    integral: Integral
    output: float
    baseline: float
    steps: int
    evaluations: int

    @property
    def relative_gap(self) -> float:
        gain = self.output - self.baseline
        return abs(gain - float(self.integral.contributions.sum())) / max(abs(gain), 1.0)


def _blocks(widths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of records of one width, at most `BLOCK` at a time."""
    order = np.argsort(widths, kind="stable").tolist()
    block: list[int] = []
    for i in order:
        if block and (widths[i] != widths[block[0]] or len(block) == BLOCK):
            yield block
            block = []
        block.append(i)
    if block:
        yield block
