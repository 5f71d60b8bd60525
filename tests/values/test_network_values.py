"""Parts of the native networks against numbers by hand, loops and other libraries."""

from __future__ import annotations

import math

import pytest
import torch
from transformers.models.esm.modeling_esm import apply_rotary_pos_emb

from basewise.models import NETWORKS
from basewise.models.attention import alibi, attend, key_bias, rotate, rotation
from basewise.models.heads import pool
from tiny_networks import tiny


def test_alibi_slopes_of_a_power_of_two_and_of_twelve_heads() -> None:
    like = torch.zeros(1)
    assert alibi(4, 3, like)[0, :, 0, 2].tolist() == [-0.5, -0.125, -0.03125, -0.0078125]
    # Of 12 heads, 8 have the slopes 2^-1 .. 2^-8 and 4 every other slope of 16 heads.
    slopes = -alibi(12, 2, like)[0, :, 0, 1]
    expected = [2.0**-i for i in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    torch.testing.assert_close(slopes, torch.tensor(expected))
    bias = alibi(2, 5, like)[0]
    assert torch.equal(bias, bias.transpose(1, 2))
    assert bias[0, 4].tolist() == [-0.0625 * d for d in (4, 3, 2, 1, 0)]


def test_attention_by_a_loop_over_its_definition() -> None:
    torch.manual_seed(0)
    n, h, t, d = 2, 3, 5, 4
    query, key, value = torch.randn(3, n, h, t, d)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0]])
    bias = alibi(h, t, query) + key_bias(mask, query)
    expected = torch.zeros(n, t, h * d)
    for row in range(n):
        for head in range(h):
            slope = (2**-4, 2**-8, 2**-2)[head]
            for i in range(t):
                seen = [j for j in range(t) if mask[row, j]]
                scores = [
                    float(query[row, head, i] @ key[row, head, j]) / math.sqrt(d)
                    - slope * abs(i - j)
                    for j in seen
                ]
                weights = torch.tensor(scores).softmax(0)
                mixed = sum(w * value[row, head, j] for w, j in zip(weights, seen, strict=True))
                expected[row, i, head * d : (head + 1) * d] = mixed
    for want_map in (False, True):
        mixed, weights = attend(query, key, value, bias, 0.0, want_map)
        torch.testing.assert_close(mixed, expected)
        assert (weights is not None) == want_map


def test_a_row_of_nothing_but_padding_stays_finite() -> None:
    query = torch.randn(1, 2, 3, 4)
    bias = key_bias(torch.zeros(1, 3), query)
    for want_map in (False, True):
        assert attend(query, query, query, bias, 0.0, want_map)[0].isfinite().all()


def test_rotary_positions_agree_with_transformers() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 2, 3, 7, 10)
    angles = rotation(10000, 6, 7, query)
    at = torch.arange(7)[:, None] * 10000 ** (-torch.arange(0, 6, 2) / 6)
    at = torch.cat([at, at], -1)[None]
    expected = apply_rotary_pos_emb(query[..., :6], key[..., :6], at.cos(), at.sin())
    for x, turned in zip((query, key), expected, strict=True):
        torch.testing.assert_close(rotate(x, angles), torch.cat([turned, x[..., 6:]], -1))
    # The second feature pair of position 3 turns by 3 * 10000^(-2/6).
    assert angles[0][3, 1] == pytest.approx(math.cos(3 * 10000 ** (-1 / 3)))


def test_the_long_convolution_by_its_definition() -> None:
    filter_fn = tiny("basewise-hyenadna").hyena.backbone.layers[1].mixer.filter_fn
    torch.manual_seed(0)
    v = torch.randn(24, 2, 11)
    with torch.no_grad():
        filters = filter_fn.filters(11)
        expected = v * filter_fn.bias[:, None, None]
        for i in range(11):
            for j in range(i + 1):
                expected[..., i] += filters[:, i - j, None] * v[..., j]
        torch.testing.assert_close(filter_fn(v), expected, rtol=1e-4, atol=1e-5)


def test_the_filter_by_its_formula() -> None:
    network = tiny("basewise-hyenadna")
    filter_fn = network.hyena.backbone.layers[0].mixer.filter_fn
    weights = {k: v.detach().double() for k, v in filter_fn.state_dict().items()}
    at, longest, width = 13, 32, 24
    t = at / (longest - 1)
    turn = 2 * math.pi * at / longest
    bands = (1e-4, 1.0)
    hidden = torch.tensor(
        [t, *(math.cos(f * turn) for f in bands), *(-math.sin(f * turn) for f in bands)]
    ).double()
    for i in (0, 2, 4):
        linear = weights[f"implicit_filter.{i}.weight"] @ hidden
        linear = linear + weights[f"implicit_filter.{i}.bias"]
        hidden = torch.sin(weights["implicit_filter.1.freq"][0] * linear)
    filters = weights["implicit_filter.6.weight"] @ hidden
    slow, fast = math.log(0.01) / 1.5, math.log(0.01) / 0.3
    for feature in (0, 9, width - 1):
        rate = abs(slow + (fast - slow) * feature / (width - 1))
        expected = float(filters[feature]) * (math.exp(-t * rate) + 0.05)
        found = float(filter_fn.filters(20).detach()[feature, at])
        assert found == pytest.approx(expected, rel=1e-4)


def test_pooling_by_hand() -> None:
    hidden = torch.tensor([[[1.0, 2], [3, 4], [5, 6]], [[7.0, 8], [9, 10], [11, 12]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert pool(hidden, mask, "mean").tolist() == [[2, 3], [9, 10]]
    assert pool(hidden, mask, "last").tolist() == [[3, 4], [11, 12]]
    assert pool(hidden, mask, "first").tolist() == [[1, 2], [7, 8]]
    assert pool(hidden, None, "mean").tolist() == [[3, 4], [9, 10]]
    assert pool(hidden, None, "last").tolist() == [[5, 6], [11, 12]]


@pytest.mark.parametrize(
    "name, weights, said",
    [
        ("basewise-dnabert2", 117_074_176, 1),  # those in the published pytorch_model.bin
        ("basewise-nucleotide-transformer", 54_900_000, 100_000),  # v2-50m, unused positions out
        ("basewise-hyenadna", 436_000 + 16 * 128, 1_000),  # tiny-1k in the paper, and its decoder
    ],
)
def test_sizes_at_the_published_settings(name: str, weights: int, said: int) -> None:
    """To the digits in which the size was published."""
    cls = NETWORKS.get(name)
    with torch.device("meta"):
        network = cls(cls.config_class())
    assert abs(sum(p.numel() for p in network.parameters()) - weights) <= said / 2
