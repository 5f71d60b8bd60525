"""Reading tables whose columns may be more, or fewer, than this version knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

__all__ = ["groups", "having", "rows_of"]


def having(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The table if it has all these columns, else an empty one."""
    return frame if set(columns) <= set(frame.columns) else pd.DataFrame()


def rows_of(frame: pd.DataFrame) -> list[Any]:
    """The rows, each with its columns as attributes."""
    return list(frame.itertuples(index=False))


def groups(
    frame: pd.DataFrame, columns: Sequence[str]
) -> list[tuple[dict[str, str], pd.DataFrame]]:
    """Rows that share the values of those of `columns` that are there, in order of appearance.

    Each group comes with these values by column.
    """
    keys = [column for column in columns if column in frame]
    if not keys:
        return [({}, frame)]
    return [
        (dict(zip(keys, map(str, values), strict=True)), rows)
        for values, rows in frame.groupby(keys, sort=False, dropna=False)
    ]
