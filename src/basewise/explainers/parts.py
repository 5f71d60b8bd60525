"""Explaining in part files: a run that is killed continues where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from basewise.explainers.shards import cut_once, explain_again, flawed_part, part_of, pieces
from basewise.store import read_attributions, write_attributions
from basewise.types import Attribution, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Part", "explain_in_parts"]


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
    """Explain records shard by shard; a part that is there and whole is not made again.

    The folder's name has to say all that the results depend on: nothing else is asked.

    Parameters
    ----------
    folder : Path
        Of the part files, `part-00000.parquet` and so on.
    progress : callable, optional
        Called with each attribution that is made now, as it is finished.
    """
    cuts = cut_once(folder, explainer, lambda: model, records, model.device.type)
    for i, some in enumerate(pieces(records, cuts)):
        path = part_of(folder, i)
        if flawed_part(path) is None:
            yield Part(path, read_attributions(path), made=False)
            continue
        found = explain_again(explainer, model, some, target, seed, progress)
        write_attributions(path, found)
        yield Part(path, found, made=True)
