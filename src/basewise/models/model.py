"""`Model`: a network, a tokenizer and the names of the labels; there is no subclass."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from basewise.errors import CapabilityError, StoreError, WeightsError
from basewise.models.evaluator import Batch, BatchSize, borrowed
from basewise.models.foreign import FunctionNetwork, OneHotModule
from basewise.models.reading import Outputs, as_target, probabilities
from basewise.sequence.alphabet import encode
from basewise.store import write_text
from basewise.tokenize import Tokenizer, load_tokenizer
from basewise.tokenize.nucleotide import Nucleotide
from basewise.types import Codes, Floats, Ints, Record, Target

__all__ = ["Model"]

CARD = "basewise_model.json"


@dataclass(frozen=True, eq=False)
class Model:
    """What is explained.

    Attributes
    ----------
    network : torch.nn.Module
        Takes `input_ids`, `attention_mask`; returns an object with `logits` (n, k).
    tokenizer : Tokenizer
        Bases to ids, with the bases every token covers.
    labels : tuple of str
        Names of the outputs, in order.
    name : str
        Printed beside every score.
    outputs : str
        What `logits` holds: class `logits`, class `probabilities`, or `values`.
    batch_tokens : int or None
        Tokens per batch; found by trying when None.
    """

    network: nn.Module
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    name: str = "model"
    outputs: Outputs = "logits"
    batch_tokens: int | None = None

    # ---------------------------------------------------------------- making one

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        tokenizer: Tokenizer | None = None,
        labels: Sequence[str] | None = None,
        name: str | None = None,
    ) -> Model:
        """Load a model from a folder, without executing any code but basewise's own.

        Parameters
        ----------
        source : path
            A folder written by `Model.save` or `save_pretrained`.
        tokenizer : Tokenizer, optional
            Where the folder holds none.
        labels : sequence of str, optional
            Names for the outputs, instead of those in the folder's `config.json`.

        Raises
        ------
        WeightsError
            If the folder is not a whole checkpoint of a known architecture.
        """
        from basewise.models.checkpoints import load_network

        folder = Path(source)
        network = load_network(folder)
        card = _card(folder)
        if tokenizer is None:
            tokenizer = load_tokenizer(folder)
        if tokenizer.vocabulary_size > (rows := network.get_input_embeddings().weight.shape[0]):
            raise WeightsError(
                f"{folder}: the tokenizer has {tokenizer.vocabulary_size} entries but the "
                f"network's embedding only {rows} rows; give the tokenizer it was trained with."
            )
        config = network.config
        found = tuple(labels or (config.id2label[i] for i in range(config.num_labels)))
        if len(found) != config.num_labels:
            raise WeightsError(
                f"{folder}: {len(found)} labels were given ({', '.join(found)}), "
                f"the network has {config.num_labels} outputs."
            )
        return cls(
            network=network,
            tokenizer=tokenizer,
            labels=found,
            name=name or card.get("name", folder.name),
            outputs="values" if config.problem_type == "regression" else "logits",
        )

    @classmethod
    def from_callable(
        cls,
        function: Callable[[list[str]], Any],
        labels: Sequence[str],
        *,
        outputs: Outputs = "values",
        name: str = "callable",
    ) -> Model:
        """A model from any function of sequences; perturbation explainers can explain it.

        Parameters
        ----------
        function : callable
            `list of n sequences -> (n,) or (n, k)` numbers.
        labels : sequence of str
            Names of the k outputs.
        outputs : str
            Whether the numbers are `values`, class `probabilities` or `logits`.
        """
        return cls(
            FunctionNetwork(function, len(labels)), Nucleotide(), tuple(labels), name, outputs
        )

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        labels: Sequence[str],
        *,
        channels_first: bool = True,
        outputs: Outputs = "logits",
        name: str = "module",
    ) -> Model:
        """A model from any torch module on one-hot input; every explainer can explain it.

        Parameters
        ----------
        module : torch.nn.Module
            Takes (n, 4, b) float (or (n, b, 4) with `channels_first=False`), channels A, C, G, T,
            0.25 in each channel for N; returns (n,) or (n, k). Rows of one call have one length.
        """
        return cls(OneHotModule(module, channels_first), Nucleotide(), tuple(labels), name, outputs)

    def save(self, folder: str | Path) -> None:
        """Write network (safetensors), label names and tokenizer into `folder`; no pickles.

        Raises
        ------
        CapabilityError
            If the network is a function or a foreign module, whose code is not basewise's to keep.
        """
        if not isinstance(self.network, PreTrainedModel):
            raise CapabilityError(
                f"{self.name} wraps foreign code, which cannot be saved without a pickle; "
                "keep its weights with safetensors and wrap it again after loading."
            )
        folder = Path(folder)
        config = self.network.config
        config.id2label = dict(enumerate(self.labels))
        config.label2id = {label: i for i, label in enumerate(self.labels)}
        self.network.save_pretrained(folder)
        self.tokenizer.save(folder)
        write_text(folder / CARD, json.dumps({"format": 1, "name": self.name}) + "\n")

    def renamed(self, name: str) -> Model:
        """The same model under another name."""
        return replace(self, name=name)

    # ---------------------------------------------------------------- using it

    @property
    def device(self) -> torch.device:
        """Where the network lies; the CPU for networks without parameters."""
        for parameter in self.network.parameters():
            return parameter.device
        return torch.device("cpu")

    @property
    def pads(self) -> bool:
        """Whether rows of different lengths may share a batch, padded right."""
        return not isinstance(self.network, OneHotModule)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    @property
    def embedding(self) -> nn.Module:
        """The module whose output gradient methods hook: (n, t) ids to (n, t, d).

        Raises
        ------
        CapabilityError
            If there is none, because the model is a function.
        """
        found = getattr(self.network, "get_input_embeddings", lambda: None)()
        if found is None:
            raise CapabilityError(
                f"{self.name} is a function, which has no gradient; "
                "use a perturbation explainer such as 'kernel_shap', 'occlusion' or 'lime'."
            )
        return found  # type: ignore[no-any-return]

    def target(self, target: str | Target) -> Target:
        """The target named, read in this model's default way unless said otherwise."""
        return as_target(target, self.labels, self.outputs)

    def outputs_of(self, batch: Batch) -> Tensor:
        """Raw outputs, (n, k), of one batch, as the network is set now."""
        found: Tensor = self.network(input_ids=batch.ids, attention_mask=batch.mask).logits
        return found

    def predict(self, records: Sequence[Record]) -> Floats:
        """Class probabilities (or values, for regressions and functions), (n, labels).

        Columns are named by `labels`. Sequences of any mixture of lengths; a record's row
        does not depend on its neighbours.
        """
        found = np.empty((len(records), len(self.labels)))
        size = BatchSize(self.batch_tokens or 1 << 14)
        with borrowed(self):
            for rows, codes in by_length(records):
                size.over(len(rows), codes.shape[1], partial(self._predict, found, rows, codes))
        return found

    def _predict(self, found: Floats, rows: Ints, codes: Codes, some: slice) -> None:
        raw = self.outputs_of(self.batch_of(codes[some])).double()
        found[rows[some]] = probabilities(raw, self.outputs).cpu().numpy()

    def batch_of(self, codes: Codes) -> Batch:
        """Model input of sequences of one length, (n, b) codes."""
        ids, lengths = self.tokenizer.encode_codes(codes)
        ids_on_device = torch.from_numpy(ids).to(self.device)
        if (lengths == ids.shape[1]).all():
            return Batch(ids_on_device, None)
        mask = torch.from_numpy(np.arange(ids.shape[1]) < lengths[:, None])
        return Batch(ids_on_device, mask.to(self.device))

    def __repr__(self) -> str:
        kind = type(self.network).__name__
        return f"Model({self.name!r}, {kind}, labels={list(self.labels)}, outputs={self.outputs})"


def by_length(records: Sequence[Record]) -> list[tuple[Ints, Codes]]:
    """Rows and codes (m, b) of the records of each length, shortest first."""
    lengths = np.array([len(record.sequence) for record in records])
    found = []
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        text = "".join([records[i].sequence for i in rows.tolist()])
        found.append((rows, encode(text).reshape(len(rows), length)))
    return found


def _card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    if not path.exists():
        return {}
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} is not JSON ({error}); save the model again.") from None
    if card.get("format") != 1:
        raise StoreError(f"{path} has format {card.get('format')!r}; this basewise reads format 1.")
    return card
