"""Does a model need a gene? Remove a gene, an operon, a set or a class, and see what it then says.

The change of the output is held against the same edit of random regions of the same sequence: each
control has, for every part of what was removed, a stretch of its length and G+C elsewhere.
p = (1 + controls at least as extreme) / (1 + controls), two-sided twice the smaller tail; the
difference from the mean of the controls has a percentile interval over controls and draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd

from basewise.data.features import Feature
from basewise.errors import ConfigError, DataError
from basewise.models.evaluator import Evaluator
from basewise.models.switchboards import spans_again, tokenised
from basewise.sequence.alphabet import N, decode, encode
from basewise.sequence.shuffle import shuffle_dinucleotides
from basewise.stats import benjamini_hochberg, random_numbers
from basewise.types import Bools, Codes, Floats, Ints, Record, Target

if TYPE_CHECKING:
    from torch import Tensor

    from basewise.models.model import Model

__all__ = [
    "KNOCK_OUTS",
    "MINIMUM_CONTROLS",
    "Removal",
    "by_kind",
    "compared",
    "joined_parts",
    "knock_out_regions",
    "places_like",
    "without",
]

Removal = Literal["shuffle", "mask", "sample", "delete"]
"""How bases are removed. shuffle: each part in another order, with its dinucleotides. mask: N.
sample: drawn with the base frequencies of the whole sequence. delete: left out, so that everything
behind them moves, and the sequence is shorter."""

Progress = Callable[[int, int], None]

KNOCK_OUTS = (
    "group", "record", "regions", "bases", "how", "target", "intact", "change", "control",
    "difference", "low", "high", "above", "below", "controls", "p", "q", "evaluations", "reason",
)  # fmt: skip
"""Columns of a table of removed regions, one row per group, by falling size of `difference`.

