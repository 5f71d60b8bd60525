"""What explanations say of the other genes once a gene is gone.

A gene, operon, set or kind is removed, and the sequence is explained again. Where a copy, or
another gene, takes over what was removed, its score rises; where the removed gene only mattered
with another, that one's falls. Any edit moves scores, so the same is done with random regions of
equal lengths and G+C, which gives an interval and a p value for every region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from basewise.biology.region_knockouts import (
    MINIMUM_CONTROLS,
    compared,
    joined_parts,
    places_like,
    without,
)
from basewise.data.features import Feature
from basewise.errors import ConfigError, DataError
from basewise.explainers import explain
from basewise.sequence.alphabet import encode
from basewise.stats import benjamini_hochberg, random_numbers
from basewise.types import Floats, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["REEXPLAINED", "reexplain_without"]

REEXPLAINED = (
    "group", "region", "name", "bases", "before", "after", "change", "control", "difference", "low",
    "high", "above", "below", "controls", "p", "q", "reason",
)  # fmt: skip
"""Columns of a re-explanation, a row per removed group and other region, by falling size of
`difference` within a group.

group : what was removed; region, name : id and name of the region that is scored; bases : of it;
before, after : mean score per base of the region, with the group and without it;
change, control : after - before, by the removal and, on average, by removing random regions;
difference, low, high : change - control, with its 95 % interval over controls and draws;
above, below, controls : controls that change it at least as much upwards, and downwards; all. A
    control that lies on the region does not count for it;
p, q : two-sided, at least 2 / (1 + controls), and corrected over the regions of a group;
reason : why there are no numbers, or nothing.
"""


def reexplain_without(
    model: Model,
    record: Record,
    groups: Mapping[str, Sequence[Feature]],
    regions: Sequence[Feature],
    explainer: Any,
    *,
    target: str | Target,
    how: Literal["shuffle", "mask", "sample"] = "shuffle",
    controls: int = 19,
    draws: int = 1,
    gc_tolerance: float = 0.02,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Explain a sequence without some regions, and score the others again.

    Explanations draw the same random numbers with and without, so that what differs is the edit.
    Costs `1 + groups * (draws + controls)` explanations.

    Parameters
    ----------
    model : Model
    record : Record
        Its id is the contig of the features; read whole.
    groups : mapping of str to sequence of Feature
        What is removed together, by name.
    regions : sequence of Feature
        What is scored. Those that share a base with a group are left out for it.
    explainer : str, table or component
        As for `basewise.explain`.
    target : str or Target
    how : {"shuffle", "mask", "sample"}
        See `region_knockouts.Removal`; what deletes would move the regions.
    controls : int
        Random regions for each group.
    draws : int
        Edits of the group that are averaged; one where nothing is drawn (`mask`).
    gc_tolerance, seed, progress
        As for `knock_out_regions`.

    Returns
    -------
    DataFrame
        With the columns of `REEXPLAINED`.

    Raises
    ------
    ConfigError
        If `how` deletes.
    DataError
        If there are no regions, or one lies on another sequence or beyond this one.
    """
    if how not in ("shuffle", "mask", "sample"):
        raise ConfigError(
            f"how = {how!r}: a re-explanation keeps places; one of shuffle, mask, sample."
        )
    if not regions:
        raise DataError("There are no regions to score; give some features.")
    for each in regions:
        if each.chrom != record.id or max(end for _, end in each.parts) > len(record):
            raise DataError(
                f"{each.id} ({each.chrom}:{each.start}-{each.end}) does not lie on the record "
                f"{record.id!r}, which has {len(record)} bases."
            )
    target = model.target(target)
    draws = 1 if how == "mask" else draws
    codes = encode(record.sequence)
    covers = [np.concatenate([np.arange(a, z) for a, z in each.parts]) for each in regions]

    def scored(edited: Record) -> Floats:
        (found,) = explain(model, [replace(edited, id=record.id)], explainer, target, seed=seed)
        track = found.per_base()
        return np.array([track[at].mean() for at in covers])

    before = scored(record)
    done, whole = 1, 1 + len(groups) * (draws + controls)
    frames = []
    for name, features in groups.items():
        rng = random_numbers(seed, name, "reexplain_without")
        parts = joined_parts(features)
        placed = places_like(codes, parts, controls, gc_tolerance, rng)
        own = [without(record, features, how=how, seed=seed + i) for i in range(draws)]
        enough = len(placed) >= MINIMUM_CONTROLS
        others = [
            without(record, [_control(record.id, where)], how=how, seed=seed)
            for where in (placed if enough else [])
        ]
        again = []
        for edited in [*(own if enough else []), *others]:
            again.append(scored(edited))
            done += 1
            if progress:
                progress(done, whole)
        values = np.array(again).reshape(-1, len(regions)) - before
        rows = []
        for r, region in enumerate(regions):
            if _overlap(region.parts, parts):
                continue
            free = np.array([not _overlap(region.parts, where) for where in placed], bool)
            row: dict[str, Any] = dict.fromkeys(REEXPLAINED, np.nan) | {
                "group": name, "region": region.id, "name": region.name, "bases": len(region),
                "before": before[r], "above": 0, "below": 0, "controls": int(free.sum()),
                "reason": "",
            }  # fmt: skip
            if free.sum() < MINIMUM_CONTROLS:
                row["reason"] = (
                    f"{MINIMUM_CONTROLS} controls of the group's lengths and G+C that lie off the "
                    f"region are needed; {int(free.sum())} were found"
                )
            else:
                null = np.repeat(values[draws:, r][free][:, None], draws, axis=1)
                table = np.concatenate([values[None, :draws, r], null])
                drawn = random_numbers(seed, f"{name}/{region.id}", "interval")
                row |= compared(table, float(before[r]), drawn)
                row["after"] = before[r] + row["change"]
            rows.append(row)
        frame = pd.DataFrame(rows, columns=list(REEXPLAINED))
        frame["q"] = benjamini_hochberg(frame["p"].to_numpy(float))
        order = frame["difference"].abs().sort_values(ascending=False, kind="stable").index
        frames.append(frame.loc[order])
    return pd.concat(frames or [pd.DataFrame(columns=list(REEXPLAINED))], ignore_index=True)


def _control(chrom: str, where: Sequence[tuple[int, int]]) -> Feature:
    return Feature("control", "control", chrom, tuple(where))


def _overlap(first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]]) -> bool:
    return any(max(a, b) < min(y, z) for a, y in first for b, z in second)
