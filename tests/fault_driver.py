"""The command line in small shards, with a fault where the environment names one.

A process of its own: `python fault_driver.py run study.toml ...`. Processes that it starts
import this file too, and so have the same fault.
"""

import os
import time

from basewise.explainers import shards

shards.MOST = 3  # records in a shard
FAULT, MARK = os.environ.get("FAULT"), os.environ.get("MARK", "")


class Slow(shards.Shard):
    """A shard that takes its time, so that there is a middle to be killed in."""

    def run(self):
        time.sleep(float(MARK))
        return super().run()


def slow() -> None:
    """Such shards; Ray takes the class along, so its actors have it too."""
    from basewise.study.steps import explain

    explain.Shard = Slow


if FAULT == "slow":
    slow()

if __name__ == "__main__":
    from basewise.cli import main

    main()
