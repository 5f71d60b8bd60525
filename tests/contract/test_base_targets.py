"""Targets that are regions of bases: every explainer, every tokenizer, by hand and against each."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import factorial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForTokenClassification

import basewise as bw
from basewise.errors import CapabilityError, ConfigError, DataError
from basewise.explainers import EXPLAINERS
from basewise.explainers.regions import explain_regions, regions_of
from basewise.models.base_cnn import BaseCnn, BaseCnnConfig
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.store import read_attributions, write_attributions
from basewise.tokenize import Tokenizer
from basewise.tokenize.bpe import Bpe
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.labelling import Labelling, runs
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.nucleotide_transformer import NucleotideTransformer
from tiny_bpe import write_tiny_bpe

LABELS = ("background", "box")
RECORDS = [
    bw.Record("long", "TTGCATTTAAACA", truth=(bw.Span(2, 5, "box"), bw.Span(9, 12, "box"))),
    bw.Record("short", "CATTAACGG", truth=(bw.Span(1, 6, "box"),)),
    bw.Record("none", "CATTAACGGTA"),
]
WHERE = (3, 8)
TOKENIZERS = {
    "bases and a special token": lambda folder: Nucleotide(layout="hyenadna"),
    "overlapping 3-mers": lambda folder: Kmer(k=3),
    "6-mers": lambda folder: NucleotideTransformer(),
    "byte pairs": lambda folder: Bpe(file=write_tiny_bpe(folder / "t.json", "runs")),
}


def bert(tokenizer: Tokenizer, labels: int = 2) -> BertForTokenClassification:
    torch.manual_seed(4)
    config = BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        pad_token_id=tokenizer.pad_id,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        initializer_range=0.5,
        num_labels=labels,
    )
    return BertForTokenClassification(config).eval()


def cnn() -> bw.Model:
    torch.manual_seed(2)
    sizes = {"channels": 6, "stem_kernel": 5, "kernel": 3, "dilations": [1, 2], "hidden": 5}
    network = BaseCnn(BaseCnnConfig(num_labels=2, dropout=0.0, **sizes)).eval()
    return bw.Model(network, Nucleotide(), LABELS, "cnn")


@pytest.fixture(params=["cnn", *TOKENIZERS])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> bw.Model:
    if request.param == "cnn":
        return cnn()
    tokenizer = TOKENIZERS[request.param](tmp_path)
    return bw.Model(bert(tokenizer), tokenizer, LABELS, request.param)


def read_by_hand(model: bw.Model, sequence: str, where: tuple[int, int]) -> float:
    """The mean over bases of the mean log-odds of the tokens that cover each."""
    tokens = model.tokenizer.encode(sequence)
    with torch.inference_mode():
        logits = model.network(input_ids=torch.from_numpy(tokens.ids)[None]).logits[0].double()
    odds = (logits[:, 1] - logits[:, 0]).numpy()
    bases = []
    for base in range(*where):
        over = [i for i, (start, end) in enumerate(tokens.spans) if start <= base < end]
        bases.append(odds[over].mean())
    return float(np.mean(bases))


def settings_for(explainer: str, model: bw.Model) -> dict[str, Any]:
    known = EXPLAINERS.get(explainer).__dataclass_fields__
    found: dict[str, Any] = {
        name: 40 for name in ("evaluations", "samples", "draws") if name in known
    }
    if explainer == "anchors":
        found = {"samples": 20, "evaluations": 60}
    if explainer == "marginalisation":
        found = {"motif": "CG", "stride": 4, "draws": 3}
    if "masking" in known:
        found["masking"] = "n" if model.tokenizer.frame_safe_n else "mask"
        found["units"] = {"type": "windows", "size": 3}
    if "reference" in known:
        found["reference"] = "token" if isinstance(model.tokenizer, Bpe) else "shuffled"
    return found


@pytest.mark.parametrize("explainer", EXPLAINERS.names())
def test_every_explainer_reads_the_region(explainer: str, model: bw.Model) -> None:
    target, settings = bw.Target("box", where=WHERE), settings_for(explainer, model)
    without = {"attention": ["cnn"], "attention_rollout": ["cnn"]}
    without["deep_lift"] = [*TOKENIZERS]
    if model.name in without.get(explainer, []):
        with pytest.raises(CapabilityError):
            bw.explain(model, RECORDS[:2], explainer, target, **settings)
        return
    found = bw.explain(model, RECORDS[:2], explainer, target, **settings)
    for attribution, record in zip(found, RECORDS, strict=False):
        assert attribution.target.where == WHERE
        if attribution.kind != "rule":
            expected = read_by_hand(model, record.sequence, WHERE)
            assert attribution.output == pytest.approx(expected, abs=1e-4)
        if attribution.kind == "additive" and explainer != "expected_gradients":  # few draws
            assert abs(attribution.gap) < 0.05 * max(1, abs(attribution.output))
    # Neither the neighbours nor padding matter.
    (alone,) = bw.explain(model, RECORDS[1:2], explainer, target, **settings)
    np.testing.assert_allclose(alone.scores, found[1].scores, rtol=1e-3, atol=2e-5)


def test_shapley_values_of_a_region_by_enumeration(model: bw.Model) -> None:
    # Bases that are off are shuffled, so byte pairs and 6-mers are other tokens in every row.
    record, size = RECORDS[1], 3
    masking = {"type": "background", "sequences": ["GTACCATGA"], "draws": 1}
    (found,) = bw.explain(
        model,
        [record],
        "exact_shapley",
        bw.Target("box", where=WHERE),
        units={"type": "windows", "size": size},
        masking=masking,
    )
    off = "GTACCATGA"

    def value(present: frozenset[int]) -> float:
        letters = [record.sequence[i] if i // size in present else off[i] for i in range(len(off))]
        return read_by_hand(model, "".join(letters), WHERE)

    everyone = range(3)
    expected = np.zeros(3)
    for i in everyone:
        others = [j for j in everyone if j != i]
        for n in range(3):
            weight = factorial(n) * factorial(2 - n) / factorial(3)
            for some in combinations(others, n):
                with_it = value(frozenset(some) | {i})
                expected[i] += weight * (with_it - value(frozenset(some)))
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)
    assert found.baseline == pytest.approx(value(frozenset()), abs=1e-5)


def test_a_linear_network_by_hand() -> None:
    # One layer: the log-odds of base i are twice (1 if it is C) plus once (1 if i + 1 is G).
    class Counting(torch.nn.Module):
        config = type("Config", (), {"head": "token_classification"})()

        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding.from_pretrained(torch.eye(6)[:, :4].contiguous())

        def get_input_embeddings(self) -> torch.nn.Module:
            return self.table

        def forward(self, input_ids: Any, attention_mask: Any = None) -> Any:
            x = self.table(input_ids)
            odds = 2 * x[..., 1] + torch.nn.functional.pad(x[:, 1:, 2], (0, 1))
            return type("Output", (), {"logits": torch.stack([0 * odds, odds], -1)})()

    model = bw.Model(Counting(), Nucleotide(), LABELS, "counting")
    record = bw.Record("a", "ACGTCGA")
    target = bw.Target("box", where=(1, 5))  # C G T C: 2 + 1, 0, 0, 2 + 1
    expected = np.array([0, 2, 1, 0, 2, 1, 0]) / 4
    for explainer, settings in (
        ("exact_shapley", {"masking": "n"}),
        ("occlusion", {"masking": "n"}),
        ("integrated_gradients", {"reference": "zero"}),
        ("input_x_gradient", {}),
    ):
        (found,) = bw.explain(model, [record], explainer, target, **settings)
        np.testing.assert_allclose(found.scores, expected, atol=1e-6)
        assert found.output == pytest.approx(6 / 4)
    (one,) = bw.explain(model, [record], "occlusion", bw.Target("box", where=(4, 5)))
    np.testing.assert_allclose(one.scores, [0, 0, 0, 0, 2, 1, 0], atol=1e-6)


def test_the_whole_sequence_is_the_mean_over_its_bases() -> None:
    for explainer, settings in (("deep_lift", {}), ("occlusion", {"masking": "n"})):
        found = bw.explain(cnn(), RECORDS, explainer, "box", **settings)
        for attribution, record in zip(found, RECORDS, strict=True):
            expected = read_by_hand(cnn(), record.sequence, (0, len(record)))
            assert attribution.output == pytest.approx(expected, abs=1e-5)


def test_other_readings_are_read_at_bases_and_averaged() -> None:
    model = replace(cnn(), labels=LABELS)
    (each,) = model.predict_bases(RECORDS[:1])
    for read, expected in (
        ("probability", each[3:8, 1].mean()),
        ("top", (each[3:8].argmax(1) == 1).mean()),
    ):
        target = bw.Target("box", read, WHERE)
        (found,) = bw.explain(model, RECORDS[:1], "occlusion", target, masking="n")
        assert found.output == pytest.approx(expected, abs=1e-6)


# ------------------------------------------------------------------------------ which regions


def test_each_labelled_region_of_every_record() -> None:
    target = bw.Target("box", where="labelled")
    found = bw.explain(cnn(), RECORDS, "occlusion", target, masking="n")
    assert [(a.record_id, a.target.where) for a in found] == [
        ("long", (2, 5)),
        ("long", (9, 12)),
        ("short", (1, 6)),
    ]
    (alone,) = bw.explain(
        cnn(), RECORDS[:1], "occlusion", bw.Target("box", where=(9, 12)), masking="n"
    )
    np.testing.assert_allclose(found[1].scores, alone.scores, atol=1e-6)


def test_a_region_that_is_labelled_twice_is_explained_once_and_said_twice() -> None:
    truth = (*RECORDS[0].truth, RECORDS[0].truth[0])
    told: list[Any] = []
    model, target = cnn(), bw.Target("box", where="labelled")
    found = explain_regions(
        EXPLAINERS.build({"type": "occlusion", "masking": "n"}),
        model,
        [replace(RECORDS[0], truth=truth)],
        target,
        progress=lambda one: told.append(one.target.where),
    )
    assert [each.target.where for each in found] == [(2, 5), (9, 12), (2, 5)]
    assert told == [(2, 5), (9, 12)]


def test_each_predicted_region_of_every_record() -> None:
    model, target = cnn(), bw.Target("box", where="predicted")
    middle = np.median([np.log(p[:, 1] / p[:, 0]) for p in model.predict_bases(RECORDS[:1])])
    model.network.out.bias.data[1] -= middle  # so that about half of the bases are predicted
    found = bw.explain(model, RECORDS, "occlusion", target, masking="n")
    assert found
    expected = []
    for record, each in zip(RECORDS, model.predict_bases(RECORDS), strict=True):
        inside = [*(each[:, 1] > 0.5), False]
        start = None
        for base, now in enumerate(inside):
            if now and start is None:
                start = base
            if not now and start is not None:
                expected.append((record.id, (start, base)))
                start = None
    assert [(a.record_id, a.target.where) for a in found] == expected
    assert all(isinstance(bound, int) for a in found for bound in a.target.where)


def test_runs_by_hand() -> None:
    flags = np.array([1, 1, 0, 0, 1, 0, 1], bool)
    assert runs(flags).tolist() == [[0, 2], [4, 5], [6, 7]]
    assert runs(~flags).tolist() == [[2, 4], [5, 6]]
    assert runs(np.zeros(3, bool)).shape == (0, 2)


def test_files_keep_the_region(tmp_path: Path) -> None:
    model, target = cnn(), bw.Target("box", where="labelled")
    explainer = EXPLAINERS.build({"type": "occlusion", "masking": "n"})
    found = bw.explain(model, RECORDS, explainer, target)
    write_attributions(tmp_path / "part.parquet", found)
    assert [a.target for a in read_attributions(tmp_path / "part.parquet")] == [
        a.target for a in found
    ]
    whole = replace(found[0], target=bw.Target("box"))
    write_attributions(tmp_path / "whole.parquet", [whole])
    assert read_attributions(tmp_path / "whole.parquet")[0].target.where is None


@pytest.mark.parametrize("rule", ["share", "first"])
@pytest.mark.parametrize("name", ["overlapping 3-mers", "6-mers", "byte pairs"])
def test_weights_are_the_mean_of_what_bases_have(rule: str, name: str, tmp_path: Path) -> None:
    labelling = Labelling(rule=rule)
    spans = TOKENIZERS[name](tmp_path).encode("TTGCATTTAAACA").spans
    every = labelling.to_bases(np.eye(len(spans)), spans, 13)  # what each base has of each token
    for start in range(11):
        for end in range(start + 1, 12):
            expected = every[start:end].mean(0)
            if np.isnan(expected).any():
                with pytest.raises(DataError, match="No token covers base"):
                    labelling.weights(spans, start, end)
                continue
            found = labelling.weights(spans, start, end)
            np.testing.assert_allclose(found, expected, atol=1e-12)
            assert found.sum() == pytest.approx(1)


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("where", "error", "said"),
    [
        ((9, 12), DataError, "Record 'short' has 9 bases, and the target is read at 9-12; regio"),
        ((4, 4), DataError, "Record 'long' has 13 bases, and the target is read at 4-4; regions"),
        ((-1, 4), DataError, "read at -1-4; regions are 0-based, half-open and within the sequ"),
    ],
)
def test_regions_that_no_sequence_has(where: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        bw.explain(cnn(), RECORDS, "occlusion", bw.Target("box", where=where), masking="n")
    assert "\n" not in str(caught.value)


def test_no_region_at_all() -> None:
    model = cnn()
    torch.nn.init.constant_(model.network.out.bias, 0)
    model.network.out.bias.data[0] = 100.0  # background everywhere
    for where in ("predicted", "labelled"):
        with pytest.raises(DataError, match=f"None of 1 records has a {where} region of box, so"):
            bw.explain(model, RECORDS[2:], "occlusion", bw.Target("box", where=where), masking="n")
    assert regions_of(model, RECORDS, bw.Target("box", where="predicted")) == [[], [], []]


def test_what_cannot_be_read_at_a_region() -> None:
    network = CnnForSequenceClassification(CnnConfig(channels=4, dilations=[1], num_labels=2))
    whole = bw.Model(network, Nucleotide(), LABELS, "whole")
    with pytest.raises(CapabilityError, match=r"none for its bases, so where = \(3, 8\) has noth"):
        bw.explain(whole, RECORDS, "occlusion", bw.Target("box", where=WHERE), masking="n")
    with pytest.raises(CapabilityError, match="masking='deletion' leaves out bases that the targ"):
        bw.explain(cnn(), RECORDS, "occlusion", bw.Target("box", where=WHERE), masking="deletion")
    with pytest.raises(ConfigError, match=r"where = 'labelled' is no region; basewise.explain fi"):
        EXPLAINERS.build({"type": "saliency"}).explain(
            cnn(), RECORDS, bw.Target("box", where="labelled")
        )
