"""A graph network on the chain of nucleotides, with a label for every base: the kind GraphZ is.

Each base is a node, joined to the one before and the one after. On that chain the three published
convolutions need no graph library: sums over neighbours are shifts, the attention is a softmax over
three. A base sees one neighbour more to either side with each layer. (In GraphZ dropout stays on
when predictions are made; here it does not.)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from basewise.errors import ConfigError
from basewise.models.labeller import BaseLabeller, BaseLabellerConfig

__all__ = ["Attended", "Averaged", "Graph", "GraphConfig", "Normalised"]


class GraphConfig(BaseLabellerConfig):
    """Settings of the graph network, beside `BaseLabellerConfig`'s.

    Parameters
    ----------
    convolution : {"sage", "gcn", "gat"}
        GraphSAGE (Hamilton, Ying & Leskovec 2017) with the mean of neighbours; the graph
        convolution of Kipf & Welling 2017; or graph attention (Velickovic et al. 2018).
    widths : list of int
        Of each layer.
    heads : int
        Of attention; each has its share of a layer's width.
    dropout : float
        Share of features dropped behind each layer.

    Raises
    ------
    ConfigError
        If `convolution` is another one, or widths are no multiples of `heads`.
    """

    model_type = "basewise-graph"

    def __init__(
        self,
        convolution: Literal["sage", "gcn", "gat"] = "sage",
        widths: Sequence[int] = (64, 64, 64, 64, 64, 64),
        heads: int = 4,
        dropout: float = 0.2,
        **kwargs: Any,
    ) -> None:
        self.convolution = convolution
        self.widths = list(widths)
        self.heads = heads
        self.dropout = dropout
        super().__init__(**kwargs)
        if convolution not in _CONVOLUTIONS:
            raise ConfigError(f"convolution = {convolution!r}: it is 'sage', 'gcn' or 'gat'.")
        if convolution == "gat" and any(width % heads for width in widths):
            raise ConfigError(f"widths = {widths}: each must be a multiple of heads = {heads}.")


class Averaged(nn.Module):
    """GraphSAGE: W x_i + V mean of x_j over the neighbours j of i; rows (n, b, c)."""

    def __init__(self, channels: int, out: int, heads: int) -> None:
        super().__init__()
        self.own = nn.Linear(channels, out)
        self.around = nn.Linear(channels, out, bias=False)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        before, after, there = _neighbours(x, real)
        mean = (before + after) / there.sum(-1, keepdim=True).clamp(min=1)
        found: Tensor = self.own(x) + self.around(mean)
        return found


class Normalised(nn.Module):
    """GCN: W sum of x_j / sqrt(d_i d_j) over i and its neighbours, d counting itself too."""

    def __init__(self, channels: int, out: int, heads: int) -> None:
        super().__init__()
        self.dense = nn.Linear(channels, out)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        _, _, there = _neighbours(x, real)
        scale = (1 + there.sum(-1, keepdim=True)).rsqrt()
        before, after, _ = _neighbours(x * scale, real)
        found: Tensor = self.dense(scale * (before + x * scale + after))
        return found


class Attended(nn.Module):
    """GAT: sum of a_ij W x_j over i and its neighbours, a the softmax of leaky(u W x_i + v W x_j).

    Of several heads side by side.
    """

    def __init__(self, channels: int, out: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.dense = nn.Linear(channels, out, bias=False)
        self.target = nn.Parameter(torch.empty(heads, out // heads))
        self.source = nn.Parameter(torch.empty(heads, out // heads))
        self.bias = nn.Parameter(torch.zeros(out))

    def reset_parameters(self) -> None:
        """Glorot's initialisation of what attends."""
        nn.init.xavier_uniform_(self.target)
        nn.init.xavier_uniform_(self.source)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        x = self.dense(x) * real.unsqueeze(-1)
        before, after, there = _neighbours(x, real)
        nodes = torch.stack([before, x, after], 2).unflatten(-1, (self.heads, -1))
        score = (nodes * self.source).sum(-1) + (nodes[:, :, 1:2] * self.target).sum(-1)
        there = torch.stack([there[..., 0], torch.ones_like(there[..., 0]), there[..., 1]], -1)
        score = functional.leaky_relu(score, 0.2).masked_fill(there.unsqueeze(-1) == 0, -torch.inf)
        found: Tensor = (score.softmax(2).unsqueeze(-1) * nodes).sum(2).flatten(2) + self.bias
        return found


_CONVOLUTIONS = {"sage": Averaged, "gcn": Normalised, "gat": Attended}


class Graph(BaseLabeller):
    """The graph network with a label for every base; its embedding is `OneHot`."""

    config_class = GraphConfig
    base_model_prefix = "graph"

    def __init__(self, config: GraphConfig) -> None:
        super().__init__(config)
        widths = [self.channels, *config.widths]
        layer = _CONVOLUTIONS[config.convolution]
        self.layers = nn.ModuleList(layer(c, out, config.heads) for c, out in pairwise(widths))
        self.drop = nn.Dropout(config.dropout)
        self.out = nn.Linear(widths[-1], cast(int, config.num_labels))
        self.post_init()  # type: ignore[no-untyped-call]

    def strand(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        if mask is None:
            mask = torch.ones(x.shape[:2], device=x.device)
        real = mask.to(x.dtype)
        layers = []
        for layer in self.layers:
            x = self.drop(torch.relu(layer(x * real.unsqueeze(-1), real)))
            layers.append(x)
        logits: Tensor = self.out(x)
        return logits, layers

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Attended):
            module.reset_parameters()


def _neighbours(x: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The nodes before and after each, (n, b, c) or zeros; whether they are there, (n, b, 2)."""
    x = x * real.unsqueeze(-1)
    there = torch.stack([_shifted(real, 1), _shifted(real, -1)], -1)
    return _shifted(x, 1), _shifted(x, -1), there


def _shifted(x: Tensor, by: int) -> Tensor:
    """Rows (n, b, ...) moved along, zeros moving in."""
    around = (0, 0) * (x.ndim - 2)
    if by > 0:
        return functional.pad(x[:, :-1], (*around, 1, 0))
    return functional.pad(x[:, 1:], (*around, 0, 1))
