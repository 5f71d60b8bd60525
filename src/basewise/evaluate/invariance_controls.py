"""Controls by changes that mean nothing: the other strand, a shift.

An explanation owes invariance only where the model has it (Crabbe & van der Schaar 2023,
"Evaluating the robustness of interpretability methods through explanation invariance and
equivariance", NeurIPS). So the model's own outputs are compared first; where they change, the
correlation of the explanations is told and not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from basewise.evaluate.controls import Case, Verdict, correlations, judged
from basewise.explainers.count import Count
from basewise.registry import component
from basewise.sequence.alphabet import LETTERS, reverse_complement
from basewise.stats import random_numbers
from basewise.types import Attribution, Floats, Record

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Shift", "Strand"]

ALIKE = 0.7
WHY_ALIKE = (
    "the model's own output stays ({said}), so the explanation should; at 0.7 the ranks share half "
    "of their variance"
)
CLAIM = 0.95  # correlation of outputs from which on a model is taken to be invariant


@component
class Strand:
    """Does the reverse complement have the explanation turned round?"""

    def cost(self, explainer: Any, model: Model, record: Record) -> Count:
        count: Count = explainer.cost(model, record)
        return count

    def judge(self, case: Case) -> Verdict:
        other = [
            replace(r, sequence=str(reverse_complement(r.sequence)), truth=(), locus=None)
            for r in case.records
        ]
        found = case.explain(records=other)
        turned = [attribution.per_base()[::-1] for attribution in found]
        own = [attribution.per_base() for attribution in case.found]
        return _verdict(case, found, own, turned, "on the reverse complement")


@component
class Shift:
    """Does the explanation move along when the sequence does?

    The sequence moves to the right: bases drawn at random come in, as many go out.

    Attributes
    ----------
    bases : int
        By how many; at most half of a sequence.
    """

    bases: Annotated[int, Field(ge=1)] = 3

    def cost(self, explainer: Any, model: Model, record: Record) -> Count:
        count: Count = explainer.cost(model, record)
        return count

    def judge(self, case: Case) -> Verdict:
        moved, by = [], []
        for record in case.records:
            rng = random_numbers(case.seed, record.id, "shift")
            by.append(min(self.bases, len(record.sequence) // 2))
            new = "".join(rng.choice(list(LETTERS[:4]), by[-1]))
            kept = record.sequence[: len(record.sequence) - by[-1]]
            moved.append(replace(record, sequence=new + kept, truth=(), locus=None))
        found = case.explain(records=moved)
        own = [a.per_base()[: len(a.sequence) - s] for a, s in zip(case.found, by, strict=True)]
        after = [a.per_base()[s:] for a, s in zip(found, by, strict=True)]
        what = "base" if self.bases == 1 else "bases"
        return _verdict(case, found, own, after, f"on sequences shifted by {self.bases} {what}")


def _verdict(
    case: Case,
    found: Sequence[Attribution],
    own: Sequence[Floats],
    changed: Sequence[Floats],
    where: str,
) -> Verdict:
    estimate = correlations(own, changed, case.seed)
    claim = output_correlation(case.found, found)
    said = f"correlation {claim:.2f} over records"
    expected = claim >= CLAIM
    return Verdict(
        "",
        judged(estimate, "above", ALIKE) if expected else "not expected",
        f"rank correlation with the explanation {where}",
        estimate,
        "above",
        ALIKE,
        WHY_ALIKE.format(said=said)
        if expected
        else f"the model's own output changes ({said}; {CLAIM} would claim that it does not), and "
        "so may the explanation",
        sum(a.evaluations for a in found),
    )


def output_correlation(first: Sequence[Attribution], second: Sequence[Attribution]) -> float:
    """Lin's concordance of the outputs of records: 1 where they are equal, 0 where unrelated.

    A correlation that also asks for equal means and spreads (Lin 1989, Biometrics 45:255).
    """
    a, b = (np.array([x.output for x in found]) for found in (first, second))
    spread = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    if spread == 0:
        return 1.0
    return float(2 * np.mean((a - a.mean()) * (b - b.mean())) / spread)
