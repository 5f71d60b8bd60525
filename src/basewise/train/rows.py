"""Training data as tensors, made once; batches are cut from them without a loop over rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from basewise.errors import DataError, UnknownName
from basewise.models.model import Model, by_length
from basewise.types import Bools, Floats, Ints, Record

__all__ = ["IGNORED", "Batches", "Rows", "rows_of"]

IGNORED = -100  # a label that counts neither in a loss nor in a metric


@dataclass(frozen=True, eq=False)
class Rows:
    """What a network is trained on.

    Attributes
    ----------
    ids : (n, t) int
        Token ids, padded on the right.
    mask : (n, t) bool or None
        Which ids are real; None where all are.
    labels : (n,) or (n, t) int, or (n,) float
        Positions among the label names (-100: ignored), of rows or of tokens; or values.
    """

    ids: Ints
    mask: Bools | None
    labels: Ints | Floats

    def __len__(self) -> int:
        return len(self.ids)


def rows_of(model: Model, records: Sequence[Record]) -> Rows:
    """Records as rows for `model`, in their order.

    Raises
    ------
    DataError
        If there is no record, or one has no label, or a label of the wrong kind.
    UnknownName
        If a record has a label that the model does not name.
    """
    if not records:
        raise DataError("No records to train on or to choose by; at least one is needed.")
    encoded = [(rows, model.tokenizer.encode_codes(codes)) for rows, codes in by_length(records)]
    width = max(found.ids.shape[1] for _, found in encoded)
    ids = np.full((len(records), width), model.tokenizer.pad_id)
    lengths = np.empty(len(records), np.int64)
    for rows, found in encoded:
        ids[rows, : found.ids.shape[1]] = found.ids
        lengths[rows] = found.lengths
    mask = np.arange(width) < lengths[:, None]
    return Rows(ids, None if mask.all() else mask, _labels(model, records))


def _labels(model: Model, records: Sequence[Record]) -> Ints | Floats:
    values = model.outputs == "values"
    for record in records:
        if record.label is None or isinstance(record.label, str) == values:
            raise DataError(
                f"Record {record.id!r} has the label {record.label!r}; "
                f"this model learns {'a number' if values else 'a class name'} from each record."
            )
    if values:
        return np.array([record.label for record in records], np.float64)
    place = {label: i for i, label in enumerate(model.labels)}
    if unknown := {str(record.label) for record in records} - set(place):
        raise UnknownName("label of this model", min(unknown), place)
    return np.array([place[str(record.label)] for record in records], np.int64)


class Batches(Dataset[dict[str, Tensor]]):
    """Rows as a data set that gives whole batches, each as wide as its longest row."""

    def __init__(self, rows: Rows) -> None:
        self._ids = torch.from_numpy(rows.ids.astype(np.int32))
        self._lengths = None if rows.mask is None else torch.from_numpy(rows.mask.sum(1))
        self._labels = torch.from_numpy(rows.labels)
        if self._labels.is_floating_point():
            self._labels = self._labels.float()

    def __len__(self) -> int:
        return len(self._ids)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        chosen = torch.tensor(indices)
        labels = self._labels[chosen]
        if self._lengths is None:
            return {"input_ids": self._ids[chosen].long(), "labels": labels}
        lengths = self._lengths[chosen]
        width = int(lengths.max())
        return {
            "input_ids": self._ids[chosen, :width].long(),
            "attention_mask": (torch.arange(width) < lengths[:, None]).long(),
            "labels": labels[:, :width] if labels.ndim == 2 else labels,
        }


def as_made(batch: Any) -> Any:
    """The collator of `Batches`, which come whole."""
    return batch
