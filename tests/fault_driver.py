"""The command line in small shards, with a fault where the environment names one.

A process of its own: `python fault_driver.py run study.toml ...`. Processes that it starts
import this file too, and so have the same fault.
"""

import hashlib
import os
import time
from pathlib import Path

from basewise.explainers import shards

shards.MOST = 3  # records in a shard
FAULT, MARK = os.environ.get("FAULT"), os.environ.get("MARK", "")


class Slow(shards.Shard):
    """A shard that takes its time, so that there is a middle to be killed in."""

    def run(self):
        time.sleep(float(MARK))
        return super().run()


class Long(shards.Shard):
    """A shard in one instruction of a minute or more, as a batch of a large network is."""

    def run(self):
        Path(MARK).touch()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000_000)
        return super().run()


def instead(kind: type) -> None:
    """Such shards; Ray takes the class along, so its actors have it too."""
    from basewise.study.steps import explain

    explain.Shard = kind


if FAULT in ("slow", "long"):
    instead({"slow": Slow, "long": Long}[FAULT])

if __name__ == "__main__":
    from basewise.cli import main

    main()
