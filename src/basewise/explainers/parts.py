"""Explaining in part files: a run that is killed continues where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from basewise.errors import StoreError
from basewise.explainers.regions import explain_regions
from basewise.store import read_attributions, write_attributions
from basewise.types import Attribution, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["PART", "Part", "explain_in_parts"]

PART = 100  # records in one part file


class Part(NamedTuple):
    """A part file, what is in it, and whether it was made now or there already."""

    path: Path
    found: list[Attribution]
    made: bool


def explain_in_parts(
    explainer: Any,
    model: Model,
    records: Sequence[Record],
    target: Target,
    folder: Path,
    *,
    seed: int = 0,
    progress: Callable[[Attribution], None] | None = None,
) -> Iterator[Part]:
    """Explain records `PART` at a time; a part that is there and whole is not made again.

    The folder's name has to say all that the results depend on: nothing else is asked.

    Parameters
    ----------
    folder : Path
        Of the part files, `part-00000.parquet` and so on.
    progress : callable, optional
        Called with each attribution that is made now, as it is finished.
    """
    for i in range(0, len(records), PART):
        path = folder / f"part-{i // PART:05d}.parquet"
        found = whole_part(path)
        if found is not None:
            yield Part(path, found, made=False)
            continue
        some = records[i : i + PART]
        found = explain_regions(explainer, model, some, target, seed, progress)
        write_attributions(path, found)
        yield Part(path, found, made=True)


def whole_part(path: Path) -> list[Attribution] | None:
    """What a part file holds; None if it is missing or broken, so that it is made again."""
    if not path.exists():
        return None
    try:
        return read_attributions(path)
    except StoreError:
        return None
