"""Everything basewise raises on purpose.

* BasewiseError
  - ConfigError         a setting or a study file is wrong
    - UnknownName         a name that no table knows
  - DataError           a sequence, label, interval or table is wrong
  - CapabilityError     this model cannot serve this request
  - WeightsError        a checkpoint is not what it should be
  - StoreError          a file of ours is missing, foreign or broken
  - ShardError          some shards of a run could not be done; the others are
  - MissingExtra        an optional library is not installed

A message says what is wrong, where (file, line, record), the value, what is
allowed and what to do. It is one line, because a command prints it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "BasewiseError",
    "CapabilityError",
    "ConfigError",
    "DataError",
    "MissingExtra",
    "ShardError",
    "StoreError",
    "UnknownName",
    "WeightsError",
    "nearest",
]


class BasewiseError(Exception):
    """Base of every error raised on purpose; a command prints it and exits with 2."""


class ConfigError(BasewiseError, ValueError):
    """A setting or a study file holds a key or value that is not allowed."""


class UnknownName(ConfigError):
    """A name that a table of components, labels or columns does not hold."""

    def __init__(self, kind: str, name: object, known: Iterable[str]):
        names = sorted(known)
        super().__init__(
            f"No {kind} named {name!r}.{nearest(name, names)} Known: {', '.join(names) or 'none'}."
        )


class DataError(BasewiseError, ValueError):
    """A sequence, label, interval or table is not what it must be."""


class CapabilityError(BasewiseError, TypeError):
    """The model lacks something that was asked of it."""


class WeightsError(BasewiseError, OSError):
    """A checkpoint is missing, foreign, truncated or of another architecture."""


class StoreError(BasewiseError, OSError):
    """A file holds something else than its reader expects."""


class ShardError(BasewiseError, RuntimeError):
    """Some shards of a run failed and were set aside; running again tries them again."""


class MissingExtra(BasewiseError, ImportError):
    """An optional library is needed and not installed."""


def nearest(name: object, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` where a known name is close to `name`, else an empty string."""
    near = get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
