"""Several models from one table: every combination of the values of a grid."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from basewise.errors import ConfigError

__all__ = ["MOST", "expanded"]

MOST = 100
"""Models of one grid; more are a slip of the pen."""


def expanded(name: str, table: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The models that the table `[models.<name>]` describes, by name.

    Without a `grid` it is the one. `grid = { max_length = [4, 5], "labelling.threshold" = [0.3,
    0.5] }` makes four, `<name>-max_length4-threshold0.3` and so on: names end in the last part
    of each setting and its value, the first setting changing slowest.

    Raises
    ------
    ConfigError
        If the grid is no table of lists of numbers, texts or truth values, gives a setting that
        stands in the table too, or makes more than `MOST` models.
    """
    rest = {key: value for key, value in table.items() if key != "grid"}
    if "grid" not in table:
        return {name: rest}
    axes = table["grid"]
    if not isinstance(axes, Mapping) or not axes:
        raise ConfigError(f"grid = {axes!r}: write grid = {{ setting = [value, value] }}.")
    for setting, values in axes.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"grid: {setting} = {values!r} is no list of values.")
        if wrong := [value for value in values if not isinstance(value, (bool, int, float, str))]:
            raise ConfigError(f"grid: {setting} holds {wrong[0]!r}; numbers and texts go there.")
    combinations = list(itertools.product(*axes.values()))
    if len(combinations) > MOST:
        raise ConfigError(f"grid makes {len(combinations)} models; {MOST} are the most.")
    found = {}
    for values in combinations:
        chosen = dict(zip(axes, values, strict=True))
        ends = [f"{key.rpartition('.')[2]}{_text(value)}" for key, value in chosen.items()]
        found["-".join([name, *ends])] = _with(rest, chosen)
    if len(found) < len(combinations):
        raise ConfigError("grid holds a value twice, or settings whose names end alike.")
    return found


def _text(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _with(table: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The table with settings put in, those with dots into tables inside it."""
    found = dict(table)
    for key, value in chosen.items():
        first, dot, rest = key.partition(".")
        inner = found.get(first, {} if dot else None)
        if dot:
            if not isinstance(inner, Mapping):
                raise ConfigError(f"grid: {key}, but {first} = {inner!r} is no table.")
            found[first] = _with(inner, {rest: value})
        elif inner is not None:
            raise ConfigError(f"grid: {key} is given in the table too ({inner!r}).")
        else:
            found[first] = value
    return found
