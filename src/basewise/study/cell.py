"""One cell of an experiment: one level, seed and model, from sequences to measures."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from basewise.data import GRAMMARS
from basewise.errors import CapabilityError
from basewise.evaluate.localisation import localise
from basewise.evaluate.spelling import HYPOTHETICAL_CHANCE, spell
from basewise.explainers import EXPLAINERS
from basewise.explainers.sensitivity import sensitivity
from basewise.explainers.shards import explain_again
from basewise.models.repeatable import repeatable
from basewise.registry import Registry
from basewise.stats import Estimate
from basewise.store import fingerprint, write_attributions
from basewise.study.datasets import Grammar
from basewise.study.records import drawn
from basewise.study.rehearsal import naming
from basewise.study.study import MODELS
from basewise.train.metrics import classification_metrics
from basewise.types import Attribution, Floats, Read, Record, Target

if TYPE_CHECKING:
    from basewise.data.planted import MotifGrammar
    from basewise.models.model import Model

__all__ = ["CEILING", "ROWS", "Cell", "Task", "evaluations", "of_one_seed", "reference_of"]

CEILING = "ceiling"
"""The name of the grammar's own log-odds among the models: what could be known at best."""

VERSION = 2  # of what a cell makes of its settings
KEPT = 2  # records of which attributions are kept, for pictures

ROWS = (
    "factor", "setting", "level", "place", "seed", "model", "tokenizer", "parameters",
    "auroc", "auroc_low", "auroc_high", "test", "ceiling", "solved",
    "explainer", "method", "reference", "refused", "record_id", "evaluations", "output", "baseline",
    "gap", "relative_gap", "auprc", "auprc_chance", "mass_inside", "prevalence", "match",
    "match_chance", "hypothetical_match", "hypothetical_chance", "lowest_rank_correlation",
    "lowest_top_overlap", "changes",
)  # fmt: skip
"""Columns of what a cell gives, one row per explainer and explained record. `auroc` (with its
interval over `test` records) is of the model and `ceiling` of the log-odds of the grammar. Where
the model did not solve the task, or an explainer does not serve it (`refused` says why), there is
one row without measures. `relative_gap`: the completeness error over the gain it is of (at least
1). `lowest_rank_correlation`, `lowest_top_overlap`, `changes`: of several references; see
`explainers.sensitivity`."""


@dataclass(frozen=True)
class Cell:
    """Plain values that can be sent to another process; `Task` does the work.

    Attributes
    ----------
    factor, setting, level, place : str, str, str, int
        What varies, and which of the factor's levels this is.
    seed : int
    model : str
        Its name; `CEILING` for the log-odds of the grammar.
    source : mapping or None
        The table of the model in a study; None for the ceiling.
    data : mapping
        Settings of `study.datasets.Grammar`.
    explainers : mapping of mappings
    explained, gate, read
        As in `study.experiment.AboutExperiment`.
    """

    factor: str
    setting: str
    level: str
    place: int
    seed: int
    model: str
    source: Mapping[str, Any] | None
    data: Mapping[str, Any]
    explainers: Mapping[str, Mapping[str, Any]]
    explained: int
    gate: float
    read: Read

    @property
    def name(self) -> str:
        """Names its folder: what it is, and a fingerprint of all it depends on."""
        said = f"{self.model}-{self.factor}-{self.place + 1}-seed{self.seed}"
        return f"{said}-{fingerprint('cell', VERSION, asdict(self))}"

    @property
    def grammar(self) -> MotifGrammar:
        """What makes its sequences."""
        found: MotifGrammar = GRAMMARS.build({"type": "motif", **self.data["grammar"]})
        return found

    def splits(self) -> tuple[list[Record], list[Record], list[Record]]:
        """Its sequences: to train on, to choose by, to test with."""
        made = Grammar(**{**self.data, "grammar": self.grammar}).splits(None, self.seed)
        return made["train"].records, made["dev"].records, made["test"].records

    def ceiling(self, test: Sequence[Record]) -> Estimate:
        """The AUROC of the log-odds of its grammar."""
        grammar = self.grammar
        return _auroc(test, _both(grammar.log_odds([r.sequence for r in test])), grammar, self)

    def to_explain(self, test: Sequence[Record]) -> list[Record]:
        """Those with motifs that are explained."""
        return drawn([r for r in test if r.truth], self.explained, self.seed)

    def untrained(self, train: Sequence[Record], folder: Path) -> Model:
        """Its model as training finds it; the log-odds of the grammar as they are."""
        if self.source is None:
            return _log_odds_of(self.grammar)
        model: Model = MODELS.build(self.source).untrained(self.model, train, folder, self.seed)
        return model

    def target(self, model: Model) -> Target:
        """What of its model is explained."""
        read: Read = "value" if self.source is None else self.read
        return model.target(Target(self.grammar.labels[0], read=read))


