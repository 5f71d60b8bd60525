"""Files of results: written whole or not at all, and saying what they are."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from basewise.errors import StoreError
from basewise.types import Attribution, Interval, Record, Span, Target

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "attribution_bytes",
    "attribution_table",
    "check_writable",
    "clear_unfinished",
    "fingerprint",
    "flaw_of",
    "join_attributions",
    "mark_of",
    "read_attributions",
    "read_frame",
    "read_records",
    "whole",
    "write_attributions",
    "write_bytes",
    "write_frame",
    "write_records",
    "write_text",
]

UNFINISHED = ".part"  # how the names of files end that are being written
LOCK = "lock.json"  # of the folder of a run


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` when the block ends well.

    A run killed at any moment leaves the earlier file or the new one, never a piece.

    Raises
    ------
    OSError
        Of the system, with `path` as its file name, which is the one that was asked for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")
    try:
        aside.touch()  # where that may not be, each library would say so in its own words
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        if error.filename == str(aside):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        aside.unlink(missing_ok=True)


def clear_unfinished(folder: Path) -> None:
    """Delete what `whole` left anywhere below a folder because its process was killed.

    The folder has to be one that nobody else writes to.
    """
    for piece in folder.rglob(f".*{UNFINISHED}"):
        piece.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Refuse a place where a file cannot be written, before there is anything to write.

    Raises
    ------
    StoreError
        If it is a folder, or if the nearest folder above that exists takes no new file.
    """
    if path.is_dir():
        raise StoreError(f"{path} is a folder; give the name of a file to write.")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({above}: {error.strerror}); give another place."
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with whole(path) as aside:
        aside.write_bytes(data)


def fingerprint(*values: Any) -> str:
    """Twelve characters that change when any of the JSON-able values does."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# Columns whose values repeat are written once each. Scores do not repeat, but those of a network
# are of one size and come from fewer bits than they have: their bytes are sorted by place, which
# takes less time and two thirds of the room.
_REPEATED = ["model", "label", "read", "method", "kind", "settings", "extras"]
_REPEATED += ["start.list.element", "end.list.element"]
_SCORES = [f"{name}.list.element" for name in ("score", "standard_error", "hypothetical")]

_json = json.JSONEncoder(sort_keys=True).encode
_SEAL, _UNSEALED = "basewise.sha256", b"0" * 64

_ATTRIBUTION = pa.schema(
    [
        ("record_id", pa.string()),
        ("sequence", pa.string()),
        ("model", pa.string()),
        ("label", pa.string()),
        ("read", pa.string()),
        ("where", pa.list_(pa.int64())),
        ("method", pa.string()),
        ("kind", pa.string()),
        ("start", pa.list_(pa.int64())),
        ("end", pa.list_(pa.int64())),
        ("score", pa.list_(pa.float64())),
        ("standard_error", pa.list_(pa.float64())),
        ("hypothetical", pa.list_(pa.float64())),
        ("output", pa.float64()),
        ("baseline", pa.float64()),
        ("evaluations", pa.int64()),
        ("seed", pa.int64()),
        ("settings", pa.string()),
        ("extras", pa.string()),
    ],
    metadata={"basewise.schema": "attribution", "basewise.version": "1"},
)


def attribution_bytes(found: Sequence[Attribution]) -> bytes:
    """Attributions as the bytes of a Parquet file that is sealed; see `flaw_of`."""
    units = [len(a.spans) for a in found]
    spans = np.concatenate([np.empty((0, 2), np.int64), *(a.spans for a in found)])
    columns = {
        "record_id": [a.record_id for a in found],
        "sequence": [a.sequence for a in found],
        "model": [a.model for a in found],
        "label": [a.target.label for a in found],
        "read": [a.target.read for a in found],
        "where": [a.target.where for a in found],
        "method": [a.method for a in found],
        "kind": [a.kind for a in found],
        "start": _column(np.ascontiguousarray(spans[:, 0], np.int64), units),
        "end": _column(np.ascontiguousarray(spans[:, 1], np.int64), units),
        "score": _lists([a.scores for a in found]),
        "standard_error": _lists([a.standard_error for a in found]),
        "hypothetical": _lists([a.hypothetical for a in found]),
        "output": [a.output for a in found],
        "baseline": [a.baseline for a in found],
        "evaluations": [a.evaluations for a in found],
        "seed": [a.seed for a in found],
        "settings": [_json(dict(a.settings)) for a in found],
        "extras": [_json(dict(a.extras)) for a in found],
    }
    sink = io.BytesIO()
    with _writer(sink, _ATTRIBUTION) as writer:
        writer.write_table(pa.table(columns, schema=_ATTRIBUTION))
        writer.add_key_value_metadata({_SEAL: _UNSEALED.decode()})
    data = sink.getvalue()
    return data.replace(_UNSEALED, hashlib.sha256(data).hexdigest().encode(), 1)


def _writer(place: Any, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        place,
        schema,
        use_dictionary=_REPEATED,
        use_byte_stream_split=_SCORES,
        compression="zstd",
        compression_level=1,
        write_statistics=["record_id"],
    )


def _lists(arrays: Sequence[NDArray[Any] | None]) -> pa.Array:
    """A column of lists, one per array and without a value where there is none."""
    there = [array.reshape(-1) for array in arrays if array is not None]
    values = np.concatenate([np.empty(0), *there]).astype(np.float64, copy=False)
    absent = [array is None for array in arrays]
    return _column(values, [0 if array is None else array.size for array in arrays], absent)


def _column(values: NDArray[Any], sizes: Sequence[int], absent: Sequence[bool] = ()) -> pa.Array:
    """Values as a column of lists of these sizes."""
    offsets = np.cumsum([0, *sizes], dtype=np.int32)
    mask = pa.array(absent, pa.bool_()) if any(absent) else None
    return pa.ListArray.from_arrays(offsets, pa.array(values), mask=mask)


def write_attributions(path: Path, found: Sequence[Attribution]) -> None:
    """Write attributions as one sealed Parquet file, whole or not at all."""
    write_bytes(path, attribution_bytes(found))


def flaw_of(path: Path) -> str | None:
    """What is wrong with a sealed Parquet file; None if it is, to the last bit, as it was made.

    The seal is a key of the footer: the SHA-256 of all bytes of the file, those of the hash
    itself as zeros.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    data = path.read_bytes()
    if len(data) < 12 or data[:4] != b"PAR1" or data[-4:] != b"PAR1":
        return "cut off" if data else "empty"
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    found = re.search(_SEAL.encode() + rb".{1,8}?([0-9a-f]{64})", data[max(footer, 0) :], re.DOTALL)
    if found is None:
        return "without a checksum"
    sealed = found[1]
    if hashlib.sha256(data.replace(sealed, _UNSEALED, 1)).hexdigest().encode() != sealed:
        return "not what its checksum says"
    return None


