"""Files of sequences to records: read, judged value by value, nothing dropped unseen."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from basewise.data.files import stem
from basewise.data.formats import Columns, Problem, Wanted, parse
from basewise.data.joined import join_kmers
from basewise.errors import ConfigError, DataError
from basewise.sequence.alphabet import ILLEGAL, LETTERS, encode
from basewise.types import Bools, Interval, Record

__all__ = ["Problem", "ReadReport", "read", "read_report"]

Labels = Mapping[str, str] | Literal["values"] | None
OnError = Literal["raise", "skip"]

_WARNINGS = ("contradictory_label",)  # the row is kept
_SHOWN = 3
_KINDS = {
    "bad_interval": ("interval that cannot be read", "intervals that cannot be read"),
    "bad_row": ("row of another width", "rows of another width"),
    "broken_kmers": ("sequence of broken k-mers", "sequences of broken k-mers"),
    "contradictory_label": ("contradictory label", "contradictory labels"),
    "duplicate_id": ("duplicate id", "duplicate ids"),
    "empty_sequence": ("empty sequence", "empty sequences"),
    "illegal_letter": ("sequence with an illegal letter", "sequences with illegal letters"),
    "missing_id": ("missing id", "missing ids"),
    "missing_label": ("missing label", "missing labels"),
    "unknown_label": ("unknown label", "unknown labels"),
}


@dataclass(frozen=True)
class ReadReport:
    """What a file held.

    Attributes
    ----------
    path : Path
    records : list of Record
        In the order of the file.
    problems : tuple of Problem
        In the order of the file: `(kind, line, id, value)`.
    rows : int
        Rows the file has, read or not.
    unit : str
        What `line` counts: `line`, or `row` of a Parquet file.
    """

    path: Path
    records: list[Record]
    problems: tuple[Problem, ...]
    rows: int
    unit: str = "line"

    @property
    def counts(self) -> dict[str, int]:
        """How many problems of each kind."""
        return dict(sorted(Counter(problem.kind for problem in self.problems).items()))

    @property
    def skipped(self) -> int:
        """Rows that gave no record."""
        return self.rows - len(self.records)

    def say(self, kinds: Sequence[str] | None = None) -> str:
        """The problems (of some kinds) in one line: the counts, then the first few."""
        chosen = [p for p in self.problems if kinds is None or p.kind in kinds]
        counts = Counter(problem.kind for problem in chosen)
        summary = ", ".join(f"{n} {_KINDS[kind][n > 1]}" for kind, n in sorted(counts.items()))
        shown = [
            f"{self.unit} {p.line}{f' (id {p.id!r})' if p.id else ''}: {p.value}"
            for p in chosen[:_SHOWN]
        ]
        rest = f"; and {len(chosen) - _SHOWN} more" if len(chosen) > _SHOWN else ""
        return f"{summary}. {'; '.join(shown)}{rest}"


def read(
    path: str | Path,
    *,
    sequence: str | None = None,
    label: str | None = None,
    id: str | None = None,
    labels: Labels = None,
    genome: str | Path | None = None,
    on_error: OnError = "raise",
) -> list[Record]:
    """The sequences of a file.

    CSV and TSV (also `;`), FASTA, BED with a genome, and Parquet, told by content and name;
    text may be gzipped. A table without a header is recognised by the DNA in its first
    line; its columns are then named 1, 2, ... Sequences written as overlapping k-mers joined
    by spaces are put together.

    `N` is kept as an unknown base. Lower case (soft-masking) is read as upper case. No other
    letter is read: `U` and IUPAC codes are illegal letters; write T and N.

    Parameters
    ----------
    path : path
    sequence, label, id : str, optional
        Names of columns. Found where they are called sequence, seq or dna; label, class or
        target; id or name. Without ids, records are called `<file>:<row>`, rows counted
        from 1. In FASTA, `label` names the key of `label=...` in headers. In BED, columns
        are chrom, start, end, name, score, strand, 7, 8, ...; ids are names where these
        differ, else the intervals.
    labels : mapping, "values" or None
        Values in the file to class names, `{"0": "non-promoter", "1": "promoter"}`; a value
        outside it is an error. `"values"` reads measured numbers. By default the text in
        the file is the class name.
    genome : path, optional
        FASTA of the chromosomes of a BED file; sequences are read along the strand.
    on_error : {"raise", "skip"}
        What happens where rows cannot be read: an error that names the first of them, or
        they are left out, counted, and said through the log `basewise`.

    Returns
    -------
    list of Record
        In the order of the file.

    Raises
    ------
    DataError
        If the file cannot be read, holds no sequence, or (`on_error="raise"`) has illegal
        letters, empty sequences, unknown or missing labels, or ids that occur twice.
        Equal sequences with different labels are only warned of: that is for `audit`.
    """
    return read_report(
        path,
        sequence=sequence,
        label=label,
        id=id,
        labels=labels,
        genome=genome,
        on_error=on_error,
    ).records


def read_report(
    path: str | Path,
    *,
    sequence: str | None = None,
    label: str | None = None,
    id: str | None = None,
    labels: Labels = None,
    genome: str | Path | None = None,
    on_error: OnError = "raise",
) -> ReadReport:
    """As `read`, with every problem of every row: what was skipped, and why."""
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error = {on_error!r}: one of 'raise' and 'skip' is needed.")
    path = Path(path)
    wanted = Wanted(sequence, label, id, None if genome is None else Path(genome))
    columns = parse(path, wanted)
    report = _judge(path, columns, labels)
    log = logging.getLogger("basewise")
    errors = [kind for kind in report.counts if kind not in _WARNINGS]
    if errors and on_error == "raise":
        unnamed = "unknown_label" in errors and isinstance(labels, Mapping)
        name = "name the classes of these values in labels, " if unnamed else ""
        raise DataError(
            f"{path}: {report.say(errors)}. Mend the file, {name}or skip these rows: "
            "on_error='skip'."
        )
    if errors:
        log.warning(
            "%s: skipped %d of %d rows: %s", path, report.skipped, report.rows, report.say()
        )
    elif report.problems:
        log.warning("%s: %s", path, report.say())
    if columns.labels is None and columns.unread:
        log.warning(
            "%s: no labels were read, for no column is named label or class; columns not used: "
            "%s. Name one by label (--label) if it holds them.",
            path,
            ", ".join(columns.unread),
        )
    if not report.records:
        raise DataError(f"{path} holds no sequence that can be read ({report.rows} rows).")
    return report


def _judge(path: Path, columns: Columns, labels: Labels) -> ReadReport:
    """Records of the rows that are right, problems of those that are not."""
    n = len(columns.lines)
    texts, broken = join_kmers(columns.sequences)
    ids = columns.ids or [f"{stem(path)}:{row}" for row in range(1, n + 1)]
    problems: list[Problem] = []
    bad = np.zeros(n, bool)

    def note(kind: str, rows: Sequence[int], values: Sequence[str]) -> None:
        bad[list(rows)] = True
        for i, value in zip(rows, values, strict=True):
            problems.append(Problem(kind, columns.lines[i], ids[i], value))

    rows = np.flatnonzero(broken).tolist()
    note("broken_kmers", rows, ["words do not overlap as the others do"] * len(rows))
    sequences, rows, values = _letters(texts)
    legible = [i for i, row in enumerate(rows) if not broken[row]]
    note("illegal_letter", [rows[i] for i in legible], [values[i] for i in legible])
    rows = [i for i, text in enumerate(texts) if not text]
    note("empty_sequence", rows, ["no bases"] * len(rows))
    rows = [i for i, name in enumerate(ids) if not name]
    note("missing_id", rows, ["no id"] * len(rows))
    if columns.labels is None and labels is not None and n:
        raise DataError(f"{path}: labels are given, but no label was found; say label='...'.")
    classes, kinds = _classes(columns.labels, labels, n)
    for kind, at in kinds.items():
        note(kind, list(at), list(at.values()))
    rows, values = _repeated(ids, columns, bad)
    note("duplicate_id", rows, values)

    good = np.flatnonzero(~bad).tolist()
    loci: Sequence[Interval | None] = columns.loci or [None] * n
    made = list(map(Record, ids, sequences, classes, loci))
    records = made if len(good) == n else [made[i] for i in good]
    problems += _contradictions(made, good, columns)
    return ReadReport(
        path=path,
        records=records,
        problems=tuple(sorted([*problems, *columns.problems], key=lambda p: p.line)),
        rows=n + len(columns.problems),
        unit=columns.unit,
    )


def _letters(texts: list[str]) -> tuple[list[str], list[int], list[str]]:
    """Upper-case sequences; the rows with an illegal letter, and which letter stands where."""
    joined = "".join(texts)
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    illegal = np.flatnonzero(encode(joined) == ILLEGAL)
    rows, first = np.unique(np.searchsorted(ends, illegal, side="right"), return_index=True)
    values = []
    for row, at in zip(rows.tolist(), illegal[first].tolist(), strict=True):
        base = at - int(ends[row]) + len(texts[row])
        advice = "write T" if joined[at] in "Uu" else "unknown bases are N"
        values.append(f"letter {joined[at]!r} at base {base} is none of {LETTERS} ({advice})")
    upper = joined.encode("latin-1", "replace").upper().decode("latin-1")
    if upper != joined:
        starts = [0, *ends[:-1].tolist()]
        texts = [upper[a:b] for a, b in zip(starts, ends.tolist(), strict=True)]
    return texts, rows.tolist(), values


def _classes(
    texts: list[str] | None, labels: Labels, n: int
) -> tuple[Sequence[str | float | None], dict[str, dict[int, str]]]:
    """The label of every row; by kind of problem, the rows that have none and why."""
    if texts is None:
        return [None] * n, {}
    missing = {i: "no label" for i, text in enumerate(texts) if not text}
    if labels is None:
        return texts, {"missing_label": missing}
    named = {text: _class(text, labels) for text in set(texts)}
    allowed = "a number" if labels == "values" else f"one of {', '.join(map(str, labels))}"
    unknown = {
        i: f"label {text!r} is not {allowed}"
        for i, text in enumerate(texts)
        if text and named[text] is None
    }
    return [named[text] for text in texts], {"missing_label": missing, "unknown_label": unknown}


def _class(text: str, labels: Mapping[str, str] | Literal["values"]) -> str | float | None:
    """The class name or the number that a text stands for, None if for none."""
    if labels != "values":
        return {str(value): name for value, name in labels.items()}.get(text)
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _repeated(ids: list[str], columns: Columns, bad: Bools) -> tuple[list[int], list[str]]:
    """Rows whose id an earlier good row has, and which."""
    if len(set(ids)) == len(ids):
        return [], []
    first: dict[str, int] = {}
    rows, values = [], []
    for i in np.flatnonzero(~bad).tolist():
        if (line := first.setdefault(ids[i], columns.lines[i])) != columns.lines[i]:
            rows.append(i)
            values.append(f"the id of {columns.unit} {line} too")
    return rows, values


def _contradictions(made: list[Record], good: list[int], columns: Columns) -> list[Problem]:
    """Rows whose sequence an earlier row has under another class name."""
    pairs = {(made[i].sequence, made[i].label) for i in good if isinstance(made[i].label, str)}
    if len(pairs) == len({sequence for sequence, _ in pairs}):
        return []
    first: dict[str, int] = {}
    found = []
    for i in good:
        at = first.setdefault(made[i].sequence, i)
        if made[i].label != made[at].label:
            said = f"label {made[i].label!r}, but {made[at].label!r} at {columns.unit} "
            value = f"{said}{columns.lines[at]} for the same sequence"
            found.append(Problem("contradictory_label", columns.lines[i], made[i].id, value))
    return found
