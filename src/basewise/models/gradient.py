"""Gradients of a target with respect to the output of a network's embedding.

The output of the embedding module is replaced in place, never passed as `inputs_embeds`:
networks compute other things from the ids too (positions, padding, token dropout), and those
must stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from basewise.models.batch import Batch, borrowed, evaluating
from basewise.types import Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["embed", "frozen", "value_and_gradient", "value_at"]


def embed(model: Model, batch: Batch) -> Tensor:
    """What the embedding gives for a batch, (n, t, d), detached."""
    with borrowed(model.embedding):
        embedded: Tensor = model.embedding(batch.ids)
    return embedded.clone()  # outside of inference mode, so that gradients may flow through it


def value_and_gradient(
    model: Model, batch: Batch, embedded: Tensor, target: Target
) -> tuple[Tensor, Tensor]:
    """Target values (n,) and their gradients (n, t, d) where the embedding gives `embedded`.

    Call inside `frozen(model)`. The rows of a batch do not influence each other, so one
    backward pass of the sum gives every row's gradient.
    """
    leaf = embedded.detach().requires_grad_()
    value = value_at(model, batch, leaf, target)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


def value_at(model: Model, batch: Batch, embedded: Tensor, target: Target) -> Tensor:
    """Target values (n,) where the embedding gives `embedded`, (n, t, d)."""
    # Not by a hook, which would have the embedding calculated first: of a megabase, and for
    # every step, that takes as long as some of the layers. Hooks of the module's own have done
    # what they do to its output already, so the last word is a hook's nevertheless.
    own = vars(model.embedding)
    before = own.get("forward")
    own["forward"] = lambda *_, **__: embedded
    handle = model.embedding.register_forward_hook(lambda *_: embedded)
    try:
        return model.value(batch, target)
    finally:
        handle.remove()
        if before is None:
            del own["forward"]
        else:
            own["forward"] = before


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Evaluation mode with gradients for inputs only; everything is given back, also on error."""
    asked = [parameter for parameter in model.network.parameters() if parameter.requires_grad]
    # cuDNN has no backward pass for recurrent layers in evaluation mode; torch itself has.
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.network.modules())
    cudnn = torch.backends.cudnn.enabled
    try:
        for parameter in asked:
            parameter.requires_grad_(False)
        torch.backends.cudnn.enabled = cudnn and not recurrent
        with evaluating(model.network), torch.enable_grad():
            yield
    finally:
        torch.backends.cudnn.enabled = cudnn
        for parameter in asked:
            parameter.requires_grad_(True)
