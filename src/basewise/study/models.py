"""Where a study's models come from: trained from scratch, or a saved one.

Each component's verb is `model(name, train, dev, folder, seed, progress) -> Model`.
"""

from __future__ import annotations

import hashlib
from abc import ABC
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field, PlainValidator

from basewise.errors import ConfigError
from basewise.models import NETWORKS
from basewise.models.model import Model
from basewise.registry import component
from basewise.tokenize.nucleotide import Nucleotide
from basewise.train.training import Training
from basewise.types import Record

__all__ = ["Checkpoint", "Cnn", "CnnLstm", "Source", "files_digest"]

Progress = Callable[[int, int, str], None]


class Source(Protocol):
    """Gives a model for a study's data."""

    def origin(self) -> str:
        """What the model depends on beside the settings, the data and the seed."""

    def model(
        self,
        name: str,
        train: Sequence[Record],
        dev: Sequence[Record],
        folder: Path,
        seed: int,
        progress: Progress,
    ) -> Model: ...


def _training(given: Any) -> Training:
    return Training(**given) if isinstance(given, dict) else given


@component
class FromScratch(ABC):
    """A network trained on the study's data.

    Attributes
    ----------
    network : table
        Settings of the network; see `basewise show network`.
    training : table
        Settings of `Training`.
    """

    type_: ClassVar[str]

    network: dict[str, Any] = Field(default_factory=dict)
    training: Annotated[Training, PlainValidator(_training)] = Training()

    def origin(self) -> str:
        return ""

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
        import torch

        labels = tuple(sorted({str(record.label) for record in train}))
        cls = NETWORKS.get(self.type_)
        known = set(cls.config_class().to_diff_dict()) | set(vars(cls.config_class()))
        if unknown := set(self.network) - known:
            raise ConfigError(
                f"network {self.type_!r} has no setting {min(unknown)!r}; see "
                f"`basewise show network {self.type_}`."
            )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = cls(cls.config_class(num_labels=len(labels), **self._settings(train)))
        fresh = Model(network=network, tokenizer=Nucleotide(), labels=labels, name=name)
        return self.training.train(fresh, train, dev, folder, seed=seed, progress=progress).model

    def _settings(self, train: Sequence[Record]) -> dict[str, Any]:
        return dict(self.network)


@component
class Cnn(FromScratch):
    """The one-hot CNN; it knows positions where all training sequences have one length."""

    type_: ClassVar[str] = "basewise-cnn"

    def _settings(self, train: Sequence[Record]) -> dict[str, Any]:
        lengths = {len(record.sequence) for record in train}
        positions = lengths.pop() if len(lengths) == 1 else 0
        return {"positions": positions} | self.network


@component
class CnnLstm(FromScratch):
    """Convolutions, then an LSTM; for sequences of any length."""

    type_: ClassVar[str] = "basewise-cnn-lstm"


@component
class Checkpoint:
    """A saved model, used as it is.

    Attributes
    ----------
    path : str
        Its folder.
    """

    path: str

    def origin(self) -> str:
        return files_digest(Path(self.path))

    def model(
        self,
        name: str,
        train: Sequence[Record],
        dev: Sequence[Record],
        folder: Path,
        seed: int,
        progress: Progress,
    ) -> Model:
        return Model.load(self.path, name=name)


def files_digest(folder: Path) -> str:
    """A hash of a model's weights, labels and tokenizer: of all files of its folder."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(folder)}\n".encode())
        with open(path, "rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]
