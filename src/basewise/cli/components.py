"""basewise list | show"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from basewise.registry import Registry

__all__ = ["list_components", "show"]


def _tables() -> dict[str, Registry]:
    from basewise.data import GRAMMARS
    from basewise.evaluate import CONTROLS
    from basewise.explainers import EXPLAINERS, MASKINGS, REFERENCES, UNITS
    from basewise.models import NETWORKS
    from basewise.models.tracks import TRACKS
    from basewise.study.backends import BACKENDS
    from basewise.study.study import DATASETS, MODELS
    from basewise.tokenize import TOKENIZERS

    return {
        "backends": BACKENDS,
        "controls": CONTROLS,
        "datasets": DATASETS,
        "explainers": EXPLAINERS,
        "grammars": GRAMMARS,
        "maskings": MASKINGS,
        "models": MODELS,
        "networks": NETWORKS,
        "references": REFERENCES,
        "tokenizers": TOKENIZERS,
        "tracks": TRACKS,
        "units": UNITS,
    }


def _table(kind: str) -> Registry:
    from basewise.errors import UnknownName

    tables = _tables()
    found = tables.get(kind) or tables.get(f"{kind}s")
    if found is None:
        raise UnknownName("kind of component", kind, tables)
    return found


def list_components(
    kind: Annotated[
        str | None, typer.Argument(help="explainers, maskings, models, ...; all kinds if left out.")
    ] = None,
) -> None:
    """Name the components of one kind, or the kinds there are."""
    if kind is None:
        tables = _tables()
        width = max(map(len, tables))
        for name, rows in tables.items():
            typer.echo(f"{name:<{width}}  {', '.join(rows.names())}")
        return
    table = _table(kind)
    width = max(map(len, table.names()))
    for name in table.names():
        summary = (inspect.getdoc(table.get(name)) or "").split("\n\n")[0]
        typer.echo(f"{name:<{width}}  {' '.join(summary.split())}")


def show(
    kind: Annotated[str, typer.Argument(help="explainer, masking, model, ...")],
    name: Annotated[str, typer.Argument(help="The component's name.")],
) -> None:
    """Show what a component means and every setting with its default."""
    cls = _table(kind).get(name)
    typer.echo(_described(cls))
    if dataclasses.is_dataclass(cls):
        typer.echo("\nDefaults")
        for field in dataclasses.fields(cls):
            typer.echo(f"  {field.name} = {_default(field)}")
    if trained := getattr(cls, "type_", None):  # a model of a study, by the name of its network
        from basewise.models import NETWORKS

        typer.echo(
            f"\nThe table network may hold these settings of {trained}; head, vocabulary, padding "
            "and positions\nfollow from the data where they are not given."
        )
        _echo_network(NETWORKS.get(trained).config_class, getattr(cls, "small", {}))
    elif config := getattr(cls, "config_class", None):
        typer.echo(f"\n{inspect.getdoc(config)}\n\nDefaults")
        _echo_network(config, {})


_SECTION = r"^\S[^\n]*\n-{3,}$"  # a title, underlined, as numpy's docstrings have them
_ATTRIBUTES = re.compile(rf"^Attributes\n-+\n(.*?)(?=\n+{_SECTION}|\Z)", re.MULTILINE | re.DOTALL)


def _described(cls: type) -> str:
    """What a component says of itself, with the settings that it shares with others.

    Each is said once, in the order of the settings; its own words come before those of a base.
    """
    text = inspect.getdoc(cls) or cls.__name__
    entries: dict[str, str] = {}  # by name; several names may share one
    for base in cls.__mro__:
        said = _ATTRIBUTES.search(inspect.cleandoc(base.__dict__.get("__doc__") or ""))
        for entry in re.split(r"\n(?=\S)", said[1]) if said else []:
            names = re.split(r", *", entry.partition(" : ")[0])
            if not entries.keys() & set(names):
                entries |= dict.fromkeys(names, entry)
    if not entries:
        return text
    settings = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    named = [setting.name for setting in settings if setting.name in entries]
    rows = dict.fromkeys(entries[name] for name in (*named, *entries))
    block = "\n".join(["Attributes", "----------", *rows])
    if _ATTRIBUTES.search(text):
        return _ATTRIBUTES.sub(lambda _: block, text)
    section = re.search(_SECTION, text, re.MULTILINE)
    at = section.start() if section else len(text)
    return "\n\n".join(each.strip("\n") for each in (text[:at], block, text[at:]) if each)


def _default(field: dataclasses.Field[Any]) -> str:
    factory = getattr(field.default, "default_factory", None)  # of pydantic's Field
    if factory is not None:
        return repr(factory())
    if field.default is not dataclasses.MISSING:
        return repr(getattr(field.default, "default", field.default))
    if field.default_factory is not dataclasses.MISSING:
        return repr(field.default_factory())
    return "(needed)"


def _echo_network(config: type, instead: Mapping[str, Any]) -> None:
    """The settings of a network's configuration, without those that transformers gives all."""
    from transformers import PreTrainedConfig

    ours = [cls for cls in config.__mro__ if cls.__module__.startswith("basewise.")]
    named = {name for cls in ours for name in inspect.get_annotations(cls)}
    settings = {
        name: setting
        for cls in (*reversed(ours), config)  # its own come over those it shares
        for name, setting in inspect.signature(cls).parameters.items()
    }
    named |= set(settings) - set(inspect.signature(PreTrainedConfig).parameters)
    for name, setting in settings.items():
        if name in named and setting.default is not setting.empty:
            typer.echo(f"  {name} = {instead.get(name, setting.default)!r}")
