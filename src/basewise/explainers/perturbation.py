"""The one template every perturbation explainer fills in: settings and `estimate`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import PlainValidator

from basewise.errors import CapabilityError, ConfigError
from basewise.explainers import MASKINGS, UNITS
from basewise.explainers.count import Count
from basewise.explainers.game import Estimate, Game, Play, error_of_draws, first_moves, play
from basewise.explainers.masking import Masking, NBases
from basewise.explainers.units import Bases, Cut, Units, cut, tokens_of
from basewise.models.evaluator import SAMPLE, Evaluator
from basewise.models.precision import question_of
from basewise.models.switchboards import Grouped, Switchboard
from basewise.registry import Registry, component, settings_of
from basewise.stats import random_numbers
from basewise.types import Attribution, Floats, Kind, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Perturbation"]


@component
class Perturbation(ABC):
    """Settings every perturbation explainer has.

    Where a masking draws several times, the value of a coalition is the mean over draws. The
    extras `value_error` and `baseline_error` are the standard errors that the draws leave in a
    value (root mean square over coalitions) and in the baseline; the standard errors of scores
    contain them too, unless what is asked for depends on the values.

    Attributes
    ----------
    units : Units
        What is switched on and off: `bases`, `tokens`, `windows`, `motifs`, `features`. The
        extra `rest` is the score of the bases in none of them, where they are one more unit.
    masking : Masking
        How a switched-off unit looks: `n`, `mask`, `shuffled`, `sampled`, ... The extra
        `positions_shift` is 1 where what stands behind it moves.
    """

    kind: ClassVar[Kind]

    units: Annotated[Units, PlainValidator(UNITS.build)] = Bases()
    masking: Annotated[Masking, PlainValidator(MASKINGS.build)] = NBases()

    @abstractmethod
    def estimate(self, game: Game, rng: np.random.Generator) -> Play:
        """Yield coalitions (n, u), receive their values (n,), return an `Estimate`."""

    @abstractmethod
    def coalitions(self, units: int) -> Count:
        """How many coalitions of so many units will be valued, both ends among them."""

    def cost(self, model: Model, record: Record) -> Count:
        """How many evaluations explaining a record will take; refuses as `explain` does."""
        units = cut(self.units, record, tokens_of(model, record))
        return self._count(record, units).times(self.masking.draws)

    def _count(self, record: Record, units: Cut) -> Count:
        """How many coalitions of a record; a refusal says of which."""
        try:
            return self.coalitions(units.n_units)
        except (ConfigError, CapabilityError) as error:
            raise type(error)(f"Record {record.id!r}: {error}") from None

    def explain(
        self,
        model: Model,
        records: Sequence[Record],
        target: Target,
        seed: int = 0,
        progress: Callable[[Attribution], None] | None = None,
    ) -> list[Attribution]:
        """One attribution per record; the coalitions of many records share batches."""
        found: dict[int, Attribution] = {}
        seats: dict[int, _Seat] = {}

        def boards(
            some: Sequence[int],
        ) -> Iterator[tuple[int, Switchboard, Callable[[Game], Play]]]:
            for i in some:
                record = records[i]
                rng = random_numbers(seed, record.id, Registry.name_of(self))
                tokens = tokens_of(model, record)
                units = cut(self.units, record, tokens)
                self._count(record, units)
                board = self.masking.switchboard(record, tokens, units.spans, model, rng)
                seats[i] = _Seat(units, board.shifts, partial(self._estimator, rng))
                yield i, Grouped(board, units.unit) if units.rest else board, seats[i].estimator()

        if len(records) > 1:
            self.cost(model, max(records, key=len))  # it needs the largest budget
        settings = settings_of(self)
        evaluator = Evaluator(model, target, question_of(self, records, seed))
        if evaluator.undecided and records:
            exact = Evaluator(replace(model, precision="full"), target)
            some = sorted({0, len(records) // 2})
            evaluator.decide(first_moves(boards(some), exact.by_draw, SAMPLE))
        for i, game, estimate in play(boards(range(len(records))), evaluator.by_draw):
            seat = seats.pop(i)
            error = None if self.kind == "rule" else seat.error(game, estimate)
            estimate = self.judged(replace(estimate, standard_error=error))
            found[i] = Attribution(
                record_id=records[i].id,
                sequence=records[i].sequence,
                model=model.name,
                target=target,
                method=Registry.name_of(self),
                kind=self.kind,
                spans=seat.units.spans,
                scores=seat.units.shared(estimate.scores, self.kind),
                output=game.full,
                baseline=game.empty,
                evaluations=game.evaluations,
                seed=seed,
                settings=settings,
                standard_error=None if error is None else seat.units.shared(error, self.kind),
                extras=seat.extras(game, estimate) | evaluator.extras,
            )
            if progress:
                progress(found[i])
        return [found[i] for i in range(len(records))]

    def judged(self, estimate: Estimate) -> Estimate:
        """The estimate of a game that is over, with the spread of the draws in its errors."""
        return estimate

    def _estimator(self, rng: np.random.Generator) -> Callable[[Game], Play]:
        """The estimator with random numbers of its own: each begins with the same.

        One draw needs one estimator, and copying costs more than some of them do.
        """
        return partial(self.estimate, rng=deepcopy(rng) if self.masking.draws > 1 else rng)


class _Seat(NamedTuple):
    """What of a record is needed again when its game is over."""

    units: Cut
    shifts: bool
    estimator: Callable[[], Callable[[Game], Play]]

    def error(self, game: Game, estimate: Estimate) -> Floats | None:
        """Standard errors of the scores, (u,): of the estimator and of the masking's draws."""
        drawn = error_of_draws(game, self.estimator)
        if drawn is None or estimate.standard_error is None:
            return estimate.standard_error if drawn is None else drawn
        return np.hypot(drawn, estimate.standard_error)

    def extras(self, game: Game, estimate: Estimate) -> dict[str, float]:
        """What the estimator reports, and what units and masking do."""
        rest = {"rest": float(estimate.scores[-1])} if self.units.rest else {}
        shifts = {"positions_shift": 1.0} if self.shifts else {}
        return {**estimate.extras, **game.spread(), **rest, **shifts}
