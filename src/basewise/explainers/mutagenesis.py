"""In-silico mutagenesis: every base replaced by every other, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from basewise.errors import CapabilityError
from basewise.explainers.count import Count, at_most, exactly
from basewise.explainers.game import ROWS_AT_ONCE
from basewise.explainers.units import Bases, disjoint, tokens_of
from basewise.models.evaluator import Evaluator
from basewise.models.precision import question_of
from basewise.models.switchboards import spans_again, tokenised
from basewise.registry import Registry, component, settings_of
from basewise.sequence.alphabet import LETTERS, N, decode, encode
from basewise.types import Attribution, Bools, Codes, Floats, Ints, Kind, Record, Target

if TYPE_CHECKING:
    import pandas as pd

    from basewise.models.model import Model

__all__ = ["Mutagenesis"]

BASES = np.arange(4)
BLOCK = 1024  # mutants tokenised at once to see where their tokens end


@component
class Mutagenesis:
    """What the target loses, on average, when a base becomes one of the other three.

    The hypothetical scores (b, 4) are the effects of all substitutions, `v(mutant) - v(sequence)`,
    0 for the base that is there and for unknown bases, which are not replaced. There is no
    baseline.

    Where a substitution moves borders of tokens (byte pairs), its effect has two parts: that
    of the base, with all other tokens held as they are and the token that covers the base
    spelled anew by itself; and that of the segmentation, which is the rest. The extras are the
    share of substitutions that move borders, `moved`, and the mean magnitudes of their
    `base_effect` and `segmentation_effect`; `table` has each of them.
    """

    kind: ClassVar[Kind] = "ranking"

    def cost(self, model: Model, record: Record) -> Count:
        """How many evaluations explaining a record will take; refuses as `explain` does."""
        tokens_of(model, record)
        mutants = 3 * int((encode(record.sequence) < N).sum())
        if model.tokenizer.frame_safe_n:
            return exactly(1 + mutants)
        return at_most(1 + 2 * mutants)  # those that move borders of tokens are valued twice

    def explain(
        self,
        model: Model,
        records: Sequence[Record],
        target: Target,
        seed: int = 0,
        progress: Callable[[Attribution], None] | None = None,
    ) -> list[Attribution]:
        """One attribution per record; the mutants of many records share batches."""
        found = []
        for record, effects in measured(model, records, target):
            hypothetical = np.zeros((len(record.sequence), 4))
            hypothetical[effects.at, effects.to] = effects.effect
            found.append(
                Attribution(
                    record_id=record.id,
                    sequence=record.sequence,
                    model=model.name,
                    target=target,
                    method=Registry.name_of(self),
                    kind=self.kind,
                    spans=effects.units,
                    scores=-hypothetical.sum(1) / 3,
                    output=effects.output,
                    baseline=float("nan"),
                    evaluations=1 + len(effects.at) + int(effects.moved.sum()),
                    seed=seed,
                    settings=settings_of(self),
                    hypothetical=hypothetical,
                    extras={**effects.parts, **effects.precision},
                )
            )
            if progress:
                progress(found[-1])
        return found

    def table(
        self, model: Model, records: Sequence[Record], target: Target, deletions: bool = False
    ) -> pd.DataFrame:
        """Every mutation of every record.

        Parameters
        ----------
        deletions : bool
            Also delete every base but an only one, which shifts all that follow.

        Returns
        -------
        DataFrame
            `record_id, position, base, mutant, effect, moved, base_effect, segmentation_effect`.
            The mutant of a deletion is `-`; it moves all borders behind it, and its effect is
            not split (NaN).
        """
        import pandas as pd

        parts, without = [], Evaluator(model, target, question_of("deletions", records))
        for record, found in measured(model, records, target):
            bases = np.array(list(record.sequence))
            part = {
                "record_id": record.id,
                "position": found.at,
                "base": bases[found.at],
                "mutant": np.array(list(LETTERS))[found.to],
                "effect": found.effect,
                "moved": found.moved,
                "base_effect": found.base_effect,
                "segmentation_effect": found.effect - found.base_effect,
            }
            parts.append(pd.DataFrame(part))
            if deletions and len(bases) > 1:
                at = np.arange(len(bases))
                (values,) = without([(Deleted(encode(record.sequence)), at)])
                part = {"record_id": record.id, "position": at, "base": bases, "mutant": "-"}
                parts.append(pd.DataFrame(part | {"effect": values - found.output, "moved": True}))
        table = pd.concat(parts, ignore_index=True)
        place = {record.id: i for i, record in enumerate(records)}
        order = [table["record_id"].map(place), table["position"], table["mutant"] == "-"]
        return table.iloc[np.lexsort(order[::-1])].reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class Effects:
    """What the mutations, (m,), of one sequence do to the target."""

    units: Ints
    at: Ints
    to: Ints
    moved: Bools
    output: float
    effect: Floats
    base_effect: Floats
    precision: Mapping[str, float]  # what the evaluator says about its numbers

    @property
    def parts(self) -> dict[str, float]:
        """How often borders move, and what the parts of the effect are then worth."""
        if not self.moved.any():
            return {"moved": 0.0}
        base = self.base_effect[self.moved]
        rest = self.effect[self.moved] - base
        return {
            "moved": float(self.moved.mean()),
            "base_effect": float(np.abs(base).mean()),
            "segmentation_effect": float(np.abs(rest).mean()),
        }


def measured(
    model: Model, records: Sequence[Record], target: Target
) -> Iterator[tuple[Record, Effects]]:
    """Every record with its effects, evaluated for as many records together as there is room."""
    evaluator = Evaluator(model, target, question_of("mutations", records))
    block, rows = [], 0
    for i, record in enumerate(records):
        block.append(Mutants(model, record))
        rows += len(block[-1].at)
        if rows >= ROWS_AT_ONCE or i + 1 == len(records):
            yield from _measured(evaluator, block)
            block, rows = [], 0


def _measured(evaluator: Evaluator, block: list[Mutants]) -> Iterator[tuple[Record, Effects]]:
    whole = evaluator([(mutants, np.arange(-1, len(mutants.at))) for mutants in block])
    split = evaluator([(Held(mutants), np.flatnonzero(mutants.moved)) for mutants in block])
    for mutants, (output, *values), apart in zip(block, whole, split, strict=True):
        effect = np.array(values) - output
        base_effect = effect.copy()
        base_effect[mutants.moved] = apart - output
        at, to, moved, units = mutants.at, mutants.to, mutants.moved, mutants.units
        effects = Effects(
            units, at, to, moved, float(output), effect, base_effect, evaluator.extras
        )
        yield mutants.record, effects


class Mutants:
    """The substitutions of a sequence, (m,), by position; makes the rows of those asked for.

    Attributes
    ----------
    at, to : (m,) int
        The base that is replaced, and the code of the one that replaces it.
    moved : (m,) bool
        Whether tokens change that do not cover the base.
    """

    draws = 1

    def __init__(self, model: Model, record: Record):
        self.record, self.codes = record, encode(record.sequence)
        self.tokens = tokens_of(model, record)
        self.units = disjoint(Bases().spans(record, self.tokens), record)
        self.width = len(self.tokens)
        self.at, self.to = np.nonzero((self.codes[:, None] < N) & (self.codes[:, None] != BASES))
        self.moved = np.zeros(len(self.at), bool)
        if not model.tokenizer.frame_safe_n:
            for i in range(0, len(self.at), BLOCK):
                some = slice(i, min(i + BLOCK, len(self.at)))
                self.moved[some] = self._moved(model, np.arange(some.start, some.stop))

    def bases(self, asked: Ints) -> Codes:
        """Mutants by number, (n, b); -1 is the sequence itself."""
        codes = np.tile(self.codes, (len(asked), 1))
        mutated = np.flatnonzero(asked >= 0)
        codes[mutated, self.at[asked[mutated]]] = self.to[asked[mutated]]
        return codes

    def rows(self, asked: Ints, model: Model) -> tuple[Tensor, Tensor | None]:
        return tokenised(self.bases(asked), model)

    def spans(self, asked: Ints, model: Model) -> list[Ints]:
        return spans_again(self.bases(asked), model)

    def _moved(self, model: Model, asked: Ints) -> Bools:
        """Borders are where they were if, and only if, no token changes but those on the base."""
        ids, lengths = model.tokenizer.encode_codes(self.bases(asked))
        at, spans, t = self.at[asked, None], self.tokens.spans, len(self.tokens)
        covers = (spans[:, 0] <= at) & (at < spans[:, 1])
        if ids.shape[1] < t:
            return np.ones(len(asked), bool)
        changed = (ids[:, :t] != self.tokens.ids) & ~covers
        return np.asarray((lengths != t) | changed.any(1))


class Held:
    """The same mutants with all tokens held as they are but those on the base, spelled anew."""

    draws = 1

    def __init__(self, mutants: Mutants):
        self.mutants, self.width = mutants, mutants.width

    def rows(self, asked: Ints, model: Model) -> tuple[Tensor, Tensor | None]:
        rows = [self._row(number, model)[0] for number in asked.tolist()]
        lengths = np.array([len(row) for row in rows])
        ids = np.full((len(rows), lengths.max()), model.tokenizer.pad_id)
        ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate(rows)
        return torch.from_numpy(ids).to(model.device), torch.from_numpy(lengths)

    def spans(self, asked: Ints, model: Model) -> list[Ints]:
        return [self._row(number, model)[1] for number in asked.tolist()]

    def _row(self, number: int, model: Model) -> tuple[Ints, Ints]:
        """Ids, (t,), and the bases they cover, (t, 2)."""
        tokens, at = self.mutants.tokens, self.mutants.at[number]
        token = int(np.flatnonzero((tokens.spans[:, 0] <= at) & (at < tokens.spans[:, 1]))[0])
        start, end = tokens.spans[token]
        text = self.mutants.codes[start:end].copy()
        text[at - start] = self.mutants.to[number]
        spelled = model.tokenizer.encode(decode(text))
        covering = spelled.spans[:, 1] > spelled.spans[:, 0]
        before, after = slice(token), slice(token + 1, None)
        ids = [tokens.ids[before], spelled.ids[covering], tokens.ids[after]]
        spans = [tokens.spans[before], start + spelled.spans[covering], tokens.spans[after]]
        return np.concatenate(ids), np.concatenate(spans)


class Deleted:
    """A sequence without one of its bases, by number."""

    draws = 1

    def __init__(self, codes: Codes):
        self.codes, self.width = codes, len(codes)

    def rows(self, asked: Ints, model: Model) -> tuple[Tensor, Tensor | None]:
        kept = np.arange(len(self.codes)) != asked[:, None]
        codes = np.broadcast_to(self.codes, kept.shape)[kept]
        return tokenised(codes.reshape(len(asked), -1), model)

    def spans(self, asked: Ints, model: Model) -> list[Ints]:
        raise CapabilityError(
            "Deletions move the bases behind them, so that a region is not where it was; a target "
            "with where has a table of substitutions only."
        )
