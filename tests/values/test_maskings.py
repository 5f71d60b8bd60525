"""How switched-off units look, and what several draws of it leave uncertain, by hand."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertLMHeadModel,
)

import basewise as bw
from basewise.errors import CapabilityError, ConfigError, DataError
from basewise.explainers import EXPLAINERS, MASKINGS
from basewise.explainers.game import Estimate, Game, error_of_draws, keys_of
from basewise.tokenize.kmer import Kmer
from explained_models import Additive, kmer_bert, of_module, tiny_cnn


def counting(letter: str) -> bw.Model:
    return bw.Model.from_callable(lambda rows: [float(r.count(letter)) for r in rows], ["count"])


def explained(
    model: bw.Model, sequence: str, masking: Any, name: str = "occlusion", **settings: Any
) -> bw.Attribution:
    record = bw.Record("r", sequence)
    return bw.explain(model, [record], name, model.labels[-1], masking=masking, **settings)[0]


# ------------------------------------------------------------------------------ several draws

TWO = {"type": "background", "sequences": ["GAAA", "GGAA"], "draws": 2}


def test_the_spread_between_draws_by_hand() -> None:
    """One draw shows G in place 0, the other in places 0 and 1; Gs count, and AAAA has none.

    Place 1 is 0 or 1 without its A: -1/2 on average, give or take std(0, 1) / sqrt(2) = 1/2. The
    baseline is 1 or 2. Of the six coalitions, two are uncertain by 1/2.
    """
    a = explained(counting("G"), "AAAA", TWO)
    np.testing.assert_allclose(a.scores, [-1, -0.5, 0, 0])
    assert a.standard_error is not None
    np.testing.assert_allclose(a.standard_error, [0, 0.5, 0, 0])
    assert (a.output, a.baseline, a.evaluations) == (0, 1.5, 2 * 6)
    assert a.extras["baseline_error"] == pytest.approx(0.5)
    assert a.extras["value_error"] == pytest.approx((2 * 0.25 / 6) ** 0.5)


@pytest.mark.parametrize("name", ["banzhaf", "exact_shapley", "kernel_shap", "occlusion"])
def test_the_error_of_scores_is_that_of_their_mean_over_draws(name: str) -> None:
    """The referee explains with one background at a time."""
    model = bw.Model.from_callable(lambda rows: [(r.count("G") + 1.0) ** 2 for r in rows], ["x"])
    sequences = ["GACCTG", "TTGGAC", "CCGATG"]

    def by(some: list[str], draws: int) -> bw.Attribution:
        masking = {"type": "background", "sequences": some, "draws": draws}
        return explained(model, "AGACGA", masking, name)

    alone = [by([sequence], 1) for sequence in sequences]
    together = by(sequences, 3)
    scores = np.array([a.scores for a in alone])
    np.testing.assert_allclose(together.scores, scores.mean(0))
    assert together.standard_error is not None
    error = scores.std(0, ddof=1) / 3**0.5
    assert error.max() > 0.1
    np.testing.assert_allclose(together.standard_error, error, atol=1e-9)
    assert all("value_error" not in a.extras for a in alone)


def test_the_error_of_drawing_coalitions_is_added() -> None:
    """Both are independent: their squares add up."""
    model = bw.Model.from_callable(lambda rows: [(r.count("G") + 1.0) ** 2 for r in rows], ["x"])
    masking = {"type": "sampled", "draws": 4}
    a = explained(model, "AGACGATTGCA", masking, "kernel_shap", evaluations=60)
    assert a.standard_error is not None
    alone = explained(model, "AGACGATTGCA", "n", "kernel_shap", evaluations=60)
    assert alone.standard_error is not None
    assert (a.standard_error > 0).all()
    assert a.standard_error.mean() > alone.standard_error.mean()


def test_an_estimator_that_was_led_elsewhere_has_no_error_of_draws() -> None:
    """It looks at the unit that is worth more, which is another one in each draw."""

    def greedy(game: Game) -> Any:
        values = yield np.eye(2, dtype=bool)
        first = np.arange(2) == values.argmax()
        third = yield np.stack([first, np.ones(2, bool)])
        return Estimate(third)

    game = Game(2, draws=2)
    rows = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], bool)
    game.learn(keys_of(rows[1:]), np.array([[3.0, 0.0], [0.0, 2.0], [3.0, 2.0]]))
    found = error_of_draws(game, lambda: greedy)
    assert found is not None
    np.testing.assert_allclose(found, [0.5, 0.5])  # 3 or 2, and again, over sqrt(2)

    def narrow(game: Game) -> Any:
        values = yield rows[1:3]
        third = yield rows[:1] if values[1] > values[0] else rows[3:]
        return Estimate(third)

    assert error_of_draws(game, lambda: narrow) is None


def test_a_rule_has_no_errors_but_says_how_far_values_are_uncertain() -> None:
    a = explained(of_module(Additive()), "ACGTA", "sampled", "anchors", samples=20, evaluations=60)
    assert a.standard_error is None
    assert a.extras["value_error"] >= 0


# ------------------------------------------------------------------------------ background


def test_the_same_places_of_backgrounds_are_shown() -> None:
    seen: list[str] = []

    def see(rows: list[str]) -> list[float]:
        seen.extend(rows)
        return [0.0] * len(rows)

    masking = {"type": "background", "sequences": ["CCGGTT", "AC"], "draws": 1}
    model = bw.Model.from_callable(see, ["x"])
    explained(model, "AAAA", masking, units={"type": "windows", "size": 2})
    assert set(seen) == {"AAAA", "CCGG", "CCAA", "AAGG"}


def test_backgrounds_are_drawn_without_replacement_and_never_the_record_itself() -> None:
    masking = MASKINGS.build(
        {"type": "background", "sequences": ["AAA", "CCC", "GGG", "AAA", "TTT"], "draws": 3}
    )
    for seed in range(9):
        drawn = masking.drawn(bw.Record("r", "AAA"), np.random.default_rng(seed))
        assert sorted(drawn[:, 0]) == [1, 2, 3]


def test_backgrounds_of_a_file_and_of_a_composition(tmp_path: Path) -> None:
    (tmp_path / "back.fa").write_text(">a\nccgg\n>b\nCCGTA\n")
    masking = {"type": "background", "file": str(tmp_path / "back.fa"), "draws": 2}
    a = explained(counting("C"), "AAAA", masking)
    np.testing.assert_allclose(a.scores, [-1, -1, 0, 0])
    assert a.settings["masking"]["file"] == str(tmp_path / "back.fa")
    shares = MASKINGS.build(
        {"type": "background", "composition": [0.1, 0.2, 0.3, 0.4], "draws": 400}
    )
    drawn = shares.drawn(bw.Record("r", "A" * 50), np.random.default_rng(0))
    assert drawn.shape == (400, 50)
    found = np.bincount(drawn.ravel(), minlength=4) / drawn.size
    np.testing.assert_allclose(found, [0.1, 0.2, 0.3, 0.4], atol=0.015)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, r"come from one of file = '...', sequences = \[...\] and composition"),
        ({"sequences": ["A"], "composition": [0.25] * 4}, "give one of them"),
        ({"sequences": ["ACX"]}, "sequences are spelled in the letters A, C, G, T and N"),
        ({"composition": [0.5, 0.5, 0.5, 0.5]}, "four positive probabilities"),
    ],
)
def test_backgrounds_that_are_none_are_refused(settings: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        MASKINGS.build({"type": "background", **settings})
    assert "\n" not in str(caught.value)


def test_too_short_backgrounds_are_refused_with_the_record() -> None:
    masking = {"type": "background", "sequences": ["ACG", "ACGTT", "AAAA"], "draws": 2}
    said = r"Record 'r' has 4 bases, and 1 of 3 background sequences are other .*fewer draws\.$"
    with pytest.raises(DataError, match=said):
        explained(counting("G"), "AAAA", masking)


# ------------------------------------------------------------------------------ deletion


def test_what_is_deleted_is_gone_and_the_rest_moves_up() -> None:
    seen: list[str] = []

    def see(rows: list[str]) -> list[float]:
        seen.extend(rows)
        return [float(len(row)) for row in rows]

    model = bw.Model.from_callable(see, ["bases"])
    a = explained(model, "ACGTACG", "deletion", units={"type": "windows", "size": 3})
    assert set(seen) == {"ACGTACG", "N", "TACG", "ACGG", "ACGTAC"}
    np.testing.assert_array_equal(a.scores, [3, 3, 1])
    assert (a.output, a.baseline, a.extras["positions_shift"]) == (7, 1, 1)
    kept = explained(model, "ACGTACG", "n", units={"type": "windows", "size": 3})
    assert "positions_shift" not in kept.extras


def test_deleted_tokens_leave_their_ids_out_and_special_ones_stay() -> None:
    """All three 3-mers that cover base 3 go; where all go, one unknown token stays."""
    model = kmer_bert()
    tokens = model.tokenizer.encode("ACGTACG")
    at = np.arange(7)
    units = np.stack([at, at + 1], axis=1)
    board = MASKINGS.build("deletion").switchboard(
        bw.Record("r", "ACGTACG"), tokens, units, model, np.random.default_rng(0)
    )
    present = np.ones((3, 7), bool)
    present[1, 3] = present[2] = False
    ids, lengths = board.rows(present, model)
    assert lengths.tolist() == [7, 4, 3]
    first, *_, last = tokens.ids.tolist()
    assert ids[0].tolist() == tokens.ids.tolist()
    assert ids[1, :4].tolist() == [first, tokens.ids[1], tokens.ids[5], last]
    assert ids[2, :3].tolist() == [first, model.tokenizer.unknown_id, last]
    assert (ids[1, 4:] == model.tokenizer.pad_id).all()


def test_a_shortened_row_has_the_value_of_the_shorter_sequence() -> None:
    """On a network that takes any length, leaving bases out is the same as not having them."""
    model = tiny_cnn()
    a = explained(model, "ACGTACGTTGCA", "deletion", units={"type": "windows", "size": 5})
    short = [bw.Record(s, s) for s in ("CGTTGCA", "ACGTACA", "ACGTACGTTG")]
    p = model.predict([bw.Record("r", "ACGTACGTTGCA"), *short])[:, -1]
    odds = np.log(p / (1 - p))
    np.testing.assert_allclose(a.scores, odds[0] - odds[1:], atol=1e-5)


def test_a_module_that_takes_one_length_a_call_cannot_be_shortened() -> None:
    with pytest.raises(
        CapabilityError, match=r"^Additive takes sequences of one length a call, .*"
    ):
        explained(of_module(Additive()), "ACGTA", "deletion")


# ------------------------------------------------------------------------------ in-fill

PAIRS = Kmer(k=2, stride=2)  # 16 tokens side by side: few enough to enumerate


def bert(cls: Any, seed: int, tokenizer: Any = PAIRS, **more: Any) -> Any:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=32,
        initializer_range=0.8,
        pad_token_id=tokenizer.pad_id,
        **more,
    )
    return cls(config).eval()


@pytest.fixture(scope="module")
def classifier() -> bw.Model:
    network = bert(BertForSequenceClassification, 1, num_labels=2)
    return bw.Model(network, PAIRS, ("no", "yes"), name="pairs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("language")
    bw.Model(bert(BertForMaskedLM, 6), PAIRS, (), "language", "tokens").save(path)
    return str(path)


def odds(model: bw.Model, sequences: list[str]) -> Any:
    p = model.predict([bw.Record(s, s) for s in sequences])[:, 1]
    return np.log(p / (1 - p))


def distributions(folder: str, sequence: str, hidden: list[int]) -> Any:
    """The language model's probabilities of the 16 pairs at hidden tokens, (h, 16)."""
    language = bw.Model.load(folder)
    ids = PAIRS.encode(sequence).ids.copy()
    ids[np.array(hidden) + 1] = PAIRS.mask_id
    with torch.no_grad():
        logits = language.network(input_ids=torch.from_numpy(ids[None])).logits[0]
    return logits[np.array(hidden) + 1, 5:].double().softmax(1).numpy()


