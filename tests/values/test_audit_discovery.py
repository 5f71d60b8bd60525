"""Faults put into data are found and named; clean data raise no alarm."""

from __future__ import annotations

import numpy as np
import pytest

from audit_sets import bases, chimeras, clean, natural, records, rng
from basewise.checks import audit
from basewise.checks.shared_blocks import SharedBlocks
from basewise.types import Codes, Record


def blocks(parents: Codes, children: Codes, **settings):
    splits = {"train": records(parents, "real", "p") + records(children, "fake", "c")}
    return SharedBlocks(**settings).check(splits)


@pytest.mark.parametrize(
    ("length", "block", "kept", "phase", "always"),
    [
        (300, 15, 8, 0, 19),  # as published
        (240, 20, 5, 0, None),
        (200, 30, 3, 20, 0),  # cuts that do not start at the first base
        (120, 10, 7, 0, None),  # blocks shorter than a word
    ],
)
def test_chimeras_are_found_with_their_make(
    length: int, block: int, kept: int, phase: int, always: int | None
) -> None:
    draw = rng(length)
    parents = natural(draw, 90, length)
    children = chimeras(draw, parents, block, kept, phase=phase, always=always)
    others = natural(draw, 60, length)
    strays = chimeras(draw, natural(draw, 50, length), block, kept, phase=phase, always=always)
    (found,) = blocks(np.concatenate([parents, others]), np.concatenate([children, strays]))
    made = found.evidence
    assert found.severity == "error"
    assert found.n == 90
    assert found.effect["share of fake with its parent here"].value == 90 / 140
    assert (made["derived class"], made["derived class is certain"]) == ("fake", True)
    assert made["bases between cuts"] == block
    first = phase or block
    # A cut beside a block that is always kept shows no switch on that side, but on the other.
    assert made["cuts"] == list(range(first, length - block + 1, block))
    usual = max(made["kept blocks: sequences"], key=made["kept blocks: sequences"].get)
    assert int(usual) == kept
    assert max(abs(share - 0.25) for share in made["replaced bases"].values()) < 0.02
    if always is not None:
        ends = [0, *made["cuts"], length]
        assert made["always kept"] == [f"[{ends[always]}:{ends[always + 1]}]"]
    assert f"cut every {block} bases" in found.sentence
    assert "uniform random bases" in found.sentence
    assert "chance would give none" in found.sentence


def test_parents_in_another_split_are_counted() -> None:
    draw = rng(1)
    parents = natural(draw, 50, 150)
    children = chimeras(draw, parents, 15, 4)
    splits = {
        "train": records(parents[:30], "real", "p") + records(children[:20], "fake", "c"),
        "test": records(parents[30:], "real", "p") + records(children[20:], "fake", "c"),
    }
    (found,) = SharedBlocks().check(splits)
    assert found.evidence["split from split: sequences"] == {
        "train from train": 20,
        "test from train": 10,
        "test from test": 20,
    }
    assert "Parents in another split: 10 of test have it in train." in found.sentence


def test_a_middle_that_is_always_replaced_is_named() -> None:
    draw = rng(2)
    parents = natural(draw, 80, 100)
    children = parents.copy()
    children[:, 40:60] = bases(draw, 80, 20)
    (found,) = blocks(parents, children)
    assert found.evidence["cuts"] == [40, 60]
    assert found.evidence["never kept"] == ["[40:60]"]
    assert found.evidence["always kept"] == ["[0:40]", "[60:100]"]
    assert found.evidence["derived class"] == "fake"


def test_bases_put_back_from_the_own_class_tell_no_direction() -> None:
    """Blocks exchanged for natural ones of the same GC content: which was first is unknown."""
    draw = rng(3)
    parents = bases(draw, 80, 120)
    (found,) = blocks(parents, chimeras(draw, parents, 20, 3))
    assert not found.evidence["derived class is certain"]
    assert "Which of the two was made from the other cannot be told." in found.sentence


