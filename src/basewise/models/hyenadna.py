"""HyenaDNA (Nguyen et al. 2023, arXiv 2306.15794): long convolutions instead of attention.

Each block mixes positions by the order-2 Hyena operator (Poli et al. 2023, arXiv 2302.10866):
a short causal convolution makes x0, x1 and v; then y = x0 * (k * (x1 * v) + bias * x1 * v),
where k is a convolution over the whole sequence whose filter is an MLP of the position, faded
out exponentially. The long convolution is a product of Fourier transforms, padded to twice the
length so that it does not wrap around, or for short sequences a matrix product. Everything is
causal: a base is seen only by those after it.

The network has no attention mask. Padding on the right cannot reach a real token, so it is
accepted, and sequence classifiers read the last *real* token; padding on the left would change
every real token, so it is refused.

Inside a mixer numbers lie feature by feature, `(w, n, t)`, which is how convolutions read them.

Letters of shapes: `n` rows, `t` tokens, `w` width, `s` longest sequence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import initialization
from transformers.modeling_layers import GradientCheckpointingLayer

from basewise.errors import CapabilityError, WeightsError
from basewise.models.heads import Decoder, Head, Pooling, pool
from basewise.models.network import Network, NetworkConfig, State, Trace, drop_copy, through

__all__ = ["HyenaDna", "HyenaDnaConfig"]

DIRECT = 128  # the longest sequences that a matrix product convolves, not Fourier transforms
FADE_TO, FAST, SLOW, FLOOR = 1e-2, 0.3, 1.5, 0.05  # of the filters' exponential window


class HyenaDnaConfig(NetworkConfig):
    """Settings of HyenaDNA, under the published names; the defaults are tiny-1k."""

    model_type = "basewise-hyenadna"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layer",
    }
    published_pooling: ClassVar[Pooling] = "last"

    head: Head = "causal_lm"
    vocab_size: int = 12
    pad_vocab_size_multiple: int = 8
    d_model: int = 128
    d_inner: int = 512
    n_layer: int = 2
    max_seq_len: int = 1026
    emb_dim: int = 5
    filter_order: int = 64
    num_inner_mlps: int = 2
    short_filter_order: int = 3
    activation_freq: float = 10
    train_freq: bool = True
    use_bias: bool = True
    embed_dropout: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    pad_token_id: int = 4
    tie_word_embeddings: bool = False

    @classmethod
    def from_published(cls, published: Mapping[str, Any], head: Head) -> HyenaDnaConfig:
        if isinstance(published.get("layer"), Mapping):
            raise WeightsError(
                "This is HyenaDNA's own training format; take the same model's '-hf' repository."
            )
        if published.get("hyena_order", 2) != 2:
            raise WeightsError(
                f"hyena_order = {published['hyena_order']!r}: HyenaDNA's published models have 2."
            )
        return super().from_published(published, head)  # type: ignore[return-value]

    @property
    def max_tokens(self) -> int:
        return self.max_seq_len

    @property
    def rows(self) -> int:
        """Rows of the embedding: the vocabulary, filled up to a multiple."""
        return math.ceil(self.vocab_size / self.pad_vocab_size_multiple) * (
            self.pad_vocab_size_multiple
        )


def _here() -> torch.device:
    """Where new tensors lie: transformers patches `linspace` alone to ignore a device context."""
    return torch.empty(0).device


class Position(nn.Module):
    """What the filters know of a position: the time t in [0, 1], and waves of it; (1, s, e)."""

    t: Tensor
    z: Tensor

    def __init__(self, config: HyenaDnaConfig) -> None:
        super().__init__()
        s = config.max_seq_len
        bands = (config.emb_dim - 1) // 2
        here = _here()
        t = torch.linspace(0, 1, s, device=here)[None, :, None]
        turns = 2 * math.pi * torch.arange(s)[None, :, None] / s
        angle = turns * torch.linspace(1e-4, bands - 1, bands, device=here)
        self.register_buffer("t", t)
        self.register_buffer("z", torch.cat([t, angle.cos(), -angle.sin()], -1))


class Modulation(nn.Module):
    """Fades filters, (1, t, w), out in time: each feature at a rate of its own."""

    deltas: Tensor

    def __init__(self, config: HyenaDnaConfig) -> None:
        super().__init__()
        slow, fast = math.log(FADE_TO) / SLOW, math.log(FADE_TO) / FAST
        rates = torch.linspace(slow, fast, config.d_model, device=_here())
        self.register_buffer("deltas", rates[None, None])

    def forward(self, time: Tensor, filters: Tensor) -> Tensor:
        return filters * (torch.exp(-time * self.deltas.abs()) + FLOOR)


class Sine(nn.Module):
    """sin(frequency * x), one trained frequency per feature."""

    freq: Tensor

    def __init__(self, config: HyenaDnaConfig) -> None:
        super().__init__()
        start = torch.full((1, config.filter_order), float(config.activation_freq))
        if config.train_freq:
            self.freq = nn.Parameter(start)
        else:
            self.register_buffer("freq", start, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.freq * x)


class ShortConvolution(torch.autograd.Function):
    """Every feature of (c, n, t) convolved with its few taps, (c, k), those of the past first.

    As one image of n by t pixels. The gradient is written out: that of the library takes
    several times as long.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(u, weight)
        return _by_row(u, weight, bias)[..., : u.shape[-1]]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, weight = ctx.saved_tensors
        t, taps = u.shape[-1], weight.shape[-1]
        of_u = _by_row(gradient, weight.flip(-1), None)[..., taps - 1 :]
        of_taps = [
            (gradient[..., back:] * u[..., : max(t - back, 0)]).sum((1, 2))
            for back in reversed(range(taps))
        ]
        return of_u, torch.stack(of_taps, -1), gradient.sum((1, 2))


