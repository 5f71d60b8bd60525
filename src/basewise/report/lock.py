"""What the lock file of a run says, as the values that sections need."""

from __future__ import annotations

from basewise.study.results import Run
from basewise.types import Target

__all__ = ["target_of", "tss_of"]


def target_of(run: Run) -> Target | None:
    """What was explained."""
    said = run.lock.get("target", {})
    if not said.get("label"):
        return None
    where = said.get("where")
    return Target(**said | {"where": tuple(where) if isinstance(where, list) else where})


def tss_of(run: Run) -> int | None:
    """The 0-based index of the base +1 in every sequence, where the data say it."""
    data = run.lock.get("data", {})
    found = data.get("tss", data.get("grammar", {}).get("tss"))
    return None if found is None else int(found)