SPELLED = ["".join(pair) for pair in product("ATCG", repeat=2)]  # DNABERT's order


@pytest.mark.parametrize("given", ["present", "others"])
def test_infill_draws_from_the_language_model(classifier: Any, folder: str, given: str) -> None:
    """The mean over draws tends to the sum over all tokens of probability times value."""
    masking = {"type": "infill", "model": folder, "given": given, "draws": 3000}
    a = explained(classifier, "ACGTTG", masking, units="tokens")
    assert a.standard_error is not None
    for unit in range(3):
        p = distributions(folder, "ACGTTG", [unit])[0]
        rows = ["ACGTTG"[: 2 * unit] + pair + "ACGTTG"[2 * unit + 2 :] for pair in SPELLED]
        expected = a.output - p @ odds(classifier, rows)
        assert abs(a.scores[unit] - expected) < 4 * a.standard_error[unit]
        assert 0 < a.standard_error[unit] < 0.05
        assert abs(a.scores[unit]) > 0.1 or abs(expected) < 0.2


def test_what_is_absent_together_is_drawn_from_the_product(classifier: Any, folder: str) -> None:
    """All four bases are hidden: 256 words, each pair by its own distribution."""
    masking = {"type": "infill", "model": folder, "draws": 3000}
    a = explained(classifier, "ACGT", masking, units="tokens")
    first, second = distributions(folder, "ACGT", [0, 1])
    words = [x + y for x in SPELLED for y in SPELLED]
    expected = np.outer(first, second).ravel() @ odds(classifier, words)
    assert abs(a.baseline - expected) < 4 * a.extras["baseline_error"]
    others = explained(classifier, "ACGT", masking | {"given": "others"}, units="tokens")
    first = distributions(folder, "ACGT", [0])[0]
    second = distributions(folder, "ACGT", [1])[0]
    spoken = np.outer(first, second).ravel() @ odds(classifier, words)
    assert abs(others.baseline - spoken) < 4 * others.extras["baseline_error"]
    assert abs(spoken - expected) > 4 * a.extras["baseline_error"]  # they are not the same
    np.testing.assert_allclose(others.scores, a.scores, atol=1e-6)  # one at a time, they are


