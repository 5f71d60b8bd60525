"""k-mers and shuffles: fast against slow, and against enumeration."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from basewise.errors import ConfigError
from basewise.sequence.alphabet import decode, encode, encode_rows, reverse_complement
from basewise.sequence.kmers import (
    canonical,
    count_kmers,
    kmer_numbers,
    kmer_texts,
    reverse_complement_numbers,
)
from basewise.sequence.shuffle import shuffle_dinucleotides, shuffle_mononucleotides

WORD = st.text(alphabet="ACGTN", max_size=30)
ROWS = st.integers(0, 25).flatmap(
    lambda b: st.lists(st.text(alphabet="ACGTN", min_size=b, max_size=b), min_size=1, max_size=4)
)


def slow_kmers(sequence: str, k: int) -> list[str]:
    return [sequence[i : i + k] for i in range(len(sequence) - k + 1)]


@given(sequence=WORD, k=st.integers(1, 8))
def test_numbers_spell_the_kmers(sequence: str, k: int):
    texts = kmer_texts(kmer_numbers(encode(sequence), k), k)
    assert texts == ["N" * k if "N" in kmer else kmer for kmer in slow_kmers(sequence, k)]


@given(sequence=st.text(alphabet="ACGTN", min_size=5, max_size=31))
def test_reverse_complements_of_numbers_are_those_of_letters(sequence: str):
    k = len(sequence)
    number = kmer_numbers(encode(sequence), k)
    other = kmer_numbers(encode(str(reverse_complement(sequence))), k)
    assert reverse_complement_numbers(number, k).tolist() == other.tolist()
    assert canonical(number, k).tolist() == [min(number[0], other[0])]


@given(rows=ROWS, k=st.integers(1, 3))
def test_counts_are_those_of_counting(rows: list[str], k: int):
    codes = encode_rows(rows)
    table, both = count_kmers(codes, k), count_kmers(codes, k, both_strands=True)
    for row, counts, folded in zip(rows, table, both, strict=True):
        found = Counter(kmer for kmer in slow_kmers(row, k) if "N" not in kmer)
        names = kmer_texts(np.arange(4**k), k)
        assert {n: c for n, c in zip(names, counts.tolist(), strict=True) if c} == found
        twice = Counter(min(kmer, str(reverse_complement(kmer))) for kmer in found.elements())
        assert {n: c for n, c in zip(names, folded.tolist(), strict=True) if c} == twice


def test_both_strands_of_a_sequence_count_alike():
    codes = np.random.default_rng(2).integers(0, 5, (3, 40)).astype(np.uint8)
    other = reverse_complement(codes)
    assert (count_kmers(codes, 4, True) == count_kmers(np.asarray(other), 4, True)).all()


@pytest.mark.parametrize("k", [0, 32])
def test_a_kmer_too_long_for_its_number_is_refused(k: int):
    with pytest.raises(ConfigError, match=f"k = {k}: a k-mer has 1 to 31 bases"):
        kmer_numbers(encode("ACGT"), k)
    with pytest.raises(ConfigError, match="columns is made for k up to 12"):
        count_kmers(encode_rows(["ACGT"]), 13)


@settings(deadline=None)
@given(rows=ROWS, seed=st.integers(0, 99), draws=st.integers(1, 3))
@pytest.mark.parametrize(
    ("shuffle", "k"), [(shuffle_mononucleotides, 1), (shuffle_dinucleotides, 2)]
)
def test_shuffles_keep_counts_and_unknown_bases(shuffle, k, rows, seed, draws):
    codes = encode_rows(rows)
    before = codes.copy()
    shuffled = shuffle(codes, np.random.default_rng(seed), draws)
    assert (codes == before).all()
    assert shuffled.shape == (len(rows), draws, codes.shape[1])
    assert shuffled.dtype == np.uint8
    assert ((shuffled == 4) == (codes == 4)[:, None]).all()
    for draw in range(draws):
        assert (count_kmers(shuffled[:, draw], k) == count_kmers(codes, k)).all()


def euler_walks(sequence: str) -> set[str]:
    """Every sequence with the first base and the dinucleotides of this one, by brute force."""
    counts = Counter(itertools.pairwise(sequence))

    def extend(walk: str, left: Counter[tuple[str, str]]) -> set[str]:
        if len(walk) == len(sequence):
            return {walk}
        found = set()
        for edge in [edge for edge, n in left.items() if n and edge[0] == walk[-1]]:
            found |= extend(walk + edge[1], left - Counter([edge]))
        return found

    return extend(sequence[0], counts)


# The last but one has few ways out of its loops, where a tree drawn carelessly is biased.
@pytest.mark.parametrize("sequence", ["ACGTACAGGT", "AACATATCAG", "CACACAACCAGAT", "GATTACAGATG"])
def test_dinucleotide_shuffles_are_uniform_over_the_euler_walks(sequence: str):
    walks = sorted(euler_walks(sequence))
    draws = 300 * len(walks)
    shuffled = shuffle_dinucleotides(encode_rows([sequence]), np.random.default_rng(1), draws)[0]
    found = Counter(map(decode, shuffled))
    assert sorted(found) == walks
    assert len(walks) >= 5
    assert chisquare([found[walk] for walk in walks]).pvalue > 1e-3


def test_each_stretch_between_unknown_bases_is_uniform_by_itself():
    left, right = euler_walks("ACGTACAGGT"), euler_walks("AATAACA")
    pairs = sorted(f"{a}NN{b}" for a, b in itertools.product(left, right))
    codes = encode_rows(["C" * 19, "ACGTACAGGTNNAATAACA", "N" * 19])
    shuffled = shuffle_dinucleotides(codes, np.random.default_rng(4), 200 * len(pairs))
    found = Counter(map(decode, shuffled[1]))
    assert sorted(found) == pairs
    assert chisquare([found[pair] for pair in pairs]).pvalue > 1e-3
    assert (shuffled[0] == 1).all()
    assert (shuffled[2] == 4).all()


def test_mononucleotide_shuffles_are_uniform():
    words = sorted({"".join(word) for word in itertools.permutations("AACG")})
    expected = [f"{word[:2]}N{word[2:]}" for word in words]
    draws = 300 * len(expected)
    shuffled = shuffle_mononucleotides(encode_rows(["GANCA"]), np.random.default_rng(6), draws)[0]
    found = Counter(map(decode, shuffled))
    assert sorted(found) == expected
    assert chisquare([found[word] for word in expected]).pvalue > 1e-3


@pytest.mark.parametrize("shuffle", [shuffle_mononucleotides, shuffle_dinucleotides])
def test_with_a_generator_per_row_a_row_does_not_depend_on_its_neighbours(shuffle):
    codes = np.random.default_rng(3).integers(0, 5, (4, 23)).astype(np.uint8)
    together = shuffle(codes, [np.random.default_rng(seed) for seed in range(4)], 3)
    for row in range(4):
        alone = shuffle(codes[row : row + 1], [np.random.default_rng(row)], 3)
        assert (alone[0] == together[row]).all()


@pytest.mark.parametrize("shuffle", [shuffle_mononucleotides, shuffle_dinucleotides])
def test_rows_beyond_one_block_of_memory_are_shuffled_too(shuffle, monkeypatch):
    codes = np.random.default_rng(3).integers(0, 4, (5, 30)).astype(np.uint8)
    rngs = [np.random.default_rng(seed) for seed in range(5)]
    whole = shuffle(codes, rngs, 2)
    monkeypatch.setattr("basewise.sequence.shuffle._BLOCK", 130)
    again = shuffle(codes, [np.random.default_rng(seed) for seed in range(5)], 2)
    assert (whole == again).all()
    assert (whole != codes[:, None]).any(axis=2).all()
