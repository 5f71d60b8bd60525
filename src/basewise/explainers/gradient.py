"""The one template every gradient explainer fills in: settings, `start` and `find`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from basewise.errors import CapabilityError
from basewise.explainers.count import Count
from basewise.explainers.path import Path, Walker
from basewise.explainers.references import is_one_hot
from basewise.explainers.sensitivity import disagreement
from basewise.explainers.units import tokens_of
from basewise.models.batch import Batch
from basewise.models.gradient import embed
from basewise.registry import Registry, component, settings_of
from basewise.stats import random_numbers
from basewise.types import Attribution, Bools, Floats, Kind, Record, Target, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Found", "Gradient", "Mean", "contributions", "corrected"]

MOST_RECORDS, MOST_BYTES = 64, 1 << 26  # of paths that are walked side by side
PARTS = 4  # a record's paths are made and walked in parts of at most this share of those bytes


@dataclass(frozen=True, eq=False)
class Found:
    """What a gradient method found on one sequence.

    Attributes
    ----------
    scores : (t,) float
        Of every token.
    output, baseline : float
        Of the target; NaN where the method has no baseline.
    evaluations : int
        Rows that went forward, whether or not backward too.
    standard_error : (t,) float or None
    hypothetical : (t, e) float or None
        What each base would have scored; kept for one-hot networks only.
    by_reference : (m, t) float or None
        Scores from each of m references, where they are to be compared.
    """

    scores: Floats
    output: float
    baseline: float
    evaluations: int
    standard_error: Floats | None = None
    hypothetical: Floats | None = None
    by_reference: Floats | None = None
    extras: Mapping[str, float] = field(default_factory=dict)


@component
class Gradient(ABC):
    """Scores are on tokens; special tokens are no part of a path, so they have no score."""

    kind: ClassVar[Kind]

    @abstractmethod
    def start(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        """Where the paths to the embedding x (t, e) start, (d, t, e)."""

    def starts(
        self,
        record: Record,
        tokens: Tokens,
        x: Tensor,
        model: Model,
        rng: np.random.Generator,
        most: int,
    ) -> Iterator[tuple[Tensor, Floats]]:
        """Where paths start; one place on each and the number of its start, (d, 2), where needed.

        All at once; or, where only their sums are wanted, in parts of about `most`.
        """
        yield self.start(record, tokens, x, model, rng), np.empty(0)

    @abstractmethod
    def find(self, walker: Walker, parts: Iterable[Sequence[Path]]) -> list[Found]:
        """What the method finds on sequences of one width, the paths to each in parts."""

    @property
    def meaning(self) -> Kind:
        """What the scores mean under these settings."""
        return self.kind

    @abstractmethod
    def rows(self) -> Count:
        """How many rows go forward for one sequence, whether or not backward too."""

    def cost(self, model: Model, record: Record) -> Count:
        """How many evaluations explaining a record will take; refuses as `explain` does."""
        tokens_of(model, record)
        return self.rows()

    def explain(
        self,
        model: Model,
        records: Sequence[Record],
        target: Target,
        seed: int = 0,
        progress: Callable[[Attribution], None] | None = None,
    ) -> list[Attribution]:
        """One attribution per record; paths of records of one width share batches."""
        done: dict[int, Attribution] = {}
        walker, settings = Walker(model, target), settings_of(self)
        for block in self._blocks(model, records, target, seed):
            parts = zip(*(paths for _, _, paths in block), strict=True)
            found = self.find(walker, parts)
            for (i, tokens, _), one in zip(block, found, strict=True):
                bases = tokens.spans[:, 1] > tokens.spans[:, 0]
                compared = {}
                if one.by_reference is not None:
                    compared = disagreement(one.by_reference[:, bases])
                done[i] = Attribution(
                    record_id=records[i].id,
                    sequence=records[i].sequence,
                    model=model.name,
                    target=target,
                    method=Registry.name_of(self),
                    kind=self.meaning,
                    spans=tokens.spans[bases],
                    scores=one.scores[bases],
                    output=one.output,
                    baseline=one.baseline,
                    evaluations=one.evaluations,
                    seed=seed,
                    settings=settings,
                    standard_error=_at(bases, one.standard_error),
                    hypothetical=_at(bases, one.hypothetical if is_one_hot(model) else None),
                    extras={**one.extras, **compared},
                )
                if progress:
                    progress(done[i])
        return [done[i] for i in range(len(records))]

    def _blocks(
        self, model: Model, records: Sequence[Record], target: Target, seed: int
    ) -> Iterator[list[tuple[int, Tokens, Iterator[Path]]]]:
        """Paths of records of one width, as many as may be held at once."""
        widths = [len(tokens_of(model, record)) for record in records]
        block: list[tuple[int, Tokens, Iterator[Path]]] = []
        held = 0
        for i in sorted(range(len(records)), key=widths.__getitem__):
            if block and (
                widths[i] != len(block[0][1]) or len(block) == MOST_RECORDS or held > MOST_BYTES
            ):
                yield block
                block, held = [], 0
            tokens = tokens_of(model, records[i])  # again: those of all take 24 bytes a base
            paths = self._paths(model, records[i], tokens, target, seed)
            first = next(paths)
            block.append((i, tokens, chain([first], paths)))
            held += first.x.nbytes + first.references.nbytes
            del first
        if block:
            yield block

    def _paths(
        self, model: Model, record: Record, tokens: Tokens, target: Target, seed: int
    ) -> Iterator[Path]:
        ids = torch.from_numpy(tokens.ids).to(model.device)
        x = embed(model, Batch(ids[None], None))[0]
        rng = random_numbers(seed, record.id, Registry.name_of(self))
        found = model.weights(target, [tokens.spans], len(tokens))
        weights = None if found is None else found[0]
        most = max(MOST_BYTES // PARTS // x.nbytes, 1)
        for references, places in self.starts(record, tokens, x, model, rng, most):
            yield Path(ids, x, references, places, weights)


def _at(bases: Bools, values: Floats | None) -> Floats | None:
    return None if values is None else values[bases]


def contributions(path: Path, gradients: Tensor) -> Iterator[Tensor]:
    """`(x - r) * g`, (t, e) of one line after another, from gradients (d, t, e) summed along them.

    All at once would take as much memory again as the gradients do.
    """
    return ((path.x - r) * g for r, g in zip(path.references, gradients, strict=True))


def corrected(gradient: Tensor, model: Model, centred: bool) -> Floats:
    """The gradient, (t, e), less its mean over the bases where that is asked for."""
    if centred and not is_one_hot(model):
        raise CapabilityError(
            "centred = True takes the mean over bases, which an embedding of tokens does not have; "
            "it is for networks on one-hot input."
        )
    channels: Floats = gradient.double().cpu().numpy()
    return channels - channels.mean(1, keepdims=True) if centred else channels


class Mean:
    """Scores as the mean over several lines to one sequence, a few of them at a time.

    Parameters
    ----------
    x : (t, e) Tensor
        The sequence.
    draws : int
        Lines, all in all.
    shares : (m, d) or None
        How much each line counts in each reference; None where all count alike and none are
        compared. What each reference gives is kept where they are to be compared, (m, t).
    """

    def __init__(self, x: Tensor, draws: int, shares: Floats | None = None):
        self._counts = np.full(draws, 1 / draws) if shares is None else shares.mean(0)
        self._channels, self._hypothetical = torch.zeros_like(x), torch.zeros_like(x)
        self._shares = shares
        self._each = np.zeros((0 if shares is None else len(shares), len(x)))
        self._baselines: list[float] = []

    def add(self, path: Path, gradients: Tensor, baselines: Floats) -> Floats:
        """Lines from further references (d, t, e); gives the scores of each, (d, t).

        Parameters
        ----------
        gradients : (d, t, e) Tensor
            Averages of the gradient along each.
        baselines : (d,)
            The target at each start.
        """
        before = len(self._baselines)
        self._baselines += baselines.tolist()
        some = slice(before, len(self._baselines))
        counts = torch.as_tensor(self._counts[some], dtype=gradients.dtype, device=gradients.device)
        sums = gradients.new_empty(gradients.shape[:2])
        for i, channels in enumerate(contributions(path, gradients)):
            self._channels += counts[i] * channels
            sums[i] = channels.sum(1)
            r, g = path.references[i], gradients[i]
            self._hypothetical += counts[i] * (g - (r * g).sum(1, keepdim=True))
        scores: Floats = sums.double().cpu().numpy()
        if self._shares is not None:
            self._each += self._shares[:, some] @ scores
        return scores

    def found(self, output: float, rows: int, signed: bool = True) -> Found:
        """What was found, with the standard error that the references leave, where there are more.

        Parameters
        ----------
        output : float
            The target at the sequence.
        rows : int
            Evaluations.
        signed : bool
            Whether channels are summed, or their magnitudes.
        """
        scores = self._channels.sum(1) if signed else self._channels.abs().sum(1)
        each = self._each if signed and len(self._each) > 1 else None
        return Found(
            scores=scores.double().cpu().numpy(),
            output=output,
            baseline=float(np.average(self._baselines, weights=self._counts)),
            evaluations=rows,
            standard_error=None if each is None else each.std(0, ddof=1) / np.sqrt(len(each)),
            hypothetical=self._hypothetical.double().cpu().numpy(),
            by_reference=each,
        )
