"""Saturation mutagenesis: what every substitution of a regulatory element does, measured.

The tables are those of Kircher et al. 2019 (Nat Commun 10:3583), one row per variant: `Chrom Pos
Ref Alt Barcodes DNA RNA Coefficient pValue Element Release`, positions counted from 1 along the
plus strand, `Alt` `-` for the deletion of the base. The coefficient is the change of the log2
expression of the reporter, positive where the variant raises it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from basewise.data.files import decode_text, read_bytes
from basewise.errors import DataError
from basewise.sequence.alphabet import LETTERS, N, decode, encode
from basewise.types import Codes, Floats, Interval, Ints, Record

__all__ = ["Saturation", "read_saturation"]

_COLUMNS = (
    "Chrom", "Pos", "Ref", "Alt", "Barcodes", "Coefficient", "pValue", "Element", "Release",
)  # fmt: skip
_WILDTYPE = ("element", "start1", "wt_plus_strand")


@dataclass(frozen=True, eq=False)
class Saturation:
    """Measured effects of the substitutions of one element.

    Attributes
    ----------
    record : Record
        The wild type along the plus strand, its id the name of the element; N where no variant
        of a position was measured and its base is not known.
    effects, p : (b, 4) float
        Of the substitution by A, C, G, T at each position, and its p value; NaN for the base
        that is there and where nothing was measured.
    deletions, deletion_p : (b,) float
        The same of the deletion of each base.
    barcodes : (b, 4) int
        Behind each substitution; 0 where nothing was measured.
    skipped : mapping of str to int
        Rows left out: `no_position` (in the whole file, since such rows say no place), and
        `few_barcodes`.
    """

    record: Record
    effects: Floats
    p: Floats
    deletions: Floats
    deletion_p: Floats
    barcodes: Ints
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.record)


def read_saturation(
    path: str | Path,
    wildtypes: str | Path | None = None,
    *,
    release: str = "GRCh38",
    barcodes: int = 10,
) -> dict[str, Saturation]:
    """The elements of a table of measured variants, by name.

    Parameters
    ----------
    path : path
        Tab-separated, gzipped or not, with the columns named above.
    wildtypes : path, optional
        Tab-separated `element`, `start1`, `wt_plus_strand`: held against the wild type that
        `Ref` spells, and fills in its unknown bases.
    release : str
        Of the genome whose positions are read.
    barcodes : int
        Variants behind which there are fewer are left out, and counted.

    Raises
    ------
    DataError
        For missing columns, a release or letter that is not there, a number that is none, two
        rows for one variant, or wild types that disagree; naming file, line and value.
    """
    path = Path(path)
    frame = _table(path, _COLUMNS)
    known = sorted(set(frame["Release"]))
    frame = frame[frame["Release"] == release]
    if frame.empty:
        raise DataError(f"{path} has no rows of release {release!r}; it has {', '.join(known)}.")
    nowhere = frame["Pos"].isin(["NA", ""])
    frame = frame[~nowhere]
    numbers = {name: _numbers(path, frame, name) for name in ("Pos", "Barcodes")}
    numbers |= {name: _numbers(path, frame, name) for name in ("Coefficient", "pValue")}
    frame = frame.assign(**numbers)
    for column, allowed in (("Ref", LETTERS[:4]), ("Alt", f"{LETTERS[:4]}-")):
        bad = ~frame[column].isin(list(allowed))
        if bad.any():
            at = frame.index[bad][0]
            raise DataError(
                f"{path}, line {at + 2}: {column} is {frame[column][at]!r}; one of "
                f"{', '.join(allowed)} is allowed."
            )
    twice = frame.duplicated(["Element", "Pos", "Alt"])
    if twice.any():
        at = frame.index[twice][0]
        raise DataError(
            f"{path}, line {at + 2}: a second row for {frame['Element'][at]} "
            f"{int(frame['Pos'][at])} {frame['Ref'][at]}>{frame['Alt'][at]}; one per variant is "
            "needed."
        )
    said = {} if wildtypes is None else _wildtypes(Path(wildtypes))
    about = {"no_position": int(nowhere.sum())}
    return {
        str(name): _element(path, str(name), rows, barcodes, about, said)
        for name, rows in frame.groupby("Element", sort=False)
    }


def _element(
    path: Path,
    name: str,
    rows: pd.DataFrame,
    barcodes: int,
    about: Mapping[str, int],
    said: Mapping[str, tuple[int, str]],
) -> Saturation:
    first, last = int(rows["Pos"].min()), int(rows["Pos"].max())
    if name in said:
        first = min(first, said[name][0])
        last = max(last, said[name][0] + len(said[name][1]) - 1)
    at = rows["Pos"].to_numpy(np.int64) - first
    ref = encode("".join(rows["Ref"]))
    codes = np.full(last - first + 1, N, np.uint8)
    codes[at] = ref
    if (codes[at] != ref).any():
        odd = int(np.argmax(codes[at] != ref))
        raise DataError(
            f"{path}, line {rows.index[odd] + 2}: Ref of {name} at {first + at[odd]} is "
            f"{rows['Ref'].iloc[odd]!r} here and {decode(codes[at[odd]][None])!r} in another row."
        )
    if name in said:
        _fill(codes, name, first, *said[name])
    enough = rows["Barcodes"].to_numpy() >= barcodes
    gone = rows["Alt"].to_numpy(str) == "-"
    shape = (len(codes), 4)
    effects, p = np.full(shape, np.nan), np.full(shape, np.nan)
    deletions, deletion_p = np.full(len(codes), np.nan), np.full(len(codes), np.nan)
    behind = np.zeros(shape, np.int64)
    changed, lost = enough & ~gone, enough & gone
    to = encode("".join(rows["Alt"][changed]))
    coefficient, p_value = (rows[c].to_numpy(float) for c in ("Coefficient", "pValue"))
    effects[at[changed], to] = coefficient[changed]
    p[at[changed], to] = p_value[changed]
    behind[at[changed], to] = rows["Barcodes"].to_numpy(np.int64)[changed]
    deletions[at[lost]], deletion_p[at[lost]] = coefficient[lost], p_value[lost]
    place = Interval(str(rows["Chrom"].iloc[0]), first - 1, last)
    return Saturation(
        record=Record(name, decode(codes), locus=place),
        effects=effects,
        p=p,
        deletions=deletions,
        deletion_p=deletion_p,
        barcodes=behind,
        skipped={**about, "few_barcodes": int((~enough).sum())},
    )


def _fill(codes: Codes, name: str, first: int, start: int, sequence: str) -> None:
    """Write a wild type over the bases that `Ref` spells, where they agree."""
    given = encode(sequence)
    here = codes[start - first : start - first + len(given)]
    wrong = (here < N) & (given < N) & (here != given)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(
            f"The wild type of {name} has {decode(given[at][None])!r} at {start + at}, where Ref "
            f"says {decode(here[at][None])!r}; are both of one release?"
        )
    here[here == N] = given[here == N]


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """The columns of a tab-separated file, as text."""
    text = decode_text(path, read_bytes(path))
    frame = pd.read_csv(io.StringIO(text), sep="\t", dtype=str, keep_default_na=False)
    if missing := [column for column in columns if column not in frame]:
        raise DataError(
            f"{path} lacks the column {missing[0]!r}; it needs {', '.join(columns)}, separated by "
            "tabs."
        )
    return frame


def _numbers(path: Path, frame: pd.DataFrame, name: str) -> pd.Series[float]:
    found = pd.to_numeric(frame[name], errors="coerce")
    bad = ~np.isfinite(found.to_numpy(float))
    if bad.any():
        at = frame.index[bad][0]
        raise DataError(
            f"{path}, line {at + 2}: {name} is {frame[name][at]!r}, which is no number."
        )
    return found


def _wildtypes(path: Path) -> dict[str, tuple[int, str]]:
    frame = _table(path, _WILDTYPE)
    starts = _numbers(path, frame, "start1").astype(int)
    sequences = frame["wt_plus_strand"].str.upper()
    for at, sequence in sequences.items():
        if odd := set(sequence) - set(LETTERS):
            raise DataError(
                f"{path}, line {int(str(at)) + 2}: the wild type holds {min(odd)!r}; the letters "
                f"{LETTERS} are allowed."
            )
    return dict(zip(frame["element"], zip(starts.tolist(), sequences, strict=True), strict=True))
