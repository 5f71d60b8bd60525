"""Where a study's models come from: trained from scratch, or a saved one.

Each component's verb is `model(name, train, dev, folder, seed, progress) -> Model`; before it,
`untrained(name, train, folder, seed) -> Model` shows what it would train.
"""

from __future__ import annotations

import hashlib
from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

from pydantic import Field, PlainValidator, model_validator

from basewise.data.windows import pieces
from basewise.errors import ConfigError, DataError
from basewise.models import NETWORKS
from basewise.models.hub import checkpoint_folder
from basewise.models.model import Model
from basewise.models.tracks import FileTrack
from basewise.registry import component
from basewise.tokenize import TOKENIZERS, Tokenizer
from basewise.tokenize.labelling import Labelling
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.nucleotide_transformer import NucleotideTransformer as SixMers
from basewise.train.finetuning import Stage, train_in_stages
from basewise.train.training import Training
from basewise.types import BACKGROUND, Record

__all__ = [
    "BaseCnn",
    "BaseGraph",
    "BaseRecurrent",
    "BaseTwoScale",
    "BaseUNet",
    "Checkpoint",
    "Cnn",
    "CnnLstm",
    "Dnabert2",
    "Gena",
    "HyenaDna",
    "NucleotideTransformer",
    "Source",
    "files_digest",
]

Progress = Callable[[int, int, str], None]


class Source(Protocol):
    """Gives a model for a study's data."""

    @property
    def of_bases(self) -> bool:
        """Whether the model is known to label bases, and learns from labelled stretches."""

    def located(self, root: Path | None) -> Source:
        """The same, the files that it names looked for in the data folder of the run."""

    def origin(self) -> str:
        """What the model depends on beside the settings, the data and the seed."""

    def untrained(self, name: str, train: Sequence[Record], folder: Path, seed: int) -> Model:
        """The model as training finds it, for its outputs, tokens and abilities."""

    def model(
        self,
        name: str,
        train: Sequence[Record],
        dev: Sequence[Record],
        folder: Path,
        seed: int,
        progress: Progress,
    ) -> Model: ...


def _training(given: Any) -> Training | None:
    return Training(**given) if isinstance(given, dict) else given


def _stages(training: Training, changes: Sequence[Mapping[str, Any]]) -> list[Training]:
    """One training per stage: the settings of `training`, changed.

    Raises
    ------
    ConfigError
        If a stage has no such setting, a width below 1, or a threshold outside 0 to 1.
    """
    for change in changes:
        width = change.get("width", 1)
        if type(width) is not int or width < 1:
            raise ConfigError(f"stages: width = {width!r}; bases of a window are 1 or more.")
        Labelling(threshold=change.get("threshold", 0.5))
    own = [{k: v for k, v in change.items() if k not in OF_STAGES} for change in changes]
    return [replace(training, **change) for change in own] or [training]


def _train(
    model: Model,
    training: Training,
    changes: Sequence[Mapping[str, Any]],
    train: Sequence[Record],
    dev: Sequence[Record],
    folder: Path,
    seed: int,
    progress: Progress,
) -> Model:
    """All stages on one split, in windows that are cut out of its records."""
    rounds = []
    for own, change in zip(_stages(training, changes), [*changes] or [{}], strict=True):
        labelling = model.labelling
        if "threshold" in change:
            if not model.labels_tokens:
                raise ConfigError("stages: threshold is of labels of bases; this has none.")
            labelling = replace(labelling, threshold=change["threshold"])
        if "width" in change and not model.labels_tokens:
            raise ConfigError("stages: width cuts labels of bases; this model has none.")
        cut = [
            [each for record in some for each in pieces(record, change.get("width", len(record)))]
            for some in (train, dev)
        ]
        rounds.append(Stage(own, cut[0], cut[1], labelling))
    return train_in_stages(model, rounds, folder, seed=seed, progress=progress).model


def _labelling(given: Any) -> Labelling:
    return Labelling(**given) if isinstance(given, dict) else given


OF_STAGES = ("threshold", "width")
"""What a stage may say beside settings of the training, where bases are labelled."""

Head = Literal["sequence_classification", "token_classification"]


