"""Which steps of a run are done, and for what."""

from __future__ import annotations

import json
from pathlib import Path

from basewise.errors import StoreError
from basewise.store import write_text

__all__ = ["Ledger"]


class Ledger:
    """Which steps are done, each with the fingerprint of what it depended on.

    A step that is not done is forgotten before its work begins: a run killed while files of
    one setting replace those of another leaves a mixture that must not pass for either.
    """

    def __init__(self, path: Path):
        self._path = path
        self._steps: dict[str, str] = {}
        if path.exists():
            try:
                self._steps = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                raise StoreError(f"{path} is not JSON; delete it and run again.") from None

    def done(self, step: str, said: str, *files: str) -> bool:
        """Whether the step was recorded with this fingerprint and its files are still there."""
        there = all((self._path.parent / file).exists() for file in files)
        if there and self._steps.get(step) == said:
            return True
        if self._steps.pop(step, None) is not None:
            self._write()
        return False

    def record(self, step: str, said: str) -> None:
        self._steps[step] = said
        self._write()

    def _write(self) -> None:
        write_text(self._path, json.dumps(self._steps, indent=1) + "\n")
