"""Every explainer on every architecture: a new one of either is tested by standing in its table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    EsmConfig,
    EsmForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
)

import basewise as bw
from basewise.errors import CapabilityError
from basewise.explainers import EXPLAINERS, MASKINGS, UNITS
from basewise.models import NETWORKS
from basewise.models.checkpoints import load_network
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.models.cnn_lstm import CnnLstmConfig, CnnLstmForSequenceClassification
from basewise.models.labeller import BaseLabeller
from basewise.tokenize.bpe import Bpe
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.nucleotide_transformer import NucleotideTransformer
from tiny_bpe import write_tiny_bpe
from tiny_networks import SIZES, tiny

RECORDS = [
    bw.Record("long", "TTGCATTTAAACA", truth=(bw.Span(2, 5), bw.Span(9, 12))),
    bw.Record("short", "CATTAACGG", truth=(bw.Span(1, 6),)),
]
LABELS = ("no", "maybe", "yes")
BERT = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 16,
    "max_position_embeddings": 40,
    "num_labels": 3,
    "initializer_range": 0.5,
}
# Settings that make a test quick.
FEW = {
    name: {setting: 60}
    for name in EXPLAINERS.names()
    for setting in ("evaluations", "samples", "draws")
    if setting in EXPLAINERS.get(name).__dataclass_fields__
}
QUICK: dict[str, dict[str, Any]] = FEW | {
    "anchors": {"samples": 20, "evaluations": 100},
    "deep_lift": {},
    "exact_shapley": {"units": {"type": "windows", "size": 4}},
    "integrated_gradients": {"steps": 4, "tolerance": None},
    "marginalisation": {"motif": "TATA", "stride": 4, "draws": 2},
}
# What a method has no rule for is refused, never approximated silently: layers without one,
# and networks that attend to nothing.
NO_MAPS = ("basewise-cnn", "basewise-cnn-lstm", "basewise-hyenadna")
REFUSED: dict[str, Callable[[str], bool]] = {
    "attention": NO_MAPS.__contains__,
    "attention_rollout": NO_MAPS.__contains__,
    "deep_lift": lambda model: model != "basewise-cnn",
}


def own(name: str, tokenizer: Any, **settings: Any) -> bw.Model:
    settings |= {"num_labels": 3, "head": "sequence_classification"}
    if "hyenadna" not in name:
        settings |= {"vocab_size": tokenizer.vocabulary_size}
    return bw.Model(tiny(name, **settings), tokenizer, LABELS)


def bpe(folder: Path, style: str) -> Bpe:
    return Bpe(file=write_tiny_bpe(folder / style / "tokenizer.json", style))


def dnabert(folder: Path, cls: Any = BertForSequenceClassification) -> bw.Model:
    tokenizer = Kmer(k=3)
    torch.manual_seed(5)
    network = cls(BertConfig(**BERT, vocab_size=tokenizer.vocabulary_size))
    return bw.Model(network, tokenizer, LABELS)


def transformer_v1(folder: Path) -> bw.Model:
    """As published: token dropout, which counts masked tokens, included."""
    tokenizer = NucleotideTransformer(version=1)
    torch.manual_seed(5)
    config = EsmConfig(
        **BERT,
        vocab_size=tokenizer.vocabulary_size,
        token_dropout=True,
        mask_token_id=tokenizer.mask_id,
        pad_token_id=tokenizer.pad_id,
    )
    EsmForSequenceClassification(config).save_pretrained(folder)
    return bw.Model(load_network(folder), tokenizer, LABELS)


def modern_bert(folder: Path) -> bw.Model:
    """A classifier that nobody here wrote."""
    torch.manual_seed(5)
    tokenizer = bpe(folder, "plain")
    ends = dict.fromkeys(("pad_token_id", "cls_token_id", "sep_token_id", "eos_token_id"), 3)
    config = ModernBertConfig(
        **BERT | {"vocab_size": tokenizer.vocabulary_size, "bos_token_id": 1} | ends
    )
    return bw.Model(ModernBertForSequenceClassification(config), tokenizer, LABELS)


def of_one_hot(cls: Any, config: Any) -> bw.Model:
    torch.manual_seed(5)
    return bw.Model(cls(config), Nucleotide(), LABELS)


MODELS: dict[str, Callable[[Path], bw.Model]] = {
    "basewise-cnn": lambda _: of_one_hot(
        CnnForSequenceClassification,
        CnnConfig(channels=6, stem_kernel=5, dilations=[1], hidden=5, num_labels=3),
    ),
    "basewise-cnn-lstm": lambda _: of_one_hot(
        CnnLstmForSequenceClassification, CnnLstmConfig(num_labels=3)
    ),
    "DNABERT": dnabert,
    "DNABERT tokens": lambda folder: dnabert(folder, BertForTokenClassification),
    "ModernBERT": modern_bert,
    "NT v1": transformer_v1,
    "basewise-dnabert2": lambda folder: own("basewise-dnabert2", bpe(folder, "plain")),
    "basewise-gena": lambda folder: own("basewise-gena", bpe(folder, "runs")),
    "basewise-gena rotary": lambda folder: own("basewise-gena rotary", bpe(folder, "runs")),
    "basewise-nucleotide-transformer": lambda _: own(
        "basewise-nucleotide-transformer", NucleotideTransformer()
    ),
    "basewise-hyenadna": lambda _: own("basewise-hyenadna", Nucleotide(layout="hyenadna")),
}
PERTURBING = [n for n in EXPLAINERS.names() if "masking" in EXPLAINERS.get(n).__dataclass_fields__]


WAYS = [
    (name, units)
    for name in EXPLAINERS.names()
    for units in ("bases", "tokens")
    if units == "bases" or (name in PERTURBING and "units" not in QUICK.get(name, {}))
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bw.Model]:
    """Models by name, made once; batches of several rows, so that rows are padded."""
    return cache(
        lambda name: replace(
            MODELS[name](tmp_path_factory.mktemp("model")), name=name, batch_tokens=200
        )
    )


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, made: Callable[[str], bw.Model]) -> bw.Model:
    return made(request.param)


def overlapping(model: bw.Model) -> bool:
    return isinstance(model.tokenizer, Kmer)


def settings_for(explainer: str, model: bw.Model, units: str) -> dict[str, Any]:
    """Settings that suit the model: how units are hidden, which there are, where paths start."""
    found = dict(QUICK.get(explainer, {}))
    if explainer in PERTURBING:
        found["masking"] = "n" if model.tokenizer.frame_safe_n else "mask"
        found.setdefault("units", units)
    elif "reference" in EXPLAINERS.get(explainer).__dataclass_fields__:
        # A shuffled sequence has other byte pairs: no path leads from them to its own.
        found["reference"] = "token" if isinstance(model.tokenizer, Bpe) else "shuffled"
    return found


def test_every_network_is_here() -> None:
    of_bases = {n for n in NETWORKS.names() if issubclass(NETWORKS.get(n), BaseLabeller)}
    assert set(MODELS) >= {*NETWORKS.names(), *SIZES} - of_bases


@pytest.mark.parametrize(("explainer", "units"), WAYS)
def test_every_explainer_explains_every_model(explainer: str, model: bw.Model, units: str) -> None:
    settings = settings_for(explainer, model, units)

    def run(records: list[bw.Record]) -> Any:
        return bw.explain(model, records, explainer, "yes", seed=3, **settings)

    without_rule = REFUSED.get(explainer, lambda _: False)(model.name)
    if without_rule or (units == "tokens" and overlapping(model)):
        with pytest.raises(CapabilityError) as caught:
            run(RECORDS)
        assert "\n" not in str(caught.value)
        if units == "tokens":
            assert "overlap" in str(caught.value)
            assert "use units='bases' or units='windows'" in str(caught.value)
        return
    found = run(RECORDS)
    odds = np.log(model.predict(RECORDS))
    odds = odds[:, 2] - np.logaddexp(odds[:, 0], odds[:, 1])
    for attribution, record, expected in zip(found, RECORDS, odds, strict=True):
        assert attribution.record_id == record.id
        assert np.isfinite(attribution.scores).all()
        assert np.abs(attribution.scores).max() > 0 or attribution.kind == "rule"
        if attribution.kind != "rule":
            assert attribution.output == pytest.approx(expected, abs=1e-4)
            np.testing.assert_allclose(attribution.per_base().sum(), attribution.scores.sum())
        if explainer in PERTURBING and units == "bases" and explainer != "exact_shapley":
            assert attribution.spans.tolist() == [[i, i + 1] for i in range(len(record))]
        if units == "tokens":
            spans = model.tokenizer.encode(record.sequence).spans
            assert attribution.spans.tolist() == spans[spans[:, 1] > spans[:, 0]].tolist()
    # The scores of a record do not depend on its neighbours, padding or not.
    (alone,) = run(RECORDS[1:])
    np.testing.assert_allclose(alone.scores, found[1].scores, rtol=1e-3, atol=2e-5)


UNITS_OF = {"motifs": {"patterns": ["CATT", "TTAA"]}}


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bw.Model], str]:
    """Folders of masked language models, one for the tokenizer of each model, made once."""

    @cache
    def folder(name: str, model: bw.Model) -> str:
        path, rows = tmp_path_factory.mktemp("language"), model.tokenizer.vocabulary_size
        network = tiny("basewise-nucleotide-transformer", vocab_size=rows, head="masked_lm")
        bw.Model(network, model.tokenizer, (), outputs="tokens").save(path)
        return str(path)

    return lambda model: folder(model.name, model)


def masked(masking: str, model: bw.Model, language: Callable[[bw.Model], str]) -> dict[str, Any]:
    """A masking by name, with the settings it needs."""
    needed = {
        "background": lambda: {"composition": [0.3, 0.2, 0.1, 0.4]},
        "infill": lambda: {"model": language(model)},
    }
    return {"type": masking, **needed.get(masking, dict)()}


def why_not(masking: str, model: bw.Model) -> str | None:
    """What a model is told that cannot serve a masking; None where it can."""
    tokenizer = model.tokenizer
    if masking == "n" and not tokenizer.frame_safe_n:
        return "An N moves the borders of this tokenizer's other tokens.*; use masking='mask'"
    if masking == "mask" and tokenizer.mask_id is None:
        return "has no mask token; use masking='n'"
    if masking == "unknown" and tokenizer.unknown_id is None:
        return "has no unknown token; use masking='n'"
    if masking == "pad" and model.name == "basewise-hyenadna":
        return "HyenaDNA has no attention mask: only padding on the right"
    if masking == "infill" and tokenizer.mask_id is None:
        return "has no mask token, so no masked language model has the same; use masking='shuffled'"
    if masking == "infill" and overlapping(model):
        return "tokens of 'long' overlap .*; use masking='shuffled'"
    return None


@pytest.mark.parametrize("masking", MASKINGS.names())
def test_every_masking_hides_or_says_why_not(
    model: bw.Model, masking: str, language: Callable[[bw.Model], str]
) -> None:
    how = masked(masking, model, language)

    def run(records: list[bw.Record]) -> Any:
        return bw.explain(model, records, "occlusion", "yes", seed=2, units="bases", masking=how)

    if said := why_not(masking, model):
        with pytest.raises(CapabilityError, match=said) as caught:
            run(RECORDS)
        assert "\n" not in str(caught.value)
        return
    found = run(RECORDS)
    (alone,) = run(RECORDS[1:])
    np.testing.assert_allclose(alone.scores, found[1].scores, rtol=1e-3, atol=2e-5)
    for attribution in found:
        assert np.isfinite(attribution.scores).all()
        assert np.abs(attribution.scores).max() > 0
        draws = MASKINGS.build(how).draws
        assert attribution.evaluations == draws * (len(attribution.sequence) + 2)
        assert ("value_error" in attribution.extras) == (draws > 1)
        assert (attribution.standard_error is not None) == (draws > 1)
        assert ("positions_shift" in attribution.extras) == (masking == "deletion")


@pytest.mark.parametrize("units", UNITS.names())
def test_all_units_are_hidden_by_every_masking(
    made: Callable[[str], bw.Model], units: str, language: Callable[[bw.Model], str]
) -> None:
    """On one base, byte pairs, 6-mers side by side, and 3-mers that overlap."""
    for name in ("basewise-cnn", "basewise-dnabert2", "basewise-nucleotide-transformer", "DNABERT"):
        model = made(name)
        if units == "tokens" and overlapping(model):
            continue
        for masking in MASKINGS.names():
            if why_not(masking, model):
                continue
            settings = {
                "masking": masked(masking, model, language),
                "units": {"type": units, **UNITS_OF.get(units, {})},
            }
            explainer = "exact_shapley" if units in ("features", "motifs") else "occlusion"
            found = bw.explain(model, RECORDS, explainer, "yes", **settings)
            for attribution, record in zip(found, RECORDS, strict=True):
                assert np.isfinite(attribution.scores).all(), (name, masking)
                covered = np.zeros(len(record), int)
                for start, end in attribution.spans:
                    covered[start:end] += 1
                assert (covered == 1).all()
                if attribution.kind == "additive":
                    assert attribution.gap == pytest.approx(0, abs=1e-5)
                    assert ("rest" in attribution.extras) == (len(attribution.spans) > 1)


def test_kmers_are_hidden_with_all_that_cover_a_base(made: Callable[[str], bw.Model]) -> None:
    """One masked k-mer hides nothing: the others that cover the base still spell it."""
    from basewise.models.switchboards import TokenSwitch

    model = made("DNABERT")
    tokens = model.tokenizer.encode("ACGTACGTA")
    off = np.full((1, len(tokens)), model.tokenizer.mask_id)
    at = np.arange(9)
    units = np.stack([at, at + 1], axis=1)
    switch = TokenSwitch(tokens.ids, off, tokens.spans, units)
    present = np.ones((1, 9), bool)
    present[0, 4] = False
    ids, _ = switch.rows(present, model)
    assert np.flatnonzero(ids[0].numpy() == model.tokenizer.mask_id).tolist() == [3, 4, 5]
