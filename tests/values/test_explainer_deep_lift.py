"""DeepLIFT: captum's on networks it can take, completeness on ours, refusals by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import basewise as bw
from basewise.errors import CapabilityError
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.models.cnn_lstm import CnnLstmConfig, CnnLstmForSequenceClassification
from basewise.tokenize.nucleotide import Nucleotide
from explained_models import tiny_cnn

SEQUENCE = "GATTACAGCATG"


def explain(module: nn.Module, sequence: str = SEQUENCE, **settings: Any) -> Any:
    model = bw.Model.from_module(module, ["score"], outputs="values", name="mine")
    return bw.explain(model, [bw.Record("r", sequence)], "deep_lift", "score", **settings)[0]


class Net(nn.Module):
    """Convolution, pooling and dense layers, with the nonlinearities given.

    The pool does not touch a nonlinearity: captum 0.9.0 is not complete where a max pool and a
    ReLU are neighbours (after a convolution its scores sum to 0.0487 where the gain is 0.0458).
    """

    def __init__(self, first: nn.Module, second: nn.Module, pool: nn.Module):
        super().__init__()
        torch.manual_seed(2)
        self.convolution, self.first, self.pool = nn.Conv1d(4, 7, 3, padding=1), first, pool
        self.norm, self.second = nn.BatchNorm1d(7), second
        self.dense, self.out = nn.Linear(7 * 6, 5), nn.Linear(5, 1)
        self.norm.running_mean.normal_()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.norm(self.first(self.convolution(x))))
        return self.out(self.second(self.dense(x.flatten(1))))


NETS = {
    "relu, max": lambda: Net(nn.ReLU(), nn.ReLU(), nn.MaxPool1d(2)),
    "in place": lambda: Net(nn.ReLU(inplace=True), nn.ELU(inplace=True), nn.MaxPool1d(2)),
    "smooth, mean": lambda: Net(nn.Softplus(), nn.Tanh(), nn.AvgPool1d(2)),
    "sigmoid": lambda: Net(nn.Sigmoid(), nn.LeakyReLU(), nn.MaxPool1d(2)),
}


@pytest.mark.parametrize("name", NETS)
def test_multipliers_are_captums(name: str) -> None:
    from captum.attr import DeepLift

    net = NETS[name]().eval()
    ids = torch.from_numpy(Nucleotide().encode(SEQUENCE).ids)
    x = nn.functional.one_hot(ids, 4).T[None].float()
    reference = torch.full_like(x, 0.25)
    theirs_net = NETS[name]().eval()
    for module in theirs_net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # which captum does not take
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the hooks captum sets
        theirs = DeepLift(theirs_net).attribute(x, reference)[0].detach().numpy()
    ours = explain(net, reference="uniform")
    np.testing.assert_allclose(ours.scores, theirs.sum(0), atol=1e-5)
    assert abs(ours.gap) < 1e-5
    assert ours.evaluations == 2


def test_pools_that_overlap_or_follow_a_relu_are_complete() -> None:
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv1d(4, 7, 3), nn.ReLU(), nn.MaxPool1d(3, 2, 1), nn.Conv1d(7, 5, 2), nn.GELU(),
        nn.AdaptiveMaxPool1d(2), nn.Flatten(), nn.Linear(10, 1),
    )  # fmt: skip
    for reference in ("uniform", "zero", "shuffled"):
        assert abs(explain(net, reference=reference).gap) < 1e-6


def test_a_saturated_function_by_hand() -> None:
    """f = relu(As + 2 Ts - 1), from no base at all (where it is 0) to AT (where it is 2).

    The sum goes from -1 to 2 and f from 0 to 2, so 2/3 of each difference is passed on: the
    slope at AT would be 1, and at the reference 0.
    """

    class Hinge(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x[:, 0].sum(1) + 2 * x[:, 3].sum(1) - 1).relu()

    a = explain(Hinge(), "ATC", reference="zero")
    np.testing.assert_allclose(a.scores, [2 / 3, 4 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(a.hypothetical, [[2 / 3, 0, 0, 4 / 3]] * 3, atol=1e-6)
    assert (a.output, a.baseline, a.gap) == (2, 0, pytest.approx(0, abs=1e-6))


def test_a_maximum_gives_to_where_it_stood() -> None:
    """max over places of (A - C): 1 at the sequence, from its A; -1 at the reference, its Cs."""

    class Best(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x[:, 0] - x[:, 1]).amax(1)

    a = explain(Best(), "CCAC", reference={"type": "shuffled", "keep": "bases", "draws": 9})
    assert a.output == a.baseline == 1  # a shuffle has the A too, elsewhere
    assert a.scores.sum() == pytest.approx(0, abs=1e-6)
    from_nothing = explain(Best(), "CCAC", reference="zero")
    np.testing.assert_allclose(from_nothing.scores, [0, 0, 1, 0], atol=1e-6)


def test_our_own_networks_are_complete_for_every_reference() -> None:
    networks = {
        "pooling": tiny_cnn().network,
        "positions": CnnForSequenceClassification(
            CnnConfig(channels=8, stem_kernel=5, dilations=[1, 2], positions=14, num_labels=3)
        ),
    }
    for network in networks.values():
        model = bw.Model(network, Nucleotide(), ("a", "b", "c"))
        for read in ("logit", "log_odds", "margin"):
            for label in model.labels:
                (a,) = bw.explain(
                    model, [bw.Record("r", SEQUENCE)], "deep_lift", bw.Target(label, read)
                )
                assert abs(a.gap) < 1e-5
                assert a.evaluations == 40
                assert a.standard_error is not None


def test_a_linear_network_is_its_gradient() -> None:
    class Table(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * torch.arange(12.0).view(1, 4, 3) ** 2).sum((1, 2))

    a = explain(Table(), "TAC", reference="uniform")
    table = (np.arange(12.0).reshape(4, 3) ** 2).T
    np.testing.assert_allclose(a.hypothetical, table - table.mean(1, keepdims=True), atol=1e-4)


class Pooled(nn.Module):
    """A function of a convolution's (n, 5, 12), and its weighted mean, no two weights alike."""

    def __init__(self, pool: Callable[[Tensor], Tensor]):
        super().__init__()
        torch.manual_seed(7)
        self.convolution, self.pool = nn.Conv1d(4, 5, 3, padding=1), pool

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(4 * self.convolution(x)).reshape(len(x), -1)
        return (y * torch.linspace(1, 3, y.shape[1])).mean(1)


