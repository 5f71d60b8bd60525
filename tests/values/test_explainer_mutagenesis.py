"""In-silico mutagenesis, and its two parts where a base moves the borders of tokens."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import basewise as bw
from basewise.explainers.mutagenesis import Mutagenesis, Mutants
from basewise.sequence.alphabet import decode
from basewise.tokenize.bpe import Bpe
from explained_models import Additive, bpe_bert, kmer_bert, of_module
from tiny_bpe import write_tiny_bpe


class Bag(nn.Module):
    """The sum of a weight for every token, 100 for those that are special."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        weights = torch.where(input_ids < 5, 100, 2.0**input_ids - 2.0**5 + 1).double()
        if attention_mask is not None:
            weights = weights * attention_mask
        return SimpleNamespace(logits=weights.sum(1, keepdim=True))


def bag(folder: Path) -> bw.Model:
    tokenizer = Bpe(file=write_tiny_bpe(folder / "tokenizer.json", "plain"))
    return bw.Model(Bag(), tokenizer, ("score",), outputs="values")


def test_what_single_bases_add() -> None:
    """Additive: a base is worth its weight less the mean of the other three."""
    module, sequence = Additive(), "GATNACA"
    (a,) = bw.explain(of_module(module), [bw.Record("r", sequence)], "mutagenesis", "score")
    table = module.table.detach().numpy()[:7]
    for i, base in enumerate(sequence):
        if base == "N":
            np.testing.assert_array_equal(a.hypothetical[i], 0)
            assert a.scores[i] == 0
            continue
        here = table[i, "ACGT".index(base)]
        np.testing.assert_allclose(a.hypothetical[i], table[i] - here, atol=1e-12)
        assert a.scores[i] == pytest.approx(here - (table[i].sum() - here) / 3)
    assert a.evaluations == 1 + 3 * 6
    assert a.extras == {"moved": 0.0}


def test_the_table_names_every_mutation() -> None:
    def score(sequences: list[str]) -> list[float]:
        return [len(s) + 10.0 * s.startswith("CA") for s in sequences]

    model = bw.Model.from_callable(score, ["score"])
    some = [bw.Record("b", "CAT"), bw.Record("a", "G")]
    table = Mutagenesis().table(model, some, model.target("score"), deletions=True)
    assert table.columns.tolist() == [
        *["record_id", "position", "base", "mutant"],
        *["effect", "moved", "base_effect", "segmentation_effect"],
    ]
    told = [f"{r.record_id} {r.position} {r.base}{r.mutant} {r.effect:.0f}" for r in
            table.itertuples()]  # fmt: skip
    assert told == [
        *["b 0 CA -10", "b 0 CG -10", "b 0 CT -10", "b 0 C- -11"],
        *["b 1 AC -10", "b 1 AG -10", "b 1 AT -10", "b 1 A- -11"],
        *["b 2 TA 0", "b 2 TC 0", "b 2 TG 0", "b 2 T- -1"],
        *["a 0 GA 0", "a 0 GC 0", "a 0 GT 0"],
    ]
    deleted = table["mutant"] == "-"
    assert table["moved"].tolist() == deleted.tolist()
    assert table["base_effect"].isna().tolist() == deleted.tolist()
    assert (table["segmentation_effect"][~deleted] == 0).all()


def test_an_effect_is_split_where_borders_move(tmp_path: Path) -> None:
    """TTAAATGCA is TTAAA TGCA; with a C at base 4, TT AA C TGCA; with a G at 5, TTAAA GG CA."""
    model = bag(tmp_path)
    vocabulary = {text: 2.0**i - 2.0**5 + 1 for i, text in enumerate(model.tokenizer.vocabulary())}

    def worth(*tokens: str) -> float:
        return sum(vocabulary[token] for token in tokens)

    table = Mutagenesis().table(model, [bw.Record("r", "TTAAATGCA")], model.target("score"))
    table = table.set_index(["position", "mutant"])
    before = worth("TTAAA", "TGCA")

    inside = table.loc[(4, "C")]  # other tokens stay: the base's effect alone, though pieces differ
    assert inside["effect"] == worth("TT", "AA", "C", "TGCA") - before
    for (at, base), row in table.iterrows():
        mutant = "TTAAATGCA"[:at] + base + "TTAAATGCA"[at + 1 :]
        assert row["effect"] == worth(*pieces(model, mutant)) - before
        one, two = ("TTAAA", "TGCA")
        left = pieces(model, mutant[:5]) if at < 5 else [one]
        right = [two] if at < 5 else pieces(model, mutant[5:])
        assert row["base_effect"] == worth(*left, *right) - before
        assert row["base_effect"] + row["segmentation_effect"] == row["effect"]
    assert table["segmentation_effect"].any()


def pieces(model: bw.Model, sequence: str) -> list[str]:
    words = model.tokenizer.vocabulary()
    return [words[i] for i in model.tokenizer.encode(sequence).ids if i >= 5]


def test_borders_are_flagged_where_the_spans_of_other_tokens_change(tmp_path: Path) -> None:
    model = bpe_bert(tmp_path)
    rng = np.random.default_rng(1)
    sequence = "".join(rng.choice(list("ACGTAT"), 60))
    mutants = Mutants(model, bw.Record("r", sequence))
    spans = mutants.tokens.spans
    expected = []
    for codes, at in zip(mutants.bases(np.arange(180)), mutants.at, strict=True):
        new = model.tokenizer.encode(decode(codes)).spans
        expected.append(not np.array_equal(new, spans))
        assert at < 60
    np.testing.assert_array_equal(mutants.moved, expected)
    assert 0.1 < mutants.moved.mean() < 1
    (a,) = bw.explain(model, [bw.Record("r", sequence)], "mutagenesis", "yes")
    assert a.evaluations == 1 + 180 + mutants.moved.sum()
    assert a.extras["moved"] == pytest.approx(mutants.moved.mean())
    assert a.extras["segmentation_effect"] > 0


def test_frames_that_no_base_moves_are_not_looked_at() -> None:
    mutants = Mutants(kmer_bert(), bw.Record("r", "ACGTACG"))
    assert not mutants.moved.any()