def test_only_tokens_of_known_bases_are_drawn(classifier: Any, folder: str) -> None:
    tokens = PAIRS.encode("ACGTTGCA")
    board = MASKINGS.build({"type": "infill", "model": folder, "draws": 50}).switchboard(
        bw.Record("r", "ACGTTGCA"), tokens, tokens.spans[1:-1], classifier, np.random.default_rng(0)
    )
    ids, lengths = board.rows(np.zeros((1, 4), bool), classifier)
    assert lengths is None
    assert ids[:, 1:-1].min() >= 5
    np.testing.assert_array_equal(ids[:, [0, -1]], np.tile(tokens.ids[[0, -1]], (50, 1)))


def test_some_draws_of_an_infill_are_those_of_all(classifier: Any, folder: str) -> None:
    tokens = PAIRS.encode("ACGTTGCA")
    board = MASKINGS.build({"type": "infill", "model": folder, "draws": 9}).switchboard(
        bw.Record("r", "ACGTTGCA"), tokens, tokens.spans[1:-1], classifier, np.random.default_rng(0)
    )
    present = np.array([[True, False, True, False]])
    rows, _ = board.rows(present, classifier)
    some, _ = board.only(slice(2, 6)).rows(present, classifier)
    assert torch.equal(some, rows[2:6])
    assert len(rows.unique(dim=0)) > 4


