"""What explaining will cost: evaluations by the explainer itself, time and memory by a trial."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

import numpy as np
import torch
from torch import nn

from basewise.explainers.count import Costed, Count, costs
from basewise.explainers.regions import explain_in_place, regions_of
from basewise.models.batch_size import Work
from basewise.models.precision import comparisons_inside
from basewise.store import attribution_bytes
from basewise.types import Attribution, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["FILE", "Forecast", "forecast", "forget_peak", "peak"]

SECONDS, CALLS = 1.0, 4  # a trial lasts as long, and as many calls of the network, at least
MOST = 64  # records of a trial
STORED = 20.0  # bytes per base where the trial saw no record to its end: score, error, what is said
FILE = 12_000  # bytes of a file beside its records


class Explainer(Costed, Protocol):
    """What can be forecast: every explainer."""

    def explain(
        self, model: Model, records: Sequence[Record], target: Target, seed: int
    ) -> list[Attribution]: ...


@dataclass(frozen=True)
class Forecast:
    """What explaining some records will cost.

    Attributes
    ----------
    records : int
    evaluations : Count
        As the explainer says, exactly or as an upper bound.
    seconds : float
        On this machine, from a trial; where evaluations are a bound, at as many of them as the
        trial took of its records.
    most : float
        Seconds at the bound.
    memory : int
        Bytes: on the CPU, what the process held in the trial (with all libraries), and as much
        more as the largest batches that may yet be tried would take; or the most of the
        accelerator's memory.
    disk : int
        Bytes of the attributions, about.
    """

    records: int
    evaluations: Count
    seconds: float
    most: float
    memory: int
    disk: int


def forecast(
    explainer: Explainer,
    model: Model,
    records: Sequence[Record],
    target: Target,
    *,
    seed: int = 0,
    part: int = 100,
    shards: int = 1,
    seconds: float = SECONDS,
) -> Forecast:
    """Say what explaining will cost, after explaining a few records for about a second.

    The trial is the explainer itself on records of middling length: it makes the same rows in
    the same batches, and it refuses what explaining would refuse. Its time per evaluation and
    base is taken for all records; a network with attention takes more for the longest. Precisions
    are compared once for each shard and region, whose time is counted as often.

    Parameters
    ----------
    part : int
        Records that are stored in one file.
    shards : int
        Pieces that the records are explained in.
    seconds : float
        How long the trial lasts at least.

    Raises
    ------
    BasewiseError
        As explaining the records would.
    """
    places = regions_of(model, records, target)
    often = max(shards, len({each for targets in places for each in targets}))
    records = [record for record, each in zip(records, places, strict=True) for _ in each]
    target = replace(target, where=None)  # reading another place costs the same
    counts = costs(explainer, model, records)
    lengths = np.array([len(record.sequence) for record in records])
    middle = np.argsort(lengths, kind="stable")
    first = max((len(middle) - MOST) // 2, 0)
    work = float(np.dot([count.number for count in counts], lengths))
    some = [records[i] for i in middle[first:][:MOST]]
    seen = _trial(explainer, model, some, target, seed, work, seconds)
    once, most = seen.once * often, seen.seconds * work
    return Forecast(
        records=len(records),
        evaluations=Count.total(counts),
        seconds=once + seen.share * most,
        most=once + most,
        memory=seen.memory,
        disk=round(seen.stored * float(lengths.sum())) + FILE * -(-len(records) // part),
    )


@dataclass(frozen=True)
class _Seen:
    """What a trial showed.

    Seconds per evaluation and base; those that are spent once; of the evaluations that were said,
    the share that was made; bytes held; bytes stored per base.
    """

    seconds: float
    once: float
    share: float
    memory: int
    stored: float


def _trial(
    explainer: Explainer,
    model: Model,
    records: Sequence[Record],
    target: Target,
    seed: int,
    work: float,
    lasting: float,
) -> _Seen:
    """Explain more and more of the records until so many seconds have gone.

    Of all that is to be done, in bases of all evaluations, batches can have no more: `work`.
    """
    found: list[Attribution] = []
    share, n = 1.0, 1
    earlier = peak(model.device)
    forget_peak(model.device)
    before = peak(model.device)
    # Where records are explained one by one, so are precisions compared: in proportion.
    with _metered(model.network, lasting, once=model.tracks is None) as meter:
        while True:
            some = records[:n]
            bases = sum(len(record.sequence) for record in some)
            meter.start()
            try:
                found = explain_in_place(explainer, model, some, target, seed)
            except _Enough:
                break
            meter.mark()
            said = sum(explainer.cost(model, record).number for record in some)
            share = sum(one.evaluations for one in found) / said
            if meter.over:
                break
            n = min(4 * n, len(records))
    seconds = meter.seconds_per_row() / (bases / len(some))
    held = peak(model.device)
    if model.device.type == "cpu":  # where batches have a largest size, and memory grows with them
        largest = min(_largest_batch(model), work)
        held += round((held - before) * max(largest / max(meter.tokens, 1) - 1, 0))
        held = max(held, earlier)
    return _Seen(seconds, meter.once, share, held, _stored(found))


def _largest_batch(model: Model) -> int:
    """The most tokens of a batch, of all that the trial has asked of the model."""
    return max(model.batch_size(work).most for work in get_args(Work))


def _stored(found: Sequence[Attribution]) -> float:
    """Bytes per base in a file, beside what every file has."""
    bases = sum(len(each.sequence) for each in found)
    if not bases:
        return STORED
    beside = len(attribution_bytes(found)) - FILE
    if beside < FILE:  # too few to tell: half of their numbers, as sorted bytes may be packed
        numbers = (n for a in found for n in (a.scores, a.standard_error, a.hypothetical))
        beside = sum(n.nbytes for n in numbers if n is not None) // 2
    return beside / bases


class _Enough(Exception):
    """The trial has lasted long enough."""


class _Meter:
    """Counts the rows that a network is given, and stops the trial when its time is over.

    The clock stands still, and rows do not count, while precisions are compared.

    Parameters
    ----------
    lasting : float
        Seconds of the trial.
    once : bool
        Whether comparing is done once; otherwise its time counts as that of rows.
    """

    def __init__(self, lasting: float, once: bool) -> None:
        self._lasting, self._apart = lasting, once
        self._begin = time.perf_counter()
        self._compares, self._stood = False, 0.0
        self.tokens = 0  # of the largest batch
        self.start()

    def start(self) -> None:
        """Another round begins."""
        self._marks: list[tuple[float, int]] = []
        self._rows, self.once = 0, 0.0
        self.mark()

    def mark(self) -> None:
        """Take note of the time and of the rows until now."""
        self._marks.append((time.perf_counter() - self._stood, self._rows))

    @contextmanager
    def comparing(self) -> Iterator[None]:
        """What is done inside is done once."""
        begin, self._compares = time.perf_counter(), True
        try:
            yield
        finally:
            self._compares = False
            if self._apart:
                self.once += time.perf_counter() - begin
                self._stood += time.perf_counter() - begin

    @property
    def over(self) -> bool:
        return time.perf_counter() - self._begin > self._lasting

    def __deepcopy__(self, _: object) -> _Meter:
        """A copy of the network in few bits is counted too."""
        return self

    def __call__(self, module: nn.Module, args: Any, given: dict[str, Any]) -> None:
        self.tokens = max(self.tokens, given["input_ids"].numel())
        if self._compares:
            return
        self.mark()
        if self.over and len(self._marks) > CALLS + 1:
            raise _Enough
        self._rows += len(given["input_ids"])

    def seconds_per_row(self) -> float:
        """Of the later half of the round's calls, when batches have found their size."""
        (begin, before), (end, after) = self._marks[(len(self._marks) - 1) // 2], self._marks[-1]
        if before == after:  # few calls: of the whole round
            begin, before = self._marks[0]
        return (end - begin) / max(after - before, 1)


@contextmanager
def _metered(network: nn.Module, lasting: float, once: bool) -> Iterator[_Meter]:
    meter = _Meter(lasting, once)
    handle = network.register_forward_pre_hook(meter, with_kwargs=True)
    try:
        with comparisons_inside(meter.comparing):
            yield meter
    finally:
        handle.remove()


def forget_peak(device: torch.device) -> None:
    """Count from what is held now, where the system lets a process do so."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device) -> int:
    """The most bytes held since then, by the process or on its accelerator."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        said = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if said:
            return int(said[1]) * 1024
    import resource  # not on Windows, where torch and this package are not tested

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
