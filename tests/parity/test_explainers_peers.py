"""Agreement with shap, lime and captum on the same models, masks and samples.

The tolerance is 1e-5 or below wherever both compute the same number in float32 or better, and is
stated at the comparison where both draw samples of their own.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import basewise as bw
from basewise.explainers import EXPLAINERS, MASKINGS, UNITS
from basewise.explainers.game import play_one
from basewise.explainers.lime import draw
from basewise.models.batch import Batch
from basewise.models.evaluator import Evaluator
from basewise.models.gradient import embed
from basewise.types import Floats
from explained_models import Additive, kmer_bert, tiny_cnn

SEQUENCE = "GATTACAGCA"


def imported_shap() -> Any:
    """The library, without waiting for numba to compile what it runs once."""
    import numba

    before = numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import shap
    finally:
        numba.config.DISABLE_JIT = before
    return shap


def board(model: bw.Model, masking: str, units: str = "bases") -> Any:
    """What the library explains: coalitions (n, u) to values (n,), on our rows."""
    record = bw.Record("r", SEQUENCE)
    tokens = model.tokenizer.encode(SEQUENCE)
    spans = UNITS.build(units).spans(record, tokens)
    made = MASKINGS.build(masking).switchboard(
        record, tokens, spans, model, np.random.default_rng(0)
    )
    evaluator = Evaluator(model, model.target(model.labels[0]))

    def value(present: Any) -> Floats:
        return evaluator([(made, np.asarray(present, float) > 0.5)])[0]

    return value, made.n_units


MODELS = [(tiny_cnn, "n"), (kmer_bert, "mask")]


@pytest.mark.parametrize("make, masking", MODELS)
def test_kernel_shap_is_shaps_kernel_explainer(make: Any, masking: str) -> None:
    """Both enumerate all 1,022 coalitions of ten bases; shap without feature selection."""
    shap = imported_shap()
    model = make()
    value, u = board(model, masking)
    theirs = shap.KernelExplainer(value, np.zeros((1, u))).shap_values(
        np.ones((1, u)), nsamples=2000, l1_reg=False, silent=True
    )
    (ours,) = bw.explain(
        model,
        [bw.Record("r", SEQUENCE)],
        "kernel_shap",
        model.labels[0],
        units="bases",
        masking=masking,
    )
    assert ours.evaluations == 1024
    np.testing.assert_allclose(ours.scores, theirs[0], atol=1e-6)


def test_partition_shap_is_shaps_partition_explainer() -> None:
    """The same tree of halves over eight windows, all opened."""
    shap = imported_shap()
    model = tiny_cnn()
    record = bw.Record("r", SEQUENCE[:8])
    (ours,) = bw.explain(model, [record], "partition_shap", "a", evaluations=10_000)

    tokens = model.tokenizer.encode(record.sequence)
    made = MASKINGS.build("n").switchboard(record, tokens, ours.spans, model, None)
    evaluator = Evaluator(model, model.target("a"))
    halves = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11], [12, 13]]
    sizes = [2, 2, 2, 2, 4, 4, 8]
    tree = np.array([[*pair, 1 + i, sizes[i]] for i, pair in enumerate(halves)], float)
    masker = shap.maskers.Partition(np.zeros((1, 8)), clustering=tree)
    explainer = shap.PartitionExplainer(
        lambda z: evaluator([(made, np.asarray(z) > 0.5)])[0], masker
    )
    theirs = explainer(np.ones((1, 8)), max_evals=10_000, silent=True).values[0]
    np.testing.assert_allclose(ours.scores, theirs, atol=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("features", [None, 4])
def test_lime_is_limes_surrogate_of_the_same_samples(distance: str, features: int | None) -> None:
    from lime.lime_base import LimeBase
    from sklearn.metrics import pairwise_distances

    value, u = board(tiny_cnn(), "n")
    lime = EXPLAINERS.build(
        {"type": "lime", "samples": 200, "distance": distance, "features": features}
    )
    _, ours = play_one(value, u, lambda game: lime.estimate(game, np.random.default_rng(5)))

    data = draw(200, u, np.random.default_rng(5)).astype(float)
    distances = pairwise_distances(data, data[:1], metric=distance).ravel() * 100
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 25.0**2)))
    _, theirs, r2, _ = base.explain_instance_with_data(
        data,
        np.stack([value(data)], axis=1),
        distances,
        0,
        features or u,
        feature_selection="highest_weights" if features else "none",
    )
    scores = np.zeros(u)
    for unit, weight in theirs:
        scores[unit] = weight
    np.testing.assert_allclose(ours.scores, scores, atol=1e-7)
    assert ours.extras["r2"] == pytest.approx(r2, abs=1e-7)


def test_limes_text_explainer_weighs_and_fits_the_same() -> None:
    """The package's own explainer of texts, on words that are bases; only the draws differ."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lime.lime_text import LimeTextExplainer

    module = Additive()
    model = bw.Model.from_module(module, ["score"], outputs="values")
    samples = 3000

    def classify(texts: list[str]) -> Any:
        rows = [bw.Record("", text.replace(" ", "").replace("X", "N")) for text in texts]
        value = model.predict(rows)[:, 0]
        return np.stack([value, -value], axis=1)

    explainer = LimeTextExplainer(
        bow=False, mask_string="X", split_expression=r"\s+", random_state=1, kernel_width=25
    )
    theirs = explainer.explain_instance(
        " ".join(SEQUENCE), classify, labels=(0,), num_features=len(SEQUENCE), num_samples=samples
    ).as_map()[0]
    (ours,) = bw.explain(
        model, [bw.Record("r", SEQUENCE)], "lime", "score", samples=samples, units="bases"
    )
    scores = np.array([weight for _, weight in sorted(theirs)])
    np.testing.assert_allclose(ours.scores, scores, atol=0.05)  # two sets of random samples
    np.testing.assert_allclose(ours.scores, module.scores(SEQUENCE), atol=0.1)  # a ridge shrinks


