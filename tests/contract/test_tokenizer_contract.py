"""What every tokenizer in the table keeps to."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewise.errors import ConfigError, DataError, StoreError
from basewise.sequence.alphabet import encode_rows
from basewise.tokenize import TOKENIZERS, Tokenizer, load_tokenizer
from tiny_bpe import write_tiny_bpe

DNA = st.text(alphabet="ACGT", min_size=7, max_size=60)
DNA_N = st.lists(
    st.one_of(
        st.text(alphabet="ACGT", min_size=1, max_size=9), st.integers(1, 14).map("N".__mul__)
    ),
    min_size=7,
    max_size=12,
).map("".join)

EXAMPLES = {
    "nucleotide": [{}, {"layout": "hyenadna"}],
    "kmer": [{"k": 3}, {"k": 6, "special_tokens": False}, {"k": 4, "stride": 3}, {"k": 1}],
    "nucleotide_transformer": [{"version": 1}, {"version": 2}],
    "bpe": [{"style": "plain"}, {"style": "runs"}, {"style": "plain", "max_length": 2}],
}
CASES = [(name, made) for name, made_list in EXAMPLES.items() for made in made_list]


@pytest.fixture(scope="session")
def tiny_bpe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tiny_bpe")
    return {
        style: write_tiny_bpe(folder / style / "tokenizer.json", style)
        for style in ("plain", "runs")
    }


@pytest.fixture(scope="session", params=CASES, ids=[f"{name}-{made}" for name, made in CASES])
def tokenizer(request: pytest.FixtureRequest, tiny_bpe: dict[str, Path]) -> Tokenizer:
    name, made = request.param
    made = dict(made)
    if name == "bpe":
        made["file"] = tiny_bpe[made.pop("style")]
    return TOKENIZERS.get(name)(**made)


def test_every_tokenizer_of_the_table_is_tried():
    assert sorted(EXAMPLES) == TOKENIZERS.names()


@settings(max_examples=40, deadline=None)
@given(sequence=DNA_N)
def test_tokens_tile_the_sequence_and_spell_it(tokenizer: Tokenizer, sequence: str):
    tokens = tokenizer.encode(sequence)
    assert tokens.ids.dtype == tokens.spans.dtype == np.int64
    assert tokens.spans.shape == (len(tokens), 2)
    texts = tokenizer.vocabulary()
    covered = np.zeros(len(sequence), int)
    for i, (start, end) in zip(tokens.ids, tokens.spans, strict=True):
        if start == end:
            assert i in tokenizer.special_ids
            assert start in (0, len(sequence))
            continue
        covered[start:end] += 1
        letters = sequence[start:end]
        if i == tokenizer.unknown_id:
            assert "N" in letters
        elif texts[i] == "-":
            assert letters == "N" * len(letters)
            assert len(letters) >= 10
        else:
            assert texts[i] == letters
    assert covered.min() >= 1
    if TOKENIZERS.name_of(tokenizer) != "kmer":
        assert covered.max() == 1


@settings(max_examples=20, deadline=None)
@given(pieces=st.lists(DNA_N, min_size=2, max_size=5))
def test_rows_of_codes_give_the_ids_of_single_sequences(tokenizer: Tokenizer, pieces: list[str]):
    width = min(map(len, pieces))
    rows = [piece[:width] for piece in pieces]
    encoded = tokenizer.encode_codes(encode_rows(rows))
    assert encoded.ids.dtype == np.int64
    assert encoded.ids.shape == (len(rows), encoded.lengths.max())
    for row, ids, length in zip(rows, encoded.ids, encoded.lengths, strict=True):
        assert ids[:length].tolist() == tokenizer.encode(row).ids.tolist()
        assert (ids[length:] == tokenizer.pad_id).all()


@settings(max_examples=20, deadline=None)
@given(sequence=DNA, data=st.data())
def test_an_n_stays_local_where_that_is_promised(
    tokenizer: Tokenizer, sequence: str, data: st.DataObject
):
    at = data.draw(st.integers(0, len(sequence) - 1))
    changed = tokenizer.encode(sequence[:at] + "N" + sequence[at + 1 :])
    tokens = tokenizer.encode(sequence)
    if not tokenizer.frame_safe_n:
        return
    assert changed.spans.tolist() == tokens.spans.tolist()
    away = (tokens.spans[:, 0] > at) | (tokens.spans[:, 1] <= at)
    assert changed.ids[away].tolist() == tokens.ids[away].tolist()
    assert (changed.ids[~away] != tokens.ids[~away]).all()


def test_saved_and_pickled_tokenizers_come_back_equal(tokenizer: Tokenizer, tmp_path: Path):
    tokenizer.save(tmp_path)
    sequence = "ACGTTGCAACGNNNNNNNNNNNNTGACCATG"
    expected = tokenizer.encode(sequence)
    for other in (load_tokenizer(tmp_path), pickle.loads(pickle.dumps(tokenizer))):
        found = other.encode(sequence)
        assert found.ids.tolist() == expected.ids.tolist()
        assert found.spans.tolist() == expected.spans.tolist()
        assert other.vocabulary() == tokenizer.vocabulary()
        assert other.special == tokenizer.special


def test_the_vocabulary_and_its_roles_agree(tokenizer: Tokenizer):
    texts = tokenizer.vocabulary()
    assert tokenizer.vocabulary_size == len(texts)
    present = [text for text in texts if text]
    assert len(set(present)) == len(present)
    assert all(texts[i][0] in "[<" for i in tokenizer.special_ids)
    assert tokenizer.pad_id in tokenizer.special_ids
    assert tokenizer.mask_id is None or tokenizer.mask_id in tokenizer.special_ids


def test_tokens_that_are_bases_cover_base_after_base(tokenizer: Tokenizer):
    sequence = "ACGTNNACGT"
    spans = tokenizer.encode(sequence).spans[: len(sequence)].tolist()
    assert tokenizer.tokens_are_bases == (spans == [[i, i + 1] for i in range(len(sequence))])


def test_a_foreign_letter_is_named_with_its_place(tokenizer: Tokenizer):
    with pytest.raises(DataError, match=r"Letter 'X' at base 7 .* not one of ACGTN"):
        tokenizer.encode("ACGTACGXA")
    with pytest.raises(DataError, match=r"Code 9 at base 2 of row 1"):
        tokenizer.encode_codes(np.array([[0] * 8, [1, 1, 9, 0, 0, 0, 0, 0]], np.uint8))
    with pytest.raises(DataError, match=r"shape \(8,\): rows of sequences"):
        tokenizer.encode_codes(np.zeros(8, np.uint8))


def test_lower_case_reads_as_upper_case(tokenizer: Tokenizer):
    assert tokenizer.encode("acgtnacgt").ids.tolist() == tokenizer.encode("ACGTNACGT").ids.tolist()


def test_a_folder_without_a_tokenizer_says_what_is_missing(tmp_path: Path):
    with pytest.raises(StoreError, match=r"no tokenizer: neither basewise_tokenizer.json nor"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "not a tokenizer of format 1"),
        ('{"format": 2, "type": "kmer"}', "not a tokenizer of format 1"),
        ('{"format": 1, "type": "wordpiece"}', "no tokenizer of type 'wordpiece'; known are bpe"),
        ('{"format": 1, "type": "kmer", "k": 0}', "greater than or equal to 1"),
        ('{"format": 1, "type": "bpe", "file": "../elsewhere.json"}', "tokenizer.json does not"),
    ],
)
def test_broken_tokenizer_files_are_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "basewise_tokenizer.json").write_text(text)
    with pytest.raises(StoreError, match=message) as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_with_only_a_published_file_is_read(tiny_bpe: dict[str, Path]):
    folder = tiny_bpe["plain"].parent
    assert TOKENIZERS.name_of(load_tokenizer(folder)) == "bpe"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said["model"].update(type="WordPiece"), "type 'WordPiece'; only BPE"),
        (lambda said: said["model"]["vocab"].pop("G"), "no token for G; it is not a tokenizer"),
        (lambda said: said["model"].pop("merges"), "lacks the vocabulary or the merges"),
    ],
)
def test_a_foreign_tokenizer_json_is_refused(tmp_path: Path, change, message: str):
    path = write_tiny_bpe(tmp_path / "tokenizer.json", "plain")
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))
    with pytest.raises(StoreError, match=message):
        load_tokenizer(tmp_path)


def test_a_missing_setting_is_named():
    with pytest.raises(ConfigError, match="'k' is needed"):
        TOKENIZERS.build("kmer")
