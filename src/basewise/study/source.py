"""Where a study's models come from, and what every such source needs.

Each component's verb is `model(name, train, dev, folder, seed, progress) -> Model`; before it,
`untrained(name, train, folder, seed) -> Model` shows what it would train.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol, TypeVar

from basewise.data.windows import pieces
from basewise.errors import ConfigError, DataError
from basewise.models.model import Model
from basewise.study.files import files_digest
from basewise.tokenize import TOKENIZERS, Tokenizer
from basewise.tokenize.labelling import Labelling
from basewise.train.finetuning import Stage, train_in_stages
from basewise.train.training import Training
from basewise.types import BACKGROUND, Record

__all__ = [
    "Head",
    "Progress",
    "Source",
    "as_labelling",
    "as_training",
    "labels_of",
    "located",
    "stages_of",
    "train_in_windows",
    "vocabulary_digest",
]

Progress = Callable[[int, int, str], None]
Head = Literal["sequence_classification", "token_classification"]
T = TypeVar("T")

OF_STAGES = ("threshold", "width")
"""What a stage may say beside settings of the training, where bases are labelled."""


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


def as_training(given: Any) -> Training | None:
    return Training(**given) if isinstance(given, dict) else given


def stages_of(training: Training, changes: Sequence[Mapping[str, Any]]) -> list[Training]:
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


def train_in_windows(
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
    for own, change in zip(stages_of(training, changes), [*changes] or [{}], strict=True):
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


def as_labelling(given: Any) -> Labelling:
    return Labelling(**given) if isinstance(given, dict) else given


def labels_of(records: Sequence[Record], of_bases: bool) -> tuple[str, ...]:
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


def located(settings: T, root: Path | None) -> T | dict[str, Any]:
    """Settings whose file, if they name one, is looked for in the folder: where it is by itself,
    since a model that was trained may be used from elsewhere."""
    if not isinstance(settings, dict) or "file" not in settings:
        return settings
    return settings | {"file": str(((root or Path()) / settings["file"]).absolute())}


def vocabulary_digest(settings: Mapping[str, Any] | None) -> str:
    """A hash of the tokenizer, whose vocabulary may lie in a file that its settings only name."""
    if settings is None:
        return ""
    tokenizer: Tokenizer = TOKENIZERS.build(settings)
    with TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        return files_digest(Path(folder))
