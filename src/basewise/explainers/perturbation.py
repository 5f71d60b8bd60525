"""The one template every perturbation explainer fills in: settings and `estimate`."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import PlainValidator

from basewise.errors import DataError
from basewise.explainers import MASKINGS, UNITS
from basewise.explainers.game import Game, Play, play
from basewise.explainers.masking import Masking, NBases
from basewise.explainers.units import Bases, Units
from basewise.models.evaluator import Evaluator, Switchboard
from basewise.registry import Registry, component, settings_of
from basewise.types import Attribution, Ints, Kind, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Perturbation", "random_numbers"]


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
                tokens = model.tokenizer.encode(record.sequence)
                spans[i] = disjoint(self.units.spans(record, tokens), record)
                board = self.masking.switchboard(record, tokens, spans[i], model, rng)
                yield i, board, lambda game, rng=rng: self.estimate(game, rng)  # type: ignore[misc]

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


def random_numbers(seed: int, record_id: str, method: str) -> np.random.Generator:
    """The random numbers of one record and method, whatever stands beside it."""
    text = f"{seed}\n{method}\n{record_id}".encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:16], "big"))


def disjoint(units: Ints, record: Record) -> Ints:
    """The units themselves, (u, 2); refused when there are none or when they overlap."""
    if not len(units):
        raise DataError(
            f"Record {record.id!r} ({len(record.sequence)} bases) has no units to switch off."
        )
    ordered = units[np.argsort(units[:, 0], kind="stable")]
    if (ordered[1:, 0] < ordered[:-1, 1]).any():
        raise DataError(
            f"The units of record {record.id!r} overlap, so none can be switched off alone; "
            "use units='bases' or units='windows'."
        )
    return units
