"""Tracks: numbers per base that a network reads beside the bases.

Some are made from the bases, by a layer that is not trained: it is computed again for every row,
whatever was masked, shuffled or mutated in it, so explanations, predictions and annotations stay
true. Others are measured, and read from a bigWig at the place of every sequence in a genome: what
is done to the bases leaves them as they are. Either may be taken away, which says how much of a
decision it is.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from basewise.data.signals import check_signal, read_signal
from basewise.errors import ConfigError, DataError
from basewise.registry import Registry, component
from basewise.types import Floats, Interval, Record

__all__ = ["TRACKS", "FileTrack", "Tracks"]

TRACKS = Registry("track", {"z_forming": "basewise.models.z_forming:ZForming"})

log = logging.getLogger("basewise")


@component
class FileTrack:
    """A track that is read from a bigWig, at the place of every sequence.

    Attributes
    ----------
    file : str
        The bigWig, which is named and not copied. Numbers are of bases, so that a sequence of the
        other strand reads them from its end.
    name : str
        What the track is called: a word of letters, digits and `_`.
    missing : float
        What is read at bases for which the file has no number, before `scale`.
    scale : float
        What numbers are divided by; near 1 a network learns best.
    """

    file: str
    name: Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")] = "track"
    missing: float = 0.0
    scale: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _is_no_computed_one(self) -> FileTrack:
        if self.name in TRACKS.names():
            raise ValueError(f"name = {self.name!r} is that of a computed track; give another")
        return self

    def digest(self) -> str:
        """A hash of what the file holds.

        Raises
        ------
        DataError
            If it cannot be read.
        """
        try:
            with open(self.file, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()[:16]
        except OSError as error:
            raise DataError(
                f"The track {self.name!r}: {self.file} cannot be read: {error.strerror}."
            ) from None

    def check(self, chroms: Iterable[str]) -> None:
        """Refuse what `read` would refuse of sequences on these chromosomes."""
        with _naming(self):
            check_signal(Path(self.file), chroms)

    def read(self, records: Sequence[Record]) -> list[Floats]:
        """The numbers on the bases of every record, (b,) each.

        Raises
        ------
        DataError
            If a record has no place in a genome, or one of another length than its sequence; or
            as `basewise.data.signals.read_signal`.
        """
        with _naming(self):
            found = read_signal(Path(self.file), [self._place(record) for record in records])
        bases = sum(map(len, found))
        unknown = sum(int(np.isnan(values).sum()) for values in found)
        if unknown:
            # Explainers read one record after the other; each by itself is no news.
            log.log(
                logging.INFO if len(records) > 1 else logging.DEBUG,
                "%s has no number for %d of %d bases; %g is read there",
                self.file, unknown, bases, self.missing,
            )  # fmt: skip
        return [np.where(np.isnan(values), self.missing, values) / self.scale for values in found]

    def _place(self, record: Record) -> Interval:
        place = record.locus
        if place is None:
            raise DataError(
                f"record {record.id!r} has no place in a genome; give data that say it, such as "
                "columns chrom, start and end, or windows cut from a genome."
            )
        if place.end - place.start != len(record.sequence):
            raise DataError(
                f"record {record.id!r} is of {place}, but has {len(record.sequence)} bases."
            )
        return place


@contextmanager
def _naming(track: FileTrack) -> Iterator[None]:
    """Errors say which track they are about."""
    try:
        yield
    except DataError as error:
        raise DataError(f"The track {track.name!r}: {error}") from None


class Tracks(nn.ModuleDict):
    """One-hot rows (n, b, 4) with a channel more for each track: (n, b, 4 + tracks).

    What the files say stands behind the bases of the rows that are given, (n, b, 4 + files).

    Parameters
    ----------
    given : sequence of str or table
        Names of computed tracks, and settings of `FileTrack`.

    Raises
    ------
    UnknownName
        If there is no such computed track.
    ConfigError
        If a setting is not allowed, or two tracks have one name.
    """

    def __init__(self, given: Sequence[str | Mapping[str, Any]]) -> None:
        super().__init__()
        self.files: list[FileTrack] = []
        for each in given:
            if isinstance(each, str):
                name, layer = each, TRACKS.get(each)()
            else:
                track = FileTrack(**each)
                self.files.append(track)
                name, layer = track.name, _AsRead()
            if name in self:
                raise ConfigError(f"tracks: two are called {name!r}; give each its own name.")
            self[name] = layer

    def forward(self, x: Tensor) -> Tensor:
        if not self:
            return x
        bases, read = x[..., :4], x[..., 4:]
        of_files = {file.name: read[..., i : i + 1] for i, file in enumerate(self.files)}
        found = [track(of_files.get(name, bases)).unsqueeze(-1) for name, track in self.items()]
        return torch.cat([bases, *found], -1)

    def check(self, chroms: Iterable[str]) -> None:
        """Refuse files that are missing or do not have these chromosomes."""
        some = list(chroms)
        for file in self.files:
            file.check(some)

    def read(self, records: Sequence[Record]) -> list[NDArray[np.float32]]:
        """What the files say of the bases of every record, (b, files) each."""
        columns = [file.read(records) for file in self.files]
        return [np.stack(own, 1).astype(np.float32) for own in zip(*columns, strict=True)]


class _AsRead(nn.Module):
    """A track of a file: numbers (n, b, 1) to (n, b)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., 0]
