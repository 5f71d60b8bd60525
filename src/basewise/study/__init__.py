"""Studies: a file that says what is asked, a folder that holds what was found."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from basewise.study.results import Run, open_run
    from basewise.study.run import run_study
    from basewise.study.study import Study, load_study

__all__ = ["Run", "Study", "load_study", "open_run", "run_study"]

_HOME = {
    "Run": "results",
    "Study": "study",
    "load_study": "study",
    "open_run": "results",
    "run_study": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'basewise.study' has no attribute {name!r}")
    return getattr(import_module(f"basewise.study.{_HOME[name]}"), name)
