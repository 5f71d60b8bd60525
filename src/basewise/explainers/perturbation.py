"""The one template every perturbation explainer fills in: settings and `estimate`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import PlainValidator

from basewise.explainers import MASKINGS, UNITS
from basewise.explainers.game import Game, Play, play
from basewise.explainers.masking import Masking, NBases
from basewise.explainers.units import Bases, Units, disjoint, random_numbers, tokens_of
from basewise.models.evaluator import Evaluator
from basewise.models.switchboards import Switchboard
from basewise.registry import Registry, component, settings_of
from basewise.types import Attribution, Ints, Kind, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Perturbation"]


@component
class Perturbation(ABC):
    """Settings every perturbation explainer has.

    Attributes
    ----------
    units : Units
        What is switched on and off: `bases`, `tokens`, `windows`.
    masking : Masking
        How a switched-off unit looks: `n`, `mask`, `shuffled`, `sampled`, ...
    """

    kind: ClassVar[Kind]

    units: Annotated[Units, PlainValidator(UNITS.build)] = Bases()
    masking: Annotated[Masking, PlainValidator(MASKINGS.build)] = NBases()

    @abstractmethod
    def estimate(self, game: Game, rng: np.random.Generator) -> Play:
        """Yield coalitions (n, u), receive their values (n,), return an `Estimate`."""

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
        spans: dict[int, Ints] = {}

        def boards() -> Iterator[tuple[int, Switchboard, Callable[[Game], Play]]]:
            for i, record in enumerate(records):
                rng = random_numbers(seed, record.id, Registry.name_of(self))
                tokens = tokens_of(model, record)
                spans[i] = disjoint(self.units.spans(record, tokens), record)
                board = self.masking.switchboard(record, tokens, spans[i], model, rng)
                yield i, board, partial(self.estimate, rng=rng)

        settings = settings_of(self)
        for i, game, estimate in play(boards(), Evaluator(model, target)):
            found[i] = Attribution(
                record_id=records[i].id,
                sequence=records[i].sequence,
                model=model.name,
                target=target,
                method=Registry.name_of(self),
                kind=self.kind,
                spans=spans.pop(i),
                scores=estimate.scores,
                output=game.full,
                baseline=game.empty,
                evaluations=game.evaluations,
                seed=seed,
                settings=settings,
                standard_error=estimate.standard_error,
                extras=estimate.extras,
            )
            if progress:
                progress(found[i])
        return [found[i] for i in range(len(records))]
