"""The steps of a run, one module each with a function of its name: `audit.audit(job)`.

A step reads files of earlier steps and writes its own; see `basewise.study.job.Job.once`.
"""

from __future__ import annotations

__all__ = ["STEPS"]

# In their order, each with a number that counts how often its code has changed what it makes of
# the same settings and files; raised with such a change, so that results of before are made
# again. Not the version of basewise: most releases change nothing here, and none of them should
# train a model anew. Which version made a run stands in its lock.
STEPS = {
    "rehearse": 1,
    "prepare": 1,
    "audit": 1,
    "train": 1,
    "regions": 1,
    "predict": 1,
    "bases": 3,
    "explain": 4,
    "evaluate": 3,
    "compare": 2,
    "faithfulness": 1,
    "controls": 1,
    "biology": 2,
    "genes": 2,
    "conservation": 1,
    "as_published": 1,
}
