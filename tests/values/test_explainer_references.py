"""What a sequence is compared with: lists, arrays, special tokens, and how much it matters."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import basewise as bw
from basewise.errors import CapabilityError, ConfigError, DataError
from basewise.explainers import EXPLAINERS, REFERENCES
from basewise.explainers.references import shares
from basewise.explainers.sensitivity import disagreement, sensitivity
from basewise.models.batch import Batch
from basewise.models.gradient import embed
from basewise.registry import settings_of
from basewise.store import read_attributions, write_attributions
from explained_models import kmer_bert, records, tiny_cnn

COMPARING = ["deep_lift", "expected_gradients", "integrated_gradients"]


class Table(nn.Module):
    """The sum of a weight for every base: what is explained is `w_base - sum_c r_c w_c`."""

    weights = torch.tensor([1.0, 2.0, 4.0, 8.0])

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weights[:, None]).sum((1, 2))


class Square(nn.Module):
    """The square of the number of As."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0].sum(1) ** 2


def ask(module: Any, sequence: str, name: str = "integrated_gradients", **settings: Any) -> Any:
    model = bw.Model.from_module(module, ["score"], outputs="values", name="mine")
    return bw.explain(model, [bw.Record("r", sequence)], name, "score", **settings)[0]


# ------------------------------------------------------------------------------ several


@pytest.mark.parametrize("name", COMPARING)
def test_members_of_a_list_count_alike_whatever_their_draws(name: str) -> None:
    """From nothing, A gives 1 and T 8; from a quarter of each, 3.75 less; from shuffles, all
    of them T A A or A T A or A A T, the mean of two shares of each base is taken away."""
    more = {"draws": 3000} if name == "expected_gradients" else {}
    shuffled = {"type": "shuffled", "keep": "bases", "draws": 1000}
    several = ask(Table(), "TAA", name, reference=["zero", "uniform", shuffled], **more)
    apart = [ask(Table(), "TAA", name, reference=r, **more) for r in ("zero", "uniform", shuffled)]
    mean = np.mean([a.scores for a in apart], axis=0)
    np.testing.assert_allclose(several.scores, mean, atol=0.1)
    third = (1 + 1 + 8) / 3
    expected = np.array([8, 1, 1]) - (0 + 3.75 + third) / 3
    np.testing.assert_allclose(several.scores, expected, atol=0.15)
    assert several.baseline == pytest.approx((0 + 3 * 3.75 + 10) / 3, abs=1e-4)
    assert abs(several.gap) < 0.5 if name == "expected_gradients" else 1e-4
    assert several.hypothetical.shape == (3, 4)


SHUFFLED = {"occlusion": "masking", "leverage_shap": "masking"} | dict.fromkeys(
    COMPARING, "reference"
)


@pytest.mark.parametrize(("name", "setting"), SHUFFLED.items())
def test_bases_that_no_shuffle_changes_score_nothing(name: str, setting: str) -> None:
    """Every base counts; ends of stretches between Ns stay where dinucleotides are kept."""
    kept, moved = (
        {setting: {"type": "shuffled", "keep": keep, "draws": 20}}
        for keep in ("dinucleotides", "bases")
    )
    sequence, ends = "TACAGATGNGATCACAT", [0, 7, 9, 16]
    a = ask(Table(), sequence, name, **kept)
    np.testing.assert_allclose(a.scores[ends], 0, atol=1e-6)
    if setting == "reference":
        assert not a.standard_error[ends].any()
    for stretch in (slice(0, 8), slice(9, 17)):
        assert np.abs(a.scores[stretch]).max() > 0.5
    assert np.abs(ask(Table(), sequence, name, **moved).scores[ends]).min() > 0.1
    for alone in ("A", "AC", "AAAA"):
        np.testing.assert_allclose(ask(Table(), alone, name, **kept).scores, 0, atol=1e-6)


