"""One number per explainer that a reader can check by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import basewise as bw
from basewise.errors import CapabilityError, ConfigError, DataError
from basewise.explainers import EXPLAINERS
from basewise.explainers.count import costs
from basewise.explainers.game import play_one
from basewise.explainers.path import nodes, refinement
from basewise.types import Bools, Floats
from explained_models import Additive, of_module


def pair(present: Bools) -> Floats:
    """Units 0 and 1 only work together, for 6; unit 2 adds 2 by itself; nothing is worth 1."""
    return 1 + 6.0 * (present[:, 0] & present[:, 1]) + 2.0 * present[:, 2]


def game(name: str, value: Any = pair, u: int = 3, seed: int = 0, **settings: Any) -> Any:
    explainer = EXPLAINERS.build({"type": name} | settings)
    rng = np.random.default_rng(seed)
    return play_one(value, u, lambda game: explainer.estimate(game, rng))


def scores(name: str, **settings: Any) -> Floats:
    found: Floats = game(name, **settings)[1].scores
    return found


# ------------------------------------------------------------------------------ games


def test_the_ends_of_a_game() -> None:
    played, _ = game("occlusion")
    assert (played.full, played.empty, played.evaluations) == (9, 1, 2 + 3)


def test_occlusion_gives_the_whole_pair_to_each_member() -> None:
    np.testing.assert_allclose(scores("occlusion"), [6, 6, 2])


def test_exact_shapley_shares_the_pair() -> None:
    played, estimate = game("exact_shapley")
    np.testing.assert_allclose(estimate.scores, [3, 3, 2])
    assert played.evaluations == 8


@pytest.mark.parametrize("name", ["kernel_shap", "leverage_shap"])
def test_regressions_share_the_pair_after_all_eight_coalitions(name: str) -> None:
    played, estimate = game(name)
    np.testing.assert_allclose(estimate.scores, [3, 3, 2])
    np.testing.assert_array_equal(estimate.standard_error, 0)
    assert played.evaluations == 8


def test_permutation_shap_shares_the_pair_after_one_order_and_its_reverse() -> None:
    played, estimate = game("permutation_shap", evaluations=4)
    np.testing.assert_allclose(estimate.scores, [3, 3, 2])
    assert played.evaluations == 2 + 4


def test_partition_shap_shares_between_halves_first() -> None:
    """Halves {0} and {1, 2}: 8 at full. Alone 0 gives 0, {1, 2} gives 2: so 3 and 5.

    Of the 5, unit 1 gives 6 with 0 outside and 0 without: 3; unit 2 gives 2 either way.
    """
    np.testing.assert_allclose(scores("partition_shap"), [3, 3, 2])
    closed = scores("partition_shap", evaluations=2)
    np.testing.assert_allclose(closed, [3, 2.5, 2.5])


def test_banzhaf_halves_the_pair() -> None:
    """In half of the coalitions of the others the partner is there: 6 / 2 each, and 2."""
    played, estimate = game("banzhaf")
    np.testing.assert_allclose(estimate.scores, [3, 3, 2])
    three = scores("banzhaf", value=lambda z: 8.0 * z.all(1))
    np.testing.assert_allclose(three, [2, 2, 2])  # both partners are there in a quarter
    assert played.evaluations == 8


GAMES = ["banzhaf", "exact_shapley", "kernel_shap", "leverage_shap", "occlusion"]
GAMES += ["partition_shap"]


@pytest.mark.parametrize("name", [*GAMES, "permutation_shap"])
def test_a_single_unit_gets_everything(name: str) -> None:
    def single(present: Bools) -> Floats:
        return 5.0 * present[:, 0] - 2

    np.testing.assert_allclose(scores(name, value=single, u=1), [5])


def test_a_unit_that_does_nothing_gets_nothing() -> None:
    for name in (*GAMES, "permutation_shap"):
        found = scores(name, value=lambda z: pair(z[:, 1:]), u=4)
        np.testing.assert_allclose(found[0], 0, atol=1e-12)


def test_lime_far_and_near() -> None:
    """Two units that only work together, value 6: samples are 11, and 01, 10, 00 equally often.

    Each of the first two is a quarter of all samples, 00 half of them (one unit is switched off
    in half of the samples, both in the other half). With all weights equal the slope of the
    plane through 11: 6 (once), 01: 0, 10: 0, 00: 0 tends to 0 with the share of the one 11;
    when only samples near the sequence count, taking one unit away costs all of the 6.
    """

    def both(present: Bools) -> Floats:
        return 6.0 * (present[:, 0] & present[:, 1])

    drawn = {"value": both, "u": 2, "samples": 4000, "penalty": 1e-9}
    far = scores("lime", kernel_width=1e6, **drawn)
    near = scores("lime", kernel_width=6.0, **drawn)
    np.testing.assert_allclose(far, 0, atol=0.02)
    np.testing.assert_allclose(near, 6, atol=0.02)


def test_lime_recovers_a_plane_and_says_so() -> None:
    _, estimate = game("lime", value=lambda z: z @ np.array([2.0, -3.0, 0.5]), penalty=1e-9)
    np.testing.assert_allclose(estimate.scores, [2, -3, 0.5], atol=1e-6)
    assert estimate.extras["r2"] == pytest.approx(1)


@pytest.mark.parametrize("constant", [0.0, 7.3, -1e-9, 1e6 + 0.1])
@pytest.mark.parametrize("u", [1, 5, 12])
def test_lime_misses_nothing_of_a_constant(constant: float, u: int) -> None:
    _, estimate = game("lime", value=lambda z: np.full(len(z), constant), u=u, samples=60)
    np.testing.assert_allclose(estimate.scores, 0, atol=1e-12 * abs(constant))
    assert estimate.extras["r2"] == 1


def test_lime_tells_little_from_nothing() -> None:
    """What varies by a millionth of a constant is explained as well as without it."""
    bent = {"u": 5, "samples": 60}
    r2 = [
        game("lime", value=lambda z, more=more: z[:, 0] * z[:, 2] + more, **bent)[1].extras["r2"]
        for more in (0.0, 1e6)
    ]
    assert r2[0] < 0.95
    assert r2[1] == pytest.approx(r2[0], abs=1e-6)


def test_lime_keeps_the_features_asked_for() -> None:
    found = scores("lime", value=lambda z: z @ np.array([2.0, -3.0, 0.5]), features=2)
    assert [s == 0 for s in found] == [False, False, True]


def test_lime_distances() -> None:
    present = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    cosine = EXPLAINERS.build("lime").distances(present)
    euclidean = EXPLAINERS.build({"type": "lime", "distance": "euclidean"}).distances(present)
    np.testing.assert_allclose(cosine, [0, 50, 100])
    np.testing.assert_allclose(euclidean, [0, 100 * 3**0.5, 200])


# ------------------------------------------------------------------------------ budgets


@pytest.mark.parametrize(
    ("name", "least"), [("banzhaf", 80), ("kernel_shap", 80), ("leverage_shap", 60)]
)
def test_too_few_evaluations_are_refused(name: str, least: int) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"{name}: evaluations = {least - 1} is too few for 20 units; at least {least} are "
        r"needed\. Give more, or use larger units \(units='windows'\)\.",
    ):
        game(name, value=lambda z: z.sum(1), u=20, evaluations=least - 1)


def test_an_order_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluations = 37 is too few for 20 .* need 38\. Give"):
        game("permutation_shap", value=lambda z: z.sum(1), u=20, evaluations=37)


def test_exact_shapley_refuses_to_enumerate_a_sequence() -> None:
    with pytest.raises(CapabilityError, match=r"at most 16 units; this sequence has 17\. Use"):
        game("exact_shapley", value=lambda z: z.sum(1), u=17)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("exact_shapley", {}),
        ("permutation_shap", {"evaluations": 30}),
        ("leverage_shap", {"evaluations": 50}),
    ],
)
def test_a_budget_is_refused_by_the_record_that_needs_most(
    name: str, settings: dict[str, int]
) -> None:
    some = [bw.Record(f"r{b}", "A" * b) for b in (4, 18, 23, 20)]
    said = "^Record 'r23': .*23"
    with pytest.raises((ConfigError, CapabilityError), match=said):
        bw.explain(count("A"), some, name, "score", **settings)
    with pytest.raises((ConfigError, CapabilityError), match=said):
        costs(EXPLAINERS.build({"type": name} | settings), count("A"), some)
    with pytest.raises((ConfigError, CapabilityError), match=r"^Record 'r18': .*18"):
        bw.explain(count("A"), some[1:2], name, "score", **settings)


# ------------------------------------------------------------------------------ on sequences


class Square(nn.Module):
    """The square of the number of As."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0].sum(1) ** 2


