"""Training a model on labelled records: the settings, and the verb that uses them."""

from __future__ import annotations

import copy
import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field, PlainValidator
from torch import Tensor
from torch.nn import functional
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
)

from basewise.errors import CapabilityError, ConfigError, UnknownName
from basewise.models.adapters import Lora
from basewise.models.checkpoints import quiet
from basewise.models.memory import memory_kept
from basewise.models.model import Model
from basewise.registry import component, settings_of
from basewise.store import fingerprint
from basewise.tokenize.labelling import IGNORED
from basewise.train.average import Average
from basewise.train.loop import (
    Averaging,
    CheckpointedTrainer,
    Patience,
    Tell,
    last_whole_checkpoint,
    undisturbed,
)
from basewise.train.metrics import matthews
from basewise.train.progress import Progress, shown
from basewise.train.rows import Batches, Presence, Rows, as_made, rows_of
from basewise.types import Record

__all__ = ["Fitted", "Trained", "Training"]

Loss = Callable[..., Tensor]

_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
# A network that wrote a checkpoint has them in its config; one that was read from there has not.
_SAID_BY_SAVING = {"architectures", "dtype"}
_COLUMNS = {
    "loss": "loss",
    "dev_loss": "eval_loss",
    "dev_mcc": "eval_mcc",
    "learning_rate": "learning_rate",
}


def _lora(given: Any) -> Lora | None:
    return Lora(**given) if isinstance(given, dict) else given


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network.

    Attributes
    ----------
    network : transformers.PreTrainedModel
        With the weights of the best epoch, in evaluation mode, on the CPU.
    history : DataFrame
        One row per epoch: `epoch`, `loss` (of the training batches, as they came), `dev_loss`,
        `dev_mcc` (classifiers), `learning_rate` (of the last step).
    best_epoch : float
        The epoch whose weights were kept.
    """

    network: PreTrainedModel
    history: pd.DataFrame
    best_epoch: float


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, with its `history` and `best_epoch` as in `Fitted`."""

    model: Model
    history: pd.DataFrame
    best_epoch: float


