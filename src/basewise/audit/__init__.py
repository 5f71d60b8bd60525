"""What is wrong with a data set, found before a model is trained on it."""

from __future__ import annotations

from basewise.audit.findings import Audit, Finding, Severity, Split
from basewise.registry import Registry

__all__ = ["CHECKS", "Audit", "Finding", "Severity", "Split"]

CHECKS = Registry(
    "check",
    {
        "duplicates": "basewise.audit.duplicates:Duplicates",
        "near_duplicates": "basewise.audit.near_duplicates:NearDuplicates",
    },
)