def test_a_list_of_single_starts_is_the_mean_exactly() -> None:
    sequence, references = "CAGAT", ["zero", "uniform", "frequencies"]
    for rule in ("trapezoid", "gauss_legendre"):
        a = ask(Square(), sequence, reference=references, rule=rule)
        each = [ask(Square(), sequence, reference=[r], rule=rule) for r in references]
        np.testing.assert_allclose(a.scores, np.mean([e.scores for e in each], 0), atol=1e-6)
        np.testing.assert_allclose(
            a.hypothetical, np.mean([e.hypothetical for e in each], 0), atol=1e-6
        )
        spread = np.std([e.scores for e in each], axis=0, ddof=1)
        np.testing.assert_allclose(a.standard_error * 3**0.5, spread, atol=1e-6)
        assert a.baseline == pytest.approx(np.mean([e.baseline for e in each]), abs=1e-6)
        assert a.output - a.baseline - a.scores.sum() == pytest.approx(0, abs=1e-5)


def test_starts_have_shares_in_what_is_compared() -> None:
    several = REFERENCES.build(
        {"type": "several", "of": ["zero", {"type": "shuffled", "draws": 2}]}
    )
    np.testing.assert_array_equal(shares(several), [[1, 0, 0], [0, 0.5, 0.5]])
    np.testing.assert_array_equal(shares(several.of[1]), np.eye(2))


def test_a_list_is_kept_with_the_result_and_rebuilds_the_explainer(tmp_path: Path) -> None:
    given = ["zero", {"type": "shuffled", "draws": 2}, np.full((5, 4), 0.25)]
    a = ask(Square(), "CAGAT", reference=given)
    write_attributions(tmp_path / "a.parquet", [a])
    (b,) = read_attributions(tmp_path / "a.parquet")
    assert json.loads(json.dumps(b.settings)) == a.settings
    assert b.extras == a.extras
    again = EXPLAINERS.build({"type": "integrated_gradients"} | dict(b.settings))
    assert settings_of(again) == a.settings
    assert again == EXPLAINERS.build({"type": "integrated_gradients", "reference": given})


@pytest.mark.parametrize("of", [[], [["zero"]], [{"type": "several", "of": ["zero"]}]])
def test_a_list_without_members_or_in_a_list_is_refused(of: Any) -> None:
    with pytest.raises(ConfigError, match="a list of references has at least one, and no lists"):
        ask(Square(), "CAG", reference=of)


# ------------------------------------------------------------------------------ sensitivity


def test_disagreement_by_hand() -> None:
    """Ranks 1 2 3 4 against 1 3 2 4: 1 - 6 * 2 / (4 * 15) = 0.8; 4 3 2 1 is the reverse."""
    found = disagreement(np.array([[1.0, 2, 3, 4], [1, 3, 2, 4], [-1, -2, -3, -4]]))
    assert found["references"] == 3
    assert found["rank_correlation"] == pytest.approx((0.8 - 1 - 0.8) / 3)
    assert found["lowest_rank_correlation"] == pytest.approx(-1)
    assert found["lowest_top_overlap"] == 0.5  # units 2, 3; 1, 3; 2, 3
    assert found["lowest_sign_agreement"] == 0
    two = disagreement(np.array([[4.0, 0, 2, 0], [2, 0, -1, 0]]))
    assert two["lowest_sign_agreement"] == 0.75
    # Spreads 2 / sqrt 2, 0, 3 / sqrt 2, 0 over means 3, 0, 1/2, 0
    assert two["relative_spread"] == pytest.approx(5 / 2**0.5 / 3.5)
    from scipy.stats import spearmanr

    assert two["rank_correlation"] == pytest.approx(spearmanr([4, 0, 2, 0], [2, 0, -1, 0])[0])


def test_only_the_largest_units_have_their_signs_compared() -> None:
    scores = np.ones((2, 300))
    scores[:, :10] *= 9
    scores[1, 10:] = -0.5
    assert disagreement(scores)["lowest_sign_agreement"] == 1
    scores[1, 3:5] = -8
    assert disagreement(scores)["lowest_sign_agreement"] == pytest.approx(0.8)


