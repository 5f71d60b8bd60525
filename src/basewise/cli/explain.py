"""basewise explain"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from basewise.cli.reading import Label, OnError, OnErrorOption, Sequence, read_file

if TYPE_CHECKING:
    from basewise.cli.progress import Terminal
    from basewise.explainers.shards import Shard
    from basewise.models.model import Model
    from basewise.study.watch import Step
    from basewise.types import Attribution, Record, Target

__all__ = ["explain"]


class PictureFormat(StrEnum):
    """How pictures are written."""

    SVG = "svg"
    PNG = "png"


class Evaluated(StrEnum):
    """What perturbed rows are evaluated with; see `basewise.types.Precision`."""

    FULL = "full"
    AUTO = "auto"
    BFLOAT16 = "bfloat16"


def explain(
    sequences: Annotated[Path, typer.Argument(help="CSV, TSV, FASTA or Parquet.")],
    model: Annotated[
        str, typer.Option("--model", help="Folder of a model, or owner/name on the hub.")
    ],
    target: Annotated[str, typer.Option("--target", help="The label to explain, by name.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Parquet file to write; not needed with --check."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            help="Of a model of bases: the region to explain, as in 120-138 (0-based, half-open), "
            "or each predicted (or labelled) one.",
        ),
    ] = None,
    explainer: Annotated[str, typer.Option("--explainer", help="basewise list explainers")] = (
        "kernel_shap"
    ),
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of the explainer, as in --set units=bases --set evaluations=512; "
            "basewise show explainer NAME lists them.",
        ),
    ] = None,
    precision: Annotated[
        Evaluated, typer.Option("--precision", help="What perturbed rows are evaluated with.")
    ] = Evaluated.FULL,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that holds something else.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say what it would cost, and write nothing.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Folder for a picture of every record.")
    ] = None,
    picture_format: Annotated[
        PictureFormat, typer.Option("--picture-format", help="How pictures are written.")
    ] = PictureFormat.SVG,
    sequence: Sequence = None,
    label: Label = None,
    on_error: OnErrorOption = OnError.RAISE,
) -> None:
    """Explain every sequence of a file and write the attributions.

    What is finished is kept beside the file to write, in parts: a run that was interrupted
    continues with the same command.

    What has settings of its own is given as a table: --set 'units={type="windows",size=5}'.
    """
    import shutil
    from dataclasses import replace

    from basewise.cli.progress import Terminal
    from basewise.drawing import check_format
    from basewise.errors import ConfigError
    from basewise.explainers import EXPLAINERS
    from basewise.models.hub import checkpoint_folder
    from basewise.models.model import Model
    from basewise.store import check_writable, mark_of

    if out is None and not check:
        raise ConfigError("-o is missing; give the Parquet file to write, or --check.")
    if out is not None:
        check_writable(out)
        if out.suffix not in (".parquet", ".pq"):
            raise ConfigError(
                f"-o {out}: scores are written as Parquet; end the name with .parquet."
            )
    if picture:
        check_writable(picture / f"1.{picture_format}")
        check_format(f".{picture_format}")
    loaded = Model.load(model, precision=precision.value)
    built = EXPLAINERS.build({"type": explainer} | _settings(setting or []))
    read_as = loaded.target(target)
    if where is not None:
        read_as = loaded.target(replace(read_as, where=_region(where)))
    records = read_file(sequences, sequence, label, on_error)
    asked = _Asked(loaded, checkpoint_folder(model), built, read_as, records, seed)
    if out is None or check:
        for line in asked.forecast():
            typer.echo(line)
        return
    mark, terminal = asked.mark(), Terminal()
    parts = out.with_name(f"{out.name}.parts")
    if mark_of(out) == mark:
        terminal.note(f"{out} holds all of this already.")
    elif out.exists() and not overwrite:
        raise ConfigError(
            f"-o {out} is there and holds something else; give another name, or --overwrite."
        )
    elif picture and not overwrite and any(picture.glob(f"*.{picture_format}")):
        raise ConfigError(
            f"--picture {picture} holds pictures already; give another folder, or --overwrite."
        )
    else:
        asked.write(out, parts / mark, mark, terminal)
    shutil.rmtree(parts, ignore_errors=True)
    if picture:
        _draw(out, picture, picture_format)
    typer.echo(out)


@dataclass(frozen=True, eq=False)
class _Asked:
    """All that the scores of a file depend on."""

    model: Model
    source: Path
    explainer: Any
    target: Target
    records: list[Record]
    seed: int

    @cached_property
    def weights(self) -> str:
        from basewise.study.files import files_digest

        return files_digest(self.source)

    def mark(self) -> str:
        """By which a file says that it holds these scores."""
        from basewise.explainers.shards import RULE
        from basewise.registry import Registry, settings_of
        from basewise.store import fingerprint
        from basewise.study.files import contents
        from basewise.study.records import digest

        built = self.explainer
        by = (Registry.name_of(built), settings_of(built), contents(built), str(self.target))
        given = (digest(self.records), self.seed, RULE, self.model.precision)
        return fingerprint("explain", *by, self.weights, *given)

    def forecast(self) -> list[str]:
        """What it would cost, as lines of a table."""
        from basewise.explainers.forecast import forecast
        from basewise.explainers.shards import cut
        from basewise.models.repeatable import repeatable
        from basewise.registry import Registry
        from basewise.study.plan import Planned, table

        given = self.explainer, self.model, self.records
        shards = len(cut(*given, self.model.device.type))
        with repeatable():
            cost = forecast(*given, self.target, seed=self.seed, shards=shards)
        planned = Planned(self.model.name, Registry.name_of(self.explainer), cost, shards)
        return list(table([planned]))

    def write(self, out: Path, folder: Path, mark: str, terminal: Terminal) -> None:
        """Make the parts that the folder lacks, and the file of them all."""
        from basewise.errors import CapabilityError
        from basewise.explainers.count import costs
        from basewise.explainers.parts import part_of, pieces
        from basewise.explainers.regions import check_some, regions_of
        from basewise.explainers.shards import Shard, cut_once
        from basewise.registry import Registry, settings_of
        from basewise.store import join_attributions

        model, built, target, records = self.model, self.explainer, self.target, self.records
        with terminal.step(f"explain {target}", None) as bar:
            places = regions_of(model, records, target)
            check_some([each for targets in places for each in targets], records, target)
            if none := sum(not targets for targets in places):
                terminal.note(
                    f"{none} of {len(records)} records have no {target.where} region of "
                    f"{target.label} and are left out."
                )
            counted = zip(records, costs(built, model, records), places, strict=True)
            left = {r.id: [cost.number] * len(each) for r, cost, each in counted}
            device = model.device.type
            cuts = cut_once(folder, built, lambda: model, records, device)
            shards = [
                Shard(
                    place=part_of(folder, i),
                    model=self.source.absolute(),
                    weights=self.weights,
                    name=model.name,
                    precision=model.precision,
                    device=device,
                    explainer={"type": Registry.name_of(built)} | settings_of(built),
                    target=target,
                    records=some,
                    seed=self.seed,
                )
                for i, some in enumerate(pieces(records, cuts))
            ]
            progress = _Progress(bar, left)
            try:
                _make(shards, [each.work for each in cuts], progress)
            except CapabilityError:
                _forget(folder)
                raise
            join_attributions(out, [shard.place for shard in shards], mark)
        if said := progress.widths():
            terminal.note(said)


def _make(shards: list[Shard], works: list[int], progress: _Progress) -> None:
    """Write the part file of every shard that has none, in several processes if it takes long."""
    from basewise.errors import CapabilityError, ShardError
    from basewise.explainers.parts import flawed_part
    from basewise.store import read_attributions, write_bytes
    from basewise.study.backends.work import Failed
    from basewise.study.distribute import distribute, fitting

    waiting = {i: shard for i, shard in enumerate(shards) if flawed_part(shard.place) is not None}
    for i, shard in enumerate(shards):
        if i not in waiting:
            progress.kept(read_attributions(shard.place))
    backend = fitting(shards[0].device, [works[i] for i in waiting])
    with backend.open(shards[0].device) as workers:
        for i, outcome in distribute(waiting.items(), workers):
            if isinstance(outcome, Failed):
                raise (ShardError if outcome.lost else CapabilityError)(outcome.error)
            write_bytes(shards[i].place, outcome)
            progress.made(read_attributions(shards[i].place))


def _forget(folder: Path) -> None:
    """Take away the folder of the parts of a run that was refused before any was finished."""
    import shutil

    if any(folder.glob("part-*")):
        return
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # it holds parts of other runs
        folder.parent.rmdir()


class _Progress:
    """Evaluations done of all there will be; what is left is the most that it can be."""

    def __init__(self, bar: Step, left: dict[str, list[int]]):
        self._bar, self._left, self._records = bar, left, len(left)
        self._done, self._made, self._rest = 0, 0, sum(map(sum, left.values()))
        self._begin = time.perf_counter()
        self._narrow: list[float] = []
        self._widest = 0.0
        self._show()

    def made(self, found: list[Attribution]) -> None:
        """Records are finished."""
        self._made += sum(one.evaluations for one in found)
        self.kept(found)

    def kept(self, found: Iterable[Attribution]) -> None:
        """Records were finished before."""
        for one in found:
            self._rest -= self._left[one.record_id].pop()
            self._done += one.evaluations
            if "narrow" in one.extras:
                self._narrow.append(one.extras["narrow"])
                self._widest = max(self._widest, one.extras["width"])
        self._show()

    def widths(self) -> str:
        """How many explanations stopped because intervals were as narrow as was asked for.

        Nothing where none was asked to.
        """
        if not self._narrow:
            return ""
        reached, every = sum(map(bool, self._narrow)), len(self._narrow)
        what = "records" if every == self._records else "regions"
        said = f"{reached:,} of {every:,} {what} reached the width asked"
        if reached == every:
            return f"{said}."
        return (
            f"{said}; the others spent their whole budget, and their widest interval is "
            f"{self._widest:.3g}. Give a larger budget or width."
        )

    def _show(self) -> None:
        rate = self._made / max(time.perf_counter() - self._begin, 1e-9)
        finished = sum(not regions for regions in self._left.values())
        self._bar.at(
            self._done,
            self._done + self._rest,
            f"evaluations, {finished:,} of {self._records:,} records, {rate:,.0f}/s",
        )


def _draw(attributions: Path, folder: Path, ending: PictureFormat) -> None:
    """A picture of every record, named by its place in the file and its id."""
    import re

    from basewise.cli.progress import Terminal
    from basewise.drawing import draw
    from basewise.store import read_attributions

    found = read_attributions(attributions)
    wide = len(str(len(found)))
    with Terminal().step("draw", len(found)) as bar:
        for i, one in enumerate(found, 1):
            safe = re.sub(r"[^A-Za-z0-9._+-]+", "_", one.record_id)[:80]
            names = [f"{one.record_id}, {one.method.replace('_', ' ')}"]
            draw(one, names=names).save(folder / f"{i:0{wide}d}-{safe}.{ending}")
            bar.at(i)


def _region(text: str) -> Any:
    """`predicted`, `labelled`, or a region from `start-end`."""
    import re

    from basewise.errors import ConfigError

    if text in ("predicted", "labelled"):
        return text
    if not (found := re.fullmatch(r"(\d+)-(\d+)", text)):
        raise ConfigError(
            f"--where {text!r}: write start-end (0-based, half-open), predicted, or labelled."
        )
    return int(found[1]), int(found[2])


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
