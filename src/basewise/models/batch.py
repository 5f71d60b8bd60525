"""Batches: what a network is given at once, and how it is borrowed for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from basewise.errors import DataError
from basewise.sequence.alphabet import ILLEGAL, LETTERS, encode
from basewise.types import Codes, Ints, Record

__all__ = ["Batch", "borrowed", "by_length", "check_bases", "evaluating", "few_widths", "join"]

STEP = 8  # columns


@dataclass(frozen=True, eq=False)
class Batch:
    """Model input.

    Attributes
    ----------
    ids : (n, t) int
    mask : (n, t) bool or None
        True where real; None if all are.
    weights : (n, t) float or None
        What every token counts in the target, where that is of a region of bases.
    values : (n, t, tracks) float or None
        What files say of every base, where the network reads tracks of them.
    """

    ids: Tensor
    mask: Tensor | None
    weights: Tensor | None = None
    values: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)


def few_widths(width: int, longest: int | None = None) -> int:
    """The next multiple of `STEP` columns, from 16 times as many on, up to `longest` (None: any).

    Batches of few shapes find the kernels that were made for one before.
    """
    if width < 16 * STEP:
        return width
    stepped = -(-width // STEP) * STEP
    return stepped if longest is None else max(min(stepped, longest), width)


def join(
    parts: Sequence[tuple[Tensor, Tensor | None]],
    pad_id: int,
    longest: int | None = 0,
    stepped: bool = False,
) -> Batch:
    """One batch of several blocks of rows, padded right; no mask where nothing is padded.

    What is padded is padded to `few_widths`; where they are `stepped`, so are rows of one width,
    because rows of other widths that become the same follow.
    """
    full = max(ids.shape[1] for ids, _ in parts)
    whole = all(ids.shape[1] == full and lengths is None for ids, lengths in parts)
    if whole and not (stepped and few_widths(full, longest) > full):
        return Batch(torch.cat([ids for ids, _ in parts]).long(), None)
    lengths = torch.cat(
        [
            torch.full((len(ids),), ids.shape[1]) if lengths is None else lengths
            for ids, lengths in parts
        ]
    )
    least, most = (int(each) for each in lengths.aminmax())
    width = few_widths(most, longest) if stepped or least < most else most
    ids = torch.cat(
        [torch.nn.functional.pad(ids, (0, width - ids.shape[1]), value=pad_id) for ids, _ in parts]
    ).long()
    if least == width:
        return Batch(ids, None)
    return Batch(ids, torch.arange(width, device=ids.device) < lengths.to(ids.device)[:, None])


def check_bases(record: Record) -> None:
    """Refuse a record without any base.

    Raises
    ------
    DataError
        Naming the record.
    """
    if not record.sequence:
        raise DataError(
            f"Record {record.id!r} has 0 bases, so there is nothing to read in it; leave it out."
        )


def by_length(records: Sequence[Record]) -> list[tuple[Ints, Codes]]:
    """Rows and codes (m, b) of the records of each length, shortest first.

    Raises
    ------
    DataError
        Naming the first record without bases, or with a letter that is none of `ACGTN`.
    """
    lengths = np.array([len(record.sequence) for record in records])
    if len(records):
        check_bases(records[int(lengths.argmin())])
    found = []
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        text = "".join([records[i].sequence for i in rows.tolist()])
        codes = encode(text).reshape(len(rows), length)
        if (illegal := codes == ILLEGAL).any():
            row, at = np.argwhere(illegal)[0]
            record = records[rows[row]]
            raise DataError(
                f"Record {record.id!r}: letter {record.sequence[at]!r} at base {at} is not one of "
                f"{LETTERS}; write unknown bases as N."
            )
        found.append((rows, codes))
    return found


@contextmanager
def borrowed(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the network's modes are given back, also on error."""
    with evaluating(network), torch.inference_mode():
        yield


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode; what was in training mode is so again afterwards, also on error."""
    training = [module for module in network.modules() if module.training]
    if training:
        network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
