"""What every native network promises, on tiny randomly initialised ones of every architecture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from basewise.errors import CapabilityError, ConfigError, DataError
from basewise.models.network import Network
from tiny_networks import SIZES, fresh_seed, pad_id, ragged_rows, tiny

HEADS = {name: ("causal_lm" if "hyenadna" in name else "masked_lm") for name in SIZES}
EXACT = 1e-5  # of the largest number in the comparison, float32
BF16 = 0.03  # relative error (L2) that casting a network to bfloat16 may cost


@pytest.fixture(params=SIZES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["lm", "sequence_classification", "token_classification"])
def network(request: pytest.FixtureRequest, name: str) -> Network:
    head = HEADS[name] if request.param == "lm" else request.param
    return tiny(name, head=head, num_labels=3)


def same(a: Tensor, b: Tensor, within: float = EXACT) -> None:
    assert a.shape == b.shape
    assert (a - b).abs().max() <= within * b.abs().max()


def per_token(network: Network) -> bool:
    return network.config.head != "sequence_classification"


def test_a_batch_of_n_equals_n_batches_of_one(network: Network) -> None:
    ids, mask = ragged_rows(pad_id(network))
    with torch.no_grad():
        together = network(input_ids=ids, attention_mask=mask).logits
        for row, length in enumerate(mask.sum(1)):
            alone = network(input_ids=ids[row : row + 1, :length]).logits[0]
            same(together[row, :length] if per_token(network) else together[row], alone)


def test_padding_has_no_influence_and_no_gradient(network: Network) -> None:
    ids, mask = ragged_rows(pad_id(network))
    embedded = network.get_input_embeddings()(ids).detach().requires_grad_()
    logits = network(inputs_embeds=embedded, attention_mask=mask).logits
    read = logits * mask[..., None] if per_token(network) else logits
    (gradient,) = torch.autograd.grad(read.square().sum(), embedded)
    assert (gradient[mask == 0] == 0).all()
    assert (gradient[mask == 1].abs().amax(-1) > 0).all()
    with torch.no_grad():
        other = embedded.masked_fill(mask[..., None] == 0, 7.0)
        changed = network(inputs_embeds=other, attention_mask=mask).logits
    real = mask.bool() if per_token(network) else slice(None)
    same(changed[real], logits.detach()[real])


def test_embeddings_in_place_of_ids_give_the_same(network: Network) -> None:
    ids, mask = ragged_rows(pad_id(network))
    with torch.no_grad():
        from_ids = network(input_ids=ids, attention_mask=mask).logits
        embedded = network.get_input_embeddings()(ids)
        same(network(inputs_embeds=embedded, attention_mask=mask).logits, from_ids)
    with pytest.raises(CapabilityError, match="input_ids or inputs_embeds, and not both"):
        network(input_ids=ids, inputs_embeds=embedded)


def test_a_hook_on_the_embedding_sees_and_steers_everything(network: Network) -> None:
    ids, mask = ragged_rows(pad_id(network))
    other = torch.randn(*ids.shape, 24, generator=torch.Generator().manual_seed(3))
    handle = network.get_input_embeddings().register_forward_hook(lambda *_: other)
    with torch.no_grad():
        steered = network(input_ids=ids, attention_mask=mask).logits
        handle.remove()
        same(steered, network(inputs_embeds=other, attention_mask=mask).logits)


def test_attention_maps_do_not_change_the_result(network: Network) -> None:
    ids, mask = ragged_rows(pad_id(network))
    if network.config.model_type == "basewise-hyenadna":
        with pytest.raises(CapabilityError, match="has no attention maps"):
            network(input_ids=ids, attention_mask=mask, output_attentions=True)
        return
    with torch.no_grad():
        fast = network(input_ids=ids, attention_mask=mask)
        slow = network(input_ids=ids, attention_mask=mask, output_attentions=True)
    assert fast.attentions is None
    same(slow.logits, fast.logits)
    assert [a.shape for a in slow.attentions] == [(3, 6, 19, 19)] * 3
    for weights in slow.attentions:
        same(weights.sum(-1), torch.ones(3, 6, 19))
        assert (weights.transpose(1, 3)[mask == 0] == 0).all()


def test_hidden_states_end_where_the_head_begins(network: Network) -> None:
    ids, mask = ragged_rows(pad_id(network))
    with torch.no_grad():
        output = network(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        same(network.read(output.hidden_states[-1], mask), output.logits)
    layers = {"basewise-dnabert2": 3, "basewise-hyenadna": 5}.get(network.config.model_type, 4)
    assert [s.shape for s in output.hidden_states] == [(3, 19, 24)] * layers


def test_bfloat16_stays_within_its_bound(network: Network) -> None:
    ids, mask = ragged_rows(pad_id(network))
    with torch.no_grad():
        exact = network(input_ids=ids, attention_mask=mask).logits
        with torch.autocast("cpu", torch.bfloat16):
            mixed = network(input_ids=ids, attention_mask=mask).logits
        cast = network.to(torch.bfloat16)(input_ids=ids, attention_mask=mask).logits
    assert cast.dtype == torch.bfloat16
    for rough in (mixed, cast):
        assert 0 < (rough.float() - exact).norm() < BF16 * exact.norm()


def test_checkpointing_gives_the_same_gradients(network: Network) -> None:
    ids, mask = ragged_rows(pad_id(network))
    labels = ids.clamp(max=2) if per_token(network) else torch.tensor([2, 0, 1])

    def gradients() -> list[Tensor]:
        network.zero_grad()
        with fresh_seed(7):
            network.train()(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        return [p.grad.clone() for p in network.parameters() if p.grad is not None]

    plain = gradients()
    # Renamed in transformers 5; the old name warns there.
    old = "gradient_checkpointing_enable"
    getattr(network, old.replace("gradient", "activation"), getattr(network, old))()
    assert (
        sum(getattr(module, "gradient_checkpointing", False) for module in network.modules()) == 3
    )
    for found, expected in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_every_weight_is_trained(network: Network) -> None:
    ids, mask = ragged_rows(pad_id(network))
    labels = ids.clamp(max=2) if per_token(network) else torch.tensor([2, 0, 1])
    network(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
    still = [k for k, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_plain_tuples_on_request(name: str) -> None:
    network = tiny(name, head="token_classification", num_labels=3)
    ids, mask = ragged_rows(pad_id(network))
    labels = ids.clamp(max=2)
    loss, logits = network(ids, mask, labels=labels, return_dict=False)
    assert loss.ndim == 0
    assert logits.shape == (3, 19, 3)


@pytest.mark.parametrize(
    "settings, labels, loss",
    [
        ({"num_labels": 3}, torch.tensor([2, 0, 1]), torch.nn.functional.cross_entropy),
        ({"num_labels": 1}, torch.tensor([0.5, 2.0, -1.0]), torch.nn.functional.mse_loss),
        (
            {"num_labels": 2, "problem_type": "regression"},
            torch.tensor([[0.5, 1.0], [2.0, 0.0], [-1.0, 3.0]]),
            torch.nn.functional.mse_loss,
        ),
        (
            {"num_labels": 2},
            torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]),
            torch.nn.functional.binary_cross_entropy_with_logits,
        ),
    ],
)
def test_the_loss_follows_the_problem(
    name: str, settings: dict[str, Any], labels: Tensor, loss: Any
) -> None:
    network = tiny(name, head="sequence_classification", **settings)
    ids, mask = ragged_rows(pad_id(network))
    with torch.no_grad():
        output = network(input_ids=ids, attention_mask=mask, labels=labels)
    same(
        output.loss,
        loss(
            output.logits, labels.view_as(output.logits) if labels.is_floating_point() else labels
        ),
    )


def test_language_models_leave_out_marked_tokens(name: str) -> None:
    network = tiny(name, head=HEADS[name])
    ids, mask = ragged_rows(pad_id(network))
    labels = ids.masked_fill(mask == 0, -100)
    with torch.no_grad():
        output = network(input_ids=ids, attention_mask=mask, labels=labels)
    scores = output.logits.log_softmax(-1)
    ahead = 1 if HEADS[name] == "causal_lm" else 0
    said = [
        -scores[row, at - ahead, ids[row, at]]
        for row in range(3)
        for at in range(ahead, int(mask[row].sum()))
    ]
    same(output.loss, torch.stack(said).mean())


def test_rows_longer_than_the_network_takes_are_refused(name: str) -> None:
    network = tiny(name, head="token_classification")
    ids = torch.full((1, 33), 7)
    if name == "basewise-dnabert2":
        assert network(input_ids=ids).logits.shape == (1, 33, 2)
        return
    longest = network.config.max_tokens
    assert longest == (30 if "nucleotide" in name else 32)
    with pytest.raises(DataError, match=f"takes at most {longest} tokens and got 33; cut"):
        network(input_ids=ids)
    assert network(input_ids=ids[:, :longest]).logits.shape == (1, longest, 2)


def test_unknown_heads_and_poolings_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"head = 'regression': \w+ has one of \w+_lm, sequence"):
        tiny(name, head="regression")
    with pytest.raises(ConfigError, match=r"pooling = 'max': \w+ has one of \w+, mean\."):
        tiny(name, pooling="max")


@pytest.mark.parametrize("pooling", ["mean", "pooler", "first", "last"])
def test_poolings_read_real_tokens_only(name: str, pooling: str) -> None:
    network = tiny(name, head="token_classification")
    if pooling not in network.poolings:
        pytest.skip(f"{name} does not pool so")
    network = tiny(name, head="sequence_classification", pooling=pooling)
    ids, mask = ragged_rows(pad_id(network))
    with torch.no_grad():
        together = network(input_ids=ids, attention_mask=mask).logits
        alone = network(input_ids=ids[1:2, :7]).logits[0]
        same(together[1], alone)
        states = network(ids, mask, output_hidden_states=True).hidden_states[-1]
        tokens = {"mean": slice(None, 7), "last": slice(6, 7)}.get(pooling, slice(0, 1))
        # A classifier reads nothing else than those tokens.
        states[1] = 9.0 if pooling == "mean" else torch.randn(19, 24)
        kept = network(ids, mask, output_hidden_states=True).hidden_states[-1][1, tokens]
        states[1, tokens] = kept
        same(network.read(states, mask)[1], alone)


def test_hyenadna_refuses_padding_on_the_left() -> None:
    network = tiny("basewise-hyenadna", head="sequence_classification")
    ids, mask = ragged_rows(4)
    said = "only padding on the right leaves the real tokens as they are"
    with pytest.raises(CapabilityError, match=said):
        network(input_ids=ids.flip(1), attention_mask=mask.flip(1))
    with pytest.raises(CapabilityError, match=said):
        network(input_ids=ids.flip(1))  # the pad ids say as much without a mask
    with torch.no_grad():
        same(network(input_ids=ids).logits, network(input_ids=ids, attention_mask=mask).logits)


def test_hyenadna_is_causal() -> None:
    network = tiny("basewise-hyenadna", head="causal_lm")
    ids, _ = ragged_rows(4, (19, 19, 19))
    changed = ids.clone()
    changed[:, 11] = 8 + (ids[:, 11] == 8).long()
    with torch.no_grad():
        before, after = network(input_ids=ids).logits, network(input_ids=changed).logits
    same(after[:, :11], before[:, :11])
    assert ((after - before)[:, 11:].abs().amax(-1) > 1e-4).all()


def test_the_filters_of_hyenadna_stay_in_float32() -> None:
    network = tiny("basewise-hyenadna").to(torch.bfloat16)
    kept = {k for k, v in network.state_dict().items() if v.dtype == torch.float32}
    assert kept == {k for k in network.state_dict() if ".filter_fn." in k}
