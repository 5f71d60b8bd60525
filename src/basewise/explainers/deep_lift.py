"""DeepLIFT, rescale rule (Shrikumar, Greenside & Kundaje 2017), on one-hot networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from basewise.errors import CapabilityError
from basewise.explainers.count import Count, exactly
from basewise.explainers.gradient import Found, Gradient, averaged
from basewise.explainers.path import Path, Walker, nodes, weights_of
from basewise.explainers.references import ShuffledReference, Starts, is_one_hot, shares
from basewise.models.batch import Batch
from basewise.models.evaluator import check_finite
from basewise.models.gradient import frozen, value_at
from basewise.models.streaming import whole
from basewise.registry import component
from basewise.types import Kind, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["DeepLift"]


@component
class DeepLift(Gradient):
    """Differences from a reference, carried back through the network layer by layer.

    A nonlinear function of one number passes on `(f(x) - f(r)) / (x - r)`, its mean slope between
    the two, instead of its slope; so does the logarithm of summed exponentials that reads
    log-odds of several labels. A maximum gives its difference to the places where it stood;
    everything linear is as in a gradient. Scores `(x - r) * multiplier` sum to the gain for
    every pair of sequence and reference, which is checked. Operations without a rule (recurrent
    layers, attention, products of two things that both depend on the sequence) are refused by
    name.

    Several references are averaged (DeepLIFT/SHAP, Lundberg & Lee 2017); the standard error is
    that of the mean over references, extras say how much they disagree (see
    `explainers.sensitivity`), and the hypothetical scores (b, 4) are what each base would have
    scored with the same multipliers.

    Attributes
    ----------
    reference : Reference, list of them, or array
        Where differences are taken from; by default 20 dinucleotide shuffles.
    """

    kind: ClassVar[Kind] = "additive"

    reference: Starts = ShuffledReference(draws=20)

    def start(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        if not is_one_hot(model):
            raise CapabilityError(
                f"deep_lift is for networks on one-hot bases, and {model.name} reads tokens; "
                "use 'integrated_gradients' or 'expected_gradients'."
            )
        return self.reference.embedded(record, tokens, x, model, rng)

    def rows(self) -> Count:
        return exactly(2 * self.reference.draws)

    def find(self, walker: Walker, paths: Sequence[Path]) -> list[Found]:
        multipliers, values = carried_back(walker, paths)
        of = shares(self.reference)
        return [
            averaged(path, each, float(value[0, 0]), value[:, 1].numpy(), value.numel(), of)
            for path, each, value in zip(paths, multipliers, values, strict=True)
        ]


def carried_back(walker: Walker, paths: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """Multipliers, (n, d, t, e), and the target at sequence and reference, (n, d, 2).

    Raises
    ------
    CapabilityError
        Naming an operation that has no rule, or if scores do not sum to the gain.
    """
    model, target = walker.model, walker.target
    r = torch.cat([path.references for path in paths])
    draws = len(r) // len(paths)
    x, ids = (
        torch.stack([getattr(path, of) for path in paths]).repeat_interleave(draws, 0)
        for of in ("x", "ids")
    )
    weights = weights_of(paths)
    weights = None if weights is None else weights.repeat_interleave(draws, 0)
    multipliers, values = torch.empty_like(x), torch.empty(len(x), 2, dtype=torch.double)

    def back(rows: slice) -> None:
        both = torch.cat([x[rows], r[rows]]).requires_grad_()
        try:
            with Rules(), whole():  # a second calculation would be without rules
                twice = None if weights is None else weights[rows].repeat(2, 1)
                batch = Batch(ids[rows].repeat(2, 1), None, twice)
                value = value_at(model, batch, both, target)
        except NoRule as operation:
            raise CapabilityError(
                f"deep_lift has no rule for '{operation}', which {model.name} or the reading of "
                "its target uses; 'integrated_gradients' works on every network."
            ) from None
        at_x, at_r = value.chunk(2)
        (gradient,) = torch.autograd.grad(at_x.sum(), both)
        multipliers[rows] = gradient[: len(at_x)]
        values[rows] = torch.stack([at_x, at_r], 1).detach().cpu()

    with frozen(model):
        walker.size.over(len(x), 2 * x.shape[1], back)
    check_finite(values.numpy().ravel(), model, target)
    gain = values[:, 0] - values[:, 1]
    scores = ((x - r) * multipliers).double().cpu()
    gap = (scores.sum((1, 2)) - gain).abs()
    if (gap > TOLERANCE * gain.abs() + ROUNDING * scores.abs().sum((1, 2))).any():
        raise CapabilityError(
            f"The scores of deep_lift miss the gain by {float(gap.max()):.3g} on {model.name}, so "
            "a layer does more than its operations say; use 'integrated_gradients'."
        )
    shape = (len(paths), draws)
    return multipliers.view(*shape, *x.shape[1:]), values.view(*shape, 2)


# ------------------------------------------------------------------------------ rules


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What is linear in all that depends on the sequence, or only moves it about.
LINEAR = _names("""
    __add__ __radd__ __iadd__ add __sub__ __rsub__ sub neg __neg__ cat concat concatenate stack sum
    mean __getitem__ view view_as reshape reshape_as flatten unflatten transpose permute movedim
    swapaxes squeeze unsqueeze expand expand_as repeat repeat_interleave contiguous clone to float
    double type_as chunk split unbind narrow select index_select gather flip roll pad masked_fill
    where dropout dropout1d dropout2d feature_dropout alpha_dropout avg_pool1d avg_pool2d
    adaptive_avg_pool1d adaptive_avg_pool2d size dim numel __len__ __get__
