"""What every network on one-hot bases promises, whatever its layers are."""

from __future__ import annotations

import pytest
import torch

from basewise.errors import CapabilityError, ConfigError, DataError
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.models.cnn_lstm import CnnLstmConfig, CnnLstmForSequenceClassification
from basewise.models.onehot import PAD, MaskedBatchNorm, OneHotNetwork

LENGTHS = (17, 40, 31, 1, 8)

NETWORKS = {
    "cnn of any length": lambda **k: CnnForSequenceClassification(
        CnnConfig(channels=12, dilations=[1, 3], hidden=7, **k)
    ),
    "cnn with positions": lambda **k: CnnForSequenceClassification(
        CnnConfig(channels=12, dilations=[1, 3], hidden=7, positions=43, reduced=3, **k)
    ),
    "cnn of three members": lambda **k: CnnForSequenceClassification(
        CnnConfig(channels=6, dilations=[2], hidden=5, positions=43, reduced=2, members=3, **k)
    ),
    "cnn with even kernels": lambda **k: CnnForSequenceClassification(
        CnnConfig(channels=12, stem_kernel=8, kernel=4, dilations=[1, 2], **k)
    ),
    "cnn-lstm": lambda **k: CnnLstmForSequenceClassification(
        CnnLstmConfig(filters=[6, 10], lstm_units=5, dense=[9], **k)
    ),
    "strided cnn-lstm": lambda **k: CnnLstmForSequenceClassification(
        CnnLstmConfig(
            filters=[6, 10, 8],
            kernels=[12, 5, 4],
            strides=[3, 1, 2],
            pools=[1, 3, 2],
            lstm_units=5,
            lstm_layers=2,
            bidirectional=False,
            dense=[],
            **k,
        )
    ),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> OneHotNetwork:
    torch.manual_seed(3)
    made = NETWORKS[request.param](num_labels=3)
    # Normalisation that does something: batch statistics away from 0 and 1.
    for module in made.modules():
        if isinstance(module, MaskedBatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(module.bias)
    return made.eval()


def batch(lengths: tuple[int, ...] = LENGTHS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 5, (len(lengths), max(lengths)), generator=generator)
    return torch.where(torch.arange(max(lengths)) < torch.tensor(lengths)[:, None], ids, PAD)


@torch.no_grad()
def test_a_sequence_has_the_same_logits_alone_and_among_longer_ones(network):
    ids = batch()
    mask = (ids != PAD).long()
    together = network(input_ids=ids, attention_mask=mask).logits
    assert together.shape == (5, 3)
    for i, length in enumerate(LENGTHS):
        alone = network(input_ids=ids[i : i + 1, :length]).logits
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-5)
    assert together.std(0).min() > 1e-4  # the logits do differ between sequences


@torch.no_grad()
def test_what_stands_under_the_mask_is_not_read(network):
    ids = batch()
    mask = ids != PAD
    noise = torch.where(mask, ids, torch.randint(0, 4, ids.shape))
    torch.testing.assert_close(
        network(input_ids=noise, attention_mask=mask).logits, network(input_ids=ids).logits
    )


@torch.no_grad()
def test_one_hot_rows_are_the_other_road(network):
    ids = batch()
    mask = ids != PAD
    rows = network.get_input_embeddings()(ids)
    assert rows.shape == (5, 40, 4)
    torch.testing.assert_close(
        network(inputs_embeds=rows, attention_mask=mask).logits, network(input_ids=ids).logits
    )
    with pytest.raises(CapabilityError, match="input_ids or inputs_embeds, and not both"):
        network(input_ids=ids, inputs_embeds=rows)
    with pytest.raises(CapabilityError, match="input_ids or inputs_embeds"):
        network()


def test_a_hook_on_the_embedding_changes_the_output_and_gives_gradients(network):
    ids = batch()
    rows = network.get_input_embeddings()(ids).requires_grad_()
    handle = network.get_input_embeddings().register_forward_hook(lambda *_: rows)
    logits = network(input_ids=ids).logits
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), rows)
    assert gradient.isfinite().all()
    assert (gradient[ids == PAD] == 0).all()
    assert (gradient[ids != PAD] != 0).any(-1).float().mean() > 0.3


