"""Training data as tensors, made once; batches are cut from them without a loop over rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from basewise.errors import CapabilityError, DataError, UnknownName
from basewise.models.batch import by_length
from basewise.models.model import Model
from basewise.models.reading import LANGUAGE_MODEL
from basewise.models.tracks import Tracks
from basewise.tokenize.labelling import IGNORED, label_bases, spans_of
from basewise.types import BACKGROUND, Bools, Floats, Ints, Record

__all__ = ["Batches", "Presence", "Rows", "rows_of"]


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
    hidden_id : int or None
        The id that says "not known" in place of another: a mask token, or the letter N.
    values : (n, t, tracks) float or None
        What files say of every base, where the model reads tracks of them; 0 at padding.
    """

    ids: Ints
    mask: Bools | None
    labels: Ints | Floats
    hidden_id: int | None = None
    values: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.ids)


def rows_of(model: Model, records: Sequence[Record]) -> Rows:
    """Records as rows for `model`, in their order.

    Where the model labels tokens, labels are those of the stretches of each record's truth,
    made labels of tokens by the model's `labelling`; else the record's own.

    Raises
    ------
    DataError
        If there is no record, or one has no label or a label of the wrong kind, or is longer
        than the model takes.
    CapabilityError
        If the model is a language model.
    UnknownName
        If a record has a label that the model does not name.
    """
    if not records:
        raise DataError("No records to train on or to choose by; at least one is needed.")
    if model.outputs == "tokens":
        raise CapabilityError(LANGUAGE_MODEL)
    encoded = [(rows, model.tokenizer.encode_codes(codes)) for rows, codes in by_length(records)]
    width = max(found.ids.shape[1] for _, found in encoded)
    ids = np.full((len(records), width), model.tokenizer.pad_id)
    lengths = np.empty(len(records), np.int64)
    for rows, found in encoded:
        ids[rows, : found.ids.shape[1]] = found.ids
        lengths[rows] = found.lengths
    longest = int(lengths.argmax())
    model.check_length(int(lengths[longest]), len(records[longest].sequence), records[longest].id)
    mask = np.arange(width) < lengths[:, None]
    labels = (
        _token_labels(model, records, width) if model.labels_tokens else _labels(model, records)
    )
    values = None if model.tracks is None else _values(model.tracks, records, width)
    return Rows(ids, None if mask.all() else mask, labels, _hidden_id(model), values)


def _values(tracks: Tracks, records: Sequence[Record], width: int) -> NDArray[np.float32]:
    """What files say of the bases of all records, (n, width, files)."""
    found = np.zeros((len(records), width, len(tracks.files)), np.float32)
    for row, own in zip(found, tracks.read(records), strict=True):
        row[: len(own)] = own
    return found


def _hidden_id(model: Model) -> int | None:
    tokenizer = model.tokenizer
    if tokenizer.mask_id is not None or not tokenizer.tokens_are_bases:
        return tokenizer.mask_id
    return int(tokenizer.encode("N").ids[0])


