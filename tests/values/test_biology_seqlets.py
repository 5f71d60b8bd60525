"""Seqlets: by their definition, by hand, on noise, and on planted stretches."""

from __future__ import annotations

import numpy as np
import pytest

from basewise import Attribution, Target
from basewise.biology.seqlets import SEQLETS, call_seqlets
from basewise.errors import DataError


def attribution(scores, name, widths=None, **changes):
    """Scores of units of some widths, one base each unless said otherwise."""
    widths = np.ones(len(scores), int) if widths is None else np.asarray(widths)
    end = np.cumsum(widths)
    return Attribution(
        **{
            "record_id": name,
            "sequence": "".join(np.random.default_rng(3).choice(list("ACGT"), end[-1])),
            "model": "cnn",
            "target": Target("promoter"),
            "method": "occlusion",
            "kind": "additive",
            "spans": np.column_stack([end - widths, end]),
            "scores": np.asarray(scores, float),
            "output": 1.0,
            "baseline": 0.0,
            "evaluations": 9,
            "seed": 1,
        }
        | changes
    )


def noise(n=30, bases=150, seed=0, rng=None):
    rng = rng or np.random.default_rng(seed)
    return [attribution(rng.standard_t(4, bases), f"r{i}") for i in range(n)]


def slow_candidates(track, threshold, gap):
    """Start, end and mass, base by base."""
    track = track / np.sqrt((track**2).mean())
    found = []
    for sign in (1, -1):
        high = [i for i, x in enumerate(track) if sign * x >= threshold]
        runs = []
        for i in high:
            if runs and i - runs[-1][-1] - 1 <= gap:
                runs[-1].append(i)
            else:
                runs.append([i])
        found += [(run[0], run[-1] + 1, track[run[0] : run[-1] + 1].sum()) for run in runs]
    return sorted(found)


@pytest.mark.parametrize("gap", [0, 2])
def test_candidates_and_p_values_follow_the_definition(gap):
    found, null = noise(7, 41, seed=1), noise(800, 29, seed=2)
    table = call_seqlets(found, null=null, level=1, threshold=0.8, gap=gap)
    assert tuple(table.columns) == SEQLETS
    chance = [mass for a in null for _, _, mass in slow_candidates(a.per_base(), 0.8, gap)]
    row = iter(table.itertuples(index=False))
    for a in found:
        for start, end, mass in slow_candidates(a.per_base(), 0.8, gap):
            seen = next(row)
            assert (seen.record_id, seen.start, seen.end) == (a.record_id, start, end)
            assert seen.sequence == a.sequence[start:end]
            assert seen.score == pytest.approx(a.per_base()[start:end].sum())
            same = [abs(m) for m in chance if m * mass > 0]
            assert seen.p == pytest.approx(
                (1 + sum(m >= abs(mass) for m in same)) / (1 + len(same))
            )
    assert next(row, None) is None


@pytest.mark.parametrize("given", [False, True])
def test_noise_has_no_seqlets(given):
    rng = np.random.default_rng(4)
    called = 0
    for seed in range(40):
        null = noise(120, rng=rng) if given else None
        called += len(call_seqlets(noise(rng=rng), null=null, seed=seed)) > 0
    assert called <= 6  # 99.7 % of times, at 5 %


def test_planted_stretches_are_found_with_their_sign_and_place():
    rng = np.random.default_rng(5)
    found = []
    for i in range(60):
        track = rng.normal(0, 0.3, 200)
        track[40:47] += 1.2
        track[120:126] -= 1.2
        found.append(attribution(track, f"r{i}"))
    table = call_seqlets(found)
    for centre, sign in ((43, 1), (122, -1)):
        over = table[(table["start"] <= centre) & (centre < table["end"])]
        assert len(over) >= 57
        assert (np.sign(over["score"]) == sign).all()
        assert over["start"].median() == {1: 40, -1: 120}[sign]
        assert over["end"].median() == {1: 47, -1: 126}[sign]
    away = table[~table["start"].between(36, 48) & ~table["start"].between(116, 127)]
    assert len(away) <= 0.1 * len(table)  # at a level of 5 %
    assert (table["q"] <= 0.05).all()


def test_wide_units_are_not_taken_for_stretches():
    # One score of eight bases is one piece of evidence: permuting units keeps it whole.
    rng = np.random.default_rng(6)
    found = [attribution(rng.normal(size=25), f"r{i}", [8] * 25) for i in range(50)]
    assert len(call_seqlets(found)) <= 3
    bases = [attribution(a.per_base(), a.record_id) for a in found]
    assert len(call_seqlets(bases)) > 50  # as single bases the same tracks are stretches


def test_a_record_keeps_its_permutations_whatever_stands_beside_it():
    found = noise(40)
    every = call_seqlets(found, level=1, seed=2)
    assert every.equals(call_seqlets(found, level=1, seed=2))
    assert not every["p"].equals(call_seqlets(found, level=1, seed=3)["p"])


@pytest.mark.parametrize(
    "found, settings, says",
    [
        ([], {}, "There are no attributions"),
        (noise(2), {"level": 0}, "level is 0; it must be a share above 0, at most 1"),
        (noise(2), {"threshold": 0}, "threshold is 0; it must be above 0"),
        (noise(2), {"gap": -1}, "gap is -1; it must be 0 or more"),
        (noise(2), {"draws": 0}, "draws is 0; it must be 1 or more"),
        (noise(2), {"draws": 5}, r"need 1,000 candidates of the null; there are \d+ positive ones"),
        (noise(2), {"null": noise(3)}, "give more attributions as null"),
        (
            [*noise(1), attribution([1, 2], "x", method="lime")],
            {},
            r"of 2 methods \(lime, occlusion\); ask about one at a time",
        ),
        (
            noise(1),
            {"null": [attribution([1, 2], "x", model="lstm")]},
            r"of 2 models \(cnn, lstm\)",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(found, settings, says):
    with pytest.raises(DataError, match=says) as error:
        call_seqlets(found, **settings)
    assert "\n" not in str(error.value)


def test_attributions_without_a_score_have_no_seqlets():
    silent = [attribution(np.zeros(30), f"r{i}") for i in range(4)]
    assert call_seqlets(silent).empty