class Saturated(nn.Module):
    """min(1, As): the first A is enough."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0].sum(1).clamp(max=1)


def of(module: nn.Module) -> bw.Model:
    return bw.Model.from_module(module, ["score"], outputs="values")


def test_integrated_gradients_of_a_square() -> None:
    """f = (number of As)**2 = 4 at CAGA; from zero each A contributes half of the 4."""
    settings = {"reference": "zero", "steps": 2, "tolerance": None}
    (a,) = bw.explain(
        of(Square()), [bw.Record("r", "CAGA")], "integrated_gradients", "score", **settings
    )
    np.testing.assert_allclose(a.scores, [0, 2, 0, 2], atol=1e-6)
    # Along the path n As count a * n each, so an A (or what else there is) has gradient 2 * a * 2,
    # 2 on average; a C would have had none.
    np.testing.assert_allclose(a.hypothetical, [[2, 0, 0, 0]] * 4, atol=1e-6)
    assert (a.output, a.baseline, a.evaluations) == (4, 0, 3)


def ask(name: str, sequence: str = "CAGA", module: Any = None, **settings: Any) -> Any:
    model = of(module or Square())
    return bw.explain(model, [bw.Record("r", sequence)], name, "score", **settings)[0]


def test_the_gradient_of_a_square() -> None:
    """With two As the slope along every A, there or not, is 4; along other bases it is none."""
    saliency = ask("saliency")
    np.testing.assert_allclose(saliency.scores, [4, 4, 4, 4])
    np.testing.assert_allclose(saliency.hypothetical, [[4, 0, 0, 0]] * 4)
    assert (saliency.output, saliency.evaluations) == (4, 1)
    assert np.isnan(saliency.baseline)
    centred = ask("saliency", centred=True)
    np.testing.assert_allclose(centred.scores, [3, 3, 3, 3])
    np.testing.assert_allclose(ask("saliency", centred=True, aggregate="abs_sum").scores, 6)
    np.testing.assert_allclose(ask("saliency", centred=True, aggregate="l2").scores, 12**0.5)
    np.testing.assert_allclose(ask("input_x_gradient").scores, [0, 4, 0, 4])
    np.testing.assert_allclose(ask("input_x_gradient", centred=True).scores, [-1, 3, -1, 3])


def test_smoothgrad_of_a_square() -> None:
    """The slope is 2 * (2 + the noise on the As): 4 on average; noise 0.1 leaves 0.4 on one."""
    a = ask("smoothgrad", draws=3000, noise=0.1)
    np.testing.assert_allclose(a.scores, 4, atol=5 * 0.4 / 3000**0.5)
    assert a.evaluations == 3001
    np.testing.assert_allclose(ask("smoothgrad", noise=1e-6).scores, 4, rtol=1e-5)


def test_expected_gradients_of_a_square() -> None:
    """One reference, no base at all: Integrated Gradients, 2 for each A."""
    a = ask("expected_gradients", reference="zero", draws=400)
    np.testing.assert_allclose(a.scores, [0, 2, 0, 2], atol=0.01)
    assert (a.output, a.baseline, a.evaluations) == (4, 0, 801)
    assert a.gap == pytest.approx(4 - a.scores.sum())


def test_expected_gradients_say_how_sure_they_are() -> None:
    """Shuffles of CAGATTACA; the mean of many draws is within the standard error of few."""
    few = [ask("expected_gradients", "CAGATTACA", draws=40, seed=s) for s in range(60)]
    many = ask("expected_gradients", "CAGATTACA", draws=20_000, reference={"type": "shuffled",
               "draws": 20_000})  # fmt: skip
    sure = many.standard_error > 0
    assert sure.sum() >= 4
    away = [(a.scores - many.scores)[sure] / a.standard_error[sure] for a in few]
    assert 0.6 < np.std(away) < 1.1  # places spread evenly: steadier than the error says


@pytest.mark.parametrize(
    ("reference", "draws"),
    [
        ({"type": "shuffled", "draws": 40}, 40),
        ({"type": "shuffled", "draws": 5}, 60),
        ({"type": "shuffled", "draws": 20}, 30),  # half of the starts have two lines
        (["zero", {"type": "shuffled", "draws": 4}], 50),
    ],
)
def test_the_error_of_expected_gradients_is_their_spread_over_seeds(
    reference: Any, draws: int
) -> None:
    """Lines from one shuffle tell one thing of an additive model, however many they are."""
    model, record = of_module(Additive()), bw.Record("r", "CAGATTACAGGCTTACGGATCC")
    found = [
        bw.explain(model, [record], "expected_gradients", "score", seed=s, reference=reference,
                   draws=draws)[0]
        for s in range(50)
    ]  # fmt: skip
    spread = np.var([a.scores for a in found], axis=0, ddof=1).mean()
    assert 0.85 < (np.mean([a.standard_error**2 for a in found]) / spread) ** 0.5 < 1.15


@pytest.mark.parametrize("reference", ["zero", ["zero", "uniform"], np.ones((7, 9, 4))])
def test_references_that_are_given_leave_an_additive_model_no_error(reference: Any) -> None:
    """What different references give is no error: they are the same with every seed."""
    (a,) = bw.explain(
        of_module(Additive()), [bw.Record("r", "CAGATTACA")], "expected_gradients", "score",
        reference=reference, draws=28,
    )  # fmt: skip
    np.testing.assert_allclose(a.standard_error, 0, atol=1e-12)


def test_given_references_of_a_line_each_have_the_error_of_drawn_ones() -> None:
    references = np.random.default_rng(0).normal(size=(7, 4, 4))
    a = ask("expected_gradients", reference=references, draws=7)
    assert a.standard_error is not None
    assert a.standard_error[1] > 0


@pytest.mark.parametrize("reference", [1, ["zero", 1]])
def test_one_shuffle_says_nothing_of_others(reference: Any) -> None:
    one = {"type": "shuffled", "draws": 1}
    given = one if reference == 1 else ["zero", one]
    assert ask("expected_gradients", "CAGATTACA", reference=given, draws=12).standard_error is None


@pytest.mark.parametrize("draws", [2, 3, 5])
def test_fewer_lines_than_references_leave_none_out_for_good(draws: int) -> None:
    """On CAGA, the reference with an A in place 1, in 3 or in both takes their share of the score.

    From each of three, x_1 + x_3 squared gives 3 or 1 times the place's own difference.
    """
    references = np.zeros((3, 4, 4))
    references[0, 1, 0] = references[1, 3, 0] = references[2, 1, 0] = references[2, 3, 0] = 1
    given = {"reference": references, "draws": draws}
    found = [ask("expected_gradients", seed=seed, **given).scores for seed in range(300)]
    even = ask("expected_gradients", **given | {"draws": 3 * 200}).scores
    np.testing.assert_allclose(even, [0, 1, 0, 1], atol=0.01)
    error = np.std(found, axis=0) / len(found) ** 0.5
    assert (np.abs(np.mean(found, axis=0) - even) < 4 * error + 0.01).all()
    assert error[1] > 0


def test_fewer_lines_than_kinds_of_references() -> None:
    given = {"reference": ["zero", {"type": "shuffled", "draws": 7}, "uniform"], "draws": 2}
    baselines = {ask("expected_gradients", seed=seed, **given).baseline for seed in range(40)}
    assert len(baselines) >= 3  # each pair of kinds comes


def test_steps_double_until_the_gap_is_small() -> None:
    """Three As are enough after a third of the path; no place of a trapezoid meets that kink."""
    settings = {"reference": "zero", "steps": 1}
    asked = (of(Saturated()), [bw.Record("r", "AATA")], "integrated_gradients", "score")
    (rough,) = bw.explain(*asked, tolerance=None, **settings)
    (fine,) = bw.explain(*asked, tolerance=0.01, **settings)
    assert rough.extras["steps"] == 1
    assert rough.gap == pytest.approx(-0.5)  # the mean of slopes 3 and 0, instead of 1
    assert fine.extras["steps"] >= 32
    assert abs(fine.gap) <= 0.01
    assert fine.evaluations == fine.extras["steps"] + 1  # no place is walked twice
    assert fine.extras["gap"] == pytest.approx(fine.gap, abs=1e-6)
    np.testing.assert_allclose(fine.scores, [1 / 3, 1 / 3, 0, 1 / 3], atol=0.01)


def test_doubled_steps_give_what_so_many_steps_give() -> None:
    model, some = of(Saturated()), [bw.Record("r", "AATA"), bw.Record("s", "CATG")]
    for rule in ("trapezoid", "gauss_legendre"):
        settings = {"reference": "zero", "rule": rule}
        at_once = bw.explain(
            model, some[:1], "integrated_gradients", "score", steps=16, tolerance=None, **settings
        )
        doubled = bw.explain(
            model,
            some,
            "integrated_gradients",
            "score",
            steps=2,
            tolerance=1e-9,
            most_steps=31,
            **settings,
        )
        assert doubled[0].extras["steps"] == 16
        assert doubled[1].extras["steps"] == 2  # a straight line: nothing to refine
        np.testing.assert_allclose(doubled[0].scores, at_once[0].scores, atol=1e-6)


def test_the_uniform_reference_centres_the_gradient() -> None:
    class Table(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * torch.arange(12.0).view(1, 4, 3) ** 2).sum((1, 2))

    (a,) = bw.explain(
        of(Table()), [bw.Record("r", "TAC")], "integrated_gradients", "score", reference="uniform"
    )
    table = (np.arange(12.0).reshape(4, 3) ** 2).T
    np.testing.assert_allclose(a.hypothetical, table - table.mean(1, keepdims=True), atol=1e-4)
    np.testing.assert_allclose(a.scores, a.hypothetical[[0, 1, 2], [3, 0, 1]], atol=1e-4)


def test_several_references_are_averaged_with_their_spread() -> None:
    record = bw.Record("r", "ACGTTGCAAT")
    (a,) = bw.explain(
        of(Square()),
        [record],
        "integrated_gradients",
        "score",
        reference={"type": "shuffled", "keep": "bases", "draws": 7},
    )
    assert a.evaluations == 7 * 51
    assert a.standard_error is not None
    assert a.standard_error.max() > 0
    assert a.extras["references"] == 7
    assert abs(a.gap) < 1e-5
    assert a.extras["gap"] == pytest.approx(a.gap, abs=1e-6)


def test_abs_sum_is_a_magnitude() -> None:
    (a,) = bw.explain(
        of(Square()),
        [bw.Record("r", "CAGA")],
        "integrated_gradients",
        "score",
        reference="uniform",
        aggregate="abs_sum",
    )
    assert a.kind == "ranking"
    assert (a.scores > 0).all()
    assert np.isnan(a.gap)
    assert abs(a.extras["gap"]) < 1e-5  # of the signed scores, which the steps were chosen by


def test_places_and_weights() -> None:
    at, weight = nodes("trapezoid", 4)
    np.testing.assert_allclose(at, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(weight, np.array([1, 2, 2, 2, 1]) / 8)
    at, weight = nodes("gauss_legendre", 3)  # exact for polynomials of degree 5
    np.testing.assert_allclose(weight @ at**5, 1 / 6)
    half_way, more, kept = refinement("trapezoid", 4)
    np.testing.assert_allclose(half_way, [0.125, 0.375, 0.625, 0.875])
    cube = kept * (nodes("trapezoid", 4)[1] @ nodes("trapezoid", 4)[0] ** 3) + more @ half_way**3
    np.testing.assert_allclose(cube, nodes("trapezoid", 8)[1] @ nodes("trapezoid", 8)[0] ** 3)


# ------------------------------------------------------------------------------ units, masking


def count(letters: str) -> Any:
    return bw.Model.from_callable(
        lambda rows: [float(sum(row.count(c) for c in letters)) for row in rows], ["score"]
    )


def explain_one(model: bw.Model, sequence: str, name: str = "occlusion", **settings: Any) -> Any:
    return bw.explain(model, [bw.Record("r", sequence)], name, "score", **settings)[0]


def test_windows_hide_all_their_bases() -> None:
    a = explain_one(count("G"), "GGATGGG", units={"type": "windows", "size": 3})
    np.testing.assert_array_equal(a.spans, [[0, 3], [3, 6], [6, 7]])
    np.testing.assert_allclose(a.scores, [2, 2, 1])
    np.testing.assert_allclose(a.per_base(), [2 / 3] * 6 + [1])
    assert (a.output, a.baseline) == (5, 0)


def test_an_absent_base_is_an_n() -> None:
    a = explain_one(count("N"), "ACNGT")
    np.testing.assert_allclose(a.scores, [-1, -1, 0, -1, -1])
    assert (a.output, a.baseline) == (1, 5)


def test_shuffles_keep_the_letters_where_all_are_absent() -> None:
    sequence = "AAACGTNCCA"
    for keep in ("bases", "dinucleotides"):
        a = explain_one(count("A"), sequence, masking={"type": "shuffled", "keep": keep})
        assert a.baseline == 4
        assert a.evaluations == 5 * (len(sequence) + 2)


def test_draws_are_averaged() -> None:
    settings = {"type": "sampled", "composition": "sequence", "draws": 400}
    a = explain_one(count("A"), "AACGTTTTTT", masking=settings)
    np.testing.assert_allclose(a.scores, [0.8, 0.8] + [-0.2] * 8, atol=0.1)
    b = explain_one(count("A"), "AACGTTTTTT", masking=settings | {"composition": "uniform"})
    np.testing.assert_allclose(b.scores, [0.75, 0.75] + [-0.25] * 8, atol=0.1)


def test_units_of_ones_own_are_checked() -> None:
    class Given:
        def __init__(self, *spans: tuple[int, int]):
            self.given = np.array(spans, np.int64).reshape(-1, 2)

        def spans(self, record: Any, tokens: Any) -> Any:
            return self.given

    def refused(*spans: tuple[int, int]) -> Any:
        units = {"units": Given(*spans)}
        return EXPLAINERS.build({"type": "occlusion"} | units).explain(
            count("A"), [bw.Record("r", "ACGTA")], count("A").target("score")
        )

    with pytest.raises(DataError, match=r"Record 'r' \(5 bases\) has no units to switch off\."):
        refused()
    with pytest.raises(DataError, match=r"The units of record 'r' overlap"):
        refused((2, 4), (0, 3))
    for wrong in ((3, 6), (-1, 2), (2, 2)):
        with pytest.raises(DataError, match=f"has a unit from {wrong[0]} to {wrong[1]}; units"):
            refused((0, 1), wrong)