@torch.no_grad()
def test_saved_and_loaded_it_is_the_same_network(network, tmp_path):
    network.config.id2label = {0: "exon", 1: "intron", 2: "neither"}
    network.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    loaded = type(network).from_pretrained(tmp_path).eval()
    assert loaded.config.id2label == {0: "exon", 1: "intron", 2: "neither"}
    told = {"dtype": None, "_name_or_path": ""}
    assert loaded.config.to_dict() | told == network.config.to_dict() | told
    torch.testing.assert_close(loaded(input_ids=batch()).logits, network(input_ids=batch()).logits)
    assert not any("embeddings" in key for key in loaded.state_dict())


def test_loss_and_hidden_states(network):
    ids, labels = batch(), torch.tensor([0, 2, 1, 1, 0])
    found = network(input_ids=ids, labels=labels, output_hidden_states=True)
    torch.testing.assert_close(
        found.loss, torch.nn.functional.cross_entropy(found.logits, labels), rtol=0, atol=0
    )
    assert len(found.hidden_states) >= 2
    assert all(state.shape[0] == 5 and state.ndim == 3 for state in found.hidden_states)


def test_training_changes_every_parameter(network):
    network.train()
    before = {name: p.clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    ids = batch((30, 43, 29, 35, 41, 28))
    network(input_ids=ids, labels=torch.tensor([0, 2, 1, 1, 0, 2])).loss.backward()
    optimizer.step()
    for name, parameter in network.named_parameters():
        assert not torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("name", NETWORKS)
def test_regression(name):
    network = NETWORKS[name](num_labels=1, problem_type="regression").eval()
    ids, labels = batch(), torch.tensor([0.3, -1.0, 2.0, 0.1, 5.0])
    found = network(input_ids=ids, labels=labels)
    torch.testing.assert_close(found.loss, ((found.logits[:, 0] - labels) ** 2).mean())


def test_batch_statistics_count_bases_only():
    x = torch.randn(4, 9, 6) * 2 + 3
    mask = torch.arange(9) < torch.tensor([9, 4, 7, 2])[:, None]
    norm = MaskedBatchNorm(6, momentum=1.0).train()
    y = norm(x, mask)
    rows = x[mask]
    torch.testing.assert_close(norm.running_mean, rows.mean(0))
    torch.testing.assert_close(norm.running_var, rows.var(0))
    torch.testing.assert_close(y[mask].mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    assert (y[~mask] == 0).all()


def test_members_are_averaged_and_learn_from_their_own_rows():
    network = NETWORKS["cnn of three members"]().eval()
    ids = batch((20, 20, 20, 20, 20))
    rows = network.get_input_embeddings()(ids)
    each = [member(rows, None)[0] for member in network.members]
    torch.testing.assert_close(network(input_ids=ids).logits, sum(each) / 3)
    assert (each[0] - each[1]).abs().min() > 1e-4
    network.train()
    network(input_ids=ids).logits[2:4].sum().backward()
    learns = [any(p.grad.any() for p in member.parameters()) for member in network.members]
    assert learns == [False, True, False]


def test_a_position_aware_network_refuses_longer_sequences():
    network = NETWORKS["cnn with positions"]()
    with pytest.raises(DataError, match=r"has 44 bases; this network knows positions up to 43\."):
        network(input_ids=torch.zeros(1, 44, dtype=torch.long))


def test_lists_of_different_length_are_refused():
    with pytest.raises(ConfigError, match="filters has 3, kernels has 2"):
        CnnLstmConfig(filters=[4, 4, 4])
