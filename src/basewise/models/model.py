"""`Model`: a network, a tokenizer and the names of the labels; there is no subclass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from basewise.errors import CapabilityError, ConfigError, DataError, WeightsError
from basewise.models.batch import Batch, borrowed, by_length
from basewise.models.batch_size import BatchSize, Work
from basewise.models.card import (
    checkpoint_licence,
    head_of,
    labels_of,
    output_kind,
    read_card,
    tell,
    write_card,
)
from basewise.models.foreign import FunctionNetwork, OneHotModule
from basewise.models.hub import checkpoint_folder
from basewise.models.onehot import OneHotNetwork
from basewise.models.reading import LANGUAGE_MODEL, Outputs, as_target, probabilities, read
from basewise.models.tracks import Tracks
from basewise.registry import settings_of
from basewise.tokenize import Tokenizer
from basewise.tokenize.labelling import Labelling, spans_of
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.published import NoTokenizer, published_tokenizer
from basewise.types import Codes, Floats, Ints, Precision, Record, Target

if TYPE_CHECKING:
    from basewise.models.checkpoints import Task

__all__ = ["Model"]

ROUNDING = 1e-5  # by which a probability may miss the ends of its range


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
        What `logits` holds: class `logits`, class `probabilities`, `values`, or the `tokens`
        of a language model, which has no labels.
    batch_tokens : int or None
        Tokens per batch; found by trying when None.
    precision : str
        What perturbed rows are evaluated with: `full`, `auto` or `bfloat16`; see `types.Precision`.
        Predictions and gradients are always in full.
    licence : str or None
        Of the checkpoint, where it names one; kept by what is trained from it.
    labelling : Labelling
        How labels of bases and of tokens become each other, where the network labels tokens.
    thresholds : mapping of str to float
        From which probability on a base is called, by label, where that was chosen; see
        `basewise.models.thresholds`. Training a model forgets them.
    """

    network: nn.Module
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    name: str = "model"
    outputs: Outputs = "logits"
    batch_tokens: int | None = None
    precision: Precision = "full"
    licence: str | None = None
    labelling: Labelling = field(default_factory=Labelling)
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if twice := sorted({label for label in self.labels if self.labels.count(label) > 1}):
            raise ConfigError(
                f"labels: {', '.join(map(repr, twice))} stand{'s' * (len(twice) == 1)} there more "
                "than once; an output is found by its name, so give each another one."
            )

    # ---------------------------------------------------------------- making one

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        tokenizer: Tokenizer | None = None,
        labels: Sequence[str] | None = None,
        head: Task | None = None,
        pooling: str | None = None,
        labelling: Labelling | None = None,
        precision: Precision = "full",
        name: str | None = None,
    ) -> Model:
        """Load a model from a folder or from the hub; no code but basewise's own is executed.

        The licence of a checkpoint goes to the log `basewise`, as a warning where it forbids
        commercial use.

        Parameters
        ----------
        source : path or str
            A folder written by `Model.save` or `save_pretrained`, or laid out as published;
            or `"owner/name"` on the hub, which is fetched into the local cache.
        revision : str, optional
            The commit, tag or branch of a hub repository.
        tokenizer : Tokenizer, optional
            Instead of the one found by the folder's files. Without any, the network is there
            all the same, and what needs a tokenizer says which file is missing.
        labels : sequence of str, optional
            Names for the outputs, instead of those in `config.json`.
        head : str, optional
            A new, untrained head in place of the checkpoint's, to be trained:
            `sequence_classification`, `token_classification` or `regression`.
        pooling : str, optional
            What a new sequence classifier reads; see `basewise.models.heads.Pooling`.
        labelling : Labelling, optional
            How labels of bases and tokens become each other; that which was saved, otherwise.
        precision : str
            What perturbed rows are evaluated with: `full`, `auto` or `bfloat16`.
        name : str, optional
            Printed beside every score; otherwise that of the folder or repository.

        Raises
        ------
        WeightsError
            If the source is not a whole checkpoint of a known architecture, or does not go
            with the tokenizer or the labels.
        ConfigError
            If the architecture has no such head or pooling, or there is no such precision.
        """
        from basewise.models.adapters import read_adapters
        from basewise.models.checkpoints import load_network

        if precision not in get_args(Precision):
            allowed = ", ".join(get_args(Precision))
            raise ConfigError(f"precision = {precision!r} is none of {allowed}.")
        folder = checkpoint_folder(source, revision)
        network = load_network(folder, head=head, labels=labels if head else None, pooling=pooling)
        read_adapters(network, folder)
        card = read_card(folder)
        embedding: Any = network.get_input_embeddings()
        rows = embedding.weight.shape[0]
        if tokenizer is None:
            tokenizer = published_tokenizer(folder, network.config.model_type, rows)
        if not isinstance(tokenizer, NoTokenizer) and tokenizer.vocabulary_size > rows:
            raise WeightsError(
                f"{folder}: the tokenizer has {tokenizer.vocabulary_size} entries but the "
                f"network's embedding only {rows} rows; give the tokenizer it was trained with."
            )
        licence = card.get("licence") or checkpoint_licence(folder)
        name = name or card.get("name") or (folder.name if folder == Path(source) else str(source))
        tell(name, licence)
        return cls(
            network=network,
            tokenizer=tokenizer,
            labels=labels_of(folder, network, labels),
            name=name,
            outputs=output_kind(network),
            precision=precision,
            licence=licence,
            labelling=labelling or Labelling(**card.get("labelling", {})),
            thresholds={} if head else card.get("thresholds", {}),
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

        Adapters that were kept apart are written apart; see `basewise.models.adapters.Lora`.

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
        from basewise.models.adapters import adapters, base_weights, write_adapters
        from basewise.models.checkpoints import quiet

        folder = Path(folder)
        config = self.network.config
        if self.labels:
            config.id2label = dict(enumerate(self.labels))
            config.label2id = {label: i for i, label in enumerate(self.labels)}
        with quiet():
            apart = base_weights(self.network) if adapters(self.network) else None
            self.network.save_pretrained(folder, state_dict=apart)
        write_adapters(self.network, folder)
        self.tokenizer.save(folder)
        card: dict[str, Any] = {"name": self.name, "licence": self.licence}
        if self.labels_tokens:
            card["labelling"] = settings_of(self.labelling)
        if self.thresholds:
            card["thresholds"] = dict(self.thresholds)
        write_card(folder, card)

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
    def labels_tokens(self) -> bool:
        """Whether the network gives labels of tokens, so that bases can be predicted."""
        return head_of(self.network) in ("token_classification", "ForTokenClassification")

    @property
    def tracks(self) -> Tracks | None:
        """The tracks that the network reads from files at places of a genome; None without any."""
        found = getattr(self.network, "tracks", None)
        return found if isinstance(found, Tracks) and found.files else None

    def at(self, record: Record) -> Model:
        """The model of sequences that stand in the record's place, such as changed copies of it.

        It is this one, unless it reads tracks from files: then their values, at the record's
        place, go with every sequence whatever is done to its bases.

        Raises
        ------
        DataError
            If the record has no place, or a file does not have it.
        """
        if self.tracks is None:
            return self
        (values,) = self.tracks.read([record])
        network: Any = self.network
        return replace(self, network=network.at(torch.from_numpy(values).to(self.device)))

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

    def batch_size(self, work: Work = "forward") -> BatchSize:
        """How much a batch of such work may hold, with what earlier calls have learnt."""
        return BatchSize.of(self.network, self.device, self.batch_tokens, work)

    def target(self, target: str | Target) -> Target:
        """The target named, read in this model's default way unless said otherwise.

        Raises
        ------
        UnknownName, ConfigError, CapabilityError
            If the model has no such label, or nothing that could be read like that.
        """
        found = as_target(target, self.labels, self.outputs)
        if found.where is not None and not self.labels_tokens:
            raise CapabilityError(
                f"{self.name} gives one label for a sequence and none for its bases, so where = "
                f"{found.where!r} has nothing to read; leave it out, or train a model of bases."
            )
        return found

    @functools.cached_property
    def longest(self) -> int | None:
        """The most tokens a sequence may have, special ones included; None where any goes."""
        from basewise.models.checkpoints import max_tokens

        return max_tokens(self.network) if isinstance(self.network, PreTrainedModel) else None

    def check_length(self, tokens: int, bases: int, record_id: str) -> None:
        """Refuse a record that has more tokens than the network takes; nothing is ever cut.

        Raises
        ------
        DataError
            Naming length, maximum and remedy.
        """
        if self.longest is not None and tokens > self.longest:
            raise DataError(
                f"Record {record_id!r} has {bases} bases, which are {tokens} tokens with the "
                f"special ones, and {self.name} takes at most {self.longest}; cut it into windows "
                f"of about {bases * self.longest // tokens} bases."
            )

    def outputs_of(self, batch: Batch) -> Tensor:
        """Raw outputs, (n, k), of one batch, as the network is set now.

        Those of a token classifier are the mean over the tokens that cover bases.
        """
        found = self._logits(batch)
        return found if found.ndim == 2 else self._mean_over_tokens(found, batch.mask)

    def value(self, batch: Batch, target: Target) -> Tensor:
        """The target, (n,), of one batch, as the network is set now."""
        index = target.index(self.labels)
        if batch.weights is None:
            return read(self.outputs_of(batch), index, target.read, self.outputs)
        raw = self._logits(batch)
        values = read(raw.flatten(0, 1), index, target.read, self.outputs)
        return (values.view(raw.shape[:2]) * batch.weights).sum(1)

    def weights(self, target: Target, spans: Sequence[Ints], tokens: int) -> Tensor | None:
        """What every token counts in a target of a region, (n, tokens); None for other targets.

        Parameters
        ----------
        spans : sequence of n arrays, (t, 2)
            The bases that the tokens of each row cover, in the coordinates of the region.
        tokens : int
            Of a row, padding included.
        """
        if target.where is None:
            return None
        each = {id(own): own for own in spans}  # rows that are tokenised alike share them
        of = {name: self.labelling.weights(own, *target.region) for name, own in each.items()}
        found = np.zeros((len(spans), tokens))
        for row, own in zip(found, spans, strict=True):
            row[: len(own)] = of[id(own)]
        return torch.from_numpy(found).to(self.device)

    def _logits(self, batch: Batch) -> Tensor:
        tokens = batch.ids.shape[1]
        if self.longest is not None and tokens > self.longest:
            raise DataError(
                f"{self.name} takes at most {self.longest} tokens of a sequence and got {tokens}; "
                "cut the sequence into windows."
            )
        mask = batch.mask
        if mask is None and isinstance(self.network, OneHotNetwork):
            mask = torch.ones_like(batch.ids, dtype=torch.bool)  # pads in place are hidden bases
        more = {} if batch.values is None else {"values": batch.values}
        found: Tensor = self.network(input_ids=batch.ids, attention_mask=mask, **more).logits
        if self.outputs == "probabilities":
            self._check_probabilities(found)
        return found

    def _check_probabilities(self, found: Tensor) -> None:
        wrong = found[(found < -ROUNDING) | (found > 1 + ROUNDING)]
        if len(wrong):
            raise DataError(
                f"{self.name} gave {float(wrong[0]):g} where outputs='probabilities' promises "
                "numbers from 0 to 1; say outputs='logits' or 'values' if that is what they are."
            )

    def _mean_over_tokens(self, found: Tensor, mask: Tensor | None) -> Tensor:
        if self.outputs == "tokens":
            raise CapabilityError(LANGUAGE_MODEL)
        before, after = self._around
        at = torch.arange(found.shape[1], device=found.device)
        whole = torch.full((len(found), 1), found.shape[1], device=found.device)
        length = whole if mask is None else mask.sum(1)
        inside = (at >= before) & (at < length.view(-1, 1) - after)
        return (found * inside[:, :, None]).sum(1) / inside.sum(1, keepdim=True)

    @functools.cached_property
    def _around(self) -> tuple[int, int]:
        """How many special tokens stand before and after those that cover bases."""
        spans = self.tokenizer.encode("ACGT" * 8).spans
        covering = np.flatnonzero(spans[:, 1] > spans[:, 0])
        return int(covering[0]), len(spans) - 1 - int(covering[-1])

    def predict(self, records: Sequence[Record]) -> Floats:
        """Class probabilities (or values, for regressions and functions), (n, labels).

        Columns are named by `labels`. Sequences of any mixture of lengths; a record's row
        does not depend on its neighbours.

        Raises
        ------
        DataError
            If a record has no bases, or is longer than the network takes.
        CapabilityError
            If the model is a language model, or lacks its tokenizer.
        """
        found = np.empty((len(records), len(self.labels)))
        size = BatchSize(self.batch_tokens or 1 << 14)
        with borrowed(self.network):
            for rows, codes in by_length(records):
                work = partial(self._predict, found, records, rows, codes)
                size.over(len(rows), codes.shape[1], work)
        return found

    def _predict(
        self, found: Floats, records: Sequence[Record], rows: Ints, codes: Codes, some: slice
    ) -> None:
        batch = self._checked(records, rows, codes, some)
        raw = self.outputs_of(batch).double()
        found[rows[some]] = probabilities(raw, self.outputs).cpu().numpy()

    def predict_bases(self, records: Sequence[Record]) -> list[Floats]:
        """Probabilities of the labels at every base, (b, labels) for each record.

        Columns are named by `labels`; tokens become bases as `labelling` says. A record's
        values do not depend on its neighbours. NaN at bases that no token covers.

        Raises
        ------
        DataError
            If a record has no bases, or is longer than the network takes.
        CapabilityError
            If the network does not label tokens.
        """
        if not self.labels_tokens:
            raise CapabilityError(
                f"{self.name} gives one label for a sequence and none for its bases; train a head "
                'of bases on it, as a model of a study (type "checkpoint") or in Python on '
                "Model.load(folder, head='token_classification', labels=[...])."
            )
        found = [np.empty((0, len(self.labels)))] * len(records)
        size = BatchSize(self.batch_tokens or 1 << 14)
        with borrowed(self.network):
            for rows, codes in by_length(records):
                work = partial(self._predict_bases, found, records, rows, codes)
                size.over(len(rows), codes.shape[1], work)
        return found

    def _predict_bases(
        self, found: list[Floats], records: Sequence[Record], rows: Ints, codes: Codes, some: slice
    ) -> None:
        batch = self._checked(records, rows, codes, some)
        raw = self._logits(batch).double()
        tokens = probabilities(raw.flatten(0, 1), self.outputs).view(raw.shape).cpu().numpy()
        chosen = rows[some].tolist()
        spans, b = spans_of(self.tokenizer, [records[i].sequence for i in chosen]), codes.shape[1]
        if self.tokenizer.frame_safe_n:
            for i, values in zip(chosen, self.labelling.to_bases(tokens, spans[0], b), strict=True):
                found[i] = values
            return
        for i, values, covered in zip(chosen, tokens, spans, strict=True):
            found[i] = self.labelling.to_bases(values[: len(covered)], covered, b)

    def _checked(self, records: Sequence[Record], rows: Ints, codes: Codes, some: slice) -> Batch:
        """Some rows as a batch, none of them longer than the network takes."""
        batch = self.batch_of(codes[some])
        if self.tracks is not None:
            read = self.tracks.read([records[i] for i in rows[some].tolist()])
            batch = replace(batch, values=torch.from_numpy(np.stack(read)).to(self.device))
        lengths = [batch.ids.shape[1]] if batch.mask is None else batch.mask.sum(1).tolist()
        at = int(np.argmax(lengths))
        self.check_length(lengths[at], codes.shape[1], records[rows[some][at]].id)
        return batch

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
        licence = f", licence={self.licence!r}" if self.licence else ""
        labels = list(self.labels)
        return f"Model({self.name!r}, {kind}, labels={labels}, outputs={self.outputs}{licence})"