""")
# What is linear in one of its arguments while the others do not depend on the sequence.
BILINEAR = _names("""
    __mul__ __rmul__ __imul__ mul multiply __truediv__ div __matmul__ __rmatmul__ matmul mm bmm
    einsum linear conv1d conv2d conv_transpose1d batch_norm
""")
# Functions of one number.
ELEMENTWISE = _names("""
    relu relu6 gelu elu selu celu silu mish leaky_relu prelu softplus softsign hardtanh hardswish
    hardsigmoid sigmoid tanh exp log log1p sqrt square abs __pow__ pow clamp logit logsigmoid erf
    __rtruediv__ reciprocal
""")
CLOSE = 1e-7  # values of x and r this near are the same
TOLERANCE = 1e-2  # of the gain
ROUNDING = 1e-3  # of the magnitude of all scores: where they nearly cancel, the gain is rounded


class NoRule(Exception):
    """Names an operation. (Of a `TypeError`, Python's operators would make another one.)"""


class Rules(TorchFunctionMode):
    """While active, what is called on tensors that need a gradient gets DeepLIFT's instead.

    The first half of their rows is at the sequences, the second at the references.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = kwargs or {}, func.__name__
        needing = _needing([*args, *kwargs.values()])
        if not needing or name in LINEAR:
            return func(*args, **kwargs)
        if needing == 1:
            if name in BILINEAR and not (name in ("__truediv__", "div") and _needing(args[1:])):
                return func(*args, **kwargs)
            if name in ELEMENTWISE and _needing(args[:1]):
                if "inplace" in kwargs:
                    kwargs = kwargs | {"inplace": False}
                return _rescaled(args[0], lambda x: func(x, *args[1:], **kwargs))
            if name in OTHERS:
                return OTHERS[name](*args, **kwargs)
        raise NoRule(name)


def _needing(values: Iterable[Any]) -> int:
    """How many tensors among the values need a gradient, so depend on the sequence."""
    found = 0
    for value in values:
        if isinstance(value, Tensor):
            found += value.requires_grad
        elif isinstance(value, list | tuple):
            found += _needing(value)
    return found


class _Rescaled(torch.autograd.Function):
    """`(f(x) - f(r)) / (x - r)` for the slope of f; its slope where x and r are the same."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
        y = f(x)
        ctx.save_for_backward(x, y)
        ctx.f = f
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, y = ctx.saved_tensors
        (at_x, at_r), (of_x, of_r) = x.chunk(2), y.chunk(2)
        with torch.enable_grad():
            middle = ((at_x + at_r) / 2).requires_grad_()
            (slope,) = torch.autograd.grad(ctx.f(middle).sum(), middle)
        apart = (at_x - at_r).abs() > CLOSE
        factor = torch.where(apart, (of_x - of_r) / (at_x - at_r).where(apart, 1), slope)
        return gradients[0] * factor.repeat(2, *[1] * (x.ndim - 1)), None


class _LogSumExp(torch.autograd.Function):
    """Over the last dimension; mean slopes on the straight line from r to x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.logsumexp(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        at_x, at_r = ctx.saved_tensors[0].chunk(2)
        slopes = torch.zeros_like(at_x)
        for at, weight in zip(*nodes("gauss_legendre", 32), strict=True):
            slopes += weight * torch.lerp(at_r, at_x, at).softmax(-1)
        return gradients[0][..., None] * slopes.repeat(2, *[1] * (at_x.ndim - 1))


class _Maximum(torch.autograd.Function):
    """The entries of x, (2 n, ..., l), at places (2 n, ..., m): the largest of their windows.

    The difference of the two maxima goes to the places where they stood: what exceeds the
    reference's maximum to the sequence's place, what falls short of it to the reference's.
    Where x and r are the same, the slope at x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor) -> Tensor:
        y = x.gather(-1, places)
        ctx.save_for_backward(x, y, places)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, y, places = ctx.saved_tensors
        (at_x, at_r), (of_x, of_r) = x.chunk(2), y.chunk(2)
        gradient, (in_x, in_r) = gradients[0].chunk(2)[0], places.chunk(2)
        higher = torch.maximum(of_x, of_r)
        given = torch.zeros_like(at_x)
        given.scatter_add_(-1, in_x, gradient * (higher - of_r))
        given.scatter_add_(-1, in_r, gradient * (of_x - higher))
        apart = (at_x - at_r).abs() > CLOSE
        slope = torch.zeros_like(at_x).scatter_add_(-1, in_x, gradient)
        factor = torch.where(apart, given / (at_x - at_r).where(apart, 1), slope)
        return factor.repeat(2, *[1] * (x.ndim - 1)), None


