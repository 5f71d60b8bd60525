"""Part files of explaining: which there are, what they are for, and whether they are whole.

To ask for them takes nothing that explains.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from basewise.store import flaw_of
from basewise.types import Record

__all__ = ["CUTS", "Cut", "cuts_in", "flawed_part", "part_of", "pieces"]

CUTS = "shards.json"


class Cut(NamedTuple):
    """So many records of so much work make a shard."""

    records: int
    work: int


def cuts_in(folder: Path) -> list[Cut]:
    """The shards that a folder of part files is for; none where nothing was begun."""
    try:
        return [Cut(*each) for each in json.loads((folder / CUTS).read_text(encoding="utf-8"))]
    except (FileNotFoundError, ValueError):
        return []


def pieces(records: Sequence[Record], cuts: Iterable[Cut]) -> Iterator[tuple[Record, ...]]:
    """The records of each shard."""
    at = 0
    for n, _ in cuts:
        yield tuple(records[at : at + n])
        at += n


def part_of(folder: Path, i: int) -> Path:
    """The file of the shard i."""
    return folder / f"part-{i:05d}.parquet"


def flawed_part(path: Path) -> str | None:
    """Why a part file has to be made: it is `missing`, or what is wrong; None if it is whole."""
    try:
        return flaw_of(path)
    except FileNotFoundError:
        return "missing"
    except OSError as error:  # it may not be read, or the disk has lost it
        return f"unreadable ({error.strerror})"