def test_relatives_without_regular_cuts_are_not_chimeras() -> None:
    draw = rng(4)
    parents = natural(draw, 80, 200)
    mutated = np.where(draw.random(parents.shape) < 0.04, bases(draw, 80, 200), parents)
    shifted = parents.copy()
    for row, at in zip(shifted, draw.integers(20, 150, 80), strict=True):
        row[at:] = draw.integers(0, 4, 200 - at)  # alike up to some place
    for children in (mutated, shifted):
        (found,) = blocks(parents, children)
        assert found.severity == "info"
        assert found.n == 0


def test_a_few_families_are_a_few_witnesses() -> None:
    draw = rng(5)
    ancestors = natural(draw, 3, 200)
    real, fake = (np.repeat(ancestors, 24, 0) for _ in range(2))
    fake[:, 60:90] = bases(draw, 72, 30)
    (found,) = blocks(real, fake)
    assert (found.severity, found.n) == ("info", 0)


def test_flanks_that_all_have_are_not_blocks() -> None:
    draw = rng(6)
    both = [natural(draw, 24, 90) for _ in range(2)]
    flank = natural(draw, 2, 90)
    for codes in both:
        codes[:, :25] = flank[0, :25]
        codes[:, -30:] = flank[1, -30:]
    (found,) = blocks(*both)
    assert (found.severity, found.n) == ("info", 0)


def test_mutated_relatives_beside_chimeras_are_not_counted_with_them() -> None:
    draw = rng(7)
    parents, others = natural(draw, 60, 200), natural(draw, 30, 200)
    relatives = others.copy()
    at = draw.integers(0, 200, 30)
    relatives[np.arange(30), at] = 3 - relatives[np.arange(30), at]
    children = np.concatenate([chimeras(draw, parents, 20, 4), relatives])
    (found,) = blocks(np.concatenate([parents, others]), children)
    assert found.n == 60
    assert found.effect["share of fake with its parent here"].value == 60 / 90


@pytest.mark.parametrize(("n", "length", "seed"), [(400, 80, 0), (150, 300, 1), (900, 41, 2)])
def test_clean_data_raise_no_alarm(n: int, length: int, seed: int) -> None:
    found = audit(**clean(seed, n, length), checks=_quick())
    assert [str(f) for f in found.findings if f.severity != "info"] == []
    assert {f.check for f in found.findings} == {
        "duplicates",
        "near_duplicates",
        "shared_blocks",
        "shortcuts",
    }


def test_clean_small_sets_raise_no_alarm() -> None:
    alarms = []
    for seed in range(12):
        draw = rng(100 + seed)
        n, length = int(draw.integers(20, 120)), int(draw.integers(8, 200))
        found = audit(**clean(seed, n, length, motif="TATAAA"), checks=_quick())
        alarms += [str(f) for f in found.findings if f.severity != "info"]
    assert alarms == []


def test_every_fault_put_into_clean_data_is_found() -> None:
    splits = clean(7, 200, 120)
    draw = rng(8)
    test = list(splits["test"])
    test[0] = Record("copy", splits["train"][0].sequence, "unbound")
    middle = splits["train"][1].sequence[:90]
    test[1] = Record(
        "window", middle + "".join("ACGT"[i] for i in draw.integers(0, 4, 30)), "bound"
    )
    splits["train"].append(Record("twice", splits["train"][2].sequence, "unbound"))
    found = {f.title: f for f in audit(**(splits | {"test": test}), checks=_quick()).findings}
    alarms = {title: f.n for title, f in found.items() if f.severity != "info"}
    assert alarms == {
        "Contradictory labels in train": 1,
        "Sequences of test that are in train": 1,
        "Near duplicates of train in test": 1,
    }
    assert found["Sequences of test that are in train"].evidence["with another label"] == 1


def _quick():
    plain = ["duplicates", "near_duplicates", "shared_blocks"]
    return [*plain, {"type": "shortcuts", "resamples": 100, "kmer": 4}]