group, record : what was removed, and of which sequence;
regions, bases : how many features and bases these are;
intact : the target of the sequence as it is;
change, control : mean change of the target, by the removal and by the control edits;
difference, low, high : change - control, with its 95 % interval;
above, below, controls : controls that change it at least as much upwards, and downwards; all;
p, q : two-sided, and corrected over groups; at least 2 / (1 + controls);
reason : why there are no numbers, or nothing.
"""

MINIMUM_CONTROLS = 5
_TRIES = 50
_RESAMPLES = 2000
_ROUNDING = 1e-6  # of single precision: values within it are equal


class _Edit(NamedTuple):
    """Places, (m,), and the letters they get; none where they are deleted."""

    at: Ints
    letters: Codes | None


def knock_out_regions(
    model: Model,
    records: Sequence[Record],
    groups: Mapping[str, Sequence[Feature]],
    *,
    target: str | Target,
    how: Removal = "shuffle",
    controls: int = 99,
    draws: int = 1,
    gc_tolerance: float = 0.02,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """How much the output changes when regions are removed, against random regions.

    Parameters
    ----------
    model : Model
    records : sequence of Record
        Their ids are the contigs of the features. A record is read whole: rows are evaluated as
        many at a time as fit, of one megabase one by one.
    groups : mapping of str to sequence of Feature
        What is removed together, by name: a gene, an operon, a set, or a kind (`by_kind`).
    target : str or Target
        What is read from the model, by name.
    how : {"shuffle", "mask", "sample", "delete"}
        See `Removal`.
    controls : int
        Random regions for each group.
    draws : int
        Edits of each region that the change is averaged over, of group and controls alike; one
        where nothing is drawn (`mask`, `delete`).
    gc_tolerance : float
        By how much a control's share of G+C may differ, or by one base if that is more.
    seed : int
        The edits of a group depend on it and on the group's name alone.
    progress : callable, optional
        Called with the evaluations done and those there will be.

    Returns
    -------
    DataFrame
        With the columns of `KNOCK_OUTS`. A group with fewer than `MINIMUM_CONTROLS` controls has
        a reason in place of numbers, and is not evaluated.

    Raises
    ------
    ConfigError
        For an unknown way to remove, or one that moves the bases that the target reads.
    DataError
        If a group is empty, lies on a sequence that is not there or on several, or reaches
        beyond it; or a record is longer than the model takes.
    """
    from basewise.explainers.units import tokens_of

    target = model.target(target)
    _check(how, target, controls, draws, groups)
    known = {record.id: record for record in records}
    draws = draws if how in ("shuffle", "sample") else 1
    codes = {name: encode(record.sequence) for name, record in known.items()}
    plans: list[tuple[str, Record, list[list[_Edit]], str]] = []
    for name, features in groups.items():
        record = _record_of(name, features, known)
        rng = random_numbers(seed, name, "knock_out_regions")
        parts = joined_parts(features)
        placed = places_like(codes[record.id], parts, controls, gc_tolerance, rng)
        reason = ""
        if len(placed) < MINIMUM_CONTROLS:
            reason = (
                f"{MINIMUM_CONTROLS} controls of its lengths and G+C are needed; "
                f"{len(placed)} were found"
            )
        edits = [
            [_edit(codes[record.id], where, how, rng) for _ in range(draws)]
            for where in ([parts, *placed] if not reason else [])
        ]
        plans.append((name, record, edits, reason))
    read = {record.id for _, record, _, reason in plans if not reason}
    widths = {name: len(tokens_of(model, known[name])) for name in read}
    evaluator = Evaluator(model, target)
    for _, record, edits, _ in [plan for plan in plans if plan[2]][:1]:  # one row tells no noise
        some = [edit for own in edits for edit in own]
        board = _Rows(codes[record.id], some, widths[record.id])
        if evaluator.undecided:
            evaluator.decide([(board, np.arange(len(some)))])
    intact = {
        name: float(evaluator([(_Rows(codes[name], [], widths[name]), np.array([-1]))])[0][0])
        for name in sorted(read)
    }
    done, whole = len(read), len(read) + sum(len(e) * draws for _, _, e, _ in plans)
    rows = []
    for name, record, edits, reason in plans:
        features = groups[name]
        row = dict.fromkeys(KNOCK_OUTS, np.nan) | {
            "group": name, "record": record.id, "regions": len(features),
            "bases": sum(end - start for start, end in joined_parts(features)), "how": how,
            "target": str(target), "controls": max(len(edits) - 1, 0), "above": 0, "below": 0,
            "evaluations": len(edits) * draws, "reason": reason,
        }  # fmt: skip
        if not reason:
            flat = [edit for own in edits for edit in own]
            board = _Rows(codes[record.id], flat, widths[record.id])
            (values,) = evaluator([(board, np.arange(len(flat)))])
            change = values.reshape(len(edits), draws) - intact[record.id]
            rng = random_numbers(seed, name, "interval")
            row |= {"intact": intact[record.id]} | compared(change, intact[record.id], rng)
            done += len(flat)
        if progress:
            progress(done, whole)
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(KNOCK_OUTS))
    table["q"] = benjamini_hochberg(table["p"].to_numpy(float))
    order = table["difference"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def without(
    record: Record, features: Sequence[Feature], *, how: Removal = "shuffle", seed: int = 0
) -> Record:
    """The record with regions removed, to be predicted or explained again.

    Its id gains `/without`; `truth` and `locus` are left out, where bases move they are wrong.
    """
    _check(how, None, 1, 1, {"these": features})
    _record_of("these", features, {record.id: record})
    rng = random_numbers(seed, record.id, "without")
    codes = encode(record.sequence)
    edited = _rows(codes, [_edit(codes, joined_parts(features), how, rng)])[0]
    return Record(f"{record.id}/without", decode(edited), record.label)


def by_kind(features: Sequence[Feature]) -> dict[str, list[Feature]]:
    """Features grouped by kind."""
    found: dict[str, list[Feature]] = {}
    for feature in features:
        found.setdefault(feature.kind, []).append(feature)
    return found


class _Rows:
    """Rows of one sequence, edited: `Variants` for the evaluator. Wish -1 is the sequence."""

    draws = 1

    def __init__(self, codes: Codes, edits: Sequence[_Edit], width: int):
        self._codes, self._edits, self.width = codes, edits, width

    def rows(self, asked: Ints, model: Model) -> tuple[Tensor, Tensor | None]:
        return tokenised(self._bases(asked), model)

    def spans(self, asked: Ints, model: Model) -> list[Ints]:
        return spans_again(self._bases(asked), model)

    def _bases(self, asked: Ints) -> Codes:
        if (asked < 0).all():
            return np.tile(self._codes, (len(asked), 1))
        return _rows(self._codes, [self._edits[i] for i in asked.tolist()])


def _rows(codes: Codes, edits: Sequence[_Edit]) -> Codes:
    """The sequence under each edit; all delete as much, or nothing."""
    if edits[0].letters is None:
        return np.stack([np.delete(codes, edit.at) for edit in edits])
    rows = np.tile(codes, (len(edits), 1))
    for row, edit in zip(rows, edits, strict=True):
        row[edit.at] = edit.letters
    return rows


def _edit(
    codes: Codes, parts: Sequence[tuple[int, int]], how: Removal, rng: np.random.Generator
) -> _Edit:
    """One edit of the bases of some parts."""
    at = np.concatenate([np.arange(start, end) for start, end in parts])
    if how == "delete":
        return _Edit(at, None)
    if how == "mask":
        return _Edit(at, np.full(len(at), N, np.uint8))
    if how == "sample":
        share = np.bincount(codes[codes < N], minlength=4)[:4].astype(float)
        return _Edit(at, rng.choice(4, len(at), p=share / share.sum()).astype(np.uint8))
    shuffled = [shuffle_dinucleotides(codes[None, a:b], rng)[0, 0] for a, b in parts]
    return _Edit(at, np.concatenate(shuffled))


def joined_parts(features: Sequence[Feature]) -> list[tuple[int, int]]:
    """The bases of features as disjoint stretches, in order."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(part for feature in features for part in feature.parts):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def places_like(
    codes: Codes,
    parts: Sequence[tuple[int, int]],
    controls: int,
    tolerance: float,
    rng: np.random.Generator,
) -> list[list[tuple[int, int]]]:
    """Random stretches as long as the parts, with their G+C, apart from them and each other."""
    own = np.zeros(len(codes), bool)
    for start, end in parts:
        own[start:end] = True
    taken, gc = _running(own), _running((codes == 1) | (codes == 2))
    unknown = _running(codes >= N)
    pools = []
    for start, end in parts:
        b = end - start
        at = np.arange(len(codes) - b + 1)
        content = gc[at + b] - gc[at]
        near = np.abs(content - (gc[end] - gc[start])) <= max(tolerance * b, 1)
        fewer = unknown[at + b] - unknown[at] <= unknown[end] - unknown[start]
        pools.append(np.flatnonzero(near & fewer & (taken[at + b] == taken[at])))
        if not len(pools[-1]):
            return []
    found = []
    longest = sorted(range(len(parts)), key=lambda i: parts[i][0] - parts[i][1])
    for _ in range(controls):
        placed = _one(parts, pools, longest, rng)
        if placed is not None and sorted(placed) not in found:
            found.append(sorted(placed))
    return found