def read_attributions(path: Path) -> list[Attribution]:
    """The attributions of one file, equal to what was written.

    Raises
    ------
    StoreError
        If the file is missing, broken, or of another schema or version.
    """
    table = _read(path, "attribution", "1").combine_chunks()
    names = ("record_id", "sequence", "model", "label", "read", "method", "kind")
    numbers = ("output", "baseline", "evaluations", "seed")
    plain = {name: table[name].to_pylist() for name in (*names, *numbers, "settings", "extras")}
    # Files of before targets had regions lack the column.
    where = table["where"].to_pylist() if "where" in table.column_names else [None] * len(table)
    starts, ends, scores, errors, tracks = (
        _arrays(table[name]) for name in ("start", "end", "score", "standard_error", "hypothetical")
    )
    settings = {text: json.loads(text) for text in set(plain["settings"])}
    return [
        Attribution(
            **{name: plain[name][i] for name in ("record_id", "sequence", "model")},
            target=Target(plain["label"][i], plain["read"][i], tuple(where[i] or ()) or None),
            method=plain["method"][i],
            kind=plain["kind"][i],
            spans=np.column_stack([starts[i], ends[i]]),
            scores=scores[i],
            **{name: plain[name][i] for name in numbers},
            settings=settings[plain["settings"][i]],
            standard_error=errors[i],
            hypothetical=None if tracks[i] is None else tracks[i].reshape(-1, 4),
            extras=json.loads(plain["extras"][i]),
        )
        for i in range(len(table))
    ]


def _arrays(column: pa.ChunkedArray) -> list[Any]:
    """An array for each list of a column; None where there is none."""
    found = []
    for chunk in column.chunks:
        values = np.array(chunk.values.to_numpy(zero_copy_only=False))  # ours, to be written to
        ends, there = chunk.offsets.to_numpy(), chunk.is_valid().to_pylist()
        found += [
            values[a:b] if valid else None
            for a, b, valid in zip(ends[:-1].tolist(), ends[1:].tolist(), there, strict=True)
        ]
    return found


def attribution_table(parts: Iterable[Path]) -> pa.Table:
    """The rows of files of attributions as one table; without rows where there is no file."""
    found = [_read(part, "attribution", "1") for part in parts]
    return pa.concat_tables([_ATTRIBUTION.empty_table(), *found], promote_options="default")