@component
class Training:
    """How a network is trained: AdamW, a warm-up, a falling rate, and the best epoch on dev kept.

    The best epoch is that with the highest Matthews coefficient (regressions: the lowest loss)
    on the dev records. Loshchilov & Hutter 2019 (AdamW).

    Attributes
    ----------
    epochs : int
        Passes over the training records.
    batch_size : int
        Records in a step.
    learning_rate : float
        Highest rate, reached after the warm-up.
    warmup : float
        Share of the steps in which the rate rises.
    schedule : {"cosine", "linear", "constant"}
        How it falls afterwards, to 0 at the last step.
    weight_decay : float
        Of weight matrices; biases and normalisations have none.
    clip : float
        Longest allowed gradient.
    patience : int
        Stop after so many epochs without a better one; 0: never.
    class_weights : "balanced", mapping of class name to weight, or None
        How much a record counts in the loss; balanced: inversely to its class's frequency.
    sampling : {"shuffled", "presence"}
        Which records make an epoch: each once, in random order; or as many, drawn so that those
        with a base (or the class) of every label come equally often, rare labels too.
    label_smoothing : float
        Share of each target that is spread over all classes.
    hide : float
        Share of the tokens that are hidden in each batch, drawn anew: replaced by the mask
        token, or by N where tokens are bases.
    crossover : float
        Share of the records in each batch that end, from a random token on, as another record
        of their class. It keeps what stands where and mixes what stands together, so it suits
        sequences that are aligned to a point. (Within a class, CutMix of Yun et al. 2019.)
    average : float
        Decay per step of a moving average of the weights, which is then evaluated and kept
        instead of the weights; 0: none.
    accumulation : int
        Parts in which the records of a step go through the network, their gradients summed;
        so a step needs the memory of a part. Each device takes its share of a part.
    checkpointing : bool
        Compute hidden states again in the backward pass instead of keeping them: less memory,
        about a third more time.
    lora : table or None
        Train low-rank additions instead of all weights; see `basewise.models.adapters.Lora`.
    precision : {"auto", "fp32", "bf16"}
        Of the arithmetic inside layers (weights stay fp32); auto: bf16 where the processor
        multiplies it in hardware.
    """

    epochs: Annotated[int, Field(ge=1)] = 10
    batch_size: Annotated[int, Field(ge=1)] = 256
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip: Annotated[float, Field(gt=0)] = 1.0
    patience: Annotated[int, Field(ge=0)] = 0
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None = None
    sampling: Literal["shuffled", "presence"] = "shuffled"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    hide: Annotated[float, Field(ge=0, lt=1)] = 0.0
    crossover: Annotated[float, Field(ge=0, le=1)] = 0.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    accumulation: Annotated[int, Field(ge=1)] = 1
    checkpointing: bool = False
    lora: Annotated[Lora | None, PlainValidator(_lora)] = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def train(
        self,
        model: Model,
        train: Sequence[Record],
        dev: Sequence[Record],
        folder: str | Path,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Trained:
        """Train a copy of `model`; the given one stays as it is.

        Parameters
        ----------
        train, dev : sequences of Record
            With class names as labels (numbers for a regression), or, where the model labels
            tokens, with the stretches of labelled bases as truth. The best epoch is chosen on
            `dev`; nothing else is learned from it.
        folder : path
            For checkpoints, one per epoch. A training that was killed continues from the last
            whole one and ends as it would have; other settings, data or starting weights have
            other checkpoints. May be deleted once the model is saved.
        seed : int
            Of the order of records and of dropout.
        progress : callable, optional
            Told `(steps done, steps in all, note)`. By default a bar on a terminal.

        Raises
        ------
        CapabilityError
            If the model is a function or a foreign module.
        DataError, UnknownName
            If a record's label is missing or not the model's.
        """
        if not isinstance(model.network, PreTrainedModel):
            raise CapabilityError(
                f"{model.name} wraps foreign code, which basewise does not train; "
                "train it where it comes from and wrap it again."
            )
        network = self.lora.adapt(model.network, seed) if self.lora else model.network
        fitted = self.fit(
            network,
            rows_of(model, train),
            rows_of(model, dev),
            folder,
            labels=model.labels,
            seed=seed,
            progress=progress,
        )
        network = self.lora.finish(fitted.network) if self.lora else fitted.network
        return Trained(
            replace(model, network=network, thresholds={}), fitted.history, fitted.best_epoch
        )

    def fit(
        self,
        network: PreTrainedModel,
        train: Rows,
        dev: Rows,
        folder: str | Path,
        *,
        labels: Sequence[str] = (),
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Fitted:
        """`train` on arrays: whatever gives logits (..., k) for labels (...) can be trained.

        Parameters
        ----------
        labels : sequence of str
            Names of the k classes, where `class_weights` names them.
        """
        folder = Path(folder) / self._fingerprint(network, train, dev, seed)
        device, network = network.device, copy.deepcopy(network)
        with undisturbed(), quiet(), memory_kept(), shown(progress) as told:
            trainer = self._trainer(network, train, dev, folder, labels, seed, told)
            checkpoint = last_whole_checkpoint(folder)
            if checkpoint is None or not trainer.continued(checkpoint):
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        # accelerate leaves its mixed-precision wrapper on the instance.
        for attribute in ("forward", "_original_forward"):
            vars(network).pop(attribute, None)
        if self.checkpointing:
            _checkpointing(network, "disable")()
        network.eval().to(device)
        history = _history(trainer.state.log_history)
        best = history.loc[history["step"] == trainer.state.best_global_step, "epoch"]
        return Fitted(network, history.drop(columns="step"), float(best.iloc[0]))

    def _trainer(
        self,
        network: PreTrainedModel,
        train: Rows,
        dev: Rows,
        folder: Path,
        labels: Sequence[str],
        seed: int,
        told: Progress,
    ) -> CheckpointedTrainer:
        classes = np.issubdtype(train.labels.dtype, np.integer)
        if self.hide and train.hidden_id is None:
            raise CapabilityError("hide: the model's tokenizer has no token that hides another.")
        if self.crossover and not (classes and train.labels.ndim == 1):
            raise CapabilityError("crossover: needs one class for each record.")
        if self.sampling == "presence" and not classes:
            raise CapabilityError("sampling = 'presence': needs labels that are classes.")
        if self.checkpointing and not network.supports_gradient_checkpointing:
            raise CapabilityError(
                f"checkpointing: {type(network).__name__} has no layers to compute again."
            )
        if self.checkpointing:
            _checkpointing(network, "enable")({"use_reentrant": False})
        metric = "eval_mcc" if classes else "eval_loss"
        steps = self.epochs * math.ceil(len(train) / self.batch_size)
        average = Average(network, self.average) if self.average else None
        callbacks: list[TrainerCallback] = [Tell(told, metric)]
        if average:
            callbacks.append(Averaging(average))
        if self.patience:
            callbacks.append(Patience(self.patience, metric, greater=classes))
        part = math.ceil(self.batch_size / (self.accumulation * _devices()))
        trainer = CheckpointedTrainer(
            average=average,
            sampler=Presence(train.labels.astype(int), seed)
            if self.sampling == "presence"
            else None,
            model=network,
            args=TrainingArguments(
                output_dir=str(folder),
                num_train_epochs=self.epochs,
                per_device_train_batch_size=part,
                gradient_accumulation_steps=self.accumulation,
                per_device_eval_batch_size=part,
                learning_rate=self.learning_rate,
                lr_scheduler_type=_SCHEDULES[self.schedule],
                warmup_steps=round(self.warmup * steps),
                weight_decay=self.weight_decay,
                max_grad_norm=self.clip,
                bf16=self._bf16(),
                use_cpu=not torch.accelerator.is_available(),
                seed=seed,
                eval_strategy="epoch",
                save_strategy="epoch",
                logging_strategy="epoch",
                # A loss that is not a number must be seen.
                logging_nan_inf_filter=False,
                save_total_limit=2,
                load_best_model_at_end=True,
                metric_for_best_model=metric,
                greater_is_better=classes,
                remove_unused_columns=False,
                label_names=["labels"],
                dataloader_pin_memory=torch.cuda.is_available(),
                disable_tqdm=True,
                report_to="none",
            ),
            train_dataset=Batches(train, self.hide, self.crossover),
            eval_dataset=Batches(dev),
            data_collator=as_made,
            compute_loss_func=self._loss(train, labels),
            compute_metrics=_mcc if classes else None,
            preprocess_logits_for_metrics=_choices if classes else None,
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _bf16(self) -> bool:
        if self.precision != "auto":
            return self.precision == "bf16"
        if torch.cuda.is_available():
            return bool(torch.cuda.is_bf16_supported())
        known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(known.get("amx_bf16") or known.get("avx512_bf16"))

    def _loss(self, train: Rows, labels: Sequence[str]) -> Loss:
        if not np.issubdtype(train.labels.dtype, np.integer):
            return _squared_error
        weights = self._weights(train, labels)

        def loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | None = None) -> Tensor:
            logits = outputs.logits.float()
            total = functional.cross_entropy(
                logits.flatten(0, -2),
                labels.flatten(),
                weight=None if weights is None else weights.to(logits.device),
                ignore_index=IGNORED,
                label_smoothing=self.label_smoothing if logits.requires_grad else 0.0,
                reduction="sum",
            )
            # The Trainer counts over all batches of a step; an evaluation has one batch.
            return total / (
                (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
            )

        return loss

    def _weights(self, train: Rows, labels: Sequence[str]) -> Tensor | None:
        if self.class_weights is None:
            return None
        if self.class_weights == "balanced":
            counts = np.bincount(train.labels[train.labels != IGNORED].astype(int))
            return torch.tensor(counts.sum() / (len(counts) * np.maximum(counts, 1))).float()
        for name in self.class_weights:
            if name not in labels:
                raise UnknownName("class to weigh", name, labels)
        if missing := [label for label in labels if label not in self.class_weights]:
            raise ConfigError(f"class_weights has no weight for {', '.join(missing)}.")
        return torch.tensor([self.class_weights[label] for label in labels])

    def _fingerprint(self, network: PreTrainedModel, train: Rows, dev: Rows, seed: int) -> str:
        digest = hashlib.sha256()
        for rows in (train, dev):
            values = () if rows.values is None else (rows.values,)
            for array in (rows.ids, rows.mask, rows.labels, *values):
                digest.update(b"-" if array is None else array.tobytes())
        for name, value in network.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        config = {k: v for k, v in network.config.to_dict().items() if k not in _SAID_BY_SAVING}
        return fingerprint(settings_of(self), config, seed, digest.hexdigest())


def _checkpointing(network: PreTrainedModel, verb: str) -> Callable[..., None]:
    """The method that switches it; transformers 6 drops the older name, 5.3 lacks the newer."""
    found = getattr(network, f"activation_checkpointing_{verb}", None)
    switch: Callable[..., None] = found or getattr(network, f"gradient_checkpointing_{verb}")
    return switch


def _devices() -> int:
    """How many devices share a step: processes of `accelerate launch`, or this one's GPUs."""
    return int(os.environ.get("WORLD_SIZE", 0)) or max(torch.cuda.device_count(), 1)


def _squared_error(
    outputs: Any, labels: Tensor, num_items_in_batch: Tensor | None = None
) -> Tensor:
    error: Tensor = (outputs.logits.float().squeeze(-1) - labels) ** 2
    return error.mean() if num_items_in_batch is None else error.sum() / num_items_in_batch


def _choices(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.argmax(-1)


def _mcc(found: EvalPrediction) -> dict[str, float]:
    known = found.label_ids != IGNORED
    truth, predicted = found.label_ids[known], np.asarray(found.predictions)[known]
    k = int(max(truth.max(), predicted.max())) + 1
    confusion = np.bincount(truth * k + predicted, minlength=k * k).reshape(k, k)
    return {"mcc": float(matthews(confusion))}


def _history(log: list[dict[str, float]]) -> pd.DataFrame:
    """The Trainer's log, where losses and evaluations are lines of their own, by epoch."""
    epochs: dict[float, dict[str, float]] = {}
    for line in log:
        row = epochs.setdefault(line["step"], {"step": line["step"], "epoch": line["epoch"]})
        for name, key in _COLUMNS.items():
            if key in line:
                row[name] = line[key]
    return pd.DataFrame(list(epochs.values()))
