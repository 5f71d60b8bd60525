"""Small models whose explanations are known, and small real networks whose are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from basewise import Model, Record
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.tokenize.bpe import Bpe
from basewise.tokenize.kmer import Kmer
from tiny_bpe import write_tiny_bpe

MOTIF, AT = "TATA", 5  # the planted signal and where it stands


def records(lengths: tuple[int, ...] = (11, 10, 12), seed: int = 0) -> list[Record]:
    """Random sequences with the motif in its place."""
    rng = np.random.default_rng(seed)
    made = []
    for i, length in enumerate(lengths):
        letters = "".join(rng.choice(list("ACG"), length))
        sequence = letters[:AT] + MOTIF + letters[AT + len(MOTIF) :]
        made.append(Record(f"r{i}", sequence))
    return made


class Additive(nn.Module):
    """The sum of a weight for every base at every place, and a constant."""

    def __init__(self, constant: float = 0.0):
        super().__init__()
        drawn = torch.Generator().manual_seed(4)
        self.constant = constant
        self.table = nn.Parameter(torch.randn(64, 4, generator=drawn, dtype=torch.double))

    def forward(self, x: Tensor) -> Tensor:
        return (x.transpose(1, 2) * self.table[: x.shape[2]]).sum((1, 2)) + self.constant

    def scores(self, sequence: str) -> Any:
        """What each base adds, beyond the mean over bases."""
        table = self.table.detach().numpy()[: len(sequence)]
        return table[np.arange(len(sequence)), ["ACGT".index(c) for c in sequence]] - table.mean(1)


class Planted(nn.Module):
    """How much of the motif stands in its place, and one more where all of it does."""

    def forward(self, x: Tensor) -> Tensor:
        letters = torch.tensor(["ACGT".index(c) for c in MOTIF])
        hits = x[:, letters, torch.arange(AT, AT + len(MOTIF))]
        return hits.sum(1) + (hits.sum(1) - len(MOTIF) + 1).relu()


class Whole(nn.Module):
    """Log-odds of 2 with the whole motif in its place, of -2 without."""

    def forward(self, x: Tensor) -> Tensor:
        letters = torch.tensor(["ACGT".index(c) for c in MOTIF])
        return 4 * x[:, letters, torch.arange(AT, AT + len(MOTIF))].prod(1).round() - 2


class Constant(nn.Module):
    """Reads the sequence and always says the same."""

    def __init__(self, says: float = 3.0):
        super().__init__()
        self.says = says

    def forward(self, x: Tensor) -> Tensor:
        return 0 * x.sum((1, 2)) + self.says


class Fragile(nn.Module):
    """Breaks down at its third call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.layer = nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise ZeroDivisionError("the model broke down")
        return self.layer(x.transpose(1, 2)).sum((1, 2))


def of_module(module: nn.Module) -> Model:
    """A model of a module that gives the log-odds of one label."""
    return Model.from_module(module, ["score"], name=type(module).__name__)


def tiny_cnn() -> Model:
    """A convolutional network with random weights and three classes."""
    torch.manual_seed(11)
    config = CnnConfig(channels=8, stem_kernel=5, dilations=[1, 2], hidden=6, num_labels=3)
    from basewise.tokenize.nucleotide import Nucleotide

    network = CnnForSequenceClassification(config)
    return Model(network, Nucleotide(), ("a", "b", "c"), name="cnn")


def tiny_bert(tokenizer: Any, name: str) -> Model:
    """A transformer with random weights and two classes on any tokenizer."""
    torch.manual_seed(12)
    config = BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=16,
        max_position_embeddings=64,
        initializer_range=0.5,
        pad_token_id=tokenizer.pad_id,
        num_labels=2,
    )
    return Model(BertForSequenceClassification(config), tokenizer, ("no", "yes"), name=name)


def kmer_bert() -> Model:
    """The tiny transformer on overlapping 3-mers."""
    return tiny_bert(Kmer(k=3), "kmers")


def bpe_bert(folder: Path) -> Model:
    """The tiny transformer on byte pairs."""
    return tiny_bert(Bpe(file=write_tiny_bpe(folder / "tokenizer.json", "plain")), "bpe")
