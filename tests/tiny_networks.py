"""Small randomly initialised networks of every architecture, and where the golden ones lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, EsmConfig, EsmForMaskedLM

from basewise.models import NETWORKS
from basewise.models.network import Network

GOLDEN = Path(os.environ.get("BASEWISE_GOLDEN", Path(__file__).parents[2] / "shared" / "golden"))
GOLDEN_FOLDERS = sorted(GOLDEN.glob("*/config.json"))

PAD = {"basewise-nucleotide-transformer": 1, "basewise-hyenadna": 4, "esm": 1, "bert": 0}
BERT_SIZES = {
    "vocab_size": 37,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "intermediate_size": 40,
    "max_position_embeddings": 32,
}
SIZES: dict[str, dict[str, Any]] = {
    "basewise-dnabert2": BERT_SIZES | {"hidden_dropout_prob": 0.1},
    "basewise-gena": BERT_SIZES,
    "basewise-gena rotary": BERT_SIZES | {"position_embedding_type": "rotary", "rotary_dim": 2},
    "basewise-nucleotide-transformer": BERT_SIZES,
    "basewise-hyenadna": {
        "d_model": 24,
        "d_inner": 40,
        "n_layer": 3,
        "max_seq_len": 32,
        "filter_order": 10,
    },
}


def tiny(name: str, **settings: Any) -> Network:
    """A network of one architecture, wide enough in its weights that nothing is near zero."""
    cls = NETWORKS.get(name.split()[0])
    config = cls.config_class(**SIZES[name] | {"initializer_range": 0.2} | settings)
    torch.manual_seed(0)
    network: Network = cls(config).eval()
    with torch.no_grad():
        for key, weight in network.named_parameters():
            if key.endswith("bias"):
                weight.normal_(std=0.2)
    return network


def pad_id(network: Any) -> int:
    """The id that pads rows of this architecture."""
    return PAD.get(network.config.model_type, 3)


def library_networks() -> dict[str, Any]:
    """Networks that transformers has, as DNABERT and Nucleotide Transformer v1 use them."""
    torch.manual_seed(1)
    sizes = BERT_SIZES | {"initializer_range": 0.2}
    bert = BertConfig(**sizes, num_labels=3)
    esm = EsmConfig(**sizes, token_dropout=True, mask_token_id=2, pad_token_id=1)
    return {"bert": BertForSequenceClassification(bert).eval(), "esm": EsmForMaskedLM(esm).eval()}


def ragged_rows(pad: int, lengths: tuple[int, ...] = (19, 7, 12), above: int = 6) -> Any:
    """Ids (n, t) padded on the right, and their mask; no special tokens but the pads."""
    drawn = torch.Generator().manual_seed(5)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(above, above + 5, mask.shape, generator=drawn)
    return ids.masked_fill(~mask, pad), mask.long()


@contextmanager
def fresh_seed(seed: int) -> Iterator[None]:
    """A fixed state of torch's generator inside the block only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
