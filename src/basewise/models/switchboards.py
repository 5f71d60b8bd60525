"""Switchboards: how the rows of one sequence are made from which units are present."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from basewise.errors import CapabilityError
from basewise.sequence.alphabet import decode_rows
from basewise.tokenize.labelling import spans_of
from basewise.types import Bools, Codes, Ints

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = [
    "BaseSwitch",
    "Grouped",
    "Shortened",
    "Switchboard",
    "TokenSwitch",
    "Variants",
    "covering",
    "present_spans",
    "spans_again",
    "tokenised",
]


class Variants(Protocol):
    """Makes rows: changed copies of one sequence, as arrays of wishes describe them."""

    @property
    def draws(self) -> int:
        """Rows made for each wish; their values are averaged."""

    @property
    def width(self) -> int:
        """Tokens of a row, for packing."""

    def rows(self, asked: Any, model: Model) -> tuple[Tensor, Tensor | None]:
        """ids (n * draws, t), integers of any width, and lengths (n * draws,) or None, of wishes
        (n, ...)."""

    def spans(self, asked: Any, model: Model) -> list[Ints]:
        """The bases that the tokens of those rows cover, (t, 2) each, as the sequence has them."""


class Switchboard(Variants, Protocol):
    """How a sequence looks while some of its units are switched off.

    What is wished for are coalitions (n, u) bool, True where a unit is present.
    """

    @property
    def n_units(self) -> int: ...

    @property
    def shifts(self) -> bool:
        """Whether what stands behind a switched-off unit moves."""

    def only(self, draws: slice) -> Switchboard:
        """The same with some of its draws, for batches that do not hold all of a coalition."""


def covering(spans: Ints, units: Ints) -> Ints:
    """Which units touch each span, (s, m); the index `u` (always present) fills up.

    A span that several units touch is present only while all of them are.
    """
    order = None
    if (units[1:, 0] < units[:-1, 0]).any():  # most come in order
        order = np.argsort(units[:, 0], kind="stable")
    ordered = units if order is None else units[order]
    first = ordered[:, 1].searchsorted(spans[:, 0], side="right")
    stop = ordered[:, 0].searchsorted(spans[:, 1], side="left")
    stop[spans[:, 1] <= spans[:, 0]] = 0
    most = max(int((stop - first).max(initial=0)), 1)
    at = first[:, None] + np.arange(most) if most > 1 else first[:, None]
    found = np.where(at < stop[:, None], at, len(units))
    return found if order is None else np.append(order, len(units))[found]


def present_spans(present: Bools, touching: Ints) -> Bools:
    """Whether each span is present, (n, s), from units (n, u) and what `covering` says, (s, m)."""
    with_rest = np.ones((len(present), present.shape[1] + 1), bool)
    with_rest[:, :-1] = present
    kept: Bools = with_rest[:, touching[:, 0]]
    for units in touching.T[1:]:
        kept &= with_rest[:, units]
    return kept


class TokenSwitch:
    """Switching in token-id space: nothing is decoded, nothing is tokenised again.

    Parameters
    ----------
    on : (t,) int
        Ids of the sequence.
    off : (d, t) int
        Ids shown where a token is absent, one row per draw.
    spans : (t, 2) int
        Bases of the tokens; tokens that cover none are never switched.
    units : (u, 2) int
        Disjoint units. A token is absent while any unit that touches it is.
    """

    shifts = False

    def __init__(self, on: Ints, off: Ints, spans: Ints, units: Ints):
        narrow = np.int16 if max(on.max(), off.max()) < 1 << 15 else np.int32
        self._off, self._step = (torch.from_numpy(ids.astype(narrow)) for ids in (off, on - off))
        self._covering, self._spans = covering(spans, units), spans
        self.n_units, self.draws, self.width = len(units), len(off), len(on)

    def only(self, draws: slice) -> TokenSwitch:
        some = copy(self)
        some._off, some._step = self._off[draws], self._step[draws]
        some.draws = len(some._off)
        return some

    def spans(self, present: Bools, model: Model) -> list[Ints]:
        return [self._spans] * (len(present) * self.draws)

    def rows(self, present: Bools, model: Model) -> tuple[Tensor, Tensor | None]:
        device = model.device
        if self._off.device != device:  # kept where the rows are made, so copied once
            self._off, self._step = self._off.to(device), self._step.to(device)
        kept = torch.from_numpy(present_spans(present, self._covering)).to(device)
        # In few bits, and added: three times as fast as choosing whole ids by `where`.
        return (kept[:, None] * self._step).add_(self._off).flatten(0, 1), None


class BaseSwitch:
    """Switching in base space: bases are replaced and the sequence is tokenised again.

    Parameters
    ----------
    on : (b,) codes
        The sequence.
    off : (d, b) codes
        Bases shown where a unit is absent, one row per draw.
    units : (u, 2) int
        Disjoint units of bases.
    width : int
        Tokens of the sequence, for packing; other bases may give a few more or less.
    """

    shifts = False

    def __init__(self, on: Codes, off: Codes, units: Ints, width: int):
        at = np.arange(len(on))
        self._on, self._off = on, off
        self._covering = covering(np.stack([at, at + 1], axis=1), units)
        self.n_units, self.draws, self.width = len(units), len(off), width

    def only(self, draws: slice) -> BaseSwitch:
        some = copy(self)
        some._off = self._off[draws]
        some.draws = len(some._off)
        return some

    def rows(self, present: Bools, model: Model) -> tuple[Tensor, Tensor | None]:
        return tokenised(self._bases(present), model)

    def spans(self, present: Bools, model: Model) -> list[Ints]:
        return spans_again(self._bases(present), model)

    def _bases(self, present: Bools) -> Codes:
        kept = present_spans(present, self._covering)
        return np.where(kept[:, None], self._on, self._off)


class Shortened:
    """Absent tokens are left out, and what stands behind them moves up.

    Parameters
    ----------
    on : (t,) int
        Ids of the sequence.
    spans : (t, 2) int
        Bases of the tokens; tokens that cover none are never left out.
    units : (u, 2) int
        Disjoint units. A token is absent while any unit that touches it is.
    last : int
        The id that stands for the sequence where nothing of it is left.
    pad : int
        The id that fills rows on the right.
    """

    shifts, draws = True, 1

    def __init__(self, on: Ints, spans: Ints, units: Ints, last: int, pad: int):
        self._on, self._last, self._pad = on, last, pad
        self._covers = spans[:, 1] > spans[:, 0]
        self._covering = covering(spans, units)
        self.n_units, self.width = len(units), len(on)

    def only(self, draws: slice) -> Shortened:
        return self

    def rows(self, present: Bools, model: Model) -> tuple[Tensor, Tensor | None]:
        kept = present_spans(present, self._covering)
        nothing = ~kept[:, self._covers].any(1)
        kept[nothing, np.argmax(self._covers)] = True
        ids = np.tile(self._on, (len(kept), 1))
        ids[nothing, np.argmax(self._covers)] = self._last
        ids = np.take_along_axis(ids, np.argsort(~kept, axis=1, kind="stable"), 1)
        lengths = kept.sum(1)
        ids[np.arange(len(self._on)) >= lengths[:, None]] = self._pad
        return torch.from_numpy(ids).to(model.device), torch.from_numpy(lengths)

    def spans(self, present: Bools, model: Model) -> list[Ints]:
        raise CapabilityError(
            "masking='deletion' leaves out bases that the target is read at, so a region has no "
            "value without them; use masking='n', 'mask', 'shuffled' or 'sampled'."
        )


class Grouped:
    """A switchboard on which stretches go on and off together.

    Parameters
    ----------
    board : Switchboard
        Its units are the stretches.
    unit : (s,) int
        Which unit each stretch belongs to.
    """

    def __init__(self, board: Switchboard, unit: Ints):
        self._board, self._unit = board, unit
        self.n_units, self.draws, self.width = int(unit.max()) + 1, board.draws, board.width
        self.shifts = board.shifts

    def only(self, draws: slice) -> Grouped:
        return Grouped(self._board.only(draws), self._unit)

    def rows(self, present: Bools, model: Model) -> tuple[Tensor, Tensor | None]:
        return self._board.rows(present[:, self._unit], model)

    def spans(self, present: Bools, model: Model) -> list[Ints]:
        return self._board.spans(present[:, self._unit], model)


def tokenised(codes: Codes, model: Model) -> tuple[Tensor, Tensor | None]:
    """What `Variants.rows` gives for rows of bases, (..., b)."""
    ids, lengths = model.tokenizer.encode_codes(codes.reshape(-1, codes.shape[-1]))
    ragged = None if (lengths == ids.shape[1]).all() else torch.from_numpy(lengths)
    return torch.from_numpy(ids).to(model.device), ragged


def spans_again(codes: Codes, model: Model) -> list[Ints]:
    """What `Variants.spans` gives for rows of bases, (..., b), that were tokenised again."""
    return spans_of(model.tokenizer, decode_rows(codes.reshape(-1, codes.shape[-1])))