def _rescaled(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    y: Tensor = _Rescaled.apply(x, f)  # type: ignore[no-untyped-call]
    return y


def _pooled(pool: Callable[..., Any], x: Tensor, *settings: Any, **more: Any) -> Tensor:
    """A maximum over windows of the last dimension."""
    _, places = pool(x.detach(), *settings, **more | {"return_indices": True})
    return _maximum(x, places)


def _amax(x: Tensor, dim: int | tuple[int, ...], keepdim: bool = False) -> Tensor:
    """A maximum over one dimension."""
    if not isinstance(dim, int):
        (dim,) = dim
    places = x.detach().argmax(dim, keepdim=True)
    y = _maximum(x.movedim(dim, -1), places.movedim(dim, -1)).movedim(-1, dim)
    return y if keepdim else y.squeeze(dim)


def _max(x: Tensor, dim: int, keepdim: bool = False) -> Any:
    places = x.detach().argmax(dim, keepdim=keepdim)
    return torch.return_types.max((_amax(x, dim, keepdim), places))


def _logsumexp(x: Tensor, dim: int) -> Tensor:
    y: Tensor = _LogSumExp.apply(x.movedim(dim, -1))  # type: ignore[no-untyped-call]
    return y


def _maximum(x: Tensor, places: Tensor) -> Tensor:
    y: Tensor = _Maximum.apply(x, places)  # type: ignore[no-untyped-call]
    return y


OTHERS: dict[str, Callable[..., Any]] = {
    "amax": _amax,
    "logsumexp": _logsumexp,
    "max": _max,
    "max_pool1d": partial(_pooled, torch.nn.functional.max_pool1d),
    "adaptive_max_pool1d": partial(_pooled, torch.nn.functional.adaptive_max_pool1d),
}
