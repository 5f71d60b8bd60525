"""How good explanations are, whether they agree, and what they say of tokens."""

from __future__ import annotations

from basewise.registry import Registry

__all__ = ["AGREEMENTS", "CONTROLS", "DEFAULT_CONTROLS", "RANKINGS"]

AGREEMENTS = Registry(
    "agreement measure",
    {
        "cosine": "basewise.evaluate.agreement_measures:Cosine",
        "rank": "basewise.evaluate.agreement_measures:RankCorrelation",
        "sign": "basewise.evaluate.agreement_measures:SignAgreement",
        "top_k": "basewise.evaluate.agreement_measures:TopK",
        "top_rank": "basewise.evaluate.agreement_measures:TopRankCorrelation",
    },
)

CONTROLS = Registry(
    "control",
    {
        "decoys": "basewise.evaluate.decoy_control:Decoys",
        "permuted_labels": "basewise.evaluate.randomisation_controls:PermutedLabels",
        "random_scores": "basewise.evaluate.randomisation_controls:RandomScores",
        "randomised_layers": "basewise.evaluate.randomisation_controls:RandomisedLayers",
        "shift": "basewise.evaluate.invariance_controls:Shift",
        "strand": "basewise.evaluate.invariance_controls:Strand",
    },
)

DEFAULT_CONTROLS = ("random_scores", "randomised_layers", "decoys", "strand", "shift")
"""Those that need no training."""

RANKINGS = Registry(
    "ranking method",
    {
        "borda": "basewise.evaluate.ranking_methods:Borda",
        "mean_deviation": "basewise.evaluate.ranking_methods:MeanDeviation",
        "reciprocal_rank": "basewise.evaluate.ranking_methods:ReciprocalRank",
        "robust_rank": "basewise.evaluate.ranking_methods:RobustRank",
    },
)