def _labels(records: Sequence[Record], of_bases: bool) -> tuple[str, ...]:
    """Of sequences their classes; of bases `background` and the names of labelled stretches."""
    if not of_bases:
        return tuple(sorted({str(record.label) for record in records}))
    names = {span.name for record in records for span in record.truth}
    if not names:
        raise DataError(
            f"None of {len(records)} training records has a labelled base; a model of bases learns "
            "from data of the type labelled_bases or labelled_genome."
        )
    return (BACKGROUND, *sorted(names))


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
    training: Annotated[Training, PlainValidator(_training)] = Training()
    stages: list[dict[str, Any]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _stages_are_settings(self) -> FromScratch:
        _stages(self.training, self.stages)
        return self

    def located(self, root: Path | None) -> FromScratch:
        tracks = [_located(each, root) for each in self.network.get("tracks", [])]
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
        return _train(fresh, self.training, self.stages, train, dev, folder, seed, progress)

    def untrained(self, name: str, train: Sequence[Record], folder: Path, seed: int) -> Model:
        """The network with its first weights; a vocabulary that is learned goes to `folder`."""
        import torch

        of_bases = self._of_bases()
        labels, cls = _labels(train, of_bases is not None), NETWORKS.get(self.type_)
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

    training: Annotated[Training, PlainValidator(_training)] = OF_BASES

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
    labelling: Annotated[Labelling, PlainValidator(_labelling)] = Labelling()
    tokenizer: dict[str, Any] | None = None
    entries: Annotated[int, Field(ge=10)] = 512
    max_length: Annotated[int, Field(ge=1)] | None = None
    training: Annotated[Training, PlainValidator(_training)] = CAREFUL

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
        return replace(self, tokenizer=self.tokenizer and _located(self.tokenizer, root))

    def _tokenizer(self, train: Sequence[Record], folder: Path) -> Tokenizer:
        if self.tokenizer is None:
            return self._own(train, folder)
        built: Tokenizer = TOKENIZERS.build(self.tokenizer)
        return built

    def origin(self) -> str:
        return _vocabulary_digest(self.tokenizer)

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


@component
class Checkpoint:
    """A saved or published model, used as it is or fine-tuned on the study's data.

    Attributes
    ----------
    path : str
        Its folder, or `"owner/name"` on the hub.
    revision : str or None
        Commit, tag or branch of a hub repository.
    tokenizer : table or None
        Instead of the one found beside the weights; a file of it is relative to the data folder.
    labels : list of str or None
        Names of the outputs of a model used as it is, in their order, where its
        configuration has others.
    training : table or None
        Settings of `Training`, `lora` among them; the checkpoint gets a new head for the
        classes of the study's data and is trained. Used as it is where None.
    stages : list of tables
        Stages of the training, each changing settings of `training`, `threshold` or `width`.
    head : str
        What the new head labels: sequences, or their bases (`token_classification`).
    labelling : table or None
        How labels of bases and of tokens become each other; what was saved with the
        checkpoint, otherwise.
    pooling : str or None
        What the new head reads; the mean of the tokens unless said otherwise.
    """

    path: str
    revision: str | None = None
    tokenizer: dict[str, Any] | None = None
    labels: list[str] | None = None
    training: Annotated[Training | None, PlainValidator(_training)] = None
    stages: list[dict[str, Any]] = Field(default_factory=list)
    head: Head = "sequence_classification"
    labelling: Annotated[Labelling | None, PlainValidator(_labelling)] = None
    pooling: str | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> Checkpoint:
        if self.training is None and (self.stages or self.pooling):
            raise ValueError("stages and pooling are of a training; give training = { ... } too")
        if self.training is not None:
            if self.labels is not None:
                raise ValueError("labels of a model that is trained are those of the data")
            _stages(self.training, self.stages)
        if self.tokenizer is not None:
            TOKENIZERS.build(self.tokenizer)
        return self

    @property
    def of_bases(self) -> bool:
        return self.training is not None and self.head == "token_classification"

    def located(self, root: Path | None) -> Checkpoint:
        return replace(self, tokenizer=self.tokenizer and _located(self.tokenizer, root))

    def origin(self) -> str:
        weights = files_digest(checkpoint_folder(self.path, self.revision))
        return weights + _vocabulary_digest(self.tokenizer)

    def model(
        self,
        name: str,
        train: Sequence[Record],
        dev: Sequence[Record],
        folder: Path,
        seed: int,
        progress: Progress,
    ) -> Model:
        """Load the checkpoint and, with a training, fine-tune it; resumes from `folder`."""
        model = self.untrained(name, train, folder, seed)
        if self.training is None:
            return model
        return _train(model, self.training, self.stages, train, dev, folder, seed, progress)

    def untrained(self, name: str, train: Sequence[Record], folder: Path, seed: int) -> Model:
        """The checkpoint, with a new head where there is a training."""
        import torch

        tokenizer = None if self.tokenizer is None else TOKENIZERS.build(self.tokenizer)
        if self.training is None:
            return Model.load(
                self.path,
                revision=self.revision,
                tokenizer=tokenizer,
                labels=self.labels,
                labelling=self.labelling,
                name=name,
            )
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # of the new head
            return Model.load(
                self.path,
                revision=self.revision,
                tokenizer=tokenizer,
                head=self.head,
                labels=_labels(train, self.head == "token_classification"),
                labelling=self.labelling,
                pooling=self.pooling,
                name=name,
            )


T = TypeVar("T")


def _located(settings: T, root: Path | None) -> T | dict[str, Any]:
    """Settings whose file, if they name one, is looked for in the folder: where it is by itself,
    since a model that was trained may be used from elsewhere."""
    if not isinstance(settings, dict) or "file" not in settings:
        return settings
    return settings | {"file": str(((root or Path()) / settings["file"]).absolute())}


def _vocabulary_digest(settings: Mapping[str, Any] | None) -> str:
    """A hash of the tokenizer, whose vocabulary may lie in a file that its settings only name."""
    if settings is None:
        return ""
    tokenizer: Tokenizer = TOKENIZERS.build(settings)
    with TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        return files_digest(Path(folder))


def files_digest(folder: Path) -> str:
    """A hash of a model's weights, labels and tokenizer: of all files of its folder."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(folder)}\n".encode())
        with open(path, "rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]
