"""Tasks for backends: plain values, which processes and actors can import."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from basewise.errors import DataError

__all__ = ["Deadly", "Failing", "Named", "Said"]


@dataclass(frozen=True)
class Said:
    """Gives its number and who did it, after some seconds."""

    number: int
    seconds: float = 0.0

    def run(self) -> bytes:
        time.sleep(self.seconds)
        return f"{self.number} {os.getpid()}".encode()


@dataclass(frozen=True)
class Deadly:
    """Kills its worker as often as its file has room for marks."""

    marks: Path
    times: int

    def run(self) -> bytes:
        done = len(self.marks.read_bytes()) if self.marks.exists() else 0
        if done < self.times:
            with open(self.marks, "ab") as file:
                file.write(b"x")
            os.kill(os.getpid(), signal.SIGKILL)
        return b"survived"


@dataclass(frozen=True)
class Failing:
    """Fails as often as its file has room for marks; `ours`: with an error of basewise."""

    marks: Path
    times: int
    ours: bool = False

    def run(self) -> bytes:
        with open(self.marks, "ab") as file:
            file.write(b"x")
        if len(self.marks.read_bytes()) > self.times:
            return b"well"
        if self.ours:
            raise DataError("the record\nis bad")
        raise RuntimeError("no luck")


@dataclass(frozen=True)
class Named:
    """Gives a variable of the environment where it is done."""

    variable: str

    def run(self) -> bytes:
        return os.environ.get(self.variable, "").encode()
