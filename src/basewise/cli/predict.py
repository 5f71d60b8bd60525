"""basewise predict"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from basewise.cli.reading import Label, OnError, OnErrorOption, Sequence, read_file

if TYPE_CHECKING:
    from basewise.study.watch import Step

__all__ = ["predict"]

_GENOME = "Of a genome"


def predict(
    sequences: Annotated[Path, typer.Argument(help="CSV, TSV, FASTA or Parquet.")],
    model: Annotated[
        str, typer.Option("--model", help="Folder of a model, or owner/name on the hub.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="CSV of sequences, or bigWig (.bw) of a genome.")
    ],
    sequence: Sequence = None,
    label: Label = None,
    on_error: OnErrorOption = OnError.RAISE,
    target: Annotated[
        str | None,
        typer.Option("--target", help="The label to write, by name.", rich_help_panel=_GENOME),
    ] = None,
    bed: Annotated[
        Path | None,
        typer.Option("--bed", help="BED of the bases that are called.", rich_help_panel=_GENOME),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            help="Probability from which on a base is called, if the model keeps none.",
            rich_help_panel=_GENOME,
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option("--width", help="Bases of a window.", rich_help_panel=_GENOME),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap", help="Bases a window shares with the next.", rich_help_panel=_GENOME
        ),
    ] = None,
    both_strands: Annotated[
        bool | None,
        typer.Option(
            "--both-strands/--one-strand",
            help="Mean of both strands; both, unless the network reads both by itself.",
            rich_help_panel=_GENOME,
        ),
    ] = None,
) -> None:
    """Predict every sequence of a file, or, with -o NAME.bw, every base of a genome.

    A genome is read in windows and written in parts: a run that was interrupted continues with
    the same command.
    """
    if out.suffix.lower() in (".bw", ".bigwig"):
        _genome(sequences, model, out, target, bed, threshold, width, overlap, both_strands)
        return
    import pandas as pd

    from basewise.errors import ConfigError
    from basewise.models.model import Model
    from basewise.store import write_text

    if bed is not None:
        raise ConfigError(f"--bed {bed} is of a genome; name the bigWig to write: -o NAME.bw.")
    loaded = Model.load(model)
    records = read_file(sequences, sequence, label, on_error)
    frame = pd.DataFrame(loaded.predict(records), columns=list(loaded.labels))
    frame.insert(0, "id", [record.id for record in records])
    write_text(out, frame.to_csv(index=False))
    typer.echo(out)


def _genome(
    path: Path,
    model: str,
    out: Path,
    target: str | None,
    bed: Path | None,
    threshold: float | None,
    width: int | None,
    overlap: int | None,
    both_strands: bool | None,
) -> None:
    import hashlib
    import shutil

    from basewise.cli.progress import Terminal
    from basewise.data.browser import check_bigwig, write_bigwig, write_regions
    from basewise.data.genome import Genome
    from basewise.models.annotating import annotate, contigs_of, sizes_of, tiles_for
    from basewise.models.hub import checkpoint_folder
    from basewise.models.model import Model
    from basewise.models.thresholds import threshold_of
    from basewise.registry import settings_of
    from basewise.store import check_writable, fingerprint
    from basewise.study.files import files_digest

    for file in (out, bed) if bed else (out,):
        check_writable(file)
    check_bigwig(out)
    loaded = Model.load(model)
    target = target or _only_label(loaded.labels)
    loaded.target(target)
    folder = checkpoint_folder(model)
    from_on = threshold_of(folder, target, threshold) if bed else None
    tiles = tiles_for(loaded, width, overlap)
    genome = Genome(path)
    with open(path, "rb") as opened:
        content = hashlib.file_digest(opened, "sha256").hexdigest()
    read = [file.digest() for file in loaded.tracks.files] if loaded.tracks else []
    asked = (files_digest(folder), target, settings_of(tiles), both_strands, *read)
    parts = out.with_name(f"{out.name}.parts")
    kept = parts / fingerprint("annotate", content, *asked)
    contigs = contigs_of(genome)
    with Terminal().step(f"predict {target}", sum(each.length for each in contigs)) as bar:
        pieces = annotate(
            loaded, genome, target, kept, tiles=tiles, both_strands=both_strands,
            progress=_Progress(bar),
        )  # fmt: skip
        write_bigwig(out, sizes_of(contigs), pieces)
    typer.echo(out)
    if bed and from_on is not None:
        again = annotate(loaded, genome, target, kept, tiles=tiles, both_strands=both_strands)
        count = write_regions(bed, again, target, from_on)
        typer.echo(f"{bed}: {count:,} stretches with probability >= {from_on:g}")
    shutil.rmtree(parts)


def _only_label(labels: tuple[str, ...]) -> str:
    """The label that a model of one label and the background speaks of."""
    from basewise.errors import ConfigError
    from basewise.types import BACKGROUND

    others = [label for label in labels if label != BACKGROUND]
    if len(others) != 1:
        raise ConfigError(f"Name the label to write: --target, one of {', '.join(labels)}.")
    return others[0]


class _Progress:
    """Bases done and left, and how fast those are that are predicted now."""

    def __init__(self, bar: Step):
        self._bar, self._begin = bar, time.perf_counter()

    def __call__(self, done: int, made: int, total: int) -> None:
        rate = made / max(time.perf_counter() - self._begin, 1e-9) * 60 / 1e6
        self._bar.at(done, total, f"bases, {total - done:,} left, {rate:.2f} Mbp/min")
