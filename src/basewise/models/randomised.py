"""Models that have forgotten what they learned, layer by layer from the top."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from basewise.errors import CapabilityError

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["layers", "randomised"]


def layers(network: nn.Module) -> list[str]:
    """Names of the modules that hold weights of their own, from the input to the output.

    The order is that in which the network defines them.
    """
    return [name for name, module in network.named_modules() if _own(module)]


def randomised(model: Model, share: float, seed: int = 0) -> Model:
    """A copy of a model whose top layers are initialised anew; the model itself stays.

    Every tensor of weights of a layer (and of the statistics that it normalises by) keeps its
    numbers and gets them in random order. So the initial weights have the size that the layer
    works with, whatever the architecture, and nothing is left of what was learned.

    Parameters
    ----------
    share : float
        Of the layers, counted from the output: 0 none, 1 all (the cascade of Adebayo et al.
        2018, NeurIPS).
    seed : int
        Of the order.

    Raises
    ------
    CapabilityError
        If the model has no weights, because it is a function.
    """
    names = layers(model.network)
    if not names:
        raise CapabilityError(
            f"{model.name} is a function without weights; there are no layers to initialise anew."
        )
    network = deepcopy(model.network)
    modules = dict(network.named_modules())
    generator = torch.Generator().manual_seed(seed)
    done: set[int] = set()  # weights that two layers share are set once
    with torch.no_grad():
        for name in names[::-1][: round(share * len(names))]:
            for tensor in _own(modules[name]):
                if id(tensor) not in done:
                    done.add(id(tensor))
                    order = torch.randperm(tensor.numel(), generator=generator)
                    tensor.copy_(tensor.flatten()[order.to(tensor.device)].view_as(tensor))
    return replace(model, network=network)


def _own(module: nn.Module) -> list[Tensor]:
    """Weights of a module itself, and the running statistics of a normalisation."""
    weights: list[Tensor] = list(module.parameters(recurse=False))
    if not weights:
        return []
    kept = module.named_buffers(recurse=False)
    return weights + [b for name, b in kept if name in ("running_mean", "running_var")]
