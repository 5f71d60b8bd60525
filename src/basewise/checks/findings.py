"""What an audit returns: findings, each a sentence with its count and evidence."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field
from scipy.special import pdtrc

from basewise.errors import StoreError
from basewise.stats import Estimate, wilson
from basewise.types import Record

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Audit", "Finding", "Part", "Severity", "Split"]

Severity = Literal["info", "warning", "error"]
"""info: looked at, harmless or nothing found. warning: say it beside every result. error: a
result on these splits does not mean what it seems to mean; mend the data first."""

Part = Annotated[float, Field(ge=0, le=1)]
"""A setting that is a share."""

SHOWN = 5  # examples kept with a finding
_SCHEMA, _VERSION = "audit", 1
_COLUMNS = ["check", "severity", "title", "sentence", "n"]
_COLUMNS += ["effect", "value", "low", "high", "examples"]


@dataclass(frozen=True)
class Finding:
    """One thing an audit saw.

    Attributes
    ----------
    check : str
        Registered name of the check.
    severity : str
        `info`, `warning` or `error`; see `Severity`.
    title : str
        A few words.
    sentence : str
        The finding in words: count, share with interval, what chance would give, what to do.
    n : int
        Rows (or sequences, as the sentence says) concerned.
    effect : mapping of str to Estimate
        Named numbers with their 95 % intervals; the first is the one that decided the severity.
    evidence : mapping of str to a JSON value
        Everything else that was counted.
    examples : tuple of str
        A few of the rows concerned, by split and record id.
    """

    check: str
    severity: Severity
    title: str
    sentence: str
    n: int
    effect: Mapping[str, Estimate] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.severity.upper():<8}{self.title}: {self.sentence}"


@dataclass(frozen=True)
class Split:
    """What one split holds.

    Attributes
    ----------
    name : str
    rows, distinct : int
        Records, and different sequences among them.
    shortest, longest : int
        Lengths in bases.
    with_unknown : int
        Rows that hold an `N`.
    labels : mapping of str to int
        Rows per class; empty where labels are measured values or unknown.
    """

    name: str
    rows: int
    distinct: int
    shortest: int
    longest: int
    with_unknown: int
    labels: Mapping[str, int]

    @classmethod
    def of(cls, name: str, records: Sequence[Record]) -> Split:
        """Count what the records of a split hold."""
        sequences = [record.sequence for record in records]
        lengths = [len(sequence) for sequence in sequences]
        named = [record.label for record in records if isinstance(record.label, str)]
        return cls(
            name=name,
            rows=len(records),
            distinct=len(set(sequences)),
            shortest=min(lengths),
            longest=max(lengths),
            with_unknown=sum("N" in sequence for sequence in sequences),
            labels={label: named.count(label) for label in sorted(set(named))},
        )


@dataclass(frozen=True)
class Audit:
    """All findings on a data set, the worst first.

    Attributes
    ----------
    findings : tuple of Finding
    splits : tuple of Split
    """

    findings: tuple[Finding, ...]
    splits: tuple[Split, ...]

    @property
    def worst(self) -> Severity:
        """The highest severity among the findings; `info` where there is none."""
        return max((f.severity for f in self.findings), key=_rank, default="info")

    def to_frame(self) -> pd.DataFrame:
        """One row per finding.

        Columns `check, severity, title, sentence, n`, then the leading effect as `effect`
        (its name), `value, low, high` (missing where a finding has none), then `examples`
        (one text, parted by `; `).
        """
        import pandas as pd

        rows = []
        for f in self.findings:
            name, lead = next(iter(f.effect.items()), (None, None))
            value, low, high = lead[:3] if lead else (None, None, None)
            row: dict[str, Any] = {"check": f.check, "severity": f.severity, "title": f.title}
            row |= {"sentence": f.sentence, "n": f.n, "effect": name}
            row |= {"value": value, "low": low, "high": high, "examples": "; ".join(f.examples)}
            rows.append(row)
        return pd.DataFrame(rows, columns=_COLUMNS)

    def to_json(self) -> str:
        """The audit as JSON text that says its schema and version; `from_json` reads it back."""
        body = {
            "schema": _SCHEMA,
            "version": _VERSION,
            "splits": [asdict(split) for split in self.splits],
            "findings": [
                asdict(f) | {"effect": {k: _plain(e) for k, e in f.effect.items()}}
                for f in self.findings
            ],
        }
        return json.dumps(body, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Audit:
        """The audit that `to_json` wrote.

        Raises
        ------
        StoreError
            If the text is not JSON or of another schema or version.
        """
        try:
            body = json.loads(text)
        except json.JSONDecodeError as error:
            raise StoreError(
                f"This is not the JSON of an audit ({error}); run the audit again."
            ) from None
        said = (body.get("schema"), body.get("version")) if isinstance(body, dict) else (None, None)
        if said != (_SCHEMA, _VERSION):
            raise StoreError(
                f"This JSON holds {said[0] or 'no schema'} version {said[1] or '-'}; "
                f"this basewise reads {_SCHEMA} version {_VERSION}."
            )
        return cls(
            findings=tuple(
                Finding(
                    **f
                    | {
                        "effect": {k: _estimate(e) for k, e in f["effect"].items()},
                        "examples": tuple(f["examples"]),
                    }
                )
                for f in body["findings"]
            ),
            splits=tuple(Split(**split) for split in body["splits"]),
        )

    def __str__(self) -> str:
        return "\n".join(str(finding) for finding in self.findings)


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings by severity, the worst first, otherwise as they came."""
    return tuple(sorted(findings, key=lambda f: -_rank(f.severity)))


def graded(value: float, warning: float, error: float = math.inf) -> Severity:
    """The severity of a value by the thresholds it reaches."""
    return "error" if value >= error else "warning" if value >= warning else "info"


def unless_chance(count: int, chance: float, severity: Severity) -> Severity:
    """The severity, or `info` where chance alone gives the count in 1 of 1,000 cases.

    `chance` is the mean of a Poisson variable.
    """
    return severity if count and pdtrc(count - 1, chance) < 0.001 else "info"


def share(count: int, n: int) -> str:
    """`"0.7 % [0.5, 1.0]"`: a share of n with its Wilson interval."""
    part = wilson(count, n)
    digits = 1 if part.value >= 0.001 or count == 0 else 3
    low, high = (f"{100 * edge:.{digits}f}" for edge in (part.low, part.high))
    return f"{100 * part.value:.{digits}f} % [{low}, {high}]"


def counted(count: int, one: str, many: str = "") -> str:
    """`"1 sequence"`, `"1,072 sequences"`; `many` where the plural is not that."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def class_name(label: str) -> str:
    """A label as sentences say it: `promoter`, but `class 0`."""
    return label if any(letter.isalpha() for letter in label) else f"class {label}"


def expected(count: float, bound: bool = False) -> str:
    """How many chance alone would give, or would give at most, as a reader wants to read it."""
    if count < 0.01:
        return "none"
    shown = f"{count:,.0f}" if count >= 10 else f"{count:.2g}"
    return f"at most {shown}" if bound else f"about {shown}"


def _rank(severity: Severity) -> int:
    return get_args(Severity).index(severity)


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {k: v if math.isfinite(v) else None for k, v in estimate._asdict().items()}


def _estimate(plain: Mapping[str, Any]) -> Estimate:
    value, low, high = (
        math.nan if plain[k] is None else plain[k] for k in ("value", "low", "high")
    )
    return Estimate(value, low, high, plain["n"])
