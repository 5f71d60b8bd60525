"""DeepLIFT, rescale rule (Shrikumar, Greenside & Kundaje 2017), on one-hot networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from basewise.errors import CapabilityError
from basewise.explainers.count import Count, exactly
from basewise.explainers.gradient import Found, Gradient, Mean
from basewise.explainers.path import Path, Walker, nodes, weights_of
from basewise.explainers.references import ShuffledReference, Starts, in_parts, is_one_hot, shares
from basewise.models.batch import Batch
from basewise.models.evaluator import check_finite
from basewise.models.gradient import frozen, value_at
from basewise.models.streaming import whole
from basewise.registry import component
from basewise.types import Floats, Kind, Record, Tokens

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
    layers, attention, products of two things that both depend on the sequence, a maximum of two
    tensors or one that names no dimension) are refused by name.

    Several references are averaged (DeepLIFT/SHAP, Lundberg & Lee 2017); the standard error is
    that of the mean over references, extras say how much they disagree (see
    `explainers.sensitivity`), and the hypothetical scores (b, 4) are what each base would have
    scored with the same multipliers. References are drawn and walked a few at a time, so memory
    does not grow with them, but for the score that each gives to every base, which is compared.

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
            # Shuffles have other tokens, and not every tokenizer has one that hides a base.
            reference = "zero" if model.tokenizer.mask_id is None else "token"
            raise CapabilityError(
                f"deep_lift is for networks on one-hot bases, and {model.name} reads tokens; "
                f"use explainer='integrated_gradients' with reference='{reference}'."
            )
        return self.reference.embedded(record, tokens, x, model, rng)

    def starts(
        self,
        record: Record,
        tokens: Tokens,
        x: Tensor,
        model: Model,
        rng: np.random.Generator,
        most: int,
    ) -> Iterator[tuple[Tensor, Floats]]:
        for reference in in_parts(self.reference, most):
            part = replace(self, reference=reference)
            yield part.start(record, tokens, x, model, rng), np.empty(0)

    def rows(self) -> Count:
        return exactly(2 * self.reference.draws)

    def find(self, walker: Walker, parts: Iterable[Sequence[Path]]) -> list[Found]:
        means: list[Mean] = []
        for paths in parts:
            multipliers, values = carried_back(walker, paths)
            if not means:
                of, outputs = shares(self.reference), values[:, 0, 0].tolist()
                means = [Mean(path.x, self.reference.draws, of) for path in paths]
            for mean, path, each, value in zip(means, paths, multipliers, values, strict=True):
                mean.add(path, each, value[:, 1].numpy())
        rows = 2 * self.reference.draws
        return [mean.found(output, rows) for mean, output in zip(means, outputs, strict=True)]


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
        some = with_twin(x[rows].requires_grad_(), r[rows])
        try:
            with Rules(), whole():  # a second calculation would be without rules
                batch = Batch(ids[rows], None, None if weights is None else weights[rows])
                value = value_at(model, batch, some, target)
        except NoRule as operation:
            raise CapabilityError(
                f"deep_lift has no rule for '{operation}', which {model.name} or the reading of "
                "its target uses; 'integrated_gradients' works on every network."
            ) from None
        (multipliers[rows],) = torch.autograd.grad(value.sum(), some)
        values[rows] = torch.stack([value, twin_of(value)], 1).detach().cpu()

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
SPELLINGS = {"input": "x", "axis": "dim", "keepdims": "keepdim"}  # of arguments, also allowed
CLOSE = 1e-7  # values of x and r this near are the same
TOLERANCE = 1e-2  # of the gain
ROUNDING = 1e-3  # of the magnitude of all scores: where they nearly cancel, the gain is rounded


class NoRule(Exception):
    """Names an operation. (Of a `TypeError`, Python's operators would make another one.)"""


TWIN = "_at_reference"  # the attribute of a tensor at the sequences that holds its twin


def with_twin(x: Tensor, r: Tensor) -> Tensor:
    """A tensor at the sequences that knows what stands in its place at the references."""
    setattr(x, TWIN, r)
    return x


def twin_of(x: Any) -> Any:
    """What stands in place of a value, or of several, at the references."""
    if isinstance(x, list | tuple):
        return type(x)(map(twin_of, x)) if _needing(x) else x
    if not isinstance(x, Tensor) or not x.requires_grad:
        return x
    if not hasattr(x, TWIN):  # made by a function of its own, which nobody calls twice
        raise NoRule(x.grad_fn.name().removesuffix("Backward") if x.grad_fn else "detach")
    return getattr(x, TWIN)


class Rules(TorchFunctionMode):
    """While active, what is called on tensors that need a gradient is called on their twins too.

    What needs a gradient is at the sequences, and gets DeepLIFT's; its twin is at the references
    and gets none, so there is one way back for two ways forward.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = kwargs or {}, func.__name__
        needing = _needing([*args, *kwargs.values()])
        if not needing:
            return func(*args, **kwargs)
        if name in LINEAR:
            return _twice(func, args, kwargs)
        if needing == 1:
            if name in BILINEAR and not (name in ("__truediv__", "div") and _needing(args[1:])):
                return _twice(func, args, kwargs)
            if name in ELEMENTWISE and _needing(args[:1]):
                if "inplace" in kwargs:
                    kwargs = kwargs | {"inplace": False}
                return _rescaled(args[0], lambda x: func(x, *args[1:], **kwargs))
            if name in OTHERS:
                spelled = {SPELLINGS.get(key, key): value for key, value in kwargs.items()}
                return OTHERS[name](*args, **spelled)
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


def _twice(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same of sequences and of references."""
    found = func(*args, **kwargs)
    with torch.no_grad():
        twin = func(*twin_of(args), **{name: twin_of(value) for name, value in kwargs.items()})
    several = isinstance(found, list | tuple)
    for y, r in zip(found, twin, strict=True) if several else [(found, twin)]:
        if isinstance(y, Tensor) and y.requires_grad:
            with_twin(y, r)
    return found


class _Rescaled(torch.autograd.Function):
    """`(f(x) - f(r)) / (x - r)` for the slope of f; its slope where x and r are the same."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, r: Tensor, f: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        of_x, of_r = f(x), f(r)
        ctx.save_for_backward(x, r, of_x, of_r)
        ctx.mark_non_differentiable(of_r)
        ctx.f = f
        return of_x, of_r

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, r, of_x, of_r = ctx.saved_tensors
        apart = x - r
        close = apart.abs() <= CLOSE
        factor = (of_x - of_r).div_(apart.masked_fill_(close, 1))
        rows = close.view(len(close), -1).any(1)
        if rows.any():
            with torch.enable_grad():
                middle = ((x[rows] + r[rows]) / 2).requires_grad_()
                (slope,) = torch.autograd.grad(ctx.f(middle).sum(), middle)
            factor[rows] = slope.where(close[rows], factor[rows])
        return factor.mul_(gradients[0]), None, None


class _LogSumExp(torch.autograd.Function):
    """Over the last dimension; mean slopes on the straight line from r to x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, r)
        of_r = r.logsumexp(-1)
        ctx.mark_non_differentiable(of_r)
        return x.logsumexp(-1), of_r

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, r = ctx.saved_tensors
        slopes = torch.zeros_like(x)
        for at, weight in zip(*nodes("gauss_legendre", 32), strict=True):
            slopes += weight * torch.lerp(r, x, at).softmax(-1)
        return gradients[0][..., None] * slopes, None


