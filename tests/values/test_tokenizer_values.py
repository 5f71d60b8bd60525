"""Tokens a reader can check by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from basewise.errors import ConfigError, DataError, StoreError
from basewise.tokenize.bpe import Bpe
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.nucleotide_transformer import NucleotideTransformer
from basewise.tokenize.pruning import audit_pruning, prune_bpe
from tiny_bpe import write_tiny_bpe


def test_nucleotide_layouts():
    plain, hyenadna = Nucleotide(), Nucleotide(layout="hyenadna")
    assert plain.encode("ACGTN").ids.tolist() == [0, 1, 2, 3, 4]
    assert (plain.pad_id, plain.mask_id, plain.unknown_id) == (5, None, None)
    assert hyenadna.encode("ACGTN").ids.tolist() == [7, 8, 9, 10, 11, 1]
    assert hyenadna.encode("AC").spans.tolist() == [[0, 1], [1, 2], [2, 2]]
    assert (hyenadna.pad_id, hyenadna.mask_id, hyenadna.unknown_id) == (4, 3, 6)
    assert hyenadna.letter_ids.tolist() == [7, 8, 9, 10, 11]
    assert Nucleotide().encode("").spans.shape == (0, 2)


def test_kmers_are_numbered_in_the_order_atcg():
    tokens = Kmer(k=3).encode("AATN")
    assert tokens.ids.tolist() == [2, 5 + 1, 1, 3]  # [CLS], AAT is the second 3-mer, [UNK], [SEP]
    assert tokens.spans.tolist() == [[0, 0], [0, 3], [1, 4], [4, 4]]
    assert Kmer(k=2, special_tokens=False).encode("GG").ids.tolist() == [5 + 15]


def test_a_last_window_is_set_against_the_end():
    tokens = Kmer(k=4, stride=3, special_tokens=False).encode("ACGTACGTA")
    assert tokens.spans.tolist() == [[0, 4], [3, 7], [5, 9]]
    with pytest.raises(DataError, match="3 bases holds no 6-mer; sequences of at least 6"):
        Kmer(k=6).encode("ACG")


@pytest.mark.parametrize(("version", "first"), [(1, 4), (2, 6)])
def test_nucleotide_transformer_frames(version: int, first: int):
    tokens = NucleotideTransformer(version=version).encode("AAAAATACNAAAAAAG")
    a, t, c, g, n = range(first + 4096, first + 4101)
    assert tokens.ids.tolist() == [3, first + 1, a, c, n, first, g]
    assert tokens.spans.tolist() == [[0, 0], [0, 6], [6, 7], [7, 8], [8, 9], [9, 15], [15, 16]]
    assert t == NucleotideTransformer(version=version).encode("T").ids[1]


@pytest.mark.parametrize("version", [1, 2])
def test_nucleotide_transformer_equals_the_greedy_pattern(version: int):
    tokenizer = NucleotideTransformer(version=version)
    texts = {text: i for i, text in enumerate(tokenizer.vocabulary())}
    rng = np.random.default_rng(5)
    for length in range(40):
        sequence = "".join(rng.choice(list("ACGTN"), length, p=[0.24] * 4 + [0.04]))
        pieces = re.findall("[ACGT]{6}|.", sequence)
        tokens = tokenizer.encode(sequence)
        assert tokens.ids.tolist() == [3, *(texts[piece] for piece in pieces)]
        assert (tokens.spans[1:, 1] - tokens.spans[1:, 0]).tolist() == [len(p) for p in pieces]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("bases", [0, 1, 5, 6, 7, 23, 24])
def test_rows_without_n_are_encoded_alike_beside_one_with_n(version, bases):
    tokenizer = NucleotideTransformer(version=version)
    codes = np.random.default_rng(bases).integers(0, 4, (3, bases + 1)).astype(np.uint8)
    codes[:, -1] = 4
    ids, lengths = tokenizer.encode_codes(codes)  # the N behind all bases is a token more
    whole = tokenizer.encode_codes(codes[:, :-1])
    np.testing.assert_array_equal(whole.ids, ids[:, :-1])
    np.testing.assert_array_equal(whole.lengths, lengths - 1)


def test_bpe_by_hand(tmp_path: Path):
    tokenizer = Bpe(file=write_tiny_bpe(tmp_path / "tokenizer.json", "plain"))
    texts = tokenizer.vocabulary()
    tokens = tokenizer.encode("TTAAANTGCA")
    assert [texts[i] for i in tokens.ids] == ["[CLS]", "TTAAA", "[UNK]", "TGCA", "[SEP]"]
    assert tokens.spans.tolist() == [[0, 0], [0, 5], [5, 6], [6, 10], [10, 10]]


def test_a_run_of_n_is_one_token_that_covers_it_whole(tmp_path: Path):
    tokenizer = Bpe(file=write_tiny_bpe(tmp_path / "tokenizer.json", "runs"))
    tokens = tokenizer.encode("CA" + "N" * 12 + "G" + "N" * 2)
    texts = tokenizer.vocabulary()
    assert [texts[i] for i in tokens.ids] == ["[CLS]", "CA", "-", "G", "N", "N", "[SEP]"]
    assert tokens.spans.tolist() == [
        [0, 0], [0, 2], [2, 14], [14, 15], [15, 16], [16, 17], [17, 17],
    ]  # fmt: skip


def test_pruning_keeps_ids_or_maps_them(tmp_path: Path):
    file = write_tiny_bpe(tmp_path / "tokenizer.json", "plain")
    whole, kept = Bpe(file=file), prune_bpe(file, max_length=2)
    short = prune_bpe(whole, max_length=2, compact=True)
    sequence = "TTAAATGCA"
    assert [kept.vocabulary()[i] for i in kept.encode(sequence).ids] == [
        "[CLS]", "TT", "AA", "A", "TG", "CA", "[SEP]",
    ]  # fmt: skip
    assert kept.vocabulary_size == 17  # GG is 16; AAA, TGCA and TTAAA, 13 to 15, are gone
    assert kept.vocabulary()[12:] == ["CA", "", "", "", "GG"]
    assert short.vocabulary()[12:] == ["CA", "GG"]
    compacted = short.encode(sequence)
    assert short.published_ids[compacted.ids].tolist() == kept.encode(sequence).ids.tolist()
    assert compacted.spans.tolist() == kept.encode(sequence).spans.tolist()
    assert kept.published_ids.tolist() == list(range(17))


def test_compacting_closes_the_holes_and_is_loaded_by_transformers(tmp_path: Path):
    from transformers import PreTrainedTokenizerFast

    file = write_tiny_bpe(tmp_path / "tokenizer.json", "runs")
    short = prune_bpe(file, max_length=2, compact=True)
    assert short.published_ids.tolist() == [*range(15), 18]
    short.save(tmp_path / "short")
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "short" / "tokenizer.json"))
    sequence = "TTAAAN" + "N" * 11 + "TGCAGG"
    assert theirs(sequence)["input_ids"] == short.encode(sequence).ids.tolist()
    written = json.loads((tmp_path / "short" / "published_ids.json").read_text())
    assert written == short.published_ids.tolist()


def test_pruning_is_audited(tmp_path: Path):
    file = write_tiny_bpe(tmp_path / "tokenizer.json", "plain")
    whole = Bpe(file=file)
    found = audit_pruning(whole, prune_bpe(file, 3), ["TTAAATGCA", "TTAAANA"])
    assert (found.entries_before, found.entries_after) == (17, 15)  # TGCA and TTAAA go
    assert (found.rows_before, found.rows_after, found.rows_unused) == (17, 17, 2)
    assert (found.tokens_before, found.tokens_after) == ((2 + 3) / 2, (4 + 4) / 2)
    assert (found.sequences, found.changed_text, found.unreachable) == (2, 0, ())


def test_an_unreachable_token_is_found(tmp_path: Path):
    file = write_tiny_bpe(tmp_path / "tokenizer.json", "plain")
    said = json.loads(file.read_text())
    said["model"]["vocab"]["TC"] = len(said["model"]["vocab"])  # no merge makes it
    file.write_text(json.dumps(said))
    assert audit_pruning(Bpe(file=file), prune_bpe(file, 3), ["ACGT"]).unreachable == ("TC",)


def test_pruning_refuses_what_it_cannot_do(tmp_path: Path):
    file = write_tiny_bpe(tmp_path / "tokenizer.json", "plain")
    with pytest.raises(ConfigError, match="already pruned to 2 bases"):
        prune_bpe(prune_bpe(file, 2), 3)
    with pytest.raises(ConfigError, match="greater than or equal to 1"):
        prune_bpe(file, 0)
    with pytest.raises(ConfigError, match="compact = true needs max_length"):
        Bpe(file=file, compact=True)
    with pytest.raises(StoreError, match="does not exist; give the path of a"):
        prune_bpe(tmp_path / "nothing.json", 3)
    with pytest.raises(DataError, match="at least one sequence"):
        audit_pruning(Bpe(file=file), prune_bpe(file, 3), [])
