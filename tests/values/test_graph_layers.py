"""Graph convolutions on a chain, by shifts, against the papers' formulas on a dense adjacency."""

from __future__ import annotations

import pytest
import torch

from basewise.models.graph import Attended, Averaged, Normalised

NODES, CHANNELS, OUT, HEADS, PADS = 7, 3, 8, 2, 2


def chain(nodes: int) -> torch.Tensor:
    """The adjacency matrix of a path."""
    ones = torch.ones(nodes - 1)
    return torch.diag(ones, 1) + torch.diag(ones, -1)


def by_mean(layer: Averaged, x: torch.Tensor) -> torch.Tensor:
    """Hamilton, Ying & Leskovec 2017, algorithm 1 with the mean aggregator."""
    adjacency = chain(len(x))
    mean = adjacency @ x / adjacency.sum(1, keepdim=True).clamp(min=1)
    return x @ layer.own.weight.T + layer.own.bias + mean @ layer.around.weight.T


def by_spectrum(layer: Normalised, x: torch.Tensor) -> torch.Tensor:
    """Kipf & Welling 2017, equation 2."""
    adjacency = chain(len(x)) + torch.eye(len(x))
    scale = torch.diag(adjacency.sum(1) ** -0.5)
    return scale @ adjacency @ scale @ x @ layer.dense.weight.T + layer.dense.bias


def by_attention(layer: Attended, x: torch.Tensor) -> torch.Tensor:
    """Velickovic et al. 2018, equations 3 to 5, over all pairs, others masked."""
    joined = (chain(len(x)) + torch.eye(len(x))).bool()
    wx = (x @ layer.dense.weight.T).view(len(x), HEADS, -1)
    found = []
    for head in range(HEADS):
        a = torch.cat([layer.target[head], layer.source[head]])
        scores = torch.empty(len(x), len(x))
        for i in range(len(x)):
            for j in range(len(x)):
                both = torch.cat([wx[i, head], wx[j, head]])
                scores[i, j] = torch.nn.functional.leaky_relu(a @ both, 0.2)
        weights = scores.masked_fill(~joined, -torch.inf).softmax(1)
        found.append(weights @ wx[:, head])
    return torch.cat(found, 1) + layer.bias


@torch.no_grad()
@pytest.mark.parametrize("nodes", [NODES, 2, 1])
@pytest.mark.parametrize(
    ("kind", "formula"), [(Averaged, by_mean), (Normalised, by_spectrum), (Attended, by_attention)]
)
def test_shifts_are_the_dense_formula(kind, formula, nodes):
    torch.manual_seed(1)
    layer = kind(CHANNELS, OUT, HEADS)
    for parameter in layer.parameters():
        parameter.normal_()
    x = torch.randn(2, nodes, CHANNELS)
    expected = torch.stack([formula(layer, own) for own in x])
    torch.testing.assert_close(layer(x, torch.ones(2, nodes)), expected)
    # A chain that is padded ends where its nodes do.
    padded = torch.nn.functional.pad(x, (0, 0, 0, PADS), value=9.0)
    real = torch.nn.functional.pad(torch.ones(2, nodes), (0, PADS))
    torch.testing.assert_close(layer(padded, real)[:, :nodes], expected)