class Forward(torch.nn.Module):
    """A model's network as captum calls it."""

    def __init__(self, model: bw.Model):
        super().__init__()
        self.network = model.network.eval()

    def forward(self, ids: Tensor) -> Tensor:
        raw = self.network(input_ids=ids, attention_mask=None).logits
        return raw[:, 0] - raw[:, 1:].logsumexp(1)


@pytest.mark.parametrize("make, masking", MODELS)
def test_occlusion_is_captums_feature_ablation(make: Any, masking: str) -> None:
    from captum.attr import FeatureAblation

    model = make()
    tokens = model.tokenizer.encode(SEQUENCE)
    units = "bases" if masking == "n" else "windows"
    settings: dict[str, Any] = {"masking": masking, "units": units}
    if units == "windows":  # one window that touches all tokens: captum ablates tokens
        settings["units"] = {"type": "windows", "size": len(SEQUENCE)}
    (ours,) = bw.explain(
        model, [bw.Record("r", SEQUENCE)], "occlusion", model.labels[0], **settings
    )
    ids = torch.from_numpy(tokens.ids)[None]
    covers = torch.from_numpy(tokens.spans[:, 1] > tokens.spans[:, 0])
    off = model.tokenizer.mask_id if masking == "mask" else 4
    groups = torch.arange(len(tokens)) if units == "bases" else covers.long()
    theirs = FeatureAblation(Forward(model)).attribute(
        ids, baselines=int(off or 0), feature_mask=groups[None]
    )[0]
    expected = theirs.numpy() if units == "bases" else theirs[covers][:1].numpy()
    np.testing.assert_allclose(ours.scores, expected, atol=1e-5)


def test_exact_shapley_is_captums_shapley_value() -> None:
    """Windows of two bases: captum goes through the 120 orders of five features."""
    from captum.attr import ShapleyValues

    model = tiny_cnn()
    ids = torch.from_numpy(model.tokenizer.encode(SEQUENCE).ids)[None]
    theirs = ShapleyValues(Forward(model)).attribute(
        ids, baselines=4, feature_mask=torch.arange(len(SEQUENCE))[None] // 2
    )[0]
    ours = explained(model, "exact_shapley", units={"type": "windows", "size": 2})
    np.testing.assert_allclose(ours.scores, theirs[::2], atol=1e-5)


@pytest.mark.parametrize("make, masking", MODELS)
def test_exact_shapley_is_shaps_exact_explainer(make: Any, masking: str) -> None:
    shap = imported_shap()
    model = make()
    value, u = board(model, masking)
    masker = shap.maskers.Independent(np.zeros((1, u)))
    theirs = shap.ExactExplainer(value, masker)(np.ones((1, u)), max_evals=2**u).values[0]
    ours = explained(model, "exact_shapley", masking=masking)
    np.testing.assert_allclose(ours.scores, theirs, atol=1e-6)


@pytest.mark.parametrize("rule, method", [("trapezoid", "riemann_trapezoid"),
                                          ("gauss_legendre", "gausslegendre")])  # fmt: skip
def test_integrated_gradients_on_embeddings_are_captums(rule: str, method: str) -> None:
    """A trapezoid of s places has s - 1 intervals; captum's weights then sum to 1 - 1 / s."""
    from captum.attr import LayerIntegratedGradients

    model, places = kmer_bert(), 21
    tokens = model.tokenizer.encode(SEQUENCE)
    ids = torch.from_numpy(tokens.ids)[None]
    reference = ids.clone()
    bases = tokens.spans[:, 1] > tokens.spans[:, 0]
    reference[:, torch.from_numpy(bases)] = int(model.tokenizer.mask_id or 0)
    theirs = LayerIntegratedGradients(Forward(model), model.embedding).attribute(
        ids, reference, n_steps=places, method=method
    )
    (ours,) = bw.explain(
        model,
        [bw.Record("r", SEQUENCE)],
        "integrated_gradients",
        model.labels[0],
        reference={"type": "token", "token": "mask"},
        rule=rule,
        steps=places - (rule == "trapezoid"),
        tolerance=None,
    )
    summed = theirs.sum(2)[0].detach().numpy()
    if rule == "trapezoid":
        summed *= places / (places - 1)
    np.testing.assert_allclose(summed[~bases], 0, atol=1e-7)
    np.testing.assert_allclose(ours.scores, summed[bases], atol=1e-5)


