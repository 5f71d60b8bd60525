"""Exact ids of the published tokenizers, against their own files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from basewise.sequence.alphabet import decode_rows
from basewise.tokenize.bpe import Bpe
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.pruning import audit_pruning, prune_bpe

DATA = Path(__file__).parents[3] / "shared" / "data"
BPE = ["dnabert2_bpe4096", "gena_lm_t2t_1000h_multi_32k", "gena_lm_human_BPE_32k"]

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the shared data is not here")


def sequences(n: int, length: int, n_runs: bool = False) -> list[str]:
    rng = np.random.default_rng(11)
    codes = rng.integers(0, 4, (n, length)).astype(np.uint8)
    if n_runs:
        for row in codes:
            start = rng.integers(0, length - 20)
            row[start : start + rng.integers(1, 20)] = 4
    return decode_rows(codes)


@pytest.mark.parametrize("k", [3, 4, 5, 6])
def test_dnabert_vocabularies(k: int):
    lines = (DATA / f"tokenizers/dnabert_k{k}/vocab.txt").read_text().split("\n")
    assert Kmer(k=k).vocabulary() == [line for line in lines if line]


@pytest.mark.parametrize("name", BPE)
def test_bpe_ids_are_those_of_the_library(name: str):
    import tokenizers

    file = DATA / "tokenizers" / name / "tokenizer.json"
    theirs, ours = tokenizers.Tokenizer.from_file(str(file)), Bpe(file=file)
    assert ours.vocabulary_size == theirs.get_vocab_size()
    for sequence in sequences(20, 301) + sequences(20, 133, n_runs=True):
        tokens = ours.encode(sequence)
        assert tokens.ids.tolist() == theirs.encode(sequence).ids
        assert tokens.spans[0].tolist() == [0, 0]
        assert tokens.spans[1:, 0].tolist() == tokens.spans[:-1, 1].tolist()
        assert tokens.spans[-1].tolist() == [len(sequence)] * 2
        assert (np.diff(tokens.spans[1:-1]) > 0).all()


def test_dnabert2_pruned_to_five_is_the_published_pruned_tokenizer():
    published = json.loads((DATA / "zdna_llm_results/tokenizer/tokenizer.json").read_text())
    file = DATA / "tokenizers/dnabert2_bpe4096/tokenizer.json"
    pruned = prune_bpe(file, max_length=5)
    assert pruned.definition["model"]["vocab"] == published["model"]["vocab"]
    assert len(published["model"]["vocab"]) == 467
    merges = [
        tuple(m.split(" ") if isinstance(m, str) else m) for m in published["model"]["merges"]
    ]
    ours = pruned.definition["model"]["merges"]
    assert [tuple(m.split(" ") if isinstance(m, str) else m) for m in ours] == merges
    theirs = Bpe(file=DATA / "zdna_llm_results/tokenizer/tokenizer.json")
    for sequence in sequences(20, 211):
        assert pruned.encode(sequence).ids.tolist() == theirs.encode(sequence).ids.tolist()


@pytest.mark.parametrize("name", BPE[:2])
def test_compacted_tokenizers_name_the_same_tokens(name: str):
    file = DATA / "tokenizers" / name / "tokenizer.json"
    kept, short = prune_bpe(file, 5), prune_bpe(file, 5, compact=True)
    for sequence in sequences(10, 301) + sequences(10, 101, n_runs=name.startswith("gena")):
        ids = short.encode(sequence).ids
        assert short.published_ids[ids].tolist() == kept.encode(sequence).ids.tolist()
    found = audit_pruning(Bpe(file=file), short, sequences(50, 301))
    assert found.rows_unused == 0
    assert found.unreachable == ()
    assert found.changed_text == 0
    assert found.tokens_after > found.tokens_before
