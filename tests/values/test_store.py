"""Files are written whole or not at all, say what they are, and read back equal."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from basewise.errors import StoreError
from basewise.store import (
    fingerprint,
    flaw_of,
    join_attributions,
    read_attributions,
    read_frame,
    read_records,
    whole,
    write_attributions,
    write_frame,
    write_records,
    write_text,
)
from basewise.types import Attribution, Interval, Record, Span, Target

ARCHIVE = Path(__file__).parents[1] / "archive"


def attributions():
    rng = np.random.default_rng(4)
    common = {"model": "m", "target": Target("promoter"), "evaluations": 9, "seed": 7}
    first = Attribution(
        record_id="one",
        sequence="GACATTA",
        method="kernel_shap",
        kind="additive",
        spans=np.array([[0, 2], [2, 7]]),
        scores=rng.normal(size=2),
        output=1.5,
        baseline=-0.25,
        settings={"units": {"type": "windows", "size": 5}},
        standard_error=np.array([0.1, 0.2]),
        extras={"r2": 0.5},
        **common,
    )
    second = Attribution(
        record_id="<two>",
        sequence="ACG",
        method="integrated_gradients",
        kind="additive",
        spans=np.array([[0, 1], [1, 2], [2, 3]]),
        scores=rng.normal(size=3),
        output=0.0,
        baseline=0.0,
        hypothetical=rng.normal(size=(3, 4)),
        **common,
    )
    return [first, second]


def records():
    return [
        Record("a", "ACGTN", "promoter", Interval("chr1", 5, 10, "-"), (Span(1, 3, "TATA"),)),
        Record("b", "AC", 0.25),
        Record("c", "GATTACA"),
    ]


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        for name in a.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_attributions_are_read_back_equal(tmp_path):
    write_attributions(tmp_path / "a.parquet", attributions())
    assert_equal(read_attributions(tmp_path / "a.parquet"), attributions())


def test_files_joined_of_many_parts_are_read_back_equal_and_can_be_written_to(tmp_path):
    """More rows than a batch of Arrow's, in several row groups, with and without each column."""
    many = [replace(a, record_id=f"{i} {a.record_id}") for i in range(700) for a in attributions()]
    for i in range(3):
        write_attributions(tmp_path / f"{i}.parquet", many[i::3])
    join_attributions(tmp_path / "all", [tmp_path / f"{i}.parquet" for i in range(3)], "mark")
    found = read_attributions(tmp_path / "all")
    assert_equal(found, many[0::3] + many[1::3] + many[2::3])
    found[0].scores[0] = 7.0  # an array of its own
    assert found[1].scores[0] != 7.0
    write_attributions(tmp_path / "none", [])
    assert read_attributions(tmp_path / "none") == []


def test_records_are_read_back_equal(tmp_path):
    write_records(tmp_path / "r.parquet", records())
    assert read_records(tmp_path / "r.parquet") == records()


def test_files_of_every_released_schema_are_still_read():
    assert_equal(read_attributions(ARCHIVE / "attribution-1.parquet"), attributions())
    assert read_records(ARCHIVE / "record-1.parquet") == records()


def test_a_frame_says_its_schema_and_is_refused_as_another(tmp_path):
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]})
    write_frame(tmp_path / "f.parquet", frame, "thing")
    pd.testing.assert_frame_equal(read_frame(tmp_path / "f.parquet", "thing"), frame)
    with pytest.raises(StoreError, match="holds thing version 1; this basewise reads other"):
        read_frame(tmp_path / "f.parquet", "other")


def test_foreign_broken_and_missing_files_are_refused(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "foreign.parquet")
    with pytest.raises(StoreError, match="a foreign table"):
        read_attributions(tmp_path / "foreign.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(StoreError, match=r"not a whole Parquet file .*; give one that `basewise"):
        read_attributions(tmp_path / "broken.parquet")
    with pytest.raises(StoreError, match="does not exist"):
        read_attributions(tmp_path / "missing.parquet")


def test_only_what_a_run_wrote_is_to_be_deleted(tmp_path):
    own = tmp_path / "run" / "data" / "many.csv"
    own.parent.mkdir(parents=True)
    own.write_text("id,sequence\na,ACGT\n")
    (tmp_path / "run" / "lock.json").write_text("{}")
    with pytest.raises(StoreError, match=r"many\.csv is no Parquet file of attributions; give one"):
        read_attributions(own)
    part = own.with_name("part-00000.parquet")
    for content, flaw in (
        (b"", "no Parquet file of records"),
        (b"PAR1 not", "not a whole Parquet"),
    ):
        part.write_bytes(content)
        with pytest.raises(StoreError, match=rf"{flaw} ?.*; delete it and run again\.$"):
            read_records(part)
        (tmp_path / "mine.parquet").write_bytes(content)
        with pytest.raises(StoreError, match=rf"{flaw} ?.*; give one that basewise wrote\.$"):
            read_records(tmp_path / "mine.parquet")


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def fail():
        with whole(path) as aside:
            aside.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_the_one_that_was_asked_for(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path / "folder", "text")
    assert caught.value.filename == str(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_fingerprints_change_with_values_and_not_with_order():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert len(fingerprint("x")) == 12


def test_per_base_shares_a_unit_between_its_bases_and_keeps_the_sum():
    first, second = attributions()
    np.testing.assert_allclose(first.per_base()[:2], first.scores[0] / 2)
    np.testing.assert_allclose(first.per_base()[2:], first.scores[1] / 5)
    assert first.per_base().sum() == pytest.approx(first.scores.sum())
    np.testing.assert_array_equal(second.per_base(), second.scores)


def test_every_bit_of_a_sealed_file_counts(tmp_path):
    path = tmp_path / "part.parquet"
    spans = np.array([[i, i + 1] for i in range(20)])
    write_attributions(
        path,
        [
            Attribution(
                record_id="r", sequence="ACGT" * 5, model="m", target=Target("yes"), method="o",
                kind="additive", spans=spans, scores=np.linspace(0, 1, 20), output=1.0,
                baseline=0.0, evaluations=3, seed=0, settings={}, extras={},
            )
        ],
    )  # fmt: skip
    assert flaw_of(path) is None
    data = path.read_bytes()
    undetected = []
    for i in range(len(data)):
        flipped = bytearray(data)
        flipped[i] ^= 1 << i % 8
        path.write_bytes(flipped)
        undetected += [i] if flaw_of(path) is None else []
    assert undetected == []
    for n in (0, 3, 11, 100, len(data) - 1):
        path.write_bytes(data[:n])
        assert flaw_of(path) == ("cut off" if n else "empty")
    pd.DataFrame({"a": [1]}).to_parquet(path)
    assert flaw_of(path) == "without a checksum"
