"""Removing regions: what is edited, what the controls are, and what the numbers say."""

import numpy as np
import pytest
import torch

import basewise as bw
from basewise.biology.region_knockouts import KNOCK_OUTS, by_kind, knock_out_regions, without
from basewise.data.features import Feature
from basewise.errors import ConfigError, DataError
from basewise.models.base_cnn import BaseCnn, BaseCnnConfig
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.models.precision import Comparison
from basewise.tokenize.nucleotide import Nucleotide

WORD = "GATTACA"


def gene(name, *parts, kind="gene", chrom="c"):
    return Feature(name, kind, chrom, tuple(parts), "+", name)


@pytest.fixture
def record():
    rng = np.random.default_rng(0)
    letters = rng.choice(list("ACGT"), 1200)
    for at in (310, 330, 352, 371):
        letters[at : at + 7] = list(WORD)
    return bw.Record("c", "".join(letters))


GENES = {
    "needed": [gene("needed", (300, 400))],
    "idle": [gene("idle", (700, 790))],
    "both": [gene("a", (20, 60)), gene("b", (55, 95)), gene("d", (900, 930), (950, 980))],
}


def counting(seen=None):
    """A model of a known answer: how often the word occurs."""

    def count(sequences):
        if seen is not None:
            seen.extend(sequences)
        return [float(s.count(WORD)) for s in sequences]

    return bw.Model.from_callable(count, ["words"])


def test_the_gene_that_the_model_reads_is_first(record):
    table = knock_out_regions(counting(), [record], GENES, target="words", controls=39)
    assert list(table.columns) == list(KNOCK_OUTS)
    first = table.iloc[0]
    assert (first.group, first.intact) == ("needed", record.sequence.count(WORD))
    assert first.change <= -3
    assert first.controls in (38, 39)  # places that were drawn twice count once
    assert first.p == pytest.approx(2 / (1 + first.controls))
    assert first.low <= first.difference <= first.high < 0
    assert (table.evaluations == 1 + table.controls).all()
    others = table[table.group != "needed"]
    assert (others.difference.abs() < 1).all()
    assert (others.p > 0.5).all()
    assert (table.set_index("group").loc["both", ["regions", "bases"]] == [3, 135]).all()


@pytest.mark.parametrize("how", ["shuffle", "mask", "sample", "delete"])
def test_controls_have_the_lengths_and_gc_and_lie_elsewhere(record, how):
    seen = []
    model = counting(seen)
    found = knock_out_regions(
        model, [record], {"both": GENES["both"]}, target="words", how=how, controls=12
    ).iloc[0]
    assert (found.controls, found.evaluations) == (12, 13)
    own = np.zeros(1200, bool)
    for start, end in ((20, 95), (900, 930), (950, 980)):
        own[start:end] = True
    rows = list(dict.fromkeys(seen))
    assert rows[0] == record.sequence
    if how == "delete":
        assert {len(row) for row in rows[1:]} == {1200 - 135}
        return
    text = np.array(list(record.sequence))
    changed = np.array([text != np.array(list(row)) for row in rows[1:]])
    assert len(changed) == 13
    assert not changed[0, ~own].any()
    assert not changed[1:, own].any()
    gc = np.isin(text, ["G", "C"])
    for row in changed[1:] if how == "mask" else []:
        edges = np.flatnonzero(np.diff(np.pad(row.astype(int), 1))).reshape(-1, 2)
        sizes = sorted(end - start for start, end in edges.tolist())
        assert sum(sizes) == 135
        share = gc[row].sum() - gc[own].sum()
        assert abs(share) <= 4  # a base and a half in 75, one in each 30


def test_shuffles_keep_dinucleotides_and_the_rest(record):
    edited = without(record, GENES["needed"], how="shuffle", seed=3)
    assert edited.id == "c/without"
    assert edited.sequence[:300] + edited.sequence[400:] == (
        record.sequence[:300] + record.sequence[400:]
    )
    pairs = [
        sorted(s[i : i + 2] for i in range(300, 399)) for s in (record.sequence, edited.sequence)
    ]
    assert pairs[0] == pairs[1]
    assert edited.sequence[300:400] != record.sequence[300:400]
    assert without(record, GENES["needed"], how="mask").sequence[300:400] == "N" * 100
    assert without(record, GENES["needed"], how="delete").sequence == (
        record.sequence[:300] + record.sequence[400:]
    )


def test_changes_are_those_of_the_edits_by_hand(record):
    """Deletion draws nothing, so the number can be computed: length is what the model reads."""
    model = bw.Model.from_callable(lambda sequences: [float(len(s)) for s in sequences], ["bases"])
    found = knock_out_regions(model, [record], GENES, target="bases", how="delete", controls=9)
    changes = found.set_index("group").change
    assert changes.to_dict() == {"needed": -100.0, "idle": -90.0, "both": -135.0}
    assert (found.difference == 0).all()
    assert (found.p == 1).all()


