"""Controls by taking away what was learned: from the scores, the weights, the labels.

Sources: Adebayo et al. 2018, "Sanity checks for saliency maps" (NeurIPS): model parameter and
data randomisation tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from basewise.errors import CapabilityError
from basewise.evaluate.controls import Case, Verdict, correlations, judged
from basewise.evaluate.faithfulness import Faithfulness
from basewise.explainers import MASKINGS
from basewise.explainers.count import Count, exactly
from basewise.explainers.random import Random
from basewise.models.randomised import randomised
from basewise.registry import component
from basewise.stats import mean_interval
from basewise.types import Record

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["PermutedLabels", "RandomScores", "RandomisedLayers"]

UNLIKE = 0.2
WHY_UNLIKE = (
    "an explanation of what was learned must change when that is gone; below 0.2 the ranks share "
    "less than 4 % of their variance"
)


@component
class RandomScores:
    """Does hiding the bases that the explanation names cost the model more than hiding bases
    that random scores name?

    Attributes
    ----------
    shares : list of float
        Of the bases that are hidden, with the highest scores.
    """

    shares: tuple[float, ...] = (0.05, 0.1, 0.2)

    def cost(self, explainer: Any, model: Model, record: Record) -> Count:
        return Count.total([self._hiding().cost(model, record, tracks=2), exactly(1)])

    def judge(self, case: Case) -> Verdict:
        random = Random().explain(case.model, case.records, case.target, case.seed)
        tracks = {"own": case.found, "random": random}
        found = self._hiding().measure(case.model, case.records, tracks, case.target, case.seed)
        rows = found.records
        rows = rows[(rows["metric"] == "comprehensiveness") & (rows["order"] == "own")]
        wide = rows.pivot_table(index="record_id", columns="track", values="value", sort=False)
        gain = (wide["own"] - wide["random"]).to_numpy(float)
        estimate = mean_interval(gain, np.random.default_rng([case.seed, 8]))
        return Verdict(
            "",
            judged(estimate, "above", 0.0),
            "comprehensiveness beyond that of random scores",
            estimate,
            "above",
            0.0,
            "scores that say no more than random ones explain nothing",
            found.evaluations + len(random),
        )

    def _hiding(self) -> Faithfulness:
        return Faithfulness(
            maskings=tuple(map(MASKINGS.build, ("n", "mask", "shuffled"))),
            shares=self.shares,
            steps=2,
            orders=1,
            perturbations=0,
            correlations=False,
        )


@component
class RandomisedLayers:
    """Does the explanation change when the model forgets, layer by layer from the top?

    Attributes
    ----------
    stages : int
        Of the cascade; the last has every layer initialised anew, and is judged.
    """

    stages: Annotated[int, Field(ge=1)] = 3

    def cost(self, explainer: Any, model: Model, record: Record) -> Count:
        count: Count = explainer.cost(model, record)
        return count.times(self.stages)

    def judge(self, case: Case) -> Verdict:
        trained = [attribution.per_base() for attribution in case.found]
        stages, evaluations = [], 0
        for stage in range(1, self.stages + 1):
            share = stage / self.stages
            found = case.explain(randomised(case.model, share, case.seed))
            evaluations += sum(a.evaluations for a in found)
            estimate = correlations(trained, [a.per_base() for a in found], case.seed)
            stages.append((f"top {share:.0%} of the layers".replace("%", " %"), estimate))
        estimate = stages[-1][1]
        return Verdict(
            "",
            judged(estimate, "within", UNLIKE),
            "rank correlation with the explanation of a model whose layers are all random",
            estimate,
            "within",
            UNLIKE,
            WHY_UNLIKE,
            evaluations,
            tuple(stages),
        )


@component
class PermutedLabels:
    """Does the explanation differ from that of a model trained on permuted labels?

    Attributes
    ----------
    epochs : int
        Of the training on permuted labels.
    """

    epochs: Annotated[int, Field(ge=1)] = 2

    def cost(self, explainer: Any, model: Model, record: Record) -> Count:
        count: Count = explainer.cost(model, record)
        return count

    def judge(self, case: Case) -> Verdict:
        if case.retrain is None:
            raise CapabilityError(
                f"{case.model.name} was not trained here, so it cannot be trained on permuted "
                "labels."
            )
        found = case.explain(case.retrain(self.epochs))
        trained = [attribution.per_base() for attribution in case.found]
        estimate = correlations(trained, [a.per_base() for a in found], case.seed)
        return Verdict(
            "",
            judged(estimate, "within", UNLIKE),
            "rank correlation with the explanation of a model trained on permuted labels",
            estimate,
            "within",
            UNLIKE,
            WHY_UNLIKE,
            sum(a.evaluations for a in found),
        )
