"""basewise list | show"""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from basewise.registry import Registry

__all__ = ["list_components", "show"]


def _tables() -> dict[str, Registry]:
    from basewise.explainers import EXPLAINERS, MASKINGS, REFERENCES, UNITS
    from basewise.models import NETWORKS
    from basewise.study.study import DATASETS, MODELS
    from basewise.tokenize import TOKENIZERS

    return {
        "datasets": DATASETS,
        "explainers": EXPLAINERS,
        "maskings": MASKINGS,
        "models": MODELS,
        "networks": NETWORKS,
        "references": REFERENCES,
        "tokenizers": TOKENIZERS,
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
    kind: Annotated[str, typer.Argument(help="explainers, maskings, models, ...")],
) -> None:
    """Name the components of one kind."""
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
    typer.echo(inspect.getdoc(cls) or cls.__name__)
    if not dataclasses.is_dataclass(cls):
        return
    typer.echo("\nDefaults")
    for field in dataclasses.fields(cls):
        factory = getattr(field.default, "default_factory", None)  # of pydantic's Field
        if factory is not None:
            said = repr(factory())
        elif field.default is not dataclasses.MISSING:
            said = repr(getattr(field.default, "default", field.default))
        elif field.default_factory is not dataclasses.MISSING:
            said = repr(field.default_factory())
        else:
            said = "(needed)"
        typer.echo(f"  {field.name} = {said}")
