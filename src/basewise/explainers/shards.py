"""Shards: pieces of explaining, done anywhere, in any order and again to the same bytes.

What a shard is follows from its records, the explainer and the model; its results go to one part
file. Nothing that was found by timing enters it (`models.repeatable`), so the file does not
depend on who made it, on what was made before, or on how often it was interrupted.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from basewise.explainers import EXPLAINERS
from basewise.explainers.count import costs
from basewise.explainers.parts import CUTS, Cut, cuts_in
from basewise.explainers.regions import explain_regions
from basewise.models.repeatable import settled
from basewise.remote import Twin
from basewise.store import attribution_bytes, write_text
from basewise.types import Attribution, Precision, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = [
    "RULE",
    "SECONDS",
    "WORK",
    "Shard",
    "cut",
    "cut_once",
    "explain_again",
]

log = logging.getLogger("basewise")

WORK, SECONDS = {"cpu": 10**12, "cuda": 10**14}, 20.0
"""Of a shard, by the kind of device: evaluations x bases x weights; and what that takes, about."""
MOST = 500  # records in a shard
RULE = [WORK, MOST]  # part of the fingerprint of results, which share batches within a shard


@dataclass(frozen=True)
class Shard:
    """Some records to be explained: plain values, which can be sent to another process.

    Attributes
    ----------
    place : Path
        The part file that the results are for.
    model, weights : Path, str
        The folder of the model, and a digest of its files.
    store : str
        URL of the run whose model it is, for machines that do not see the folder; empty where
        all see it.
    name, precision : str
        What the model is called and what perturbed rows are evaluated with; see `Model`.
    device : str
        `cpu` or `cuda`.
    explainer : mapping
        Its settings, with `type`.
    target : Target
    records : tuple of Record
    seed : int
    """

    place: Path
    model: Path
    weights: str
    name: str
    precision: Precision
    device: str
    explainer: Mapping[str, Any]
    target: Target
    records: tuple[Record, ...]
    seed: int
    store: str = ""

    def run(self) -> bytes:
        """The bytes of the part file. The process keeps the model for its next shard."""
        model = _loaded(
            self.model, self.weights, self.name, self.precision, self.device, self.store
        )
        explainer = EXPLAINERS.build(self.explainer)
        return attribution_bytes(
            explain_again(explainer, model, self.records, self.target, self.seed)
        )


@functools.lru_cache(maxsize=1)
def _loaded(
    folder: Path, weights: str, name: str, precision: Precision, device: str, store: str = ""
) -> Model:
    """The model, which is told from others in the same folder by its `weights`."""
    from basewise.models.mapped import map_weights
    from basewise.models.model import Model

    if store and not folder.exists():
        twin = Twin(store, use="models")
        twin.pull(f"models/{folder.name}/")
        folder = twin.folder / "models" / folder.name
    model = Model.load(folder, name=name, precision=precision)
    if device == "cpu":
        map_weights(model.network, folder)
    model.network.to(torch.device(device))
    return model


def explain_again(
    explainer: Any,
    model: Model,
    records: Sequence[Record],
    target: Target,
    seed: int,
    progress: Callable[[Attribution], None] | None = None,
) -> list[Attribution]:
    """What an explainer says of records that are explained together, the same each time.

    Where memory runs out, all of them are explained again, and in smaller batches if it runs
    out twice: a value depends in its last bit on the size of its batch.

    Raises
    ------
    CapabilityError
        If memory runs out on the smallest batches too.
    """
    told = _once(progress) if progress else None

    def work() -> list[Attribution]:
        return explain_regions(explainer, model, records, target, seed, told)

    def again() -> None:
        log.warning("memory ran out; %d records are explained again", len(records))

    return settled(work, model.device, again)


def _once(progress: Callable[[Attribution], None]) -> Callable[[Attribution], None]:
    """Tells of every attribution once, however often it is made."""
    told = set()

    def tell(found: Attribution) -> None:
        key = (found.record_id, found.target)
        if key not in told:
            told.add(key)
            progress(found)

    return tell


def cut(explainer: Any, model: Model, records: Sequence[Record], device: str) -> list[Cut]:
    """Cut records, in their order, into shards of as much work as `WORK` says, or one record."""
    weights = sum(weight.numel() for weight in model.network.parameters())
    found: list[Cut] = []
    for record, cost in zip(records, costs(explainer, model, records), strict=True):
        work = cost.number * len(record.sequence) * weights
        n, before = found[-1] if found else (MOST, 0)
        if n < MOST and before + work <= WORK[device]:
            found[-1] = Cut(n + 1, before + work)
        else:
            found.append(Cut(1, work))
    return found


def cut_once(
    folder: Path, explainer: Any, model: Callable[[], Model], records: Sequence[Record], device: str
) -> list[Cut]:
    """The same, kept beside the part files: costs of very many records take their time."""
    found = cuts_in(folder)
    if sum(each.records for each in found) != len(records):
        found = cut(explainer, model(), records, device)
        write_text(folder / CUTS, json.dumps(found))
    return found
