"""How long work took that may be killed and continued."""

from __future__ import annotations

import time
from pathlib import Path

from basewise.store import write_text

__all__ = ["Clock"]


class Clock:
    """Seconds of work, those of earlier attempts included, which are kept in a file.

    Parameters
    ----------
    path : Path
        Of the file; what an attempt did after its last `save` is lost with it.
    """

    def __init__(self, path: Path):
        self._path = path
        self._before = float(path.read_text(encoding="utf-8")) if path.exists() else 0.0
        self._began = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Until now."""
        return self._before + time.monotonic() - self._began

    def save(self, every: float = 1.0) -> None:
        """Keep the time, unless it was kept less than `every` seconds ago."""
        if time.monotonic() - self._saved >= every:
            write_text(self._path, repr(self.seconds))
            self._saved = time.monotonic()