def test_the_order_of_small_scores_is_not_the_story() -> None:
    """Noise around a motif: ranks over all bases disagree, what the references name does not."""
    scores = 0.01 * np.random.default_rng(3).normal(size=(2, 300))
    scores[:, 40:50] += 1
    found = disagreement(scores)
    assert found["lowest_rank_correlation"] < 0.5
    assert found["lowest_top_overlap"] == 1
    scores[1, 46:50], scores[1, 60:64] = 0, 1  # now six of ten in common
    assert disagreement(scores)["lowest_top_overlap"] == pytest.approx(0.6)


def test_what_has_no_correlation_says_none() -> None:
    assert disagreement(np.ones((1, 4))) == {}
    assert disagreement(np.zeros((2, 4))) == {
        "references": 2,
        "lowest_top_overlap": 1,
        "lowest_sign_agreement": 1,
    }


def test_a_story_that_changes_is_flagged() -> None:
    """From nothing T counts most; from T everywhere it counts nothing and A is what is missed."""
    all_t = np.array([0.0, 0, 0, 1])
    model = bw.Model.from_module(Table(), ["score"], outputs="values", name="mine")
    some = [bw.Record("one", "TACGT"), bw.Record("two", "GGTTCCA")]
    changes = bw.explain(model, some, "integrated_gradients", "score", reference=["zero", all_t])
    keeps = bw.explain(model, some, "deep_lift", "score", reference=["zero", np.zeros(4)])
    table = sensitivity([*changes, *keeps])
    assert table["record_id"].tolist() == ["one", "two", "one", "two"]
    assert table["method"].tolist() == ["integrated_gradients"] * 2 + ["deep_lift"] * 2
    assert table["changes"].tolist() == [True, True, False, False]
    np.testing.assert_allclose(table["lowest_rank_correlation"], 1)  # shifted alike: same ranks
    np.testing.assert_allclose(table["lowest_sign_agreement"], [0, 0, 1, 1])  # T becomes 0
    assert (table["references"] == 2).all()
    assert not sensitivity(changes, overlap=0.0, signs=0.0)["changes"].any()


def test_a_study_sums_up_its_records() -> None:
    from basewise.study.measures import REFERENCE_RECORDS, REFERENCES, references

    rows = [
        ("m", "ig", "a", 3, 0.9, 0.8, 0.7, 1.0, 0.1, False),
        ("m", "ig", "b", 3, 0.5, 0.2, 0.3, 0.6, 0.3, True),
        ("m", "ig", "c", 2, 0.7, 0.6, 0.5, 0.9, 0.2, False),
        ("m", "deep", "a", 2, 0.4, 0.3, 0.1, 0.7, 0.5, True),
    ]
    found = references(pd.DataFrame(rows, columns=list(REFERENCE_RECORDS)))
    assert tuple(found.columns) == REFERENCES
    first, second = found.to_numpy().tolist()
    assert first == ["m", "ig", 3, 3, 0.7, 0.6, 0.5, 0.9, 0.2, pytest.approx(1 / 3)]
    assert second == ["m", "deep", 1, 2, 0.4, 0.3, 0.1, 0.7, 0.5, 1.0]
    assert references(pd.DataFrame(columns=list(REFERENCE_RECORDS))).empty


def test_sensitivity_of_one_reference_is_refused() -> None:
    a = ask(Square(), "CAG", reference="zero")
    with pytest.raises(DataError, match=r"Record 'r' was explained by integrated_gradients from "
                       r"one reference, .* give several, such as reference=\['zero'"):  # fmt: skip
        sensitivity([a])


# ------------------------------------------------------------------------------ arrays


@pytest.mark.parametrize("name", COMPARING)
@pytest.mark.parametrize("shape", [(4,), (10, 4), (1, 10, 4)])
def test_an_array_of_quarters_is_the_uniform_reference(name: str, shape: Any) -> None:
    record = bw.Record("r", "GATTACAGCA")
    for model in (tiny_cnn(),):
        asked = (model, [record], name, "b")
        (uniform,) = bw.explain(*asked, reference="uniform")
        (given,) = bw.explain(*asked, reference=np.full(shape, 0.25))
        np.testing.assert_allclose(given.scores, uniform.scores, atol=1e-6)
        np.testing.assert_allclose(given.hypothetical, uniform.hypothetical, atol=1e-6)
        assert given.baseline == pytest.approx(uniform.baseline, abs=1e-6)


