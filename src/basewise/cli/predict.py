"""basewise predict"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from basewise.cli.reading import Label, OnError, OnErrorOption, Sequence, read_file

__all__ = ["predict"]


def predict(
    sequences: Annotated[Path, typer.Argument(help="CSV, TSV, FASTA or Parquet.")],
    model: Annotated[
        str, typer.Option("--model", help="Folder of a model, or owner/name on the hub.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="CSV file to write.")],
    sequence: Sequence = None,
    label: Label = None,
    on_error: OnErrorOption = OnError.RAISE,
) -> None:
    """Predict every sequence of a file; one column per label."""
    import pandas as pd

    from basewise.models.model import Model
    from basewise.store import write_text

    loaded = Model.load(model)
    records = read_file(sequences, sequence, label, on_error)
    frame = pd.DataFrame(loaded.predict(records), columns=list(loaded.labels))
    frame.insert(0, "id", [record.id for record in records])
    write_text(out, frame.to_csv(index=False))
    typer.echo(out)
