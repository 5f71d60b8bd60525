"""Which splits are the data set, and in which order they are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from basewise.types import Record

__all__ = ["Splits"]

Splits = Mapping[str, Sequence[Record]]

OWN = ("train", "dev", "test")


def own(splits: Splits) -> dict[str, Sequence[Record]]:
    """Train, dev and test as far as given; all splits where none has such a name.

    The others are reference sets: they are looked for in the data set (leaks), and nothing
    else is asked of them.
    """
    found = {name: splits[name] for name in OWN if name in splits}
    return found or dict(splits)


def compared(splits: Splits) -> Iterator[tuple[str, str]]:
    """Every pair of splits as (known, judged): what the judged one shares with the known one
    is not new to a model that saw the known one. References, train, dev, test in this order."""
    judged = own(splits)
    order = [name for name in splits if name not in judged] + list(judged)
    yield from ((a, b) for a, b in combinations(order, 2) if b in judged)


def named(split: str, record: Record) -> str:
    """A row as examples show it; the readers' ids, `file:row`, may say the split themselves."""
    row = record.id if record.id.startswith(f"{split}:") else f"{split} {record.id}"
    return row if record.label is None else f"{row} ({record.label})"