def test_an_array_of_embeddings_keeps_special_tokens() -> None:
    """The embedding of masks everywhere, special tokens included, is `token` = mask."""
    model, record = kmer_bert(), records()[0]
    t = len(model.tokenizer.encode(record.sequence))
    masks = torch.full((1, t), int(model.tokenizer.mask_id or 0))
    array = embed(model, Batch(masks, None))[0].numpy()
    asked = (model, [record], "integrated_gradients", "yes")
    (token,) = bw.explain(*asked, reference={"type": "token", "token": "mask"})
    for given in (array, array[0], array[None].repeat(3, 0)):
        (a,) = bw.explain(*asked, reference=given)
        np.testing.assert_allclose(a.scores, token.scores, atol=1e-5)
        assert a.baseline == pytest.approx(token.baseline, abs=1e-5)


def test_several_arrays_are_several_references() -> None:
    arrays = np.random.default_rng(0).random((3, 5, 4))
    a = ask(Square(), "CAGAT", reference=arrays)
    each = [ask(Square(), "CAGAT", reference=array).scores for array in arrays]
    np.testing.assert_allclose(a.scores, np.mean(each, 0), atol=1e-6)
    assert a.extras["references"] == 3


def test_arrays_that_do_not_fit_are_refused() -> None:
    for shape in [(3,), (4, 4), (2, 6, 4), (5, 5)]:
        with pytest.raises(DataError, match=r"Record 'r' is embedded as 5 tokens of 4 numbers, and "
                           r"the reference has shape \(.*\); give \(4,\) or \(5, 4\)"):  # fmt: skip
            ask(Square(), "CAGAT", reference=np.zeros(shape))
    for wrong in (np.zeros(()), np.zeros((2, 0, 4)), np.zeros((1, 1, 5, 4)), np.full(4, np.nan)):
        with pytest.raises(ConfigError, match=r"shape .*; allowed are finite numbers of shape"):
            ask(Square(), "CAGAT", reference=wrong)


# ------------------------------------------------------------------------------ tokens


@pytest.mark.parametrize("token", ["mask", "pad", "unknown"])
def test_tokens_replace_bases_and_keep_special_tokens(token: str) -> None:
    model, record = kmer_bert(), records()[0]
    tokens = model.tokenizer.encode(record.sequence)
    ids = torch.from_numpy(tokens.ids)
    x = embed(model, Batch(ids[None], None))[0]
    reference = REFERENCES.build({"type": "token", "token": token})
    (r,) = reference.embedded(record, tokens, x, model, np.random.default_rng(0))
    held = ids.clone()
    covers = torch.from_numpy(tokens.spans[:, 1] > tokens.spans[:, 0])
    held[covers] = int(getattr(model.tokenizer, f"{token}_id"))
    assert (~covers).sum() == 2
    torch.testing.assert_close(r, embed(model, Batch(held[None], None))[0])


def test_n_is_a_quarter_of_each_base_on_one_hot_networks() -> None:
    n = ask(Square(), "CAGAT", reference={"type": "token", "token": "n"})
    uniform = ask(Square(), "CAGAT", reference="uniform")
    np.testing.assert_allclose(n.scores, uniform.scores, atol=1e-6)


def test_a_token_that_is_not_there_is_refused() -> None:
    said = (
        r"no mask token; use the token n, --set 'reference=(.*)' \(in Python reference=(.*)\), or r"
    )
    with pytest.raises(CapabilityError, match=said) as caught:
        ask(Square(), "CAGAT", reference="token")
    advised = re.search(said, str(caught.value))
    table, called = tomllib.loads(f"of = {advised[1]}")["of"], ast.literal_eval(advised[2])
    assert table == called
    assert np.isfinite(ask(Square(), "CAGAT", reference=called).scores).all()


