"""Attention and its rollout: hand-made maps, the maps of real networks, networks without."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch

import basewise as bw
from basewise.errors import CapabilityError
from basewise.explainers import EXPLAINERS
from basewise.registry import settings_of
from basewise.tokenize.nucleotide import Nucleotide
from explained_models import kmer_bert, records, tiny_cnn
from tiny_networks import tiny

NAMES = ["attention", "attention_rollout"]


def hooks_of(network: Any) -> list[int]:
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]


def built(name: str, **settings: Any) -> Any:
    return EXPLAINERS.build({"type": name} | settings)


def test_rollout_of_two_layers_by_hand() -> None:
    """Layer 1: everyone looks at token 0. Layer 2: token 0 looks at 1, token 1 at itself.

    Half of each is the residual: A1 = [[1, 0], [1/2, 1/2]], A2 = [[1/2, 1/2], [0, 1]];
    A2 A1 = [[3/4, 1/4], [1/2, 1/2]].
    """
    first = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    second = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    reached = built("attention_rollout").flow([first, second])[0]
    np.testing.assert_allclose(reached, [[0.75, 0.25], [0.5, 0.5]])


def test_attention_is_the_mean_over_heads() -> None:
    last = torch.tensor([[[[1.0, 0.0], [0.2, 0.8]], [[0.0, 1.0], [0.4, 0.6]]]])
    first = torch.ones_like(last) / 2
    np.testing.assert_allclose(built("attention").flow([first, last])[0], [[0.5, 0.5], [0.3, 0.7]])
    both = built("attention", layers="all").flow([first, last])[0]
    np.testing.assert_allclose(both, [[0.5, 0.5], [0.4, 0.6]])


@pytest.mark.parametrize("by", ["all", "first"])
def test_attention_is_the_networks_own(by: str) -> None:
    model, record = kmer_bert(), records()[0]
    network = model.network.eval()
    ids = torch.from_numpy(model.tokenizer.encode(record.sequence).ids)[None]
    network.set_attn_implementation("eager")
    with torch.no_grad():
        maps = network(input_ids=ids, output_attentions=True).attentions[-1][0].mean(0)
    network.set_attn_implementation("sdpa")
    (a,) = bw.explain(model, [record], "attention", "yes", by=by)
    paid = maps.mean(0) if by == "all" else maps[0]
    np.testing.assert_allclose(a.scores, paid[1:-1], atol=1e-6)
    np.testing.assert_array_equal(a.spans, [[i, i + 3] for i in range(len(record) - 2)])
    assert (a.kind, a.evaluations) == ("ranking", 2)
    assert network.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_paid_is_paid_to_some_token(name: str) -> None:
    """Without special tokens the scores are shares."""
    network = tiny("basewise-dnabert2", head="sequence_classification", num_labels=2, vocab_size=6)
    model = bw.Model(network, Nucleotide(), ("no", "yes"))
    for a in bw.explain(model, records(), name, "yes"):
        assert a.scores.sum() == pytest.approx(1)
        assert (a.scores > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_scores_depend_on_the_record_alone(name: str) -> None:
    model, some = kmer_bert(), records((11, 10, 12, 11))
    together = bw.explain(model, some, name, "yes")
    for record, a in zip(some, together, strict=True):
        (alone,) = bw.explain(model, [record], name, "no")  # nor does the label matter
        np.testing.assert_allclose(a.scores, alone.scores, atol=1e-6)
        assert a.output == pytest.approx(-alone.output, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_networks_without_attention_are_refused(name: str) -> None:
    module = bw.Model.from_module(torch.nn.Flatten(), ["score"], name="mine")
    for model in (tiny_cnn(), module):
        with pytest.raises(CapabilityError, match=r"has no attention maps; use a gradient"):
            bw.explain(model, records(), name, model.labels[0])
    network = tiny("basewise-hyenadna", head="sequence_classification", num_labels=2)
    hyena = bw.Model(network, Nucleotide(layout="hyenadna"), ("no", "yes"))
    with pytest.raises(CapabilityError, match="it has no attention maps"):
        bw.explain(hyena, records(), name, "yes")


@pytest.mark.parametrize("name", NAMES)
def test_a_function_is_refused_with_what_works(name: str) -> None:
    model = bw.Model.from_callable(lambda rows: [0.0] * len(rows), ["score"])
    with pytest.raises(CapabilityError, match=r"is a function, .* perturbation explainer"):
        bw.explain(model, records(), name, "score")


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_everything_borrowed_is_given_back_after_an_error(name: str, calls: int) -> None:
    """The network breaks down while its maps are read, or while its output is."""
    model, left = kmer_bert(), calls

    def breaks(*_: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise ZeroDivisionError("the network broke down")

    network = model.network.train()
    bw.explain(model, records(), name, "yes")  # transformers keeps sleeping hooks of its own
    hooks = hooks_of(network)
    network.bert.encoder.layer[1].eval()  # modes that differ from module to module
    frozen = network.bert.pooler.dense.bias.requires_grad_(False)
    handle = network.bert.encoder.layer[0].register_forward_pre_hook(breaks)
    modes = [module.training for module in network.modules()]
    implementation = network.config._attn_implementation
    state = torch.random.get_rng_state().clone()
    with pytest.raises(ZeroDivisionError):
        bw.explain(model, records(), name, "yes")
    handle.remove()
    assert [module.training for module in network.modules()] == modes
    assert [p for p in network.parameters() if not p.requires_grad] == [frozen]
    assert network.config._attn_implementation == implementation != "eager"
    assert hooks_of(network) == hooks
    assert torch.is_grad_enabled()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_rollout_of_a_real_network_is_the_product_of_its_maps() -> None:
    """Section 3: A' = (A + I) / 2, row by row a distribution, and A'_3 A'_2 A'_1."""
    network = tiny("basewise-dnabert2", head="sequence_classification", num_labels=2, vocab_size=6)
    model, record = bw.Model(network, Nucleotide(), ("no", "yes")), records()[1]
    ids = torch.from_numpy(model.tokenizer.encode(record.sequence).ids)[None]
    with torch.no_grad():
        maps = network(input_ids=ids, output_attentions=True).attentions
    layers = [(layer[0].mean(0).double().numpy() + np.eye(len(record))) / 2 for layer in maps]
    assert len(layers) == 3
    product = layers[2] @ layers[1] @ layers[0]
    np.testing.assert_allclose(product.sum(1), 1, atol=1e-6)
    for by, expected in (("all", product.mean(0)), ("first", product[0])):
        (a,) = bw.explain(model, [record], "attention_rollout", "yes", by=by)
        np.testing.assert_allclose(a.scores, expected, atol=1e-6)
    wrong = layers[0] @ layers[1] @ layers[2]
    assert np.abs(wrong.mean(0) - product.mean(0)).max() > 1e-3  # the order is seen


@pytest.mark.parametrize("name", NAMES)
def test_settings_rebuild_it(name: str) -> None:
    explainer = built(name, by="first")
    assert EXPLAINERS.build({"type": name} | settings_of(explainer)) == explainer
    assert pickle.loads(pickle.dumps(explainer)) == explainer
