"""What networks on bases that label every base share: tracks, both strands, and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig
from transformers.modeling_outputs import TokenClassifierOutput

from basewise.models.onehot import OneHotNetwork
from basewise.models.tracks import Tracks
from basewise.models.z_forming import ZForming

__all__ = ["BaseLabeller", "BaseLabellerConfig", "reversed_complement"]


class BaseLabellerConfig(PreTrainedConfig):
    """Settings of every network that labels bases.

    Parameters
    ----------
    tracks : list of str
        Numbers per base that are computed from the bases and read beside them; see
        `basewise.models.tracks.TRACKS`.
    both_strands : bool
        Read both strands and average them: twice the work, and no label depends on the strand.
        (As Shrikumar, Greenside & Kundaje 2017, bioRxiv 103663, who share weights.)
    """

    def __init__(
        self,
        tracks: Sequence[str] = (),
        both_strands: bool = True,
        head: str = "token_classification",
        **kwargs: Any,
    ) -> None:
        self.tracks = list(tracks)
        self.both_strands = both_strands
        self.head = head
        super().__init__(**kwargs)


class BaseLabeller(OneHotNetwork):
    """A network on bases with a label for every base.

    A subclass makes its layers for rows of `channels`, calls `post_init`, and says in `strand` how
    rows become logits.
    """

    def __init__(self, config: BaseLabellerConfig) -> None:
        super().__init__(config)
        self.tracks = Tracks(config.tracks)
        self.channels = 4 + len(config.tracks)

    def strand(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Logits (n, b, k), and what every layer gave, of rows (n, b, channels) of one strand.

        Rows end where the mask (n, b) does; behind that they hold zeros but for tracks.
        """
        raise NotImplementedError

    def read(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        if not self.config.both_strands:
            return self.strand(self.tracks(x), mask)
        # Rows beside each other in one batch, so that normalisation sees both strands alike and
        # the halves of a batch, which some explainers compare, stay its halves.
        both = torch.stack([x, reversed_complement(x, mask)], 1).flatten(0, 1)
        twice = None if mask is None else mask.repeat_interleave(2, 0)
        logits, layers = self.strand(self.tracks(both), twice)
        return (logits[::2] + _reversed(logits[1::2], mask)) / 2, [layer[::2] for layer in layers]

    def forward(self, *given: Any, labels: Tensor | None = None, **named: Any) -> Any:
        """Logits, (n, b, k); see `OneHotNetwork.forward`. Labels, (n, b), of -100 are left out."""
        found: Any = super().forward(*given, **named)
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(found.logits.flatten(0, 1).float(), labels.flatten())
        return TokenClassifierOutput(
            loss=loss, logits=found.logits, hidden_states=found.hidden_states
        )

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ZForming):
            module.reset()


def reversed_complement(x: Tensor, mask: Tensor | None) -> Tensor:
    """One-hot rows (n, b, 4), channels A, C, G, T, of the other strand; what is padded stays so."""
    return _reversed(x.flip(2), mask)


def _reversed(x: Tensor, mask: Tensor | None) -> Tensor:
    """Rows (n, b, c) from their last base to their first; pads stay on the right."""
    if mask is None:
        return x.flip(1)
    at = torch.arange(x.shape[1], device=x.device)
    lengths = mask.sum(1, keepdim=True)
    source = torch.where(at < lengths, lengths - 1 - at, at)
    return x.gather(1, source.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