def _one(
    parts: Sequence[tuple[int, int]],
    pools: Sequence[Ints],
    order: Sequence[int],
    rng: np.random.Generator,
) -> list[tuple[int, int]] | None:
    """A place for every part, the longest first; None if there was no room in some tries."""
    placed: list[tuple[int, int]] = []
    for i in order:
        b = parts[i][1] - parts[i][0]
        for _ in range(_TRIES):
            start = int(pools[i][rng.integers(len(pools[i]))])
            if all(start + b <= a or start >= z for a, z in placed):
                placed.append((start, start + b))
                break
        else:
            return None
    return placed


def _running(flags: Bools) -> Ints:
    found = np.zeros(len(flags) + 1, np.int64)
    np.cumsum(flags, out=found[1:])
    return found


def compared(change: Floats, intact: float, rng: np.random.Generator) -> dict[str, float]:
    """The group, in the first row of (1 + controls, draws), against the other rows."""
    each = change.mean(1)
    own, null = float(each[0]), each[1:]
    slack = _ROUNDING * (abs(intact) + float(np.abs(each).max()))
    above, below = int((null >= own - slack).sum()), int((null <= own + slack).sum())
    n, draws = len(null), change.shape[1]
    resampled = null[rng.integers(0, n, (_RESAMPLES, n))].mean(1)
    again = change[0, rng.integers(0, draws, (_RESAMPLES, draws))].mean(1)
    low, high = np.quantile(again - resampled, [0.025, 0.975])
    return {
        "change": own,
        "control": float(null.mean()),
        "difference": own - float(null.mean()),
        "low": float(low),
        "high": float(high),
        "above": above,
        "below": below,
        "p": min(2 * (1 + min(above, below)) / (1 + n), 1.0),
    }


def _check(
    how: str,
    target: Target | None,
    controls: int,
    draws: int,
    groups: Mapping[str, Sequence[Feature]],
) -> None:
    from typing import get_args

    if how not in get_args(Removal):
        raise ConfigError(f"how = {how!r} is none of {', '.join(get_args(Removal))}.")
    if how == "delete" and target is not None and target.where is not None:
        raise ConfigError(
            f"how = 'delete' moves the bases that the target ({target}) reads; use another way, "
            "or a target of the whole sequence."
        )
    if controls < 1 or draws < 1:
        raise DataError(f"controls = {controls}, draws = {draws}; at least one of each is needed.")
    for name, features in groups.items():
        if not features:
            raise DataError(f"The group {name!r} has no features to remove.")


def _record_of(name: str, features: Sequence[Feature], known: Mapping[str, Record]) -> Record:
    """The one record that all features of a group lie on."""
    chroms = list(dict.fromkeys(feature.chrom for feature in features))
    if len(chroms) > 1 or chroms[0] not in known:
        raise DataError(
            f"The group {name!r} lies on {', '.join(map(repr, chroms))}; it has to lie on one of "
            f"the records, {', '.join(map(repr, known))}."
        )
    record = known[chroms[0]]
    for feature in features:
        if max(end for _, end in feature.parts) > len(record):
            raise DataError(
                f"{feature.id} ({feature.chrom}:{feature.start}-{feature.end}) is beyond the "
                f"record, which has {len(record)} bases."
            )
    return record
