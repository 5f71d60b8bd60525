"""A pruned model computes the same on fewer rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import basewise as bw
from basewise.errors import CapabilityError
from basewise.models.pruning import prune_model
from basewise.tokenize.bpe import Bpe
from basewise.tokenize.kmer import Kmer
from tiny_bpe import write_tiny_bpe
from tiny_networks import tiny

RECORDS = [bw.Record("a", "TGCATTAAAG"), bw.Record("b", "GGACTTGCA")]


def bpe(folder: Path) -> Bpe:
    return Bpe(file=write_tiny_bpe(folder / "tokenizer.json", "plain"))


@pytest.mark.parametrize("name", ["basewise-dnabert2", "basewise-gena"])
def test_both_ways_give_the_same_outputs(name: str, tmp_path: Path) -> None:
    tokenizer = bpe(tmp_path)
    network = tiny(name, head="sequence_classification", num_labels=3)
    whole = bw.Model(network, tokenizer, ("a", "b", "c"))
    published = prune_model(whole, 3, compact=False)
    small = prune_model(whole, 3)
    assert published.network is network
    np.testing.assert_allclose(small.predict(RECORDS), published.predict(RECORDS), rtol=1e-5)
    assert np.abs(whole.predict(RECORDS) - small.predict(RECORDS)).max() > 1e-4
    rows = small.network.get_input_embeddings().weight
    assert len(rows) == small.tokenizer.vocabulary_size == small.network.config.vocab_size < 37
    kept = small.tokenizer.published_ids
    torch.testing.assert_close(rows, network.get_input_embeddings().weight[kept])
    small.save(tmp_path / "saved")
    again = bw.Model.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.predict(RECORDS), small.predict(RECORDS))
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "saved" / "tokenizer.json")
    )
    sequence = RECORDS[0].sequence
    assert theirs(sequence)["input_ids"] == small.tokenizer.encode(sequence).ids.tolist()


@pytest.mark.parametrize("tied", [True, False])
def test_language_models_lose_rows_of_their_decoder(tied: bool, tmp_path: Path) -> None:
    network = tiny("basewise-dnabert2", tie_word_embeddings=tied)
    whole = bw.Model(network, bpe(tmp_path), (), outputs="tokens")
    small = prune_model(whole, 3)
    kept = torch.from_numpy(small.tokenizer.published_ids)
    ids = torch.from_numpy(small.tokenizer.encode(RECORDS[0].sequence).ids)[None]
    with torch.no_grad():
        expected = network(input_ids=kept[ids]).logits[..., kept]
        torch.testing.assert_close(small.network(input_ids=ids).logits, expected)


def test_only_byte_pairs_are_pruned() -> None:
    network = tiny("basewise-gena", head="sequence_classification")
    with pytest.raises(CapabilityError, match="model reads Kmer tokens; only byte pairs"):
        prune_model(bw.Model(network, Kmer(k=2), ("a", "b")), 3)