def _by_row(image: Tensor, taps: Tensor, bias: Tensor | None) -> Tensor:
    """Slide the taps over all rows, from their first touch to their last, (c, n, t + k - 1)."""
    c, k = taps.shape
    weight, padding = taps[:, None, None], (0, k - 1)
    return functional.conv2d(image[None], weight, bias, padding=padding, groups=c)[0]


def long_convolution(v: Tensor, filters: Tensor) -> Tensor:
    """Every feature of (w, n, t) convolved causally with its filter of (w, t)."""
    n, t = v.shape[1:]
    # The matrices are made anew at every call, however few the rows.
    if t > min(2 * n, DIRECT):
        whole, taps = v.float(), filters[:, None].float()  # no transforms in bfloat16
        mixed: Tensor = FourierConvolution.apply(whole, taps)  # type: ignore[no-untyped-call]
        return mixed.to(v.dtype)
    # Toeplitz: row s, column j holds the tap at distance j - s.
    toeplitz = functional.pad(filters, (t - 1, 0)).unfold(-1, t, 1).flip(1)
    return v @ toeplitz.to(v.dtype)


class FourierConvolution(torch.autograd.Function):
    """Every feature of (w, n, t) convolved with its filter of (w, 1, t), by Fourier transforms.

    The gradient is written out because it takes real transforms, too: torch's own goes through
    complex ones, at twice the cost.
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, filters: Tensor) -> Tensor:
        ctx.save_for_backward(v, filters)
        t, length = v.shape[-1], fast_length(2 * v.shape[-1] - 1)
        spectrum = torch.fft.rfft(v, length) * torch.fft.rfft(filters, length)
        mixed: Tensor = torch.fft.irfft(spectrum, length)[..., :t]
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        v, filters = ctx.saved_tensors
        t, length = v.shape[-1], fast_length(2 * v.shape[-1] - 1)
        spectrum = torch.fft.rfft(gradient, length)
        of_v = of_filters = None
        if ctx.needs_input_grad[0]:
            back = torch.fft.rfft(filters, length).conj()
            of_v = torch.fft.irfft(spectrum * back, length)[..., :t]
        if ctx.needs_input_grad[1]:
            back = torch.fft.rfft(v, length).conj()
            of_filters = torch.fft.irfft((spectrum * back).sum(1, True), length)[..., :t]
        return of_v, of_filters


def fast_length(least: int) -> int:
    """The next length that a Fourier transform is fast at: no prime factors above 5."""
    length = least
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


class Filter(nn.Module):
    """The long convolution: its filters, and their use on (w, n, t).

    It stays in float32 whatever the rest of the network is cast to: half precision cannot
    tell 1,000 positions apart, and Fourier transforms know no bfloat16.
    """

    def __init__(self, config: HyenaDnaConfig) -> None:
        super().__init__()
        inner = config.filter_order
        self.bias = nn.Parameter(torch.randn(config.d_model))
        self.pos_emb = Position(config)
        self.modulation = Modulation(config)
        # One sine serves between all layers, and stands where the first of them is published.
        layers: dict[str, nn.Module] = {"0": nn.Linear(config.emb_dim, inner), "1": Sine(config)}
        for i in range(config.num_inner_mlps):
            layers[str(2 * i + 2)] = nn.Linear(inner, inner)
        last = str(2 * config.num_inner_mlps + 2)
        layers[last] = nn.Linear(inner, config.d_model, bias=False)
        self.implicit_filter = nn.ModuleDict(layers)

    def filters(self, t: int) -> Tensor:
        """The filters of the first `t` positions, (w, t)."""
        layers = self.implicit_filter
        *inner, last = (layer for name, layer in layers.items() if name != "1")
        hidden = self.pos_emb.z[:, :t]
        for layer in inner:
            hidden = layers["1"](layer(hidden))
        filters: Tensor = self.modulation(self.pos_emb.t[:, :t], last(hidden))
        return filters[0].T

    def forward(self, v: Tensor) -> Tensor:
        """k * v + bias * v, for v of (w, n, t)."""
        t = v.shape[-1]
        with torch.autocast(v.device.type, enabled=False):
            # The bias is what a filter's first tap, at distance 0, does too.
            filters = self.filters(t) + functional.pad(self.bias[:, None], (0, t - 1))
            return long_convolution(v, filters)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        def keep_precision(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        applied: nn.Module = super()._apply(keep_precision, recurse)  # type: ignore[no-untyped-call]
        return applied


class ShortFilter(nn.Conv1d):
    """A causal convolution of each feature of (c, n, t) with the few tokens before it."""

    bias: Tensor

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__(channels, channels, taps, groups=channels, padding=taps - 1)

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight.squeeze(1).to(input.dtype), self.bias.to(input.dtype)
        mixed: Tensor = ShortConvolution.apply(input, weight, bias)  # type: ignore[no-untyped-call]
        return mixed


class ByFeature(nn.Linear):
    """A linear layer whose output, (n, t, c), lies in memory feature by feature.

    The matrix product can as well write it so; to turn it round afterwards takes longer than
    the product itself.
    """

    def forward(self, input: Tensor) -> Tensor:
        n, t, width = input.shape
        tokens = input.reshape(-1, width).T
        if self.bias is None:
            by_feature = self.weight @ tokens
        else:
            by_feature = torch.addmm(self.bias[:, None], self.weight, tokens)
        return by_feature.T.view(n, t, -1)


class Hyena(nn.Module):
    """The order-2 Hyena operator on (n, t, w)."""

    def __init__(self, config: HyenaDnaConfig) -> None:
        super().__init__()
        width = config.d_model
        self.in_proj = ByFeature(width, 3 * width, bias=config.use_bias)
        self.out_proj = nn.Linear(width, width, bias=config.use_bias)
        self.short_filter = ShortFilter(3 * width, config.short_filter_order)
        self.filter_fn = Filter(config)

    def forward(self, hidden: Tensor) -> Tensor:
        x0, x1, v = self.short_filter(self.in_proj(hidden).permute(2, 0, 1)).chunk(3)
        gated = x0 * self.filter_fn(v * x1)
        mixed: Tensor = self.out_proj(gated.permute(1, 2, 0))
        return mixed


class Mlp(nn.Module):
    """fc2(gelu(fc1(x))), the gelu by its tanh approximation.

    In bfloat16 the gelu is the exact one, several times faster on CPUs: the two differ by less
    than 5e-4, and bfloat16 rounds numbers near 1 by up to 4e-3.
    """

    def __init__(self, config: HyenaDnaConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.d_model, config.d_inner)
        self.fc2 = nn.Linear(config.d_inner, config.d_model)

    def forward(self, hidden: Tensor) -> Tensor:
        wide = self.fc1(hidden)
        approximate = "none" if wide.dtype == torch.bfloat16 else "tanh"
        narrow: Tensor = self.fc2(functional.gelu(wide, approximate=approximate))
        return narrow


class Layer(GradientCheckpointingLayer):
    """x += mixer(norm1(x)); x += mlp(norm2(x))"""

    def __init__(self, config: HyenaDnaConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.mixer = Hyena(config)
        self.norm2 = nn.LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.mlp = Mlp(config)

    def forward(self, hidden: Tensor, want_map: bool) -> tuple[Tensor, None]:
        hidden = hidden + self.mixer(self.norm1(hidden))
        return hidden + self.mlp(self.norm2(hidden)), None


class Embeddings(nn.Module):
    """The table of tokens."""

    def __init__(self, config: HyenaDnaConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.rows, config.d_model)


class Backbone(nn.Module):
    """Embedded tokens, (n, t, w), to hidden states.

    Kept are the embeddings, every layer's output, and the last one's after the final norm.
    """

    def __init__(self, config: HyenaDnaConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.dropout = nn.Dropout(config.embed_dropout)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.d_model, config.layer_norm_epsilon)

    def forward(self, embedded: Tensor, mask: Tensor | None, trace: Trace) -> Tensor:
        if trace.maps is not None:
            raise CapabilityError(
                "HyenaDNA mixes positions by convolutions; it has no attention maps."
            )
        hidden = embedded if mask is None else embedded * mask[:, :, None].to(embedded.dtype)
        hidden = self.dropout(hidden)
        trace.keep(hidden)
        normed: Tensor = self.ln_f(through(self.layers, hidden, trace))
        trace.keep(normed)
        return normed


class Trunk(nn.Module):
    """The backbone, under its published name."""

    def __init__(self, config: HyenaDnaConfig) -> None:
        super().__init__()
        self.backbone = Backbone(config)

    def forward(self, embedded: Tensor, mask: Tensor | None, trace: Trace) -> Tensor:
        hidden: Tensor = self.backbone(embedded, mask, trace)
        return hidden


class HyenaDna(Network):
    """HyenaDNA with one of its heads; a token classifier sees only the bases before a token.

    There are no attention maps; asking for them is refused.
    """

    config_class = HyenaDnaConfig
    base_model_prefix = "hyena"
    heads = ("causal_lm", "sequence_classification", "token_classification")
    poolings = ("last", "mean")
    adapted = ("in_proj", "out_proj")

    def __init__(self, config: HyenaDnaConfig) -> None:
        super().__init__(config)
        self.hyena = Trunk(config)
        if config.head == "causal_lm":
            tied = config.tie_word_embeddings
            self.lm_head = Decoder(config.d_model, config.rows, tied=tied, bias=False)
        elif config.head == "sequence_classification":
            self.score = nn.Linear(config.d_model, config.outputs, bias=False)
        else:
            self.classifier = nn.Linear(config.d_model, config.outputs)
        self.post_init()

    def real(
        self, input_ids: Tensor | None, embedded: Tensor, attention_mask: Tensor | None
    ) -> Tensor | None:
        """The mask, from the pad ids where none is given; refused unless it pads on the right."""
        mask = attention_mask
        if mask is None and input_ids is not None:
            mask = input_ids != self.config.pad_token_id
        if mask is None or bool(mask.all()):
            return None
        mask = mask != 0
        if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
            raise CapabilityError(
                "HyenaDNA has no attention mask: only padding on the right leaves the real "
                "tokens as they are, and this batch has masked tokens before real ones."
            )
        return mask

    def read(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        logits: Tensor
        if self.config.head == "causal_lm":
            logits = self.lm_head(hidden, self.get_input_embeddings().weight)
        elif self.config.head == "sequence_classification":
            logits = self.score(pool(hidden, mask, self.config.pooling))
        else:
            logits = self.classifier(hidden)
        return logits

    def get_input_embeddings(self) -> nn.Embedding:
        return self.hyena.backbone.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.hyena.backbone.embeddings.word_embeddings = value  # type: ignore[assignment]

    def _init_weights(self, module: nn.Module) -> None:
        """As in Poli et al.: what a residual adds is scaled down by the depth."""
        super()._init_weights(module)  # type: ignore[no-untyped-call]
        if isinstance(module, Layer):
            std = self.config.initializer_range / math.sqrt(2 * self.config.n_layer)
            for last in (module.mixer.out_proj, module.mlp.fc2):
                initialization.normal_(last.weight, std=std)

    @classmethod
    def matches(cls, published: Mapping[str, Any]) -> bool:
        auto = published.get("auto_map") or {}
        layer = published.get("layer")
        return (
            published.get("model_type") == "hyenadna"
            or any("modeling_hyena." in v for v in auto.values())
            or (isinstance(layer, Mapping) and layer.get("_name_") == "hyena")
        )

    @classmethod
    def convert_keys(cls, state: State, config: Any) -> State:
        for key in [key for key in state if key.endswith(".freq")]:
            first = key.rsplit(".", 2)[0] + ".1.freq"
            if key != first:
                drop_copy(state, key, first)
        if config.tie_word_embeddings:
            table = "hyena.backbone.embeddings.word_embeddings.weight"
            drop_copy(state, "lm_head.weight", table)
            config.tie_word_embeddings = "lm_head.weight" not in state
        return state
