"""What networks on bases that label every base share: tracks, both strands, and the loss."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig
from transformers.modeling_outputs import TokenClassifierOutput

from basewise.errors import CapabilityError
from basewise.models.onehot import PAD, OneHotNetwork
from basewise.models.tracks import Tracks
from basewise.models.z_forming import ZForming

__all__ = ["BaseLabeller", "BaseLabellerConfig", "reversed_complement", "reversed_rows"]


class BaseLabellerConfig(PreTrainedConfig):
    """Settings of every network that labels bases.

    Parameters
    ----------
    tracks : list of str or tables
        Numbers per base that are read beside the bases: computed from them, by name (see
        `basewise.models.tracks.TRACKS`), or from a bigWig, by the settings of
        `basewise.models.tracks.FileTrack`.
    both_strands : bool
        Read both strands and average them: twice the work, and no label depends on the strand.
        (As Shrikumar, Greenside & Kundaje 2017, bioRxiv 103663, who share weights.)
    """

    def __init__(
        self,
        tracks: Sequence[str | dict[str, Any]] = (),
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
        self.here: Tensor | None = None
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
        logits = (logits[::2] + reversed_rows(logits[1::2], mask)) / 2
        return logits, [layer[::2] for layer in layers]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        values: Tensor | None = None,
        **unused: Any,
    ) -> Any:
        """Logits, (n, b, k); see `OneHotNetwork.forward`. Labels, (n, b), of -100 are left out.

        Parameters
        ----------
        values : (n, b, files), optional
            What the files of tracks say; of all rows alike where the network was put `at` a place.

        Raises
        ------
        CapabilityError
            If values are lacking, or are not of as many bases.
        """
        if self.tracks.files and (input_ids is None) != (inputs_embeds is None):
            if input_ids is not None:
                attention_mask = input_ids != PAD if attention_mask is None else attention_mask
                inputs_embeds, input_ids = self.embeddings(input_ids), None
            inputs_embeds = self._beside(cast(Tensor, inputs_embeds), values)
        found: Any = super().forward(
            input_ids, attention_mask, inputs_embeds, output_hidden_states=output_hidden_states
        )
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(found.logits.flatten(0, 1).float(), labels.flatten())
        return TokenClassifierOutput(
            loss=loss, logits=found.logits, hidden_states=found.hidden_states
        )

    def at(self, values: Tensor) -> BaseLabeller:
        """The network with the same weights, all of whose rows have these values, (b, files)."""
        found = copy.copy(self)
        found.here = values
        return found

    def _beside(self, x: Tensor, values: Tensor | None) -> Tensor:
        """Rows (n, b, 4) with what the files say behind: (n, b, 4 + files)."""
        if values is None:
            if self.here is None:
                names = ", ".join(file.name for file in self.tracks.files)
                raise CapabilityError(
                    f"This network reads {names} at places of a genome, and is asked about bases "
                    "without a place; give it records that have one."
                )
            values = self.here.expand(len(x), -1, -1)
        if values.shape[1] != x.shape[1]:
            raise CapabilityError(
                f"{x.shape[1]} bases and values of {values.shape[1]}: what shortens or lengthens a "
                "sequence moves its bases from the places that tracks are read at."
            )
        return torch.cat([x, values.to(x)], -1)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ZForming):
            module.reset()


def reversed_complement(x: Tensor, mask: Tensor | None) -> Tensor:
    """One-hot rows, channels A, C, G, T, of the other strand; what is padded stays so.

    Further channels, (n, b, 4 + c), are numbers of the bases, on whichever strand.
    """
    return reversed_rows(torch.cat([x[..., :4].flip(2), x[..., 4:]], -1), mask)


def reversed_rows(x: Tensor, mask: Tensor | None) -> Tensor:
    """Rows (n, b, c) from their last base to their first; pads stay on the right."""
    if mask is None:
        return x.flip(1)
    at = torch.arange(x.shape[1], device=x.device)
    lengths = mask.sum(1, keepdim=True)
    source = torch.where(at < lengths, lengths - 1 - at, at)
    return x.gather(1, source.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