REDUCED: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "amax of two": (lambda y: y.amax((1, 2)), lambda y: y.flatten(1).amax(1)),
    "amax of two, kept": (
        lambda y: y - y.amax((2, -2), keepdim=True),
        lambda y: y - y.flatten(1).amax(1)[:, None, None],
    ),
    "amax of a list": (lambda y: y.amax([2]), lambda y: y.amax(2)),
    "amax, kept": (lambda y: y.amax(1, True), lambda y: y.amax(1)),
    "max, kept": (lambda y: torch.max(y, 2, keepdim=True)[0], lambda y: y.amax(2)),
    "max along an axis": (lambda y: torch.max(input=y, axis=2).values, lambda y: y.amax(2)),
    "logsumexp of two": (lambda y: y.logsumexp((1, 2)), lambda y: y.flatten(1).logsumexp(1)),
    "logsumexp of one": (lambda y: y.logsumexp((2,)), lambda y: y.logsumexp(2)),
    "logsumexp, kept": (
        lambda y: y - y.logsumexp(1, keepdim=True),
        lambda y: y - y.logsumexp(1)[:, None],
    ),
    "logsumexp of a row": (
        lambda y: torch.stack([row.logsumexp((0, 1)) for row in y]),
        lambda y: y.flatten(1).logsumexp(1),
    ),
}


@pytest.mark.parametrize("name", REDUCED)
@pytest.mark.parametrize("reference", ["zero", {"type": "shuffled", "keep": "bases", "draws": 3}])
def test_a_reduction_is_the_same_however_its_dimensions_are_spelled(
    name: str, reference: Any
) -> None:
    """And its scores sum to the gain for every pair, which `explain` itself refuses else."""
    spelled, plain = (explain(Pooled(pool), reference=reference) for pool in REDUCED[name])
    assert np.abs(spelled.scores).max() > 0.02
    assert abs(spelled.gap) < 1e-5
    np.testing.assert_allclose(spelled.scores, plain.scores, atol=1e-5)