class OnEmbedding(torch.nn.Module):
    """A one-hot network as captum calls it on its one-hot rows."""

    def __init__(self, model: bw.Model):
        super().__init__()
        self.network = model.network.eval()

    def forward(self, x: Tensor) -> Tensor:
        raw = self.network(inputs_embeds=x).logits
        return raw[:, 0] - raw[:, 1:].logsumexp(1)


def test_integrated_gradients_on_one_hot_rows_are_captums() -> None:
    from captum.attr import IntegratedGradients

    model = tiny_cnn()
    ids = torch.from_numpy(model.tokenizer.encode(SEQUENCE).ids)[None]
    x = embed(model, Batch(ids, None))
    theirs = IntegratedGradients(OnEmbedding(model)).attribute(
        x, torch.full_like(x, 0.25), n_steps=51, method="riemann_trapezoid"
    )[0]
    (ours,) = bw.explain(
        model,
        [bw.Record("r", SEQUENCE)],
        "integrated_gradients",
        model.labels[0],
        reference="uniform",
        steps=50,
        tolerance=None,
    )
    np.testing.assert_allclose(ours.scores, theirs.sum(1) * 51 / 50, atol=1e-5)


def one_hot() -> tuple[bw.Model, Tensor]:
    model = tiny_cnn()
    ids = torch.from_numpy(model.tokenizer.encode(SEQUENCE).ids)[None]
    return model, embed(model, Batch(ids, None))


def explained(model: bw.Model, name: str, **settings: Any) -> Any:
    return bw.explain(model, [bw.Record("r", SEQUENCE)], name, model.labels[0], **settings)[0]


def test_saliency_and_input_x_gradient_are_captums() -> None:
    from captum.attr import InputXGradient, Saliency

    model, x = one_hot()
    size = Saliency(OnEmbedding(model)).attribute(x.clone().requires_grad_())[0].numpy()
    np.testing.assert_allclose(explained(model, "saliency").scores, size.max(1), atol=1e-6)
    product = InputXGradient(OnEmbedding(model)).attribute(x.clone().requires_grad_())[0]
    ours = explained(model, "input_x_gradient").scores
    np.testing.assert_allclose(ours, product.sum(1).detach(), atol=1e-6)


def test_smoothgrad_is_captums_noise_tunnel() -> None:
    """The same noise on average: means of 4,000 draws."""
    from captum.attr import NoiseTunnel, Saliency

    model, x = one_hot()
    torch.manual_seed(0)
    tunnel = NoiseTunnel(Saliency(OnEmbedding(model)))
    theirs = tunnel.attribute(
        x.clone().requires_grad_(),
        nt_samples=4000,
        stdevs=0.15,
        abs=False,
        nt_samples_batch_size=500,
    )[0]
    ours = explained(model, "smoothgrad", draws=4000, noise=0.15).hypothetical
    np.testing.assert_allclose(ours, theirs, atol=0.03 * theirs.abs().max().item())


def test_expected_gradients_are_captums_gradient_shap() -> None:
    """One reference, uniform places, no noise: the same expectation, over 4,000 draws."""
    from captum.attr import GradientShap

    model, x = one_hot()
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - captum draws from it
    theirs = (
        GradientShap(OnEmbedding(model))
        .attribute(x, torch.full_like(x, 0.25), n_samples=4000, stdevs=0.0)[0]
        .sum(1)
    )
    ours = explained(model, "expected_gradients", reference="uniform", draws=4000).scores
    np.testing.assert_allclose(ours, theirs, atol=0.03 * theirs.abs().max().item())


def test_what_a_mask_shows_is_what_the_libraries_were_given() -> None:
    """The rows above are real ones: a hand-made row of ids has the same value."""
    model = kmer_bert()
    value, u = board(model, "mask")
    present = np.ones((1, u), bool)
    present[0, 4] = False
    ids = model.tokenizer.encode(SEQUENCE).ids.copy()
    ids[3:6] = model.tokenizer.mask_id  # base 4 is in 3-mers 2, 3, 4, behind [CLS]
    with torch.no_grad():
        raw = Forward(model)(torch.from_numpy(ids)[None])
    np.testing.assert_allclose(value(present), raw.numpy(), atol=1e-6)