@dataclass(frozen=True)
class Task:
    """A cell that is to be worked on in its folder.

    `run` gives the bytes of its rows (`ROWS`) as Parquet; attributions of a few records go to the
    folder, and checkpoints while it trains, from which a killed training continues.
    """

    cell: Cell
    folder: Path

    def run(self) -> bytes:
        with repeatable():
            rows = self._rows()
        out = io.BytesIO()
        rows.to_parquet(out, index=False)
        return out.getvalue()

    def _rows(self) -> pd.DataFrame:
        cell, grammar = self.cell, self.cell.grammar
        train, dev, test = cell.splits()
        model = self._model(train, dev)
        ceiling = cell.ceiling(test)
        said: dict[str, Any] = {
            key: getattr(cell, key)
            for key in ("factor", "setting", "level", "place", "seed", "model")
        }
        own = ceiling
        if cell.source is not None:
            scores = model.predict(test)
            columns = [list(model.labels).index(label) for label in grammar.labels]
            own = _auroc(test, scores[:, columns], grammar, cell)
        tokenizer = "" if cell.source is None else Registry.name_of(model.tokenizer)
        said |= {
            "tokenizer": tokenizer,
            "parameters": 0 if cell.source is None else model.parameters,
            "auroc": own.value,
            "auroc_low": own.low,
            "auroc_high": own.high,
            "test": own.n,
            "ceiling": ceiling.value,
            "solved": own.value - 0.5 >= cell.gate * (ceiling.value - 0.5),
        }
        some = cell.to_explain(test)
        tables = [
            self._explained(name, model, some, bool(said["solved"])) for name in cell.explainers
        ]
        return pd.concat(tables, ignore_index=True).assign(**said).reindex(columns=list(ROWS))

    def _model(self, train: Sequence[Record], dev: Sequence[Record]) -> Model:
        cell = self.cell
        if cell.source is None:
            return _log_odds_of(cell.grammar)
        place = self.folder / ".training"  # hidden: no result
        source = MODELS.build(cell.source)
        model: Model = source.model(cell.model, train, dev, place, cell.seed, lambda *_: None)
        shutil.rmtree(place, ignore_errors=True)
        return model

    def _explained(
        self, name: str, model: Model, records: Sequence[Record], solved: bool
    ) -> pd.DataFrame:
        """The measures of one explainer; one row without any where it explained nothing."""
        cell = self.cell
        explainer = EXPLAINERS.build(cell.explainers[name])
        about = {
            "explainer": name,
            "method": Registry.name_of(explainer),
            "reference": reference_of(explainer),
            "refused": "",
        }
        if not solved:
            return pd.DataFrame([about])
        try:
            found = explain_again(explainer, model, records, cell.target(model), cell.seed)
        except CapabilityError as error:
            return pd.DataFrame([about | {"refused": " ".join(str(error).split())}])
        write_attributions(self.folder / f"{name}.parquet", found[:KEPT])
        return _measured(records, found, cell.grammar.motifs).assign(**about)


def evaluations(cell: Cell) -> int:
    """What explaining the records of a cell takes, counted on one with an untrained model.

    Raises
    ------
    ConfigError
        Naming the explainer whose settings do not do for such a record, as a budget too small.
    """
    some = cell.grammar.make(64, cell.seed)
    with TemporaryDirectory() as folder:
        model = cell.untrained(some, Path(folder))
    record = next(record for record in some if record.truth)
    total = 0
    for name, settings in cell.explainers.items():
        with naming(f"[explainers.{name}] in the factor {cell.factor}"), suppress(CapabilityError):
            total += EXPLAINERS.build(settings).cost(model, record).number
    return total * cell.explained


def of_one_seed(cells: Sequence[Cell]) -> list[Cell]:
    """The cells of each level and model with their first seed."""
    return list({(c.factor, c.place, c.model): c for c in reversed(cells)}.values())


def reference_of(explainer: Any) -> str:
    """What an explainer compares the sequence with: its reference, or else its masking."""
    given = getattr(explainer, "reference", None) or getattr(explainer, "masking", None)
    if given is None:
        return ""
    members = getattr(given, "of", None)
    return " + ".join(map(_called, members)) if members else _called(given)


def _called(component: Any) -> str:
    name = Registry.name_of(component)
    kind = getattr(component, "keep", None) or getattr(component, "token", None)
    draws = getattr(component, "draws", 1)
    said = f"{name} ({kind})" if kind else name
    return f"{said} x {draws}" if isinstance(draws, int) and draws > 1 else said


def _measured(
    records: Sequence[Record], found: Sequence[Attribution], motifs: Mapping[str, str]
) -> pd.DataFrame:
    """How well attributions found the motifs of their records, a row each."""
    table = localise(records, found).merge(spell(records, found, motifs), on="record_id")
    gains = np.maximum(np.abs([a.output - a.baseline for a in found]), 1.0)
    table = table.assign(
        evaluations=[float(a.evaluations) for a in found],
        output=[a.output for a in found],
        baseline=[a.baseline for a in found],
        gap=[a.gap for a in found],
        relative_gap=np.abs([a.gap for a in found]) / gains,
        hypothetical_chance=np.where(
            table["hypothetical_match"].isna(), np.nan, HYPOTHETICAL_CHANCE
        ),
    )
    if all("references" in a.extras for a in found):
        several = sensitivity(found)
        for name in ("lowest_rank_correlation", "lowest_top_overlap", "changes"):
            table[name] = several[name].astype(float)
    return table


def _log_odds_of(grammar: MotifGrammar) -> Model:
    """What could be known at best, as a model."""
    from basewise.models.model import Model

    return Model.from_callable(
        grammar.log_odds, [grammar.labels[0]], outputs="values", name=CEILING
    )


def _both(log_odds: Floats) -> Floats:
    """Log-odds as scores of both classes, (n, 2)."""
    return np.stack([log_odds, -log_odds], axis=1)


def _auroc(test: Sequence[Record], scores: Floats, grammar: MotifGrammar, cell: Cell) -> Estimate:
    """The AUROC of scores whose columns are the grammar's labels, with its interval."""
    found: Estimate = classification_metrics(
        [str(record.label) for record in test],
        scores,
        grammar.labels,
        positive=grammar.labels[0],
        rng=np.random.default_rng([cell.seed, 2]),
        resamples=400,
    )["auroc"]
    return found
