"""Labels of bases and of tokens: by hand, counted again one by one, and there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewise.errors import ConfigError, DataError, UnknownName
from basewise.tokenize import Tokenizer
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.labelling import IGNORED, Labelling, label_bases, spans_of
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.nucleotide_transformer import NucleotideTransformer
from basewise.types import Record, Span
from tiny_bpe import write_tiny_bpe

SPANS = np.array([[0, 0], [0, 4], [4, 7], [7, 8], [8, 8]])
#                  . . . .  . . .  .
BASES = np.array([0, 1, 1, 0, 1, 0, 1, 0])


@pytest.mark.parametrize(
    ("threshold", "comparison", "tokens"),
    [
        (0.5, ">", [0, 1, 0]),  # shares 2/4, 2/3, 0/1
        (0.5, ">=", [1, 1, 0]),
        (0.7, ">", [0, 0, 0]),
        (2 / 3, ">=", [0, 1, 0]),
        (0, ">", [1, 1, 0]),
    ],
)
def test_the_share_by_hand(threshold, comparison, tokens):
    labelling = Labelling(threshold=threshold, comparison=comparison)
    assert labelling.to_tokens(BASES, SPANS, 0).tolist() == [IGNORED, *tokens, IGNORED]


def test_a_share_is_no_matter_of_the_last_bit():
    assert 0.14 * 50 > 7
    seven = np.arange(50) < 7
    span = np.array([[0, 50]])
    for comparison, expected in ((">=", 1), (">", 0)):
        labelling = Labelling(threshold=0.14, comparison=comparison)
        assert labelling.to_tokens(seven.astype(int), span, 0).tolist() == [expected]


def test_of_several_labels_the_one_with_most_bases_counts():
    labels = np.array([[2, 2, 1, 0, 1, 1], [1, 2, 0, 0, 0, 0]])
    span = np.array([[0, 5], [5, 6]])
    assert Labelling(threshold=0.3).to_tokens(labels, span, 0).tolist() == [[1, 1], [0, 0]]
    # The background need not be the first label.
    assert Labelling(threshold=0.3).to_tokens(labels, span, 2).tolist() == [[1, 1], [0, 0]]


def test_overlapping_kmers_by_hand():
    # 3-mers of 6 bases; of them the first base (Z-DNABERT), or the mean of all that cover.
    spans = Kmer(k=3).encode("ACGTAC").spans
    labels = np.array([0, 0, 1, 1, 1, 0])
    first, mean = Labelling(rule="first"), Labelling()
    assert first.to_tokens(labels, spans, 0).tolist() == [IGNORED, 0, 0, 1, 1, IGNORED]
    assert mean.to_tokens(labels, spans, 0).tolist() == [IGNORED, 0, 1, 1, 1, IGNORED]
    values = np.array([9.0, 0.0, 0.3, 0.6, 1.2, 9.0])[:, None]
    assert first.to_bases(values, spans, 6)[:, 0].tolist() == [0.0, 0.3, 0.6, 1.2, 1.2, 1.2]
    expected = [0.0, 0.15, 0.3, 0.7, 0.9, 1.2]
    np.testing.assert_allclose(mean.to_bases(values, spans, 6)[:, 0], expected)


def test_bases_in_no_token_are_not_a_number():
    spans = Kmer(k=3, stride=5, special_tokens=False).encode("ACGTACGTACG").spans
    values = np.arange(3.0)[:, None]
    expected = [0, 0, 0, np.nan, np.nan, 1, 1, 1, 2, 2, 2]
    for rule in ("first", "share"):
        found = Labelling(rule=rule).to_bases(values, spans, 11)[:, 0]
        np.testing.assert_array_equal(found, expected)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory) -> list[Tokenizer]:
    from basewise.tokenize.bpe import Bpe

    file = write_tiny_bpe(tmp_path_factory.mktemp("bpe") / "tokenizer.json", "runs")
    fixed = [Nucleotide(), Nucleotide(layout="hyenadna"), Kmer(k=3), Kmer(k=4, stride=3)]
    return [
        *fixed,
        Kmer(k=2, stride=2, special_tokens=False),
        NucleotideTransformer(),
        Bpe(file=file),
    ]


@settings(max_examples=30, deadline=None)
@given(
    sequence=st.text(alphabet="ACGTN", min_size=8, max_size=40),
    seed=st.integers(0, 99),
    threshold=st.sampled_from([0.2, 0.5, 0.75]),
    comparison=st.sampled_from([">", ">="]),
)
def test_tokens_and_bases_one_by_one(tokenizers, sequence, seed, threshold, comparison):
    rng = np.random.default_rng(seed)
    b = len(sequence)
    labels = rng.integers(0, 2, b)
    for tokenizer in tokenizers:
        for rule in ("share", "first"):
            labelling = Labelling(rule=rule, threshold=threshold, comparison=comparison)
            (spans,) = spans_of(tokenizer, [sequence])
            np.testing.assert_array_equal(spans, tokenizer.encode(sequence).spans)
            found = labelling.to_tokens(labels, spans, 0)
            values = rng.random((len(spans), 2))
            bases = labelling.to_bases(values, spans, b)
            for (start, end), label in zip(spans.tolist(), found.tolist(), strict=True):
                if start == end:
                    assert label == IGNORED
                elif rule == "first":
                    assert label == labels[start]
                else:
                    share = labels[start:end].mean()
                    assert label == (
                        share > threshold or (share == threshold and comparison == ">=")
                    )
            for at in range(b):
                over = [i for i, (start, end) in enumerate(spans) if start <= at < end]
                expected = values[over].mean(0) if rule == "share" else values[over[-1]]
                np.testing.assert_allclose(bases[at], expected)


def test_labels_of_single_bases_come_back_as_they_were():
    labels = np.random.default_rng(0).integers(0, 3, (4, 9))
    (spans,) = spans_of(Nucleotide(), ["A" * 9])
    tokens = Labelling().to_tokens(labels, spans, 0)
    back = Labelling().to_bases(np.eye(3)[tokens], spans, 9)
    assert (back.argmax(-1) == labels).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"threshold": 1.2}, r"threshold = 1\.2: input should be less than or equal to 1"),
        ({"threshold": -0.1}, "threshold = -0.1: input should be greater than or equal to 0"),
        ({"threshold": 0, "comparison": ">="}, "threshold = 0 with '>=' labels every token; write"),
        ({"threshold": 1}, "threshold = 1 with '>' labels no token; write comparison = '>='"),
        ({"comparison": "<"}, "comparison = '<'"),
    ],
)
def test_bad_settings(given, said):
    with pytest.raises(ConfigError, match=said):
        Labelling(**given)


# ------------------------------------------------------------------------------- records

LABELS = ("background", "Z", "G4")


def test_labels_of_records():
    records = [
        Record("a", "ACGTA", truth=(Span(0, 2, "Z"), Span(4, 5, "G4"))),
        Record("b", "GGGGG"),
    ]
    assert label_bases(records, LABELS).tolist() == [[1, 1, 0, 0, 2], [0] * 5]
    assert label_bases(records, ("G4", "Z", "background")).tolist() == [[1, 1, 2, 2, 0], [2] * 5]


@pytest.mark.parametrize(
    ("truth", "labels", "error", "said"),
    [
        ((Span(3, 6, "Z"),), LABELS, DataError, r"'a': the stretch 3-6 \(Z\) is not within its 5"),
        ((Span(0, 3, "Z"), Span(2, 4, "G4")), LABELS, DataError, r"2-4 \(G4\) overlaps one of ano"),
        ((Span(0, 3, "z"),), LABELS, UnknownName, r"No label of this model named 'z'\."),
        ((), ("B", "Z"), UnknownName, "No label for bases in no stretch named 'background'"),
    ],
)
def test_stretches_that_cannot_be_labels(truth, labels, error, said):
    with pytest.raises(error, match=said):
        label_bases([Record("a", "ACGTA", truth=truth)], labels)
