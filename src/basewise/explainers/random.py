"""Random scores: no explanation at all, to hold explanations against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import PlainValidator

from basewise.explainers import UNITS
from basewise.explainers.count import Count, exactly
from basewise.explainers.units import Bases, Units, cut, tokens_of
from basewise.models.evaluator import Evaluator
from basewise.models.switchboards import TokenSwitch
from basewise.registry import Registry, component, settings_of
from basewise.stats import random_numbers
from basewise.types import Attribution, Kind, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Random"]


@component
class Random:
    """Scores drawn from a standard normal distribution; a control, whatever the model.

    What a measure gives for these scores is what it gives for nothing.

    Attributes
    ----------
    units : Units
        What is scored: `bases`, `tokens`, `windows`, `motifs`, `features`.
    """

    kind: ClassVar[Kind] = "ranking"

    units: Annotated[Units, PlainValidator(UNITS.build)] = Bases()

    def cost(self, model: Model, record: Record) -> Count:
        """How many evaluations explaining a record will take; refuses as `explain` does."""
        cut(self.units, record, tokens_of(model, record))
        return exactly(1)

    def explain(
        self,
        model: Model,
        records: Sequence[Record],
        target: Target,
        seed: int = 0,
        progress: Callable[[Attribution], None] | None = None,
    ) -> list[Attribution]:
        """One attribution per record; only its output is the model's."""
        evaluator = Evaluator(model, target)
        cuts, asked = [], []
        for record in records:
            tokens = tokens_of(model, record)
            cuts.append(cut(self.units, record, tokens))
            spans = cuts[-1].spans
            board = TokenSwitch(tokens.ids, tokens.ids[None], tokens.spans, spans)
            asked.append((board, np.ones((1, len(spans)), bool)))
        found = []
        for record, units, (output,) in zip(records, cuts, evaluator(asked), strict=True):
            rng = random_numbers(seed, record.id, Registry.name_of(self))
            found.append(
                Attribution(
                    record_id=record.id,
                    sequence=record.sequence,
                    model=model.name,
                    target=target,
                    method=Registry.name_of(self),
                    kind=self.kind,
                    spans=units.spans,
                    scores=units.shared(rng.standard_normal(units.n_units), self.kind),
                    output=float(output),
                    baseline=float("nan"),
                    evaluations=1,
                    seed=seed,
                    settings=settings_of(self),
                    extras=evaluator.extras,
                )
            )
            if progress:
                progress(found[-1])
        return found
