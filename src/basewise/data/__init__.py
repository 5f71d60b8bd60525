"""Data in: readers, splits, synthetic sequences, published data sets."""

from __future__ import annotations

from basewise.data.reading import ReadReport, read, read_report
from basewise.registry import Registry

__all__ = ["GRAMMARS", "ReadReport", "read", "read_report"]

GRAMMARS = Registry(
    "grammar",
    {
        "motif": "basewise.data.planted:MotifGrammar",
        "promoter": "basewise.data.grammar:PromoterGrammar",
    },
)
