"""Models of a study that were saved or published, used as they are or fine-tuned on its data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator, model_validator

from basewise.models.hub import checkpoint_folder
from basewise.models.model import Model
from basewise.registry import component
from basewise.study.files import files_digest
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
from basewise.tokenize import TOKENIZERS
from basewise.tokenize.labelling import Labelling
from basewise.train.training import Training
from basewise.types import Record

__all__ = ["Checkpoint"]


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
    training: Annotated[Training | None, PlainValidator(as_training)] = None
    stages: list[dict[str, Any]] = Field(default_factory=list)
    head: Head = "sequence_classification"
    labelling: Annotated[Labelling | None, PlainValidator(as_labelling)] = None
    pooling: str | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> Checkpoint:
        if self.training is None and (self.stages or self.pooling):
            raise ValueError("stages and pooling are of a training; give training = { ... } too")
        if self.training is not None:
            if self.labels is not None:
                raise ValueError("labels of a model that is trained are those of the data")
            stages_of(self.training, self.stages)
        if self.tokenizer is not None:
            TOKENIZERS.build(self.tokenizer)
        return self

    @property
    def of_bases(self) -> bool:
        return self.training is not None and self.head == "token_classification"

    def located(self, root: Path | None) -> Checkpoint:
        return replace(self, tokenizer=self.tokenizer and located(self.tokenizer, root))

    def origin(self) -> str:
        weights = files_digest(checkpoint_folder(self.path, self.revision))
        return weights + vocabulary_digest(self.tokenizer)

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
        return train_in_windows(
            model, self.training, self.stages, train, dev, folder, seed, progress
        )

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
                labels=labels_of(train, self.head == "token_classification"),
                labelling=self.labelling,
                pooling=self.pooling,
                name=name,
            )