def test_p_values_of_regions_without_a_role_are_even():
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(4, 2000))
    sequence = "".join(rng.choice(list("ACGT"), 2000))

    def linear(sequences):
        at = [["ACGTN".index(letter) for letter in s] for s in sequences]
        return [float(np.append(weights, np.zeros((1, 2000)), 0)[a, range(2000)].sum()) for a in at]

    model = bw.Model.from_callable(linear, ["x"])
    groups = {f"g{at}": [gene(f"g{at}", (at, at + 12))] for at in range(0, 1990, 33)}
    found = knock_out_regions(
        model, [bw.Record("c", sequence)], groups, target="x", how="mask", controls=19,
        gc_tolerance=0.1,
    )  # fmt: skip
    assert len(found) == 61
    assert (found.p <= 0.1).sum() <= 14
    assert 0.35 < found.p.mean() < 0.75
    assert found.q.min() > 0.05


def test_draws_are_averaged_and_groups_do_not_depend_on_each_other(record):
    one = knock_out_regions(counting(), [record], GENES, target="words", draws=3, controls=7)
    alone = knock_out_regions(
        counting(), [record], {"idle": GENES["idle"]}, target="words", draws=3, controls=7
    )
    assert one.evaluations.tolist() == [24] * 3
    row = one.set_index("group").loc["idle"]
    assert row[["change", "control", "low"]].tolist() == (
        alone.iloc[0][["change", "control", "low"]].tolist()
    )


def test_a_model_of_bases_reads_its_region(record):
    torch.manual_seed(0)
    network = BaseCnn(BaseCnnConfig(channels=4, dilations=[1], num_labels=2, hidden=4))
    model = bw.Model(network, Nucleotide(), ("background", "box"), "boxes")
    target = bw.Target("box", where=(310, 320))
    found = knock_out_regions(
        model, [record], GENES, target=target, how="mask", controls=9
    ).set_index("group")
    assert abs(found.loc["needed"].change) > 1e-4
    assert found.loc["idle"].change == pytest.approx(0, abs=1e-6)
    edited = without(record, GENES["needed"], how="mask")
    values = [model.predict_bases([each])[0][310:320] for each in (edited, record)]
    odds = [np.log(v[:, 1] / v[:, 0]).mean() for v in values]
    assert found.loc["needed"].change == pytest.approx(odds[0] - odds[1], abs=1e-5)
    with pytest.raises(ConfigError, match="how = 'delete' moves the bases that the target"):
        knock_out_regions(model, [record], GENES, target=target, how="delete")


def test_a_class_without_room_has_a_reason(record):
    groups = by_kind([gene("x", (0, 1000)), gene("t", (1100, 1130), kind="tRNA")])
    table = knock_out_regions(counting(), [record], groups, target="words", controls=9)
    found = table.set_index("group")
    assert found.loc["gene"].reason == (
        "5 controls of its lengths and G+C are needed; 0 were found"
    )
    assert np.isnan(found.loc["gene"].p)
    assert found.loc["gene"].evaluations == 0
    assert found.loc["tRNA"].reason == ""


@pytest.mark.parametrize(
    "groups, how, said",
    [
        ({"g": []}, "mask", "The group 'g' has no features to remove."),
        (GENES, "burn", "how = 'burn' is none of shuffle, mask, sample, delete."),
        (
            {"g": [gene("x", (0, 9), chrom="d")]},
            "mask",
            "The group 'g' lies on 'd'; it has to lie on one of the records, 'c'.",
        ),
        ({"g": [gene("x", (1190, 1210))]}, "mask", "is beyond the record, which has 1200 bases"),
    ],
)
def test_what_cannot_be_removed_is_said(record, groups, how, said):
    with pytest.raises((ConfigError, DataError), match=said):
        knock_out_regions(counting(), [record], groups, target="words", how=how)


def test_numbers_of_half_the_bits_are_judged_by_several_edits(record, monkeypatch):
    rows = []

    def compared(network, device, full, half):
        rows.extend(len(values) for values in full())
        return Comparison(error=0.0, noise=0.0, speed=9.0)

    monkeypatch.setattr("basewise.models.evaluator.compared", compared)
    torch.manual_seed(0)
    network = CnnForSequenceClassification(CnnConfig(channels=4, num_labels=2)).eval()
    model = bw.Model(network, Nucleotide(), ("no", "yes"), precision="auto")
    knock_out_regions(model, [record], GENES, target="yes", controls=39)
    assert min(rows) > 1
