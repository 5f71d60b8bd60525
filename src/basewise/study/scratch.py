"""Models of a study that are trained from scratch on its data."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, model_validator

from basewise.errors import ConfigError
from basewise.models import NETWORKS
from basewise.models.model import Model
from basewise.models.tracks import FileTrack
from basewise.registry import component
from basewise.study.source import (
    Head,
    Progress,
    as_labelling,
    as_training,
    labels_of,
    located,
    stages_of,
    train_in_windows,
    vocabulary_digest,
)
from basewise.tokenize import TOKENIZERS, Tokenizer
from basewise.tokenize.labelling import Labelling
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.nucleotide_transformer import NucleotideTransformer as SixMers
from basewise.train.training import Training
from basewise.types import Record

__all__ = [
    "BaseCnn",
    "BaseGraph",
    "BaseRecurrent",
    "BaseTwoScale",
    "BaseUNet",
    "Cnn",
    "CnnLstm",
    "Dnabert2",
    "Gena",
    "HyenaDna",
    "NucleotideTransformer",
]

OF_BASES = Training(batch_size=32, learning_rate=2e-3, sampling="presence")


@component
class FromScratch(ABC):
    """A network trained on the study's data.

    Attributes
    ----------
    network : table
        Settings of the network; see `basewise show network`.
    training : table
        Settings of `Training`.
    stages : list of tables
        Each a stage of training, one after the other on the same split; it changes settings of
        `training` and, where bases are labelled, the `threshold` of the labelling and the `width`
        of windows that records are cut into. One stage without changes where empty.
    """

    type_: ClassVar[str]

    network: dict[str, Any] = Field(default_factory=dict)
    training: Annotated[Training, PlainValidator(as_training)] = Training()
    stages: list[dict[str, Any]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _stages_are_settings(self) -> FromScratch:
        stages_of(self.training, self.stages)
        return self

    def located(self, root: Path | None) -> FromScratch:
        tracks = [located(each, root) for each in self.network.get("tracks", [])]
        return replace(self, network=self.network | {"tracks": tracks}) if tracks else self

    def origin(self) -> str:
        tracks = self.network.get("tracks", [])
        return "".join(FileTrack(**each).digest() for each in tracks if isinstance(each, dict))

    def model(
        self,
        name: str,
        train: Sequence[Record],
        dev: Sequence[Record],
        folder: Path,
        seed: int,
        progress: Progress,
    ) -> Model:
        """Train the network, choosing the epoch on dev; resumes from checkpoints in `folder`."""
        fresh = self.untrained(name, train, folder, seed)
        return train_in_windows(
            fresh, self.training, self.stages, train, dev, folder, seed, progress
        )

    def untrained(self, name: str, train: Sequence[Record], folder: Path, seed: int) -> Model:
        """The network with its first weights; a vocabulary that is learned goes to `folder`."""
        import torch

        of_bases = self._of_bases()
        labels, cls = labels_of(train, of_bases is not None), NETWORKS.get(self.type_)
        tokenizer = self._tokenizer(train, folder)
        known = set(cls.config_class().to_diff_dict()) | set(vars(cls.config_class()))
        if unknown := set(self.network) - known:
            raise ConfigError(
                f"network {self.type_!r} has no setting {min(unknown)!r}; see "
                f"`basewise show network {self.type_}`."
            )
        settings = self._settings(train, tokenizer) | self.network
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = cls(cls.config_class(num_labels=len(labels), **settings))
        return Model(
            network=network,
            tokenizer=tokenizer,
            labels=labels,
            name=name,
            labelling=of_bases or Labelling(),
        )

    @property
    def of_bases(self) -> bool:
        return self._of_bases() is not None

    def _of_bases(self) -> Labelling | None:
        """How labels of bases become labels of tokens; None where sequences are labelled."""
        return None

    def _tokenizer(self, train: Sequence[Record], folder: Path) -> Tokenizer:
        return Nucleotide()

    def _settings(self, train: Sequence[Record], tokenizer: Tokenizer) -> dict[str, Any]:
        """The network's settings that follow from the data; the study's own come over them."""
        return {}


@component
class Cnn(FromScratch):
    """The one-hot CNN; it knows positions where all training sequences have one length."""

    type_: ClassVar[str] = "basewise-cnn"

    def _settings(self, train: Sequence[Record], tokenizer: Tokenizer) -> dict[str, Any]:
        lengths = {len(record.sequence) for record in train}
        return {"positions": lengths.pop() if len(lengths) == 1 else 0}


@component
class CnnLstm(FromScratch):
    """Convolutions, then an LSTM; for sequences of any length."""

    type_: ClassVar[str] = "basewise-cnn-lstm"


@component
class BaseNetwork(FromScratch):
    """A network on bases with a label for every base."""

    training: Annotated[Training, PlainValidator(as_training)] = OF_BASES

    def _of_bases(self) -> Labelling:
        return Labelling()


@component
class BaseCnn(BaseNetwork):
    """The one-hot CNN with a label for every base."""

    type_: ClassVar[str] = "basewise-base-cnn"


@component
class BaseGraph(BaseNetwork):
    """A graph network on the chain of bases (GCN, GAT, GraphSAGE), a label for every base."""

    type_: ClassVar[str] = "basewise-graph"


@component
class BaseRecurrent(BaseNetwork):
    """A recurrent network along the bases, a label for every base."""

    type_: ClassVar[str] = "basewise-recurrent"


@component
class BaseTwoScale(BaseNetwork):
    """What is near says where, what is around whether; a label for every base."""

    type_: ClassVar[str] = "basewise-two-scale"


@component
class BaseUNet(BaseNetwork):
    """A U-Net with a label for every base."""

    type_: ClassVar[str] = "basewise-unet"


SMALL = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 256,
}
CAREFUL = Training(epochs=10, batch_size=64, learning_rate=5e-4)


@component
class LanguageModel(FromScratch):
    """A small network with the architecture of a genome language model, trained from scratch.

    Attributes
    ----------
    head : str
        Whether sequences are labelled or, by `token_classification`, their bases.
    labelling : table
        How labels of bases and of tokens become each other, where bases are labelled: `rule`,
        `threshold`, `comparison`; see `basewise.tokenize.labelling.Labelling`.
    tokenizer : table or None
        Instead of the architecture's own, such as `{ type = "kmer", k = 6 }`. For byte pairs
        either a file, `{ type = "bpe", file = "tokenizer.json" }`, relative to the data folder
        that the run is given, or, without a table, a vocabulary learned on the training sequences.
    entries : int
        Of a learned vocabulary of byte pairs.
    max_length : int or None
        Bases of its longest token; longer ones are pruned.
    """

    small: ClassVar[Mapping[str, Any]] = SMALL

    head: Head = "sequence_classification"
    labelling: Annotated[Labelling, PlainValidator(as_labelling)] = Labelling()
    tokenizer: dict[str, Any] | None = None
    entries: Annotated[int, Field(ge=10)] = 512
    max_length: Annotated[int, Field(ge=1)] | None = None
    training: Annotated[Training, PlainValidator(as_training)] = CAREFUL

    @model_validator(mode="after")
    def _tokenizer_is_known(self) -> LanguageModel:
        if self.tokenizer is not None:
            TOKENIZERS.build(self.tokenizer)
            if self.max_length is not None:
                raise ValueError("max_length is of a learned vocabulary; give it in the tokenizer")
        return self

    def _of_bases(self) -> Labelling | None:
        return self.labelling if self.head == "token_classification" else None

    def located(self, root: Path | None) -> LanguageModel:
        return replace(self, tokenizer=self.tokenizer and located(self.tokenizer, root))

    def _tokenizer(self, train: Sequence[Record], folder: Path) -> Tokenizer:
        if self.tokenizer is None:
            return self._own(train, folder)
        built: Tokenizer = TOKENIZERS.build(self.tokenizer)
        return built

    def origin(self) -> str:
        return vocabulary_digest(self.tokenizer)

    def _own(self, train: Sequence[Record], folder: Path) -> Tokenizer:
        from basewise.tokenize.learning import learn_bpe

        sequences = [record.sequence for record in train]
        found = learn_bpe(sequences, self.entries, folder / "vocabulary" / "tokenizer.json")
        if self.max_length is None:
            return found
        return replace(found, max_length=self.max_length, compact=True)

    def _settings(self, train: Sequence[Record], tokenizer: Tokenizer) -> dict[str, Any]:
        return {
            "head": self.head,
            "vocab_size": tokenizer.vocabulary_size,
            "pad_token_id": tokenizer.pad_id,
            **self.small,
        }


@component
class Dnabert2(LanguageModel):
    """A small DNABERT-2 (0.7 M weights unless told otherwise)."""

    type_: ClassVar[str] = "basewise-dnabert2"


@component
class Gena(LanguageModel):
    """A small GENA-LM (0.7 M weights unless told otherwise)."""

    type_: ClassVar[str] = "basewise-gena"


@component
class NucleotideTransformer(LanguageModel):
    """A small Nucleotide Transformer of version 2 on 6-mers (1.2 M weights)."""

    type_: ClassVar[str] = "basewise-nucleotide-transformer"

    def _own(self, train: Sequence[Record], folder: Path) -> Tokenizer:
        return SixMers(version=2)


@component
class HyenaDna(LanguageModel):
    """A small HyenaDNA on bases, with the sizes of tiny-1k (0.4 M weights)."""

    type_: ClassVar[str] = "basewise-hyenadna"
    small: ClassVar[Mapping[str, Any]] = {}

    def _own(self, train: Sequence[Record], folder: Path) -> Tokenizer:
        return Nucleotide(layout="hyenadna")
