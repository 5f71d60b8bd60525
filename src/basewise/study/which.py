"""Whether a study file, or the folder of a run, is that of an experiment.

For commands that take either; nothing is imported that trains or explains.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from basewise.errors import ConfigError
from basewise.study.study import read_tables

__all__ = ["TABLES", "holds_experiment", "is_experiment", "tables_of"]

TABLES = ("experiment", "data", "factors", "models", "explainers")
"""Of an experiment."""


def is_experiment(path: str | Path) -> bool:
    """Whether a study file, or the lock of a run, is an experiment's."""
    path = Path(path)
    if path.suffix == ".json":
        return _says(path)
    try:
        return "experiment" in read_tables(path)[1]
    except ConfigError:
        return False  # whoever loads it says what is wrong


def tables_of(path: Path) -> tuple[str, dict[str, Any]]:
    """The name that a study or an experiment goes by, and its tables; see `read_tables`."""
    if path.suffix == ".json" and _says(path):
        lock = json.loads(path.read_text(encoding="utf-8"))
        return lock.get("file", ""), {key: lock[key] for key in TABLES if key in lock}
    return read_tables(path)


def holds_experiment(folder: Path) -> bool:
    """Whether a folder is that of an experiment's run."""
    return _says(folder / "lock.json")


def _says(lock: Path) -> bool:
    try:
        return "experiment" in json.loads(lock.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
