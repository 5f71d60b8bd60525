"""basewise explain"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from basewise.cli.reading import Label, OnError, OnErrorOption, Sequence, read_file

__all__ = ["explain"]


def explain(
    sequences: Annotated[Path, typer.Argument(help="CSV, TSV, FASTA or Parquet.")],
    model: Annotated[
        str, typer.Option("--model", help="Folder of a model, or owner/name on the hub.")
    ],
    target: Annotated[str, typer.Option("--target", help="The label to explain, by name.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Parquet file to write.")],
    explainer: Annotated[str, typer.Option("--explainer", help="basewise list explainers")] = (
        "kernel_shap"
    ),
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, as in --set units=bases --set evaluations=512."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    sequence: Sequence = None,
    label: Label = None,
    on_error: OnErrorOption = OnError.RAISE,
) -> None:
    """Explain every sequence of a file and write the attributions."""
    from basewise.cli.progress import Terminal
    from basewise.explainers import EXPLAINERS
    from basewise.models.model import Model
    from basewise.store import write_attributions
    from basewise.types import Attribution

    loaded = Model.load(model)
    built = EXPLAINERS.build({"type": explainer} | _settings(setting or []))
    read_as = loaded.target(target)
    records = read_file(sequences, sequence, label, on_error)
    done = evaluations = 0
    with Terminal().step(f"explain {read_as}", len(records)) as bar:

        def finished(found: Attribution) -> None:
            nonlocal done, evaluations
            done, evaluations = done + 1, evaluations + found.evaluations
            bar.at(done, note=f"{evaluations:,} evaluations")

        found = built.explain(loaded, records, read_as, seed, finished)
    write_attributions(out, found)
    typer.echo(out)


def _settings(given: list[str]) -> dict[str, Any]:
    """Settings from `name=value`, where a value is read as TOML and otherwise as text."""
    import tomllib

    from basewise.errors import ConfigError

    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text!r} has no '='; write --set name=value.")
        try:
            found[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name.strip()] = value
    return found
