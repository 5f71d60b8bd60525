"""Attention as the native networks use it: on the fast path, or with its map when asked for one.

Letters of shapes: `n` rows, `h` heads, `t` tokens, `d` features of one head.
Sources: Vaswani et al. 2017 (attention), Su et al. 2021 (rotary positions), Press et al. 2022
(ALiBi).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["alibi", "attend", "frequencies", "heads", "key_bias", "rotate", "rotation"]


def heads(projected: Tensor, count: int) -> Tensor:
    """Split features, (n, t, h * d), into heads, (n, h, t, d)."""
    n, t, _ = projected.shape
    return projected.view(n, t, count, -1).transpose(1, 2)


def attend(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float, want_map: bool
) -> tuple[Tensor, Tensor | None]:
    """softmax(q k' / sqrt(d) + bias) v, heads joined again.

    Parameters
    ----------
    query, key, value : (n, h, t, d)
    bias : broadcastable to (n, h, t, t), or None
        Added to the scores before the softmax.
    dropout : float
        Share of attention weights dropped; 0 outside training.
    want_map : bool
        Compute the weights explicitly and return them; else `scaled_dot_product_attention`.

    Returns
    -------
    (n, t, h * d) and the weights (n, h, t, t), or None where they were not asked for.
    """
    weights = None
    if want_map:
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        scores = scores if bias is None else scores + bias
        weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
        mixed = functional.dropout(weights, dropout) @ value
    else:
        mixed = functional.scaled_dot_product_attention(query, key, value, bias, dropout)
    return mixed.transpose(1, 2).flatten(2), weights


def key_bias(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """What hides masked tokens from attention, (n, 1, 1, t); None where nothing is masked.

    The lowest finite number, not minus infinity: a row of nothing but padding stays finite.
    """
    if mask is None or bool(mask.all()):
        return None
    hidden = mask[:, None, None, :] == 0
    return torch.zeros_like(hidden, dtype=like.dtype).masked_fill(
        hidden, torch.finfo(like.dtype).min
    )


def alibi(count: int, t: int, like: Tensor) -> Tensor:
    """Symmetric ALiBi, (1, h, t, t): each head's slope times minus the distance in tokens.

    Slopes are 2^(-8 i / h) for a power of two; otherwise those of the next lower power and
    then every other slope of the next higher one (Press et al. 2022, section 3 and code).
    """

    def powers(m: int) -> list[float]:
        return [2 ** (-8 * (i + 1) / m) for i in range(m)]

    lower = 2 ** int(math.log2(count))
    slopes = powers(lower) + powers(2 * lower)[::2][: count - lower]
    at = torch.arange(t, device=like.device)
    distance = (at[:, None] - at).abs()
    bias = -torch.tensor(slopes, device=like.device)[:, None, None] * distance
    return bias.to(like.dtype)[None]


def frequencies(base: float, features: int) -> Tensor:
    """Angular frequencies of rotary positions, (features / 2,): base^(-2 i / features)."""
    return base ** (-torch.arange(0, features, 2) / features)


def rotation(base: float, features: int, t: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of the rotary angles of positions 0 to t - 1, each (t, features)."""
    at = torch.arange(t, device=like.device, dtype=torch.float32)
    angle = at[:, None] * frequencies(base, features).to(like.device)
    cos, sin = angle.cos().to(like.dtype), angle.sin().to(like.dtype)
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the leading features of `x`, (n, h, t, d), by their positions' angles.

    Feature i is paired with feature i + features / 2 ("rotate half"); features past those
    that the angles cover stay as they are.
    """
    cos, sin = angles
    count = cos.shape[-1]
    turned = x[..., :count]
    turned = torch.addcmul(turned * cos, turned.roll(count // 2, -1), sin)
    return turned if count == x.shape[-1] else torch.cat([turned, x[..., count:]], -1)
