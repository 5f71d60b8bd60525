"""Agreement with `tangermeme` on one-hot networks: the same sequences, shuffles and motifs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tangermeme.deep_lift_shap import deep_lift_shap
from tangermeme.marginalize import marginalize
from tangermeme.saturation_mutagenesis import saturation_mutagenesis
from torch import Tensor, nn

import basewise as bw
from basewise.explainers import EXPLAINERS
from basewise.models.batch import Batch
from basewise.models.gradient import embed
from basewise.sequence.alphabet import encode
from basewise.stats import random_numbers

RECORDS = [bw.Record("one", "GATTACAGCATGCC"), bw.Record("two", "CCTATAAGGGATCA")]
SEED = 3


class Cnn(nn.Module):
    """Convolutions, pools and dense layers in modules, which is where tangermeme has its rules."""

    def __init__(self, act: type[nn.Module], pool: nn.Module):
        super().__init__()
        torch.manual_seed(6)
        self.body = nn.Sequential(
            nn.Conv1d(4, 6, 5, padding=2), act(), nn.Conv1d(6, 5, 3), act(), pool, nn.Flatten(),
            nn.LazyLinear(8), act(), nn.Linear(8, 3),
        )  # fmt: skip
        with torch.no_grad():
            self.body(torch.zeros(1, 4, 14))
            for weight in self.parameters():
                weight.normal_(std=0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


NETS: dict[str, Any] = {
    "relu, max": lambda: Cnn(nn.ReLU, nn.MaxPool1d(3)),
    "relu, overlapping max": lambda: Cnn(nn.ReLU, nn.MaxPool1d(3, 2)),
    "gelu, max": lambda: Cnn(nn.GELU, nn.MaxPool1d(2)),
    "elu, mean": lambda: Cnn(nn.ELU, nn.AvgPool1d(2)),
    "sigmoid, max": lambda: Cnn(nn.Sigmoid, nn.MaxPool1d(4)),
}


def model_of(net: nn.Module) -> bw.Model:
    return bw.Model.from_module(net.eval(), ["a", "b", "c"], outputs="values", name="cnn")


def one_hot(codes: Any) -> Tensor:
    """Codes (..., b) as (..., 4, b)."""
    return torch.from_numpy(np.eye(4, dtype=np.float32)[codes]).transpose(-1, -2)


@pytest.mark.parametrize("name", NETS)
def test_deep_lift_is_tangermemes_for_the_same_shuffles(name: str) -> None:
    """Scores, hypothetical scores, and the multipliers of every pair behind them; to 1e-5."""
    net = NETS[name]()
    model, explainer = model_of(net), EXPLAINERS.build("deep_lift")
    ours = bw.explain(model, RECORDS, explainer, "b", seed=SEED)
    shuffles = []
    for record in RECORDS:
        tokens = model.tokenizer.encode(record.sequence)
        x = embed(model, Batch(torch.from_numpy(tokens.ids)[None], None))[0]
        rng = random_numbers(SEED, record.id, "deep_lift")
        shuffles.append(explainer.start(record, tokens, x, model, rng).transpose(1, 2))
    x = torch.stack([one_hot(encode(record.sequence)) for record in RECORDS])
    for hypothetical in (False, True):
        theirs = deep_lift_shap(
            net, x, target=1, references=torch.stack(shuffles), hypothetical=hypothetical,
            device="cpu",
        ).numpy()  # fmt: skip
        for a, each in zip(ours, theirs, strict=True):
            if hypothetical:
                np.testing.assert_allclose(a.hypothetical, each.T, atol=1e-5)
            else:
                np.testing.assert_allclose(a.scores, each.sum(0), atol=1e-5)
                assert np.abs(a.scores).max() > 1e-3  # a hundred times the tolerance
    assert all(abs(a.gap) < 1e-5 for a in ours)


@pytest.mark.parametrize("name", ["relu, max", "gelu, max"])
def test_mutagenesis_is_tangermemes_saturation_mutagenesis(name: str) -> None:
    """The outputs of all mutants, to 1e-5; and its score, which is centred over bases."""
    net = NETS[name]()
    ours = bw.explain(model_of(net), RECORDS, "mutagenesis", "c")
    x = torch.stack([one_hot(encode(record.sequence)) for record in RECORDS])
    raw = saturation_mutagenesis(net, x, raw_outputs=True, device="cpu")
    before, after = raw[0].numpy(), raw[1].numpy()  # (n, 3), (n, 4, b, 3)
    scored = saturation_mutagenesis(net, x, target=2, hypothetical=True, device="cpu").numpy()
    for i, a in enumerate(ours):
        effects = after[i, :, :, 2].T - before[i, 2]
        assert a.output == pytest.approx(before[i, 2], abs=1e-6)
        np.testing.assert_allclose(a.hypothetical, effects, atol=1e-5)
        np.testing.assert_allclose(a.scores, -effects.sum(1) / 3, atol=1e-5)
        centred = a.hypothetical - a.hypothetical.mean(1, keepdims=True)
        np.testing.assert_allclose(centred, scored[i].T, atol=1e-5)


@pytest.mark.parametrize("motif", ["TATA", "CNNG", "G"])
def test_marginalisation_is_tangermemes_in_the_same_backgrounds(motif: str) -> None:
    """Every place, before and after, to 1e-5."""
    net = NETS["relu, max"]()
    explainer = EXPLAINERS.build({"type": "marginalisation", "motif": motif, "stride": 3})
    ours = bw.explain(model_of(net), RECORDS, explainer, "a", seed=SEED)
    for record, a in zip(RECORDS, ours, strict=True):
        rng = random_numbers(SEED, record.id, "marginalisation")
        x = one_hot(explainer.shuffles(record, rng))
        assert len(a.scores) == len(range(0, 15 - len(motif), 3))
        for (start, _), score in zip(a.spans, a.scores, strict=True):
            result = marginalize(net, x, motif, start=int(start), device="cpu")
            before, after = result.y_before.numpy()[:, 0], result.y_after.numpy()[:, 0]
            assert score == pytest.approx((after - before).mean(), abs=1e-5)
            assert a.baseline == pytest.approx(before.mean(), abs=1e-5)
