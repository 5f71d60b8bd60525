"""Where shards are done: in this process, in several, or on the machines of a Ray cluster.

A backend is a component whose verb is `open(device)`: a context that gives `Workers`. What they
do is any picklable object with `run() -> bytes`; the bytes are the same wherever it runs.
"""

from __future__ import annotations

from basewise.registry import Registry

__all__ = ["BACKENDS"]

BACKENDS = Registry(
    "backend",
    {
        "local": "basewise.study.backends.local:Local",
        "processes": "basewise.study.backends.processes:Processes",
        "ray": "basewise.study.backends.on_ray:OnRay",
    },
)