def refused(model: bw.Model, language: str, said: str) -> None:
    with pytest.raises(CapabilityError, match=said) as caught:
        explained(model, "ACGTTGCA", {"type": "infill", "model": language})
    assert "\n" not in str(caught.value)


def test_models_that_cannot_be_filled_in_are_refused(
    classifier: bw.Model, folder: str, tmp_path: Path
) -> None:
    remedy = "use masking='shuffled', 'sampled' or 'background'"
    refused(tiny_cnn(), folder, rf"^This model's tokenizer has no mask token, .*; {remedy}\.$")
    refused(kmer_bert(), folder, rf"^The tokens of 'r' overlap .* spell no sequence; {remedy}\.$")
    classifier.save(tmp_path / "no")
    said = r"^pairs is no masked language model \(its head: BertForSequenceClassification\)"
    refused(classifier, str(tmp_path / "no"), said)
    causal = bert(BertLMHeadModel, 3, is_decoder=True)
    bw.Model(causal, PAIRS, (), "causal", "tokens").save(tmp_path / "causal")
    refused(classifier, str(tmp_path / "causal"), r"^causal is no masked language model")
    triplets = Kmer(k=3, stride=3)
    other = bert(BertForMaskedLM, 4, triplets)
    bw.Model(other, triplets, (), "triplets", "tokens").save(tmp_path / "other")
    refused(classifier, str(tmp_path / "other"), r"^triplets has other tokens than pairs; give")


def test_infill_needs_a_language_model() -> None:
    with pytest.raises(ConfigError, match=r"masking 'infill': .*the setting 'model' is needed"):
        EXPLAINERS.build({"type": "occlusion", "masking": "infill"})
