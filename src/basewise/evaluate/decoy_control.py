"""A control by a motif that means nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from basewise.errors import CapabilityError
from basewise.evaluate.controls import Case, Verdict, judged
from basewise.explainers.count import Count
from basewise.registry import component
from basewise.stats import mean_interval, random_numbers
from basewise.types import Bools, Ints, Record

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Decoys"]

NULL = 0.2
WHY_NULL = (
    "no label was ever linked with the decoy, so it should get what a shuffle of its bases gets in "
    "the same places; 0.2 standard deviations are a small effect (Cohen 1988)"
)


@component
class Decoys:
    """Does a planted motif that no label is linked with get attribution?

    Copies are planted into every record, clear of its known truth. The matched positions are the
    same ones, of the same record, with the motif's bases in another order. The statistic is the
    mean score inside the copies less that inside the shuffles, in standard deviations of the
    record's scores.

    Attributes
    ----------
    motif : str
        Letters `ACGT`; drawn with the seed where empty: 8 bases, two of each.
    copies : int
        In each record, where there is room.
    """

    motif: str = ""
    copies: Annotated[int, Field(ge=1)] = 3

    @field_validator("motif")
    @classmethod
    def _letters(cls, motif: str) -> str:
        if set(motif) - set("ACGT") or len(set(motif)) == 1:
            raise ValueError("a decoy is spelled in two or more of the letters A, C, G, T")
        return motif

    def cost(self, explainer: Any, model: Model, record: Record) -> Count:
        count: Count = explainer.cost(model, record)
        return count.times(2)

    def judge(self, case: Case) -> Verdict:
        rng = np.random.default_rng([case.seed, 9])
        motif = self.motif or "".join(rng.permutation(list("AACCGGTT")))
        kept, planted, shuffled, inside = [], [], [], []
        for i, record in enumerate(case.records):
            own = random_numbers(case.seed, record.id, "decoys")
            starts = self._starts(record, len(motif), own)
            if not len(starts):
                continue
            kept.append(i)
            inside.append(_inside(starts, len(motif), len(record.sequence)))
            planted.append(_planted(record, [motif] * len(starts), starts))
            others = [_shuffle(motif, own) for _ in starts]
            shuffled.append(_planted(record, others, starts))
        if not kept:
            raise CapabilityError(
                f"No record has room for {len(motif)} bases clear of its known truth, so no decoy "
                "can be planted."
            )
        with_decoys = case.explain(records=planted)
        without = case.explain(records=shuffled)
        values = []
        for a, b, at in zip(with_decoys, without, inside, strict=True):
            first, second = a.per_base(), b.per_base()
            spread = np.sqrt((first.var() + second.var()) / 2)
            difference = first[at].mean() - second[at].mean()
            values.append(difference / spread if spread > 0 else 0.0)
        estimate = mean_interval(np.array(values), np.random.default_rng([case.seed, 8]))
        return Verdict(
            "",
            judged(estimate, "within", NULL),
            f"mean score inside planted {motif} less that inside shuffles of it in the same "
            "places, in standard deviations of a record's scores",
            estimate,
            "within",
            NULL,
            WHY_NULL,
            sum(a.evaluations for a in (*with_decoys, *without)),
        )

    def _starts(self, record: Record, width: int, rng: np.random.Generator) -> Ints:
        """Where copies go: apart from one another, clear of known truth."""
        free = np.ones(len(record.sequence), bool)
        for span in record.truth:
            free[span.start : span.end] = False
        starts: list[int] = []
        for _ in range(self.copies):
            if len(free) < width:
                break
            room = np.lib.stride_tricks.sliding_window_view(free, width).all(1)
            if not room.any():
                break
            starts.append(int(rng.choice(np.flatnonzero(room))))
            free[starts[-1] : starts[-1] + width] = False
        return np.array(starts, np.int64)


def _inside(starts: Ints, width: int, length: int) -> Bools:
    found = np.zeros(length, bool)
    found[(starts[:, None] + np.arange(width)).ravel()] = True
    return found


def _planted(record: Record, motifs: list[str], starts: Ints) -> Record:
    letters = list(record.sequence)
    for motif, start in zip(motifs, starts.tolist(), strict=True):
        letters[start : start + len(motif)] = motif
    return replace(record, sequence="".join(letters))


def _shuffle(motif: str, rng: np.random.Generator) -> str:
    """The letters of a motif in another order."""
    while True:
        found = "".join(rng.permutation(list(motif)))
        if found != motif:
            return found