@pytest.mark.parametrize("name", REFERENCES.names())
def test_every_reference_is_complete(name: str) -> None:
    more = {"array": {"values": [0.1, 0.2, 0.3, 0.4]}, "token": {"token": "n"},
            "several": {"of": ["zero", "shuffled"]}}  # fmt: skip
    reference = {"type": name} | more.get(name, {})
    for explainer in ("integrated_gradients", "deep_lift"):
        for a in bw.explain(tiny_cnn(), records(), explainer, "a", reference=reference):
            assert abs(a.gap) < 0.01 * max(1, abs(a.output - a.baseline))
            assert set(a.settings["reference"]) >= set(reference)


# ------------------------------------------------------------------------------ simplex


CENTRED = {
    "deep_lift": {"reference": "uniform"},
    "expected_gradients": {"reference": "uniform"},
    "input_x_gradient": {"centred": True},
    "integrated_gradients": {"reference": "uniform"},
    "saliency": {"centred": True},
    "smoothgrad": {"centred": True, "draws": 7},
}


@pytest.mark.parametrize("name", CENTRED)
def test_hypothetical_scores_are_the_gradient_less_its_mean_over_bases(name: str) -> None:
    """Of a sum of weights: `w - mean w`, for every base at every place, in any network they sum
    to 0 over bases, and for additive scores the base that is there has the score itself."""
    a = ask(Table(), "TACGGA", name, **CENTRED[name])
    np.testing.assert_allclose(a.hypothetical, [[-2.75, -1.75, 0.25, 4.25]] * 6, atol=1e-5)
    for b in bw.explain(tiny_cnn(), records(), name, "c", **CENTRED[name]):
        assert b.hypothetical.shape == (len(b.sequence), 4)
        np.testing.assert_allclose(b.hypothetical.sum(1), 0, atol=1e-5)
        assert np.abs(b.hypothetical).max() > 1e-3
        if b.kind == "additive" or name == "input_x_gradient":
            there = b.hypothetical[
                np.arange(len(b.sequence)), ["ACGT".index(c) for c in b.sequence]
            ]
            np.testing.assert_allclose(there, b.scores, atol=1e-5)


@pytest.mark.parametrize("name", COMPARING)
def test_lists_and_arrays_cost_what_is_said_beforehand(name: str) -> None:
    model, (record,) = tiny_cnn(), records((11,))
    shuffled = {"type": "shuffled", "draws": 3}
    steps = {"tolerance": None} if name == "integrated_gradients" else {}
    for reference in (["zero", shuffled, np.zeros((2, 11, 4))], np.zeros((2, 11, 4)), np.ones(4)):
        explainer = EXPLAINERS.build({"type": name, "reference": reference} | steps)
        (a,) = bw.explain(model, [record], explainer, "a")
        said = explainer.cost(model, record)
        assert (said.number, said.exact) == (a.evaluations, True)


def test_errors_of_references_do_not_cancel() -> None:
    """Between GGGG and all A the model saturates, between it and all C the other way round."""

    class Saturating(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 10 * torch.tanh(3 * (x[:, 0].sum(1) - x[:, 1].sum(1)))

    model = bw.Model.from_module(Saturating(), labels=["y"], outputs="values")
    a, c = [1.0, 0, 0, 0], [0.0, 1, 0, 0]
    found = {}
    for name, reference in (("a", a), ("c", c), ("both", [np.array(a), np.array(c)])):
        (found[name],) = bw.explain(
            model, [bw.Record("r", "GGGG")], "integrated_gradients", "y",
            reference=np.array(reference) if name != "both" else reference, steps=5,
        )  # fmt: skip
    assert found["a"].extras["steps"] > 5
    assert found["both"].extras["steps"] == found["a"].extras["steps"]
    mean = (found["a"].scores + found["c"].scores) / 2
    np.testing.assert_allclose(found["both"].scores, mean, atol=1e-6)
    assert found["both"].standard_error is not None
    np.testing.assert_allclose(found["a"].scores, -2.5, rtol=0.01)