def test_the_largest_of_everything_by_hand() -> None:
    """From nothing, the largest entry is the one the T at place 1 makes: 8 of 1, 2, 4, 8."""

    class Largest(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * (2.0 ** torch.arange(4))[:, None]).amax((1, 2))

    np.testing.assert_allclose(explain(Largest(), "GTA", reference="zero").scores, [0, 8, 0])


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("pool", "operation"),
    [
        (lambda y: torch.stack([row.max() for row in y]), "max without dim"),
        (lambda y: torch.stack([torch.amax(row) for row in y]), "amax without dim"),
        (lambda y: torch.stack([row.amax(()) for row in y]), "amax without dim"),
        (lambda y: torch.max(y, torch.zeros(1)), "max without dim"),
        (lambda y: torch.max(torch.zeros(1), y), "max without dim"),
        (lambda y: torch.max(y, other=torch.zeros(1)), "max without dim"),
        (lambda y: torch.max(y, y.flip(2)), "max"),
    ],
)
def test_a_maximum_that_names_no_dimension_is_refused_by_name(
    pool: Callable[[Tensor], Tensor], operation: str
) -> None:
    with pytest.raises(CapabilityError, match=f"deep_lift has no rule for '{operation}', which"):
        explain(Pooled(pool))


class Gated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x[:, 0] * x[:, 1]).sum(1)


class Ratio(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (1 / (1 + x[:, 1].sum(1))) / (1 + x[:, 0].sum(1))


class Chosen(nn.Module):
    """A nonlinearity that is spelled as a choice between linear ones."""

    def forward(self, x: Tensor) -> Tensor:
        y = x[:, 0].sum(1) - 1
        return torch.where(y > 0, y, 0 * y)


class Attending(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(y, y, y).sum((1, 2))


class Doubled(torch.autograd.Function):
    """What it does on the way back is its own affair."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return 2 * gradients[0]


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Doubled.apply(x).sum((1, 2))


@pytest.mark.parametrize(
    "module, operation",
    [
        (Own(), "Doubled"),
        (Gated(), "mul"),
        (Ratio(), "div"),
        (Attending(), "scaled_dot_product_attention"),
        (Chosen(), "gt"),
        (nn.Sequential(nn.Flatten(), nn.LayerNorm(48)), "layer_norm"),
        (nn.Sequential(nn.Flatten(), nn.Softmax(1)), "softmax"),
        (nn.Sequential(nn.GroupNorm(2, 4), nn.Flatten()), "group_norm"),
        (nn.Sequential(nn.Flatten(), nn.GLU()), "glu"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_operations_without_a_rule_are_refused_by_name(module: nn.Module, operation: str) -> None:
    with pytest.raises(CapabilityError, match=f"deep_lift has no rule for '\\w*{operation}"):
        explain(module)


def test_recurrent_layers_are_refused_by_name() -> None:
    network = CnnLstmForSequenceClassification(CnnLstmConfig(filters=[6, 10], lstm_units=5))
    with pytest.raises(CapabilityError, match=r"deep_lift has no rule for 'lstm', which"):
        bw.explain(
            bw.Model(network, Nucleotide(), ("a", "b")),
            [bw.Record("r", SEQUENCE)],
            "deep_lift",
            "a",
        )


def test_probabilities_of_several_labels_are_refused() -> None:
    with pytest.raises(CapabilityError, match="no rule for 'softmax'"):
        bw.explain(
            tiny_cnn(), [bw.Record("r", SEQUENCE)], "deep_lift", bw.Target("a", "probability")
        )


@pytest.mark.parametrize("scale", [1, 1e-5])
def test_scores_that_do_not_sum_to_the_gain_are_refused(scale: float) -> None:
    """A layer that mixes up its rows: every operation has a rule, the layer has none."""

    class Crossing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return scale * x.sum(2).exp().flip(0).sum(1)

    references = np.stack([np.zeros((5, 4)), np.full((5, 4), 0.5)])
    with pytest.raises(CapabilityError, match=r"miss the gain by .* on mine, so a layer does more"):
        explain(Crossing(), "AGGTC", reference=references)


def test_rows_and_columns_may_change_places() -> None:
    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum(2).transpose(0, 1).exp().transpose(0, 1).sum(1)

    a = explain(Turned(), "AGGTC", reference="zero")
    assert a.scores.sum() == pytest.approx(np.exp([1, 1, 2, 1]).sum() - 4)
