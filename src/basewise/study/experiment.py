"""Experiments: one thing about planted motifs varies at a time, and everything else is crossed.

An experiment is a study file with a table `[experiment]`. Its *factors* are settings of the
grammar of planted motifs, each with the levels of its grid; every level is crossed with every
seed, model and explainer. A *cell* is one level with one seed and one model: sequences are made,
the model is trained and examined, and where it solved the task, explained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from basewise.data import GRAMMARS
from basewise.errors import ConfigError, UnknownName, nearest
from basewise.explainers import EXPLAINERS
from basewise.registry import Registry, component, settings_of
from basewise.study.cell import CEILING, Cell
from basewise.study.datasets import Grammar
from basewise.study.grid import expanded
from basewise.study.study import FORMAT, MODELS
from basewise.study.which import TABLES, tables_of
from basewise.types import Read

__all__ = [
    "AboutExperiment",
    "Experiment",
    "Level",
    "experiment_from",
    "load_experiment",
]

APART = ("explained", "explainers", "read")  # of a factor: no settings of its grammar


@component
class AboutExperiment:
    """The table `[experiment]`.

    Attributes
    ----------
    name : str
        Names the run's folder.
    title, question : str
        Printed on the report.
    seeds : list of int
        Each makes other motifs, other sequences and another model.
    explained : int
        Test records with motifs that are explained in every cell.
    ceiling : int
        Of these, how many are explained of the grammar's own log-odds too, by the explainers that
        serve a function; 0: none.
    gate : float
        A model is explained where its AUROC above a half is at least this share of the ceiling's.
    read : str
        How the model's output is read; see `Target`.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    title: str = ""
    question: str = ""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (1,)
    explained: Annotated[int, Field(ge=2)] = 20
    ceiling: Annotated[int, Field(ge=0)] = 0
    gate: Annotated[float, Field(ge=0, le=1)] = 0.9
    read: Read = "log_odds"

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError("seeds are one or more different numbers")
        return seeds