class _Maximum(torch.autograd.Function):
    """The entries of x, (n, ..., l), at places (n, ..., m): the largest of their windows.

    The difference of the two maxima goes to the places where they stood: what exceeds the
    reference's maximum to the sequence's place, what falls short of it to the reference's.
    Where x and r are the same, the slope at x.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, r: Tensor, in_x: Tensor, in_r: Tensor
    ) -> tuple[Tensor, Tensor]:
        of_x, of_r = x.gather(-1, in_x), r.gather(-1, in_r)
        ctx.save_for_backward(x, r, of_x, of_r, in_x, in_r)
        ctx.mark_non_differentiable(of_r)
        return of_x, of_r

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        x, r, of_x, of_r, in_x, in_r = ctx.saved_tensors
        higher = torch.maximum(of_x, of_r)
        given = torch.zeros_like(x)
        given.scatter_add_(-1, in_x, gradients[0] * (higher - of_r))
        given.scatter_add_(-1, in_r, gradients[0] * (of_x - higher))
        apart = (x - r).abs() > CLOSE
        slope = torch.zeros_like(x).scatter_add_(-1, in_x, gradients[0])
        return torch.where(apart, given / (x - r).where(apart, 1), slope), None, None, None


Pair = tuple[Tensor, Tensor]  # at the sequences and at the references


def _rescaled(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    pair: Pair = _Rescaled.apply(x, twin_of(x), f)  # type: ignore[no-untyped-call]
    return with_twin(*pair)


def _pooled(pool: Callable[..., Any], x: Tensor, *settings: Any, **more: Any) -> Tensor:
    """A maximum over windows of the last dimension."""
    more |= {"return_indices": True}
    places = [pool(each.detach(), *settings, **more)[1] for each in (x, twin_of(x))]
    return with_twin(*_maximum(x, twin_of(x), *places))


def _over(
    name: str, rule: Callable[[Tensor, Tensor], Pair], x: Tensor, dim: Any, keepdim: bool
) -> Tensor:
    """What a rule for the last dimension gives for these, which are made one.

    Raises
    ------
    NoRule
        If no dimension is named: of all dimensions some rows would be other sequences.
    """
    dims = tuple(dim) if isinstance(dim, list | tuple) else (dim,)
    if not dims or not all(isinstance(each, int) for each in dims):
        raise NoRule(f"{name} without dim")
    last = tuple(range(-len(dims), 0))
    both = [each.movedim(dims, last).flatten(-len(dims)) for each in (x, twin_of(x))]
    y, r = rule(*both)
    for at in sorted(each % x.ndim for each in dims) if keepdim else ():
        y, r = y.unsqueeze(at), r.unsqueeze(at)
    return with_twin(y, r)


def _amax(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return _over("amax", _largest, x, dim, keepdim)


def _max(x: Tensor, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
    y = _over("max", _largest, x, dim, keepdim)
    return torch.return_types.max((y, x.detach().argmax(dim, keepdim=keepdim)))


def _logsumexp(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return _over("logsumexp", _LogSumExp.apply, x, dim, keepdim)


def _largest(x: Tensor, r: Tensor) -> Pair:
    """The maxima of the last dimension."""
    y, of_r = _maximum(x, r, *(each.detach().argmax(-1, keepdim=True) for each in (x, r)))
    return y.squeeze(-1), of_r.squeeze(-1)


def _maximum(x: Tensor, r: Tensor, in_x: Tensor, in_r: Tensor) -> Pair:
    pair: Pair = _Maximum.apply(x, r, in_x, in_r)  # type: ignore[no-untyped-call]
    return pair


OTHERS: dict[str, Callable[..., Any]] = {
    "amax": _amax,
    "logsumexp": _logsumexp,
    "max": _max,
    "max_pool1d": partial(_pooled, torch.nn.functional.max_pool1d),
    "adaptive_max_pool1d": partial(_pooled, torch.nn.functional.adaptive_max_pool1d),
}
