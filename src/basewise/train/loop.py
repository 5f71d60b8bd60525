"""transformers' Trainer, fitted to small networks, averaged weights and safe resuming.

Checkpoints are the library's: weights in safetensors, the states of optimizer, schedule and
random numbers as tensor files that are read with `weights_only` alone. The one pickle that
it adds, its own arguments, is deleted: nothing reads it.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from basewise.train.average import Average
from basewise.train.progress import Progress

__all__ = [
    "STATE",
    "Averaging",
    "CheckpointedTrainer",
    "Patience",
    "Tell",
    "last_whole_checkpoint",
    "stale",
    "undisturbed",
]

STATE = "trainer_state.json"
ARGUMENTS = "training_args.bin"


class CheckpointedTrainer(Trainer):
    """A Trainer that evaluates, keeps and restores the averaged weights where there are any.

    `sampler` draws the rows of an epoch; all of them in random order where None.
    """

    def __init__(
        self, *, average: Average | None, sampler: Sampler[int] | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.average, self.sampler = average, sampler

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return super()._get_train_sampler(train_dataset) if self.sampler is None else self.sampler

    def evaluate(self, *arguments: Any, **settings: Any) -> dict[str, float]:
        with self.average.in_place() if self.average else contextlib.nullcontext():
            found: dict[str, float] = super().evaluate(*arguments, **settings)
        return found

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        super()._save(output_dir, state_dict)
        folder = Path(output_dir or str(self.args.output_dir))
        (folder / ARGUMENTS).unlink(missing_ok=True)
        if self.average and self.args.should_save:
            self.average.save(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.average:
            self.average.load(Path(resume_from_checkpoint))

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: walking over the modules at every step would tell nobody anything."""
        return 0

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """Matrices decay; biases and the scales of normalisations do not."""
        return [name for name, parameter in model.named_parameters() if parameter.ndim > 1]

    def continued(self, checkpoint: Path) -> bool:
        """Take the state of a checkpoint and the best weights, if training had ended there."""
        state = TrainerState.load_from_json(str(checkpoint / STATE))
        ended = state.global_step >= state.max_steps or any(
            stale(state.log_history, callback.metric, callback.greater) >= callback.patience
            for callback in self.callback_handler.callbacks
            if isinstance(callback, Patience)
        )
        if ended:
            self.state = state
            self._load_best_model()
        return ended

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.average:
            self.average.load(Path(str(self.state.best_model_checkpoint)))
            self.average.keep()


class Averaging(TrainerCallback):
    """Moves the average after every step."""

    def __init__(self, average: Average) -> None:
        self.average = average

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.average.update(state.global_step)


class Patience(TrainerCallback):
    """Stops after so many evaluations without a better one."""

    def __init__(self, patience: int, metric: str, greater: bool) -> None:
        self.patience, self.metric, self.greater = patience, metric, greater

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if stale(state.log_history, self.metric, self.greater) >= self.patience:
            control.should_training_stop = True


def stale(history: list[dict[str, float]], metric: str, greater: bool) -> int:
    """How many evaluations have passed since the best one."""
    values = [(1 if greater else -1) * row[metric] for row in history if metric in row]
    return len(values) - 1 - int(np.argmax(values)) if values else 0


class Tell(TrainerCallback):
    """Tells how far training is, with the last evaluation as the note."""

    def __init__(self, progress: Progress, metric: str) -> None:
        self.progress, self.metric, self.note = progress, metric, ""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.progress(state.global_step, state.max_steps, self.note)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **told: Any,
    ) -> None:
        name = self.metric.removeprefix("eval_")
        self.note = f"epoch {state.epoch:.0f}, dev {name} {told['metrics'][self.metric]:.3f}"


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The latest checkpoint that was written to its end; pieces of others are deleted.

    The Trainer writes its state last, so a checkpoint whose state can be read is whole.
    """
    whole: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        try:
            state = json.loads((path / STATE).read_text(encoding="utf-8"))
            whole[int(state["global_step"])] = path
        except (OSError, ValueError, KeyError):
            shutil.rmtree(path)
    return whole[max(whole)] if whole else None


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """The random states of python, numpy and torch are the same after the block as before."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count())
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
