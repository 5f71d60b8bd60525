"""Attention weights, as they are and rolled out (Abnar & Zuidema 2020, arXiv 2005.00928)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from basewise.errors import CapabilityError
from basewise.explainers.count import Count, exactly
from basewise.explainers.gradient import Found, Gradient
from basewise.explainers.path import Path, Walker
from basewise.models.batch import borrowed
from basewise.models.network import Network
from basewise.registry import component
from basewise.types import Kind, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Attention", "AttentionRollout"]


@component
class Looking(Gradient):
    """What both methods share; one pass gives the target, and one the maps."""

    kind: ClassVar[Kind] = "ranking"

    by: Literal["all", "first"] = "all"

    def start(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        return x[None]

    @abstractmethod
    def flow(self, maps: list[Tensor]) -> Tensor:
        """From every token to every token, (n, t, t), by the maps (n, h, t, t) of the layers."""

    def rows(self) -> Count:
        return exactly(2)

    def find(self, walker: Walker, parts: Iterable[Sequence[Path]]) -> list[Found]:
        (paths,) = parts
        ids = torch.stack([path.ids for path in paths])
        scores = np.empty(ids.shape)

        def look(rows: slice) -> None:
            paid = self.flow(attention_maps(walker.model, ids[rows]))
            paid = paid.mean(1) if self.by == "all" else paid[:, 0]
            scores[rows] = paid.double().cpu().numpy()

        with borrowed(walker.model.network), eager(walker.model):
            walker.size.over(len(ids), ids.shape[1], look)
        return [
            Found(scores=score, output=value, baseline=float("nan"), evaluations=2)
            for score, value in zip(scores, walker.outputs(paths), strict=True)
        ]


@component
class Attention(Looking):
    """How much attention a token is paid, averaged over heads.

    Attention knows nothing of the target: all labels get the same scores, and a token that is
    looked at need not matter (Jain & Wallace 2019, arXiv 1902.10186). Special tokens take a
    part of it and have no score. There is no baseline.

    Attributes
    ----------
    by : str
        `all` tokens, averaged, or the `first` (the one that classifiers of BERT's kind read).
    layers : str
        `last`, or the mean over `all`.
    """

    layers: Literal["last", "all"] = "last"

    def flow(self, maps: list[Tensor]) -> Tensor:
        chosen = maps[-1:] if self.layers == "last" else maps
        return torch.stack([heads.mean(1) for heads in chosen]).mean(0)


@component
class AttentionRollout(Looking):
    """Attention followed down through the layers.

    A layer passes on half of what its heads attend to on average, and half of what was there
    (its residual); the product over layers says how much of each input token reaches the top
    (section 3 of the paper). Like `attention` it knows nothing of the target.

    Attributes
    ----------
    by : str
        The top at `all` tokens, averaged, or at the `first`.
    """

    def flow(self, maps: list[Tensor]) -> Tensor:
        own = torch.eye(maps[0].shape[-1], device=maps[0].device)
        reached = own
        for heads in maps:
            reached = (heads.mean(1) + own) / 2 @ reached
        return reached


def attention_maps(model: Model, ids: Tensor) -> list[Tensor]:
    """The maps (n, h, t, t) of every layer, from each token to each, of ids (n, t).

    Raises
    ------
    CapabilityError
        If the network has no attention.
    """
    output: Any = None
    if isinstance(model.network, PreTrainedModel):
        output = model.network(input_ids=ids, output_attentions=True)
    if not getattr(output, "attentions", None):
        raise CapabilityError(
            f"{model.name} ({type(model.network).__name__}) has no attention maps; use a gradient "
            "or a perturbation explainer, such as 'integrated_gradients' or 'kernel_shap'."
        )
    return list(output.attentions)


@contextmanager
def eager(model: Model) -> Iterator[None]:
    """The implementation of attention that gives its maps; the fast ones of transformers do not."""
    network: Any = model.network
    if isinstance(network, Network) or not isinstance(network, PreTrainedModel):
        yield
        return
    before = network.config._attn_implementation
    network.set_attn_implementation("eager")
    try:
        yield
    finally:
        network.set_attn_implementation(before)
