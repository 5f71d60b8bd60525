"""The audit finds on its own what the README of the real files says about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from basewise.checks import Audit, Finding, audit, metrics_possible
from basewise.data import read
from basewise.types import Record

DATA = Path(__file__).parents[3] / "shared" / "data"
GUE = DATA / "gue"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the shared data is not here")


def promoters(path: str) -> list[Record]:
    return read(GUE / "prom" / path, labels={"0": "non-promoter", "1": "promoter"})


def only(found: Audit, title: str) -> Finding:
    (finding,) = [f for f in found.findings if f.title == title]
    return finding


@pytest.fixture(scope="module")
def long() -> Audit:
    dev, test = (promoters(f"prom_300_all/{split}.csv") for split in ("dev", "test"))
    return audit(dev=dev, test=test)


@pytest.fixture(scope="module")
def core() -> dict[str, list[Record]]:
    return {split: promoters(f"prom_core_all/{split}.csv") for split in ("train", "dev", "test")}


def test_negatives_of_300_are_chimeras_of_positives(long: Audit) -> None:
    found = only(long, "non-promoter sequences are made from promoter sequences")
    made = found.evidence
    assert found.severity == "error"
    assert found.n == 1072
    assert found.effect["share of non-promoter with its parent here"].n == 5914
    assert (made["bases between cuts"], made["blocks"]) == (15, 20)
    assert made["cuts"] == list(range(15, 300, 15))
    assert made["kept blocks: sequences"]["8"] == 1069
    assert made["always kept"] == ["[285:300]"]
    assert made["split from split: sequences"]["test from dev"] == 279
    assert made["derived class"] == "non-promoter"
    assert made["derived class is certain"]
    assert all(abs(share - 0.25) < 0.005 for share in made["replaced bases"].values())
    assert made["bases of the parents in their place"]["G"] > 0.3
    assert made["pairs expected by chance"] < 1e-20
    assert made["pairs within a class"] < 10
    assert found.effect["agreement of replaced bases"].value == pytest.approx(0.25, abs=0.005)
    for said in (
        "1,072 of 5,914 non-promoter sequences (18.1 %",
        "cut every 15 bases into 20 blocks, 8 of them kept in place",
        "[285:300] always",
        "chance would give none",
        "uniform random bases",
        "279 of test have it in dev",
    ):
        assert said in found.sentence


def test_composition_of_300_is_a_shortcut(long: Audit) -> None:
    kmers = only(long, "Shortcut: 6-mer composition")
    assert kmers.effect["MCC"].value == pytest.approx(0.7238, abs=0.001)
    assert kmers.severity == "warning"
    gc = only(long, "Shortcut: GC content")
    assert gc.severity == "warning"
    assert gc.evidence["means"]["promoter"] > gc.evidence["means"]["non-promoter"]
    assert only(long, "Shortcut: length").sentence.startswith("The length is 300 in every sequence")


def test_core_repeats_contradicts_and_shares(core: dict[str, list[Record]]) -> None:
    found = audit(**core, checks=["duplicates"])
    assert only(found, "Repeated sequences in train").n == 148
    assert only(found, "Contradictory labels in train").n == 40
    assert only(found, "Contradictory labels in train").severity == "warning"
    shared = only(found, "Sequences of test that are in train")
    assert (shared.n, shared.severity) == (42, "warning")


def test_core_negatives_are_cut_at_the_same_places(core: dict[str, list[Record]]) -> None:
    """[216:286] of a 300-bp sequence: cuts at 225, 240, ... are cuts at 9, 24, ... here."""
    found = audit(test=core["test"], dev=core["dev"], checks=["shared_blocks"]).findings[0]
    assert found.severity == "error"
    assert found.evidence["bases between cuts"] == 15
    assert found.evidence["cuts"] == [9, 24, 39, 54]
    assert found.evidence["derived class"] == "non-promoter"


def test_core_train_leaks_into_the_300_test_set(core: dict[str, list[Record]]) -> None:
    test = promoters("prom_300_all/test.csv")
    found = only(
        audit(core_train=core["train"], test=test, checks=["near_duplicates"]),
        "Near duplicates of core_train in test",
    )
    assert found.severity == "error"
    assert found.evidence["commonest place"] == "[216:286] of the test sequence"
    assert found.evidence["sequences at the commonest place"] == 4724
    assert found.evidence["rows at the commonest place"] == 4727
    assert found.effect["share of rows"].value > 0.8
    cores = {record.sequence for record in core["train"]}
    assert sum(record.sequence[216:286] in cores for record in test) == 4727


def test_other_tasks_are_not_accused_of_blocks() -> None:
    for folder in ("EMP/H3K4me3", "splice/reconstructed"):
        splits = {split: read(GUE / folder / f"{split}.csv.gz") for split in ("dev", "test")}
        (found,) = audit(**splits, checks=["shared_blocks"]).findings
        assert (found.severity, found.n) == ("info", 0)


def test_published_metrics_of_300() -> None:
    """Of 5,920 rows 5,491 right are .9275 and 5,492 right are .9277; none are .9276."""
    test = promoters("prom_300_all/test.csv")
    positives = sum(record.label == "promoter" for record in test)
    negatives = len(test) - positives
    model = metrics_possible(
        {"accuracy": ".9276", "mcc": ".8554"}, positives=positives, negatives=negatives
    )
    assert not model.possible
    assert model.nearest["tp"] + model.nearest["tn"] in (5491, 5492)
    kmers = metrics_possible(
        {"accuracy": ".8618", "mcc": ".7238"}, positives=positives, negatives=negatives
    )
    assert kmers.possible
    assert set(kmers.matrices.tp + kmers.matrices.tn) == {5102}
