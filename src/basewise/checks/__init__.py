"""What is wrong with a data set, found before a model is trained on it.

A check is its settings and `check(splits) -> list[Finding]`; a new one is one file and one
line in `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from basewise.checks.findings import Audit, Finding, Severity, Split, ordered
from basewise.checks.published import Published, metrics_possible
from basewise.errors import DataError
from basewise.registry import Registry
from basewise.types import Record

__all__ = [
    "CHECKS",
    "Audit",
    "Finding",
    "Published",
    "Severity",
    "Split",
    "audit",
    "metrics_possible",
]

CHECKS = Registry(
    "check",
    {
        "duplicates": "basewise.checks.duplicates:Duplicates",
        "near_duplicates": "basewise.checks.near_duplicates:NearDuplicates",
        "shared_blocks": "basewise.checks.shared_blocks:SharedBlocks",
        "shortcuts": "basewise.checks.shortcuts:Shortcuts",
    },
)


def audit(
    train: Sequence[Record] | None = None,
    dev: Sequence[Record] | None = None,
    test: Sequence[Record] | None = None,
    *,
    checks: Sequence[Any] | None = None,
    **references: Sequence[Record],
) -> Audit:
    """Look for what is wrong with a data set before a model is trained on it.

    Parameters
    ----------
    train, dev, test : sequence of Record, optional
        The splits of the data set.
    checks : sequence, optional
        Components of `CHECKS`, their names, or tables with `type`; all of them by default.
    **references : sequence of Record
        Other data sets by any name. The splits must not leak into them nor they into the
        splits: they are compared with each split, and no other question is asked of them.
        Where no train, dev or test is given, they are the splits of the data set.

    Returns
    -------
    Audit
        Findings, the worst first.

    Raises
    ------
    DataError
        If no split is given, or one is empty or holds something else than records.
    """
    given = {"train": train, "dev": dev, "test": test} | references
    splits = {name: records for name, records in given.items() if records is not None}
    _validate(splits)
    chosen = [CHECKS.build(check) for check in (CHECKS.names() if checks is None else checks)]
    return Audit(
        findings=ordered([finding for check in chosen for finding in check.check(splits)]),
        splits=tuple(Split.of(name, records) for name, records in splits.items()),
    )


def _validate(splits: Mapping[str, Sequence[Record]]) -> None:
    if not splits:
        raise DataError("audit got no split; give lists of records, as audit(train=..., test=...).")
    for name, records in splits.items():
        if len(records) == 0:
            raise DataError(f"The split {name!r} holds no record; leave it out.")
        foreign = next((r for r in records if not isinstance(r, Record)), None)
        if foreign is not None:
            raise DataError(
                f"The split {name!r} holds {foreign!r:.60}, a {type(foreign).__name__}; audit "
                "takes lists of Record, as basewise.read gives them."
            )
        empty = next((r for r in records if not r.sequence), None)
        if empty is not None:
            raise DataError(f"Record {empty.id!r} of the split {name!r} has no sequence; drop it.")