def _token_labels(model: Model, records: Sequence[Record], width: int) -> Ints:
    """Labels of tokens, (n, t); -100 where a token covers no base."""
    found = np.full((len(records), width), IGNORED)
    if not any(record.truth for record in records):
        raise DataError(
            f"None of {len(records)} records has a labelled base; give them stretches of a label "
            "as `truth`."
        )
    background = model.labels.index(BACKGROUND) if BACKGROUND in model.labels else -1
    for rows, _ in by_length(records):
        chosen = [records[i] for i in rows.tolist()]
        labels = label_bases(chosen, model.labels)
        spans = spans_of(model.tokenizer, [record.sequence for record in chosen])
        if model.tokenizer.frame_safe_n:
            tokens = model.labelling.to_tokens(labels, spans[0], background)
            found[rows, : tokens.shape[1]] = tokens
            continue
        for row, own, covered in zip(rows.tolist(), labels, spans, strict=True):
            found[row, : len(covered)] = model.labelling.to_tokens(own, covered, background)
    return found


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
    """Rows as a data set that gives whole batches, each as wide as its longest row.

    Parameters
    ----------
    rows : Rows
    hide : float
        Share of the real ids that are replaced by `rows.hidden_id`, drawn anew each time.
    crossover : float
        Share of rows that, from a random token on, are those of another row of their class.
    """

    def __init__(self, rows: Rows, hide: float = 0.0, crossover: float = 0.0) -> None:
        self._ids = torch.from_numpy(rows.ids.astype(np.int32))
        self._lengths = None if rows.mask is None else torch.from_numpy(rows.mask.sum(1))
        self._labels = torch.from_numpy(rows.labels)
        if self._labels.is_floating_point():
            self._labels = self._labels.float()
        self._values = None if rows.values is None else torch.from_numpy(rows.values)
        self._hide, self._hidden_id = hide, rows.hidden_id
        self._crossover = crossover
        if crossover:
            self._by_class = self._labels.argsort()
            self._counts = self._labels.bincount()
            self._first = self._counts.cumsum(0) - self._counts

    def __len__(self) -> int:
        return len(self._ids)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        chosen = torch.tensor(indices)
        ids, labels = self._ids[chosen].long(), self._labels[chosen]
        lengths = self._full(chosen) if self._lengths is None else self._lengths[chosen]
        if self._crossover:
            ids, lengths = self._crossed(ids, lengths, labels)
        width = int(lengths.max())
        ids, real = ids[:, :width], torch.arange(width) < lengths[:, None]
        if self._hide:
            hidden = real & (torch.rand(ids.shape) < self._hide)
            ids = ids.masked_fill(hidden, cast(int, self._hidden_id))
        batch = {"input_ids": ids, "labels": labels[:, :width] if labels.ndim == 2 else labels}
        if self._lengths is not None:
            batch["attention_mask"] = real.long()
        if self._values is not None:
            batch["values"] = self._values[chosen, :width]
        return batch

    def _full(self, chosen: Tensor) -> Tensor:
        return torch.full((len(chosen),), self._ids.shape[1])

    def _crossed(self, ids: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        n = len(labels)
        drawn = (torch.rand(n, dtype=torch.double) * self._counts[labels]).long()
        partner = self._by_class[self._first[labels] + drawn]
        theirs = self._full(partner) if self._lengths is None else self._lengths[partner]
        shorter = torch.minimum(lengths, theirs)
        cut = 1 + (torch.rand(n) * (shorter - 1)).long()
        crossed = torch.rand(n) < self._crossover
        after = crossed[:, None] & (torch.arange(ids.shape[1]) >= cut[:, None])
        return (
            torch.where(after, self._ids[partner].long(), ids),
            torch.where(crossed, theirs, lengths),
        )


class Presence(Sampler[int]):
    """Draws rows, with replacement, so that those with a rare label come as often as others.

    A row belongs to the rarest label that it holds; the rows of every label are drawn as often
    as those of every other one, and within a label all alike. An epoch is as long as the data,
    and its draw follows from seed and epoch alone.
    """

    def __init__(self, labels: Ints, seed: int) -> None:
        rows = labels.reshape(len(labels), -1)
        k = int(rows.max()) + 1
        holds = np.stack([(rows == label).any(1) for label in range(k)], axis=1)
        counts = np.bincount(rows[rows != IGNORED], minlength=k)
        rarest = np.where(holds, counts, counts.sum() + 1).argmin(1)
        sizes = np.bincount(rarest, minlength=k)
        self.weights = torch.from_numpy(1 / sizes[rarest])
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch is drawn next; the Trainer says it."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        state = np.random.SeedSequence((self._seed, self._epoch)).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
        drawn = torch.multinomial(self.weights, len(self), replacement=True, generator=generator)
        yield from drawn.tolist()

    def __len__(self) -> int:
        return len(self.weights)


def as_made(batch: Any) -> Any:
    """The collator of `Batches`, which come whole."""
    return batch
