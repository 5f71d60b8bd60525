"""The Z-forming energy against every assignment, every run and a plain search for the answer."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

from basewise.models.onehot import OneHot
from basewise.models.z_forming import ZForming, z_forming
from basewise.sequence.alphabet import encode, reverse_complement

# As printed in Z-HUNT-2 by form: anti-syn, syn-anti, and after a turn.
PUBLISHED = {
    "AA": (4.40, 4.40, 6.20),
    "AT": (6.20, 2.50, 6.20),
    "AG": (3.40, 3.30, 5.20),
    "AC": (5.20, 1.40, 5.20),
    "TA": (2.50, 6.20, 6.20),
    "TT": (4.40, 4.40, 6.20),
    "TG": (1.40, 5.20, 5.20),
    "TC": (3.30, 3.40, 5.20),
    "GA": (3.30, 3.40, 5.20),
    "GT": (5.20, 1.40, 5.20),
    "GG": (2.40, 2.40, 4.00),
    "GC": (4.20, 0.66, 4.00),
    "CA": (1.40, 5.20, 5.20),
    "CT": (3.40, 3.30, 5.20),
    "CG": (0.66, 4.20, 4.00),
    "CC": (2.40, 2.40, 4.00),
}
RT = 0.59004


def random_sequence(bases: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), bases))


def rows(sequence: str) -> torch.Tensor:
    return OneHot()(torch.from_numpy(encode(sequence).astype(np.int64))[None])


def enumerated(window: str) -> tuple[list[float], list[list[float]]]:
    """The energies of the best assignment (the first such), and those of all equally good ones."""
    pairs = [window[i : i + 2] for i in range(0, len(window), 2)]
    found = []
    for forms in product((0, 1), repeat=len(pairs)):
        turned = [i > 0 and forms[i] != forms[i - 1] for i in range(len(pairs))]
        if any(turned[1:2]):  # the first two have one form
            continue
        found.append(
            [PUBLISHED[p][2 if t else f] for p, f, t in zip(pairs, forms, turned, strict=True)]
        )
    lowest = min(map(sum, found))
    ties = [each for each in found if sum(each) < lowest + 1e-6]
    return ties[0], ties


def searched(energies: list[float]) -> float:
    """Where half of a window is Z, by bisection over the sum of all runs."""
    k = len(energies)
    runs = [
        (2 * 0.4 + 0.357 * (j - i), -sum(energies[i:j]) / RT)
        for i in range(k)
        for j in range(i + 1, k + 1)
    ]

    def untwisted(d: float) -> float:
        stiff = 1100 / 4363
        none = math.exp(-stiff * d * d + 10 / RT)
        q = [math.exp(e - stiff * (d - t) ** 2) for t, e in runs]
        return sum(t * w for (t, _), w in zip(runs, q, strict=True)) / (none + sum(q))

    low, high = 5.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if untwisted(middle) < 0.357 * k / 2 else (low, middle)
    return low


def score(window: str) -> float:
    return (29.6537135 - searched(enumerated(window)[0])) / 2.71997


@pytest.mark.parametrize("length", [1, 2, 5, 7])
def test_the_best_assignment_is_that_of_all_enumerated(length):
    sequence = random_sequence(40, length)
    found = ZForming(length, length).assigned(rows(sequence))
    assert found.shape == (1, 41 - 2 * length, length)
    for start, own in enumerate(found[0]):
        first, _ = enumerated(sequence[start : start + 2 * length])
        torch.testing.assert_close(own, torch.tensor(first))


def test_windows_of_one_length_have_the_score_that_a_search_finds():
    sequence = random_sequence(31, 9) + "CGCGCGTGCACGCG" + "TATATATATATATA"
    for length in (4, 6, 7):
        found, lengths = ZForming(length, length).windows(rows(sequence))
        assert found.shape == lengths.shape == (1, 60 - 2 * length)
        assert lengths.unique().tolist() == [length]
        for start in range(0, found.shape[1], 3):
            window = sequence[start : start + 2 * length]
            assert found[0, start].item() == pytest.approx(score(window), abs=1e-3)


def test_windows_grow_where_the_shortest_nearly_does_alone():
    sequence = "AAT" + "CA" * 9 + "TTGATG" + "TGTACGCGTGAC" + "CCGTACACGAGTAT" + "A" * 9
    shortest, longest = 6, 8
    found, lengths = ZForming(shortest, longest).windows(rows(sequence))
    grown = 0
    for start, (own, length) in enumerate(zip(found[0].tolist(), lengths[0].tolist(), strict=True)):
        by_length = {
            k: score(sequence[start : start + 2 * k]) for k in range(shortest, longest + 1)
        }
        if by_length[shortest] < 2.818:
            assert length == shortest
        else:
            grown += length > shortest
            assert own == pytest.approx(max(by_length.values()), abs=4e-3)
        assert own == pytest.approx(by_length[length], abs=1e-3)
    assert 3 < grown < len(found[0]) // 2


def test_a_base_has_the_best_of_the_windows_that_cover_it_or_end_before_it():
    sequence = random_sequence(17, 2) + "CACGCGCACACGCA" + random_sequence(12, 1)
    b, layer = len(sequence), ZForming(4, 6)
    (found,) = layer(rows(sequence)).tolist()
    ends = torch.nn.functional.pad(rows(sequence), (0, 0, 12, 11))
    scores, lengths = layer.windows(ends)
    assert {4, 6} <= set(lengths.unique().tolist())
    best = [-math.inf] * b
    for start, (own, length) in enumerate(
        zip(scores[0].tolist(), lengths[0].tolist(), strict=True)
    ):
        for base in range(max(start - 12, 0), min(start - 12 + 2 * length + 1, b)):
            best[base] = max(best[base], own)
    assert found == pytest.approx(best, abs=1e-5)


def test_regions_are_those_of_published_calls():
    # Calls on chromosome 14 of hg19, and the bases about them.
    for sequence in (
        "gtagctgggattACAGGCGTGCGCCaccacgcccagc",
        "agctgggcatggTGGCGTGCGCCTGTAgtcccagctacc",
        "aggtgaagCAGCGCGTGGGCTgatgactg",
        "gacccatcaGTGTGTGTGTGTACACATCtccacagac",
        "tgtggtgttcaTTCGCACACACACAGtttgctagtt",
    ):
        (found,) = z_forming(encode(sequence.upper())[None]) >= 2.98288
        assert (
            "".join(c.upper() if f else c for c, f in zip(sequence.lower(), found, strict=True))
            == sequence
        )


def test_what_turns_to_z_and_what_does_not():
    best = {
        s: float(z_forming(encode(s)[None]).max())
        for s in ("CG" * 10, "CA" * 10, "TA" * 10, "AA" * 10)
    }
    assert list(best) == sorted(best, key=best.__getitem__, reverse=True)
    assert best["CG" * 10] > 2.98 > best["TA" * 10]  # one random window in 700
    # Flanks pay for nothing: the repeat is found where it is.
    (scores,) = z_forming(encode("A" * 30 + "CG" * 10 + "A" * 30)[None])
    assert scores[30:50].min() > scores[:10].max() + 1
    assert scores[30:50].min() > scores[-10:].max() + 1


def test_both_strands_of_a_repeat_have_one_score_and_others_nearly():
    for sequence in ("CACGTGCGCG", "GGGCACACGTGT" * 2):
        one, other = (
            z_forming(encode(s)[None])[0] for s in (sequence, reverse_complement(sequence))
        )
        # What the first two dinucleotides may do and where a region ends differs by strand.
        np.testing.assert_allclose(one, other[::-1], atol=0.6)


def test_rows_and_pads_do_not_matter_to_each_other():
    sequences = [random_sequence(33, 5), random_sequence(33, 6)]
    together = z_forming(np.stack([encode(s) for s in sequences]))
    assert together.shape == (2, 33)
    np.testing.assert_allclose(together[1:], z_forming(encode(sequences[1])[None]), atol=1e-6)
    padded = torch.nn.functional.pad(rows(sequences[0]), (0, 0, 4, 30))
    np.testing.assert_allclose(ZForming()(padded)[0, 4:37].numpy(), together[0], atol=1e-5)


def test_gradients_are_those_of_small_steps():
    x = rows(random_sequence(20, 8)).double()
    x = (0.9 * x + 0.025).requires_grad_()
    layer = ZForming(4, 4)
    layer(x).sum().backward()
    step, at = 1e-2, [(3, 0), (9, 2), (14, 1), (0, 3)]
    for base, letter in at:
        moved = [x.detach().clone() for _ in range(2)]
        moved[0][0, base, letter] += step
        moved[1][0, base, letter] -= step
        with torch.no_grad():
            one, other = (layer(each).sum().item() for each in moved)
        assert x.grad[0, base, letter].item() == pytest.approx(
            (one - other) / 2 / step, rel=0.05, abs=0.02
        )


def test_energies_stay_exact_in_few_bits():
    layer, x = ZForming(), rows(random_sequence(30, 3))
    few = ZForming().to(torch.bfloat16)
    torch.testing.assert_close(few(x), layer(x), rtol=0, atol=0)
    assert few(x.bfloat16()).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x), few(x), rtol=0, atol=0)