@dataclasses.dataclass(frozen=True)
class Level:
    """One value of what a factor varies.

    Attributes
    ----------
    setting : str
        What varies: the settings of the factor's grid.
    level : str
        Their values.
    grammar : mapping
        Every setting of the grammar that is given.
    """

    setting: str
    level: str
    grammar: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything an experiment needs, as tables that were built once to see that they can be."""

    about: AboutExperiment
    data: Mapping[str, Any]
    factors: Mapping[str, tuple[Level, ...]]
    changes: Mapping[str, Mapping[str, Mapping[str, Any]]]  # of explainers, by factor
    own: Mapping[str, AboutExperiment]  # by factor, which may change `explained` and `read`
    models: Mapping[str, Mapping[str, Any]]
    factors_of: Mapping[str, tuple[str, ...]]  # by model, where not all
    explainers: Mapping[str, Mapping[str, Any]]
    tables: Mapping[str, Any]
    file: str = ""

    def cells(self) -> list[Cell]:
        """Every cell, seed by seed: the ceiling first, then the models in their order."""
        models: dict[str, Mapping[str, Any] | None] = {**self.models}
        if self.about.ceiling:
            models = {CEILING: None, **models}
        return [
            Cell(
                factor=factor,
                setting=level.setting,
                level=level.level,
                place=place,
                seed=seed,
                model=model,
                source=source,
                data={**self.data, "grammar": {**level.grammar, "draw": seed}},
                explainers={
                    name: {**settings, **self.changes[factor].get(name, {})}
                    for name, settings in self.explainers.items()
                },
                explained=min(self.own[factor].explained, self.about.ceiling)
                if source is None
                else self.own[factor].explained,
                gate=self.about.gate,
                read=self.own[factor].read,
            )
            for seed in self.about.seeds
            for model, source in models.items()
            for factor, levels in self.factors.items()
            if factor in self.factors_of.get(model, self.factors)
            for place, level in enumerate(levels)
        ]

    def lock(self) -> dict[str, Any]:
        """The experiment as tables; `load_experiment` builds it again from them."""
        return {"format": FORMAT, "file": self.file} | dict(self.tables)


def load_experiment(path: str | Path) -> Experiment:
    """The experiment in a TOML file, or in the `lock.json` of an earlier run.

    Raises
    ------
    ConfigError
        For a missing or broken file, an unknown table, key or component, or a value that is not
        allowed; the message names the file.
    """
    path = Path(path)
    file, tables = tables_of(path)
    try:
        return dataclasses.replace(experiment_from(tables), file=file)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def experiment_from(tables: Mapping[str, Any]) -> Experiment:
    """The experiment that tables describe; see `load_experiment`."""
    for key in tables:
        if key not in TABLES:
            raise ConfigError(
                f"no table [{key}] in an experiment.{nearest(key, TABLES)} Allowed are "
                f"{', '.join(TABLES)}."
            )
    for key in ("experiment", "factors", "models", "explainers"):
        if not tables.get(key):
            raise ConfigError(f"the table [{key}] is needed.")
    with _naming("[experiment]"):
        about = AboutExperiment(**tables["experiment"])
    data = {key: value for key, value in tables.get("data", {}).items() if key != "grammar"}
    shared = tables.get("data", {}).get("grammar", {})
    own_factors, plain = _factors_of(tables["models"], tables["factors"])
    models = _components("models", MODELS, plain)
    if CEILING in models:
        raise ConfigError(f"[models.{CEILING}] is the name of the grammar's own log-odds.")
    explainers = _components("explainers", EXPLAINERS, tables["explainers"])
    factors, changes, abouts = {}, {}, {}
    for name, table in tables["factors"].items():
        with _naming(f"[factors.{name}]"):
            changes[name] = _changes(table.get("explainers", {}), explainers)
            mine = {key: table[key] for key in ("explained", "read") if key in table}
            abouts[name] = dataclasses.replace(about, **mine)
            grammar = {key: value for key, value in table.items() if key not in APART}
            factors[name] = _levels(grammar, shared)
            for level in factors[name]:
                Grammar(**{**data, "grammar": GRAMMARS.build({"type": "motif", **level.grammar})})
    return Experiment(
        about, data, factors, changes, abouts, models, own_factors, explainers, dict(tables)
    )


def _factors_of(
    models: Mapping[str, Any], factors: Mapping[str, Any]
) -> tuple[dict[str, tuple[str, ...]], dict[str, Any]]:
    """The factors of models that name theirs, and the tables of the models without them."""
    found, plain = {}, dict(models)
    for name, table in models.items():
        if isinstance(table, Mapping) and "factors" in table:
            for factor in table["factors"]:
                if factor not in factors:
                    raise UnknownName(f"factor of [models.{name}]", factor, factors)
            found[name] = tuple(table["factors"])
            plain[name] = {key: value for key, value in table.items() if key != "factors"}
    return found, plain


def _levels(table: Mapping[str, Any], shared: Mapping[str, Any]) -> tuple[Level, ...]:
    """The levels of a factor, in the order of its grid."""
    if "grid" not in table:
        raise ConfigError("what varies is needed: grid = { setting = [value, value] }.")
    for key in ("type", "draw"):
        if key in table or key in table["grid"]:
            raise ConfigError(f"{key} is not for factors: grammars are of planted motifs, and the "
                              "seed says which motifs are drawn.")  # fmt: skip
    settings = list(table["grid"])
    return tuple(
        Level(
            setting=", ".join(settings),
            level=", ".join(_said(own[key]) for key in settings),
            grammar={**shared, **own},
        )
        for own in expanded("level", table).values()
    )


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _changes(
    given: Mapping[str, Mapping[str, Any]], explainers: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Settings of explainers that are others in one factor; of grids all that come from them."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, settings in given.items():
        own = [known for known in explainers if known == name or known.startswith(f"{name}-")]
        if not own:
            raise ConfigError(f"no explainer {name!r}.{nearest(name, explainers)}")
        for known in own:
            found[known] = settings
            EXPLAINERS.build({**explainers[known], **settings})
    return found


def _components(
    kind: str, registry: Registry, tables: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Tables of components by name, grids expanded and every default filled in."""
    found: dict[str, dict[str, Any]] = {}
    for given, table in tables.items():
        with _naming(f"[{kind}.{given}]"):
            if not isinstance(table, Mapping):
                raise ConfigError("a table is needed.")
            for name, each in expanded(given, table).items():
                built = registry.build({"type": given} | each)
                found[name] = {"type": registry.name_of(built)} | settings_of(built)
    return found


class _naming:
    """Errors say which table they are about."""

    def __init__(self, table: str):
        self._table = table

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ConfigError):
            raise ConfigError(f"{self._table} {error}") from None
        if isinstance(error, TypeError):
            raise ConfigError(f"{self._table} is no table of settings.") from None
