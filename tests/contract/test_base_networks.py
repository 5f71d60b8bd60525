"""What every network that labels bases promises, whatever its layers and tracks are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import basewise as bw
from basewise.errors import CapabilityError, ConfigError, UnknownName
from basewise.evaluate.track_reliance import without_track
from basewise.explainers import EXPLAINERS
from basewise.models import NETWORKS
from basewise.models.labeller import BaseLabeller
from basewise.models.onehot import PAD, MaskedBatchNorm
from basewise.models.recurrent import RecurrentConfig
from basewise.tokenize.nucleotide import Nucleotide
from basewise.train.training import Training

LABELS = ("background", "box", "rest")
LENGTHS = (20, 33, 41, 1)
TRACK = {"tracks": ["z_forming"]}
SCALES = {
    "channels": 5,
    "dilations": [1, 2],
    "around_channels": 6,
    "pool": 4,
    "around_dilations": [1],
    "reach": 13,
}
SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "cnn": ("base-cnn", {"channels": 6, "stem_kernel": 5, "dilations": [1, 2], "hidden": 5}),
    "cnn with even kernels": (
        "base-cnn",
        {"channels": 6, "stem_kernel": 4, "kernel": 4, "dilations": [1, 2], "hidden": 5},
    ),
    "cnn with a track": ("base-cnn", {"channels": 6, "dilations": [1], "hidden": 5} | TRACK),
    "two scales": ("two-scale", SCALES),
    "two scales with a track": ("two-scale", SCALES | TRACK),
    "u-net": ("unet", {"channels": 6, "growth": 3, "depth": 3}),
    "u-net with a track": ("unet", {"channels": 6, "growth": 3, "depth": 2} | TRACK),
    "recurrent": ("recurrent", {"units": 5, "hidden": 4}),
    "recurrent with a track": ("recurrent", {"units": 5, "layers": 1, "hidden": 4} | TRACK),
    "graph by means": ("graph", {"widths": [8, 6]}),
    "graph convolution": ("graph", {"widths": [8, 6], "convolution": "gcn"}),
    "graph attention": ("graph", {"widths": [8, 6], "convolution": "gat", "heads": 2}),
}


def made(name: str, **settings: Any) -> BaseLabeller:
    """A network whose weights and statistics are far from those it starts with."""
    kind, sizes = SIZES[name]
    cls = NETWORKS.get(f"basewise-{kind}")
    torch.manual_seed(3)
    network: BaseLabeller = cls(cls.config_class(num_labels=3, **sizes | settings)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    for module in network.modules():
        if isinstance(module, MaskedBatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network


@pytest.fixture(params=SIZES)
def network(request: pytest.FixtureRequest) -> BaseLabeller:
    return made(request.param)


def batch(lengths: tuple[int, ...] = LENGTHS, letters: int = 5) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(1)
    ids = torch.randint(0, letters, (len(lengths), max(lengths)), generator=drawn)
    return torch.where(torch.arange(max(lengths)) < torch.tensor(lengths)[:, None], ids, PAD)


def turned(ids: torch.Tensor) -> torch.Tensor:
    """Rows of ids of the other strand, padded on the right."""
    found = torch.full_like(ids, PAD)
    for row, length in enumerate((ids != PAD).sum(1).tolist()):
        found[row, :length] = torch.tensor([3, 2, 1, 0, 4])[ids[row, :length].flip(0)]
    return found


def test_every_network_that_labels_bases_is_here():
    those = {n for n in NETWORKS.names() if issubclass(NETWORKS.get(n), BaseLabeller)}
    assert those == {f"basewise-{kind}" for kind, _ in SIZES.values()}


@torch.no_grad()
def test_a_sequence_has_the_same_labels_alone_and_among_longer_ones(network):
    ids = batch()
    together = network(input_ids=ids).logits
    assert together.shape == (4, 41, 3)
    for row, length in enumerate(LENGTHS):
        alone = network(input_ids=ids[row : row + 1, :length]).logits
        torch.testing.assert_close(together[row : row + 1, :length], alone, atol=1e-5, rtol=1e-5)
    assert together[2].std(0).max() > 1e-3


@torch.no_grad()
def test_what_stands_under_the_mask_is_not_read(network):
    ids, real = batch(), batch() != PAD
    noise = torch.where(real, ids, torch.randint(0, 4, ids.shape))
    expected, found = (
        network(input_ids=each, attention_mask=real.long()).logits[real] for each in (ids, noise)
    )
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_both_strands_have_the_same_labels(network):
    ids = batch()
    one, other = network(input_ids=ids).logits, network(input_ids=turned(ids)).logits
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(one[row, :length], other[row, :length].flip(0))


@torch.no_grad()
@pytest.mark.parametrize("name", SIZES)
def test_one_strand_is_read_where_asked_for(name):
    single, both = made(name, both_strands=False), made(name)
    ids = batch((29,))
    one, other = single(input_ids=ids).logits, single(input_ids=turned(ids)).logits.flip(1)
    torch.testing.assert_close(both(input_ids=ids).logits, (one + other) / 2)
    symmetric = name in ("graph convolution", "graph by means")  # they add what is on either side
    assert symmetric or (one - other).abs().max() > 1e-3


@torch.no_grad()
def test_saved_and_loaded_it_is_the_same_network(network, tmp_path):
    network.save_pretrained(tmp_path)
    loaded = type(network).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(input_ids=batch()).logits, network(input_ids=batch()).logits)
    assert not any("energy" in key for key in loaded.state_dict())


def test_training_changes_every_parameter(network):
    network.train()
    before = {name: p.clone() for name, p in network.named_parameters()}
    ids = batch((30, 43, 29, 35, 41, 28))
    labels = torch.where(ids == PAD, -100, ids % 3)
    network(input_ids=ids, labels=labels).loss.backward()
    torch.optim.SGD(network.parameters(), lr=1.0).step()
    for name, parameter in network.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_it_learns_a_box(tmp_path):
    drawn = np.random.default_rng(4)
    records = []
    for i in range(160):
        letters, at = drawn.choice(list("ACGT"), 31), int(drawn.integers(0, 25))
        letters[at : at + 6] = list("TATAAA")
        records.append(bw.Record(f"s{i}", "".join(letters), truth=(bw.Span(at, at + 6, "box"),)))
    training = Training(epochs=8, batch_size=10, learning_rate=0.01, precision="fp32")
    sizes = {"channels": 10, "growth": 4, "depth": 2, "stem_kernel": 9, "dropout": 0.0}
    cls = NETWORKS.get("basewise-unet")
    torch.manual_seed(0)
    network = cls(cls.config_class(num_labels=2, **sizes))
    model = bw.Model(network, Nucleotide(), ("background", "box"), "u-net")
    found = training.train(model, records[:120], records[120:], tmp_path)
    assert found.history["dev_mcc"].max() > 0.9


# ------------------------------------------------------------------------------ explaining

RECORDS = [bw.Record("long", "TTGCACGCGTAAACA"), bw.Record("short", "CATGCGCGG")]
WHERE = (3, 8)


def settings_for(explainer: str) -> dict[str, Any]:
    known = EXPLAINERS.get(explainer).__dataclass_fields__
    found: dict[str, Any] = {n: 24 for n in ("evaluations", "samples", "draws") if n in known}
    if explainer == "anchors":
        found = {"samples": 20, "evaluations": 60}
    if explainer == "marginalisation":
        found = {"motif": "CG", "stride": 4, "draws": 3}
    if "masking" in known:
        found |= {"masking": "n", "units": {"type": "windows", "size": 3}}
    if "reference" in known:
        found["reference"] = "shuffled"
    return found


@pytest.mark.parametrize(
    "name",
    [
        "cnn with a track",
        "u-net with a track",
        "two scales with a track",
        "recurrent",
        "graph attention",
    ],
)
@pytest.mark.parametrize("explainer", EXPLAINERS.names())
def test_every_explainer_explains_it(explainer, name):
    model = bw.Model(made(name), Nucleotide(), LABELS, name)
    target = bw.Target("box", where=WHERE)
    refused = explainer in ("attention", "attention_rollout") or explainer == "deep_lift"
    if refused:  # products of two bases in a track, gates, and attention have no rule
        with pytest.raises(CapabilityError):
            bw.explain(model, RECORDS, explainer, target, **settings_for(explainer))
        return
    found = bw.explain(model, RECORDS, explainer, target, **settings_for(explainer))
    for attribution in found:
        if attribution.kind == "additive" and explainer != "expected_gradients":  # few draws
            assert abs(attribution.gap) < 0.05 * max(1, abs(attribution.output))
    (alone,) = bw.explain(model, RECORDS[1:], explainer, target, **settings_for(explainer))
    np.testing.assert_allclose(alone.scores, found[1].scores, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("name", ["cnn", "u-net", "two scales", "graph by means"])
def test_deep_lift_has_rules_for_what_needs_no_others(name):
    model = bw.Model(made(name), Nucleotide(), LABELS, name)
    target = bw.Target("box", where=WHERE)
    for found in bw.explain(model, RECORDS, "deep_lift", target, reference="shuffled"):
        assert abs(found.gap) < 1e-3 * max(1, abs(found.output))


# ------------------------------------------------------------------------------ special cases


def test_a_recurrence_over_the_batch_mixes_rows_and_sees_no_neighbours():
    network = made("recurrent", recurrence="batch", both_strands=False)
    ids = batch((20, 20, 20), letters=4)
    changed = ids.clone()
    changed[0, 10] = (ids[0, 10] + 1) % 4
    with torch.no_grad():
        moved = (network(input_ids=changed).logits - network(input_ids=ids).logits).abs().sum(-1)
        alone = network(input_ids=ids[:1]).logits
        other = network(input_ids=changed[:1]).logits
    assert (moved[:, 10] > 1e-4).all()  # in the other windows too
    assert moved[:, np.delete(np.arange(20), 10)].max() == 0
    assert ((other - alone).abs().sum(-1)[0] > 0).nonzero().flatten().tolist() == [10]
    with torch.no_grad():
        mended = made("recurrent")
        moved = (mended(input_ids=changed).logits - mended(input_ids=ids).logits).abs().sum(-1)
    assert moved[1:].max() == 0
    assert (moved[0] > 0).sum() > 10


@torch.no_grad()
def test_what_is_around_knows_no_edges_and_sees_as_far_as_it_says():
    network = made("two scales", both_strands=False)
    ids = batch((200,), letters=4)
    changed = ids.clone()
    changed[0, 100] = (ids[0, 100] + 1) % 4
    one, other = (network.around(network.embeddings(each), None)[0] for each in (ids, changed))
    pooled = one.unflatten(0, (50, 4))
    assert (pooled == pooled[:, :1]).all()
    assert pooled[:, 0].std(0).min() > 1e-3
    moved = ((one - other).abs().sum(-1) > 0).nonzero().flatten()
    # Half of the stem, two positions of the block, three of the mean, and where these begin.
    assert 4 * (2 + 3) <= 100 - int(moved.min()) <= 7 + 4 * (2 + 3 + 1)
    assert 4 * (2 + 3) <= int(moved.max()) - 100 <= 7 + 4 * (2 + 3 + 1)


@torch.no_grad()
@pytest.mark.parametrize("length", [3, 6, 13, 41])
def test_the_mean_around_is_over_bases_however_few(length):
    around = made("two scales", reach=200, both_strands=False).around
    read = {}
    around.last.register_forward_hook(lambda *given: read.update(last=given[-1]))
    around.mean.register_forward_hook(lambda *given: read.update(mean=given[1][0]))
    around(nn.functional.one_hot(batch((length,), letters=4), 4).float(), None)
    bases = torch.tensor([min(4, length - start) for start in range(0, length, 4)])
    x = nn.functional.gelu(read["last"][0])
    expected = (x * bases[:, None]).sum(0) / length
    torch.testing.assert_close(read["mean"][0], expected.expand(len(x), -1))


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("recurrent", {"recurrence": "bases"}, "recurrence = 'bases': it is 'sequence' or"),
        ("recurrent", {"recurrence": "batch"}, "as published, of one strand; set both_strands"),
        ("graph", {"convolution": "mean"}, "convolution = 'mean': it is 'sage', 'gcn' or 'gat'"),
        ("graph", {"convolution": "gat", "widths": [6]}, "must be a multiple of heads = 4"),
    ],
)
def test_settings_that_are_not_allowed(kind, settings, said):
    with pytest.raises(ConfigError, match=said):
        NETWORKS.get(f"basewise-{kind}").config_class(**settings)


def test_a_track_nobody_knows_is_refused():
    with pytest.raises(UnknownName, match="z_forming"):
        made("cnn", tracks=["z_form"])
    model = bw.Model(made("cnn"), Nucleotide(), LABELS, "plain")
    with pytest.raises(UnknownName, match="track of plain"):
        without_track(model, "z_forming", 0.0)


def test_a_track_that_is_taken_away_says_nothing():
    model = bw.Model(made("cnn with a track"), Nucleotide(), LABELS, "with")
    records = [bw.Record("a", "CACGCGCGCGTGATTACAGTTACA"), bw.Record("b", "ACGTACGAT")]
    without = without_track(model, "z_forming", 1.0)
    assert without.name == "with without z_forming"
    real, gone = model.predict_bases(records), without.predict_bases(records)
    assert np.abs(real[0] - gone[0]).max() > 1e-3
    # The original is as it was, and another level is another prediction.
    np.testing.assert_array_equal(model.predict_bases(records)[0], real[0])
    other = without_track(replace(model, name="x"), "z_forming", -1.0).predict_bases(records)
    assert np.abs(other[0] - gone[0]).max() > 1e-3


def test_recurrent_settings_are_those_of_the_paper_where_asked_for():
    config = RecurrentConfig(units=500, hidden=500, recurrence="batch", both_strands=False)
    network = NETWORKS.get("basewise-recurrent")(config)
    assert network.lstm.weight_ih_l0.shape == (4 * 500, 4)
    assert network.dense.weight.shape == (500, 1000)
    assert not network.lstm.batch_first
