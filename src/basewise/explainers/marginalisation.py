"""Marginalisation: what a motif does by itself, in backgrounds that are otherwise random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator
from torch import Tensor

from basewise.errors import DataError
from basewise.explainers.count import Count, exactly
from basewise.explainers.game import ROWS_AT_ONCE
from basewise.explainers.units import tokens_of
from basewise.models.evaluator import Evaluator
from basewise.models.precision import question_of
from basewise.models.switchboards import spans_again, tokenised
from basewise.registry import Registry, component, settings_of
from basewise.sequence.alphabet import N, encode
from basewise.sequence.shuffle import shuffle_dinucleotides, shuffle_mononucleotides
from basewise.stats import random_numbers
from basewise.types import Attribution, Codes, Floats, Ints, Kind, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Marginalisation"]


@component
class Marginalisation:
    """The mean effect of writing a motif into shuffles of the sequence, `v(with) - v(without)`.

    The score of a place belongs to the motif, not to the bases that the sequence has there
    (Koo et al. 2021, PLOS Comput Biol 17:e1008925, call it global importance). The output is
    the target at the sequence itself, the baseline its mean over the shuffles without motif;
    the standard error is that of the mean over shuffles.

    Attributes
    ----------
    motif : str
        Letters of `ACGT`; `N` leaves the background as it is.
    stride : int or None
        Bases from one place to the next, from the first base on; None means the middle only.
    keep : str
        What shuffles keep: `dinucleotides` (exact counts) or `bases`.
    draws : int
        Shuffles.
    """

    kind: ClassVar[Kind] = "ranking"

    motif: Annotated[str, Field(min_length=1)]
    stride: Annotated[int, Field(ge=1)] | None = None
    keep: Literal["dinucleotides", "bases"] = "dinucleotides"
    draws: Annotated[int, Field(ge=2)] = 20

    @field_validator("motif")
    @classmethod
    def _letters(cls, motif: str) -> str:
        if set(motif) - set("ACGTN"):
            raise ValueError("a motif is spelled in the letters A, C, G, T and N")
        return motif

    def cost(self, model: Model, record: Record) -> Count:
        """How many evaluations explaining a record will take; refuses as `explain` does."""
        tokens_of(model, record)
        return exactly(1 + self.draws * (1 + len(self.places(record))))

    def explain(
        self,
        model: Model,
        records: Sequence[Record],
        target: Target,
        seed: int = 0,
        progress: Callable[[Attribution], None] | None = None,
    ) -> list[Attribution]:
        """One attribution per record, with one score per place of the motif.

        The rows of many records share batches.
        """
        evaluator, found = Evaluator(model, target, question_of(self, records, seed)), []
        for record, output, values in self._measured(evaluator, model, records, seed):
            effects = values[:, 1:] - values[:, :1]
            found.append(
                Attribution(
                    record_id=record.id,
                    sequence=record.sequence,
                    model=model.name,
                    target=target,
                    method=Registry.name_of(self),
                    kind=self.kind,
                    spans=self.places(record),
                    scores=effects.mean(0),
                    output=output,
                    baseline=float(values[:, 0].mean()),
                    evaluations=1 + values.size,
                    seed=seed,
                    settings=settings_of(self),
                    standard_error=effects.std(0, ddof=1) / np.sqrt(self.draws),
                    extras=evaluator.extras,
                )
            )
            if progress:
                progress(found[-1])
        return found

    def _measured(
        self, evaluator: Evaluator, model: Model, records: Sequence[Record], seed: int
    ) -> Iterator[tuple[Record, float, Floats]]:
        """Of each record the target at it, and at its backgrounds without and with the motif in
        each place, (draws, 1 + p); of as many records together as there is room for."""
        block: list[Record] = []
        asked: list[tuple[Written, Ints]] = []
        rows = 0
        for i, record in enumerate(records):
            rng = random_numbers(seed, record.id, Registry.name_of(self))
            written = Written(model, record, encode(self.motif), self.shuffles(record, rng))
            at = np.append(-1, self.places(record)[:, 0])
            grid = np.stack(np.meshgrid(np.arange(self.draws), at, indexing="ij"), -1)
            block.append(record)
            asked.append((written, np.concatenate([[[-1, -1]], grid.reshape(-1, 2)])))
            rows += len(asked[-1][1])
            if rows >= ROWS_AT_ONCE or i + 1 == len(records):
                for one, values in zip(block, evaluator(asked), strict=True):
                    yield one, float(values[0]), values[1:].reshape(self.draws, -1)
                block, asked, rows = [], [], 0

    def shuffles(self, record: Record, rng: np.random.Generator) -> Codes:
        """Backgrounds, (draws, b)."""
        shuffle = shuffle_dinucleotides if self.keep == "dinucleotides" else shuffle_mononucleotides
        shuffled: Codes = shuffle(encode(record.sequence)[None], rng, self.draws)[0]
        return shuffled

    def places(self, record: Record) -> Ints:
        """Where the motif is written, (p, 2); they overlap if the stride is below its length."""
        length, last = len(self.motif), len(record.sequence) - len(self.motif)
        if last < 0:
            raise DataError(
                f"Record {record.id!r} has {len(record.sequence)} bases; the motif "
                f"{self.motif} has {length} and does not fit."
            )
        starts = np.arange(0, last + 1, self.stride) if self.stride else np.array([last // 2])
        return np.stack([starts, starts + length], axis=1)


class Written:
    """Makes rows of (background, start of the motif), -1 for the sequence itself and for none."""

    draws = 1

    def __init__(self, model: Model, record: Record, motif: Codes, backgrounds: Codes):
        self._rows = np.concatenate([backgrounds, encode(record.sequence)[None]])
        self._known = np.flatnonzero(motif < N)
        self._motif, self.width = motif, len(tokens_of(model, record))

    def rows(self, asked: Ints, model: Model) -> tuple[Tensor, Tensor | None]:
        return tokenised(self._bases(asked), model)

    def spans(self, asked: Ints, model: Model) -> list[Ints]:
        return spans_again(self._bases(asked), model)

    def _bases(self, asked: Ints) -> Codes:
        codes = self._rows[asked[:, 0]]
        written = np.flatnonzero(asked[:, 1] >= 0)[:, None]
        codes[written, asked[written, 1] + self._known] = self._motif[self._known]
        return codes