def join_attributions(path: Path, parts: Iterable[Path], mark: str) -> None:
    """Make one file of part files, in their order, whole or not at all; one part at a time.

    Parameters
    ----------
    mark : str
        A fingerprint of what the results depend on, kept in the file; see `mark_of`.
    """
    schema = _ATTRIBUTION.with_metadata(_ATTRIBUTION.metadata | {b"basewise.mark": mark.encode()})
    with whole(path) as aside, _writer(aside, schema) as writer:
        for part in parts:
            writer.write_table(_read(part, "attribution", "1").replace_schema_metadata(None))


def mark_of(path: Path) -> str | None:
    """The mark of a file that `join_attributions` wrote; None if there is none."""
    if not path.is_file():
        return None
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError):
        return None
    mark: bytes | None = metadata.get(b"basewise.mark")
    return None if mark is None else mark.decode()


_RECORD = pa.schema(
    [
        ("id", pa.string()),
        ("sequence", pa.string()),
        ("label", pa.string()),
        ("value", pa.float64()),
        ("chrom", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("strand", pa.string()),
        (
            "truth",
            pa.list_(
                pa.struct([("start", pa.int64()), ("end", pa.int64()), ("name", pa.string())])
            ),
        ),
    ],
    metadata={"basewise.schema": "record", "basewise.version": "1"},
)


def write_records(path: Path, records: Sequence[Record]) -> None:
    """Write records as one Parquet file, whole or not at all."""
    loci = [record.locus or (None, None, None, None) for record in records]
    columns = {
        "id": [record.id for record in records],
        "sequence": [record.sequence for record in records],
        "label": [r.label if isinstance(r.label, str) else None for r in records],
        "value": [None if isinstance(r.label, str) else r.label for r in records],
        "chrom": [locus[0] for locus in loci],
        "start": [locus[1] for locus in loci],
        "end": [locus[2] for locus in loci],
        "strand": [locus[3] for locus in loci],
        "truth": [[span._asdict() for span in record.truth] for record in records],
    }
    with whole(path) as aside:
        pq.write_table(pa.table(columns, schema=_RECORD), aside)


def read_records(path: Path) -> list[Record]:
    """The records of one file, equal to what was written."""
    columns = _read(path, "record", "1").to_pydict()
    return [
        Record(
            id=id_,
            sequence=sequence,
            label=value if label is None else label,
            locus=None if chrom is None else Interval(chrom, start, end, strand),
            truth=tuple(Span(**span) for span in truth),
        )
        for id_, sequence, label, value, chrom, start, end, strand, truth in zip(
            *(columns[name] for name in _RECORD.names), strict=True
        )
    ]


def write_frame(path: Path, frame: pd.DataFrame, schema: str, version: str = "1") -> None:
    """Write a table that says its schema and version, whole or not at all."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    known = dict(table.schema.metadata or {})
    known |= {b"basewise.schema": schema.encode(), b"basewise.version": version.encode()}
    with whole(path) as aside:
        pq.write_table(table.replace_schema_metadata(known), aside)


def read_frame(path: Path, schema: str, version: str = "1") -> pd.DataFrame:
    """The table in `path`, refused unless it says this schema and version."""
    frame: pd.DataFrame = _read(path, schema, version).to_pandas()
    return frame


def _of_a_run(path: Path) -> bool:
    """Whether a file can only be one that a run wrote: nobody loses anything with it."""
    above = path.absolute().parent.parents
    return path.suffix == ".parquet" and any((folder / LOCK).exists() for folder in above)


def _read(path: Path, schema: str, version: str) -> pa.Table:
    read: Callable[..., pa.Table] = pq.read_table
    try:
        table = read(path, partitioning=None)
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist; run the step that writes it.") from None
    except (pa.ArrowInvalid, OSError) as error:
        why = str(error).splitlines()[0].rstrip(".")
        if _of_a_run(path):
            remedy = "delete it and run again"
        else:
            by = "`basewise explain` or a run" if schema == "attribution" else "basewise"
            remedy = f"give one that {by} wrote"
        if path.is_file() and not path.read_bytes().startswith(b"PAR1"):
            what = {"attribution": "attributions", "record": "records"}.get(schema, schema)
            raise StoreError(f"{path} is no Parquet file of {what}; {remedy}.") from None
        raise StoreError(f"{path} is not a whole Parquet file ({why}); {remedy}.") from None
    metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    said = (metadata.get("basewise.schema"), metadata.get("basewise.version"))
    if said != (schema, version):
        raise StoreError(
            f"{path} holds {said[0] or 'a foreign table'} version {said[1] or '-'}; "
            f"this basewise reads {schema} version {version}."
        )
    return table
