"""The report of an experiment: which explainer fails where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from basewise.drawing import Picture, check_format, logo_of
from basewise.errors import MissingExtra, StoreError
from basewise.picture.plots import Box, Panel, Series, boxes, grid, multiples
from basewise.picture.svg import file_of
from basewise.picture.words import NONE, counted, estimate, listing, number, percent, quantity
from basewise.report import page_of
from basewise.report.blocks import (
    Block,
    Details,
    Figure,
    Section,
    SubHeading,
    Table,
    Text,
    Tile,
    Tiles,
)
from basewise.report.frames import rows_of
from basewise.store import write_text
from basewise.study.cell import CEILING, Cell
from basewise.study.datasets import Grammar
from basewise.study.experiments import ALL, CHANCE, ExperimentRun
from basewise.types import Span

__all__ = ["write_experiment_report"]

NAMES = {
    "auprc": "AUPRC",
    "mass_inside": "mass inside",
    "match": "match",
    "hypothetical_match": "match of hypothetical scores",
    "relative_gap": "completeness gap",
    "lowest_rank_correlation": "least rank correlation of references",
    "lowest_top_overlap": "least share of largest scores in common",
    "changes": "share whose story changes",
}
REFERENCES = ("lowest_rank_correlation", "lowest_top_overlap", "changes")
MEANING = (
    "AUPRC: precision over recall when bases are ranked by attribution; 1 is perfect, and the base "
    "rate stands beside it as chance. Mass inside: share of the positive attribution that lies on "
    "motif bases. Match: share of motif positions at which the true base has the highest of four "
    "scores, the three that are absent having 0; its chance is measured on the other bases of the "
    "same sequences, and is 1 for magnitudes. Match of hypothetical scores: the same by what each "
    "base would have scored; chance is 0.25."
)
INTERVALS = (
    "Intervals are of 95 %. Records of one seed share motif, sequences and network: where several "
    "seeds solved the task, the interval is Student's t over the means of the seeds, each counting "
    "alike, and holds for seeds that were not run; where one did, it is a bootstrap over records, "
    "and holds for that one network only."
)
LOGOS = 9  # explanations below each other
LETTERS = 80


def write_experiment_report(folder: str | Path) -> Path:
    """Write `<folder>/report/index.html`, and every figure to `<folder>/figures`.

    Figures are SVG files, and PNG files too where the library for them is installed.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    StoreError
        If no cell is done yet.
    """
    run = ExperimentRun(Path(folder))
    if run.records.empty:
        raise StoreError(f"{folder} has no finished cell to report on; run it first.")
    figures: dict[str, Markup] = {}
    sections = [
        ("question", _question(run)),
        ("overview", _overview(run, figures)),
        *((f"factor-{factor}", _factor(run, factor, figures)) for factor in run.experiment.factors),
        ("references", _references(run)),
        ("gate", _gate(run)),
    ]
    text = page_of(
        run.lock, "experiment", run.folder.name, [(id, s) for id, s in sections if s is not None]
    )
    for name, drawing in figures.items():
        picture = Picture(file_of(drawing))
        picture.save(run.folder / "figures" / f"{name}.svg")
        if _png():
            picture.save(run.folder / "figures" / f"{name}.png")
    path = run.folder / "report" / "index.html"
    write_text(path, text)
    return path


def _png() -> bool:
    try:
        check_format(".png")
    except MissingExtra:
        return False
    return True


def _models(run: ExperimentRun) -> list[str]:
    """The models that are trained."""
    return list(run.experiment.models)


def _question(run: ExperimentRun) -> Section:
    experiment, rows = run.experiment, run.records
    about = experiment.about
    cells = rows[rows["model"] != CEILING].drop_duplicates(["model", "factor", "level", "seed"])
    solved = int(cells["solved"].sum())
    whole = sum(cell.model != CEILING for cell in experiment.cells())
    tiles = Tiles(
        (
            Tile(
                quantity(len(cells)) if len(cells) == whole else f"{len(cells)} of {whole}",
                "models trained",
                counted(len(about.seeds), "seed"),
            ),
            Tile(f"{solved} of {len(cells)}", "solved their task", "the others are not explained"),
            Tile(quantity(len(experiment.explainers)), "explainers", "with their references"),
            Tile(quantity(int((rows["record_id"].notna()).sum())), "explanations", "of records"),
        )
    )
    text = (
        "Motifs are planted into random bases by a rule, so every base that makes the label is "
        "known, and so is the likelihood of every sequence: the ceiling is Bayes' rule itself, "
        "calculated by summing over all places. Each factor varies one thing. Models whose AUROC "
        f"above a half is below {percent(about.gate)} of the ceiling's are marked and not "
        "explained, since an explainer can only find what its model knows."
    )
    return Section(
        "What was asked?", (Text(about.question), tiles, Text(text), Text(MEANING), Text(INTERVALS))
    )


def _overview(run: ExperimentRun, figures: dict[str, Markup]) -> Section:
    summary = run.summary
    pooled = summary[summary["level"] == ALL]
    blocks: list[Block] = []
    for model in [*_models(run), CEILING]:
        for metric in ("auprc", "hypothetical_match"):
            own = pooled[(pooled["model"] == model) & (pooled["metric"] == metric)]
            own = own[own["n"] > 0]
            if own.empty:
                continue
            drawing = _grid(run, own, chance=metric == "auprc")
            figures[f"overview-{model}-{metric}"] = drawing
            what = "the grammar's own log-odds" if model == CEILING else f"the model {model}"
            blocks.append(
                Figure(
                    f"{_upper(NAMES[metric])}, {what}",
                    drawing,
                    f"Mean {NAMES[metric]} of each explainer over all levels of each factor.",
                    f"Mean {NAMES[metric]} over records, levels and seeds; one row per explainer, "
                    "one column per factor. The numbers with their intervals stand in the tables "
                    "of the factors.",
                    least_width=760,
                )
            )
    return Section("Which explainer fails where?", tuple(blocks))


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _grid(run: ExperimentRun, own: pd.DataFrame, *, chance: bool) -> Markup:
    experiment = run.experiment
    explainers = [name for name in experiment.explainers if name in set(own["explainer"])]
    factors = [name for name in experiment.factors if name in set(own["factor"])]
    wide = own.pivot_table(index="explainer", columns="factor", values="value", sort=False)
    values = wide.reindex(index=explainers, columns=factors).to_numpy(float)
    rows = [_said(name) for name in explainers]
    if chance:
        base = own.groupby("factor")["chance"].mean().reindex(factors).to_numpy(float)
        values, rows = np.vstack([values, base]), [*rows, "chance"]
    return grid(rows, factors, values)


def _said(explainer: str) -> str:
    """A name as it is written in figures: `integrated gradients, zero`."""
    return explainer.replace("-reference", ", ").replace("_", " ")


def _brief(level: str) -> str:
    """A level as it is written below a curve: numbers with two digits."""
    try:
        return f"{float(level):.2g}"
    except ValueError:
        return level


def _factor(run: ExperimentRun, factor: str, figures: dict[str, Markup]) -> Section | None:
    summary = run.summary
    own = summary[(summary["factor"] == factor) & (summary["level"] != ALL)]
    if own[own["n"] > 0].empty:
        return None
    levels = [level.level for level in run.experiment.factors[factor]]
    setting = run.experiment.factors[factor][0].setting
    blocks: list[Block] = []
    for metric in ("auprc", "hypothetical_match"):
        some = own[own["metric"] == metric]
        panels = list(_panels(run, some, levels))
        if not panels:
            continue
        drawing = multiples(panels, [_brief(level) for level in levels], setting, NAMES[metric])
        figures[f"{factor}-{metric}"] = drawing
        blocks.append(
            Figure(
                f"{_upper(NAMES[metric])} by {setting}",
                drawing,
                f"Curves of {NAMES[metric]} over {setting}, one panel per explainer.",
                "One panel per explainer (IG: integrated gradients), one curve per model; means "
                f"with 95 % intervals over {_over(run)}. Dotted: chance. Levels whose models did "
                "not solve the task are left out.",
                least_width=760,
            )
        )
    blocks += _boxed(run, own, factor, figures)
    blocks += _logos(run, factor, figures)
    blocks.append(Details("The numbers", (_table(own, _over(run)),)))
    return Section(f"{_upper(factor)}", tuple(blocks))


def _panels(run: ExperimentRun, own: pd.DataFrame, levels: Sequence[str]) -> Iterator[Panel]:
    """One per explainer that has values, with a curve per model."""
    nothing = np.full(len(levels), np.nan)
    for explainer in run.experiment.explainers:
        mine = own[(own["explainer"] == explainer) & (own["n"] > 0)]
        if mine.empty:
            continue
        series = []
        for model in [*_models(run), CEILING]:
            table = mine[mine["model"] == model].set_index("place").reindex(range(len(levels)))
            series.append(
                Series(model, *(table[c].to_numpy(float) for c in ("value", "low", "high")))
            )
        chance = mine.groupby("place")["chance"].mean().reindex(range(len(levels)))
        shown = tuple(each for each in series if np.isfinite(each.values).any())
        name = _said(explainer).replace("integrated gradients", "IG")
        yield Panel(name, shown, chance.to_numpy(float) if len(mine) else nothing)


def _boxed(
    run: ExperimentRun, own: pd.DataFrame, factor: str, figures: dict[str, Markup]
) -> Iterable[Block]:
    """Boxes over records at the level that explainers of the first solved model find hardest."""
    for model in _models(run):
        some = own[(own["model"] == model) & (own["metric"] == "auprc") & (own["n"] > 0)]
        some = some[some["method"] != "random"]
        if some.empty:
            continue
        means = some.groupby("place")["value"].mean()
        hardest = int(means.index.to_numpy(int)[means.to_numpy(float).argmin()])
        rows = run.records
        rows = rows[
            (rows["factor"] == factor) & (rows["model"] == model) & (rows["place"] == hardest)
        ]
        rows = rows[rows["solved"] & (rows["refused"] == "")]
        level = run.experiment.factors[factor][hardest]
        shown = [
            Box(
                _said(str(name)),
                table["auprc"].to_numpy(float),
                float(table["auprc_chance"].mean()),
            )
            for name, table in rows.groupby("explainer", sort=False)
        ]
        drawing = boxes(shown, f"AUPRC of single records, {level.setting} {level.level}")
        figures[f"{factor}-boxes-{model}"] = drawing
        yield Figure(
            f"Single records at the hardest level, {model}",
            drawing,
            f"Boxes of the AUPRC of single records at {level.setting} {level.level}.",
            "Boxes span the quartiles, the line is the median, the diamond the mean; whiskers "
            "reach to 1.5 box lengths. Grey bar: chance.",
            least_width=760,
        )


def _logos(run: ExperimentRun, factor: str, figures: dict[str, Markup]) -> Iterable[Block]:
    """One record under several explainers, at the first and the last level."""
    cells = [
        cell
        for cell in run.experiment.cells()
        if cell.factor == factor and cell.model in _models(run)
    ]
    first_seed = [cell for cell in cells if cell.seed == run.experiment.about.seeds[0]]
    by_level = {cell.place: cell for cell in reversed(first_seed) if _one(run, cell)}
    for place in sorted({min(by_level), max(by_level)}) if by_level else ():
        cell = by_level[place]
        found = _one(run, cell)
        first = next(iter(found.values()))
        truth = _truth(cell, first.record_id)
        names = [_said(name) for name in found]
        drawing = logo_of(list(found.values()), names=names, truth=truth, width=LETTERS)
        figures[f"{factor}-logo-{place + 1}"] = drawing
        yield Figure(
            f"One record, {cell.setting} {cell.level}, {cell.model}",
            drawing,
            f"Logos of one record under {listing(names)}.",
            "Letters are as tall as the score of their base; each explainer has its own scale. "
            f"Shaded: the motif. Of {len(first.sequence):,} bases those with most attribution.",
            least_width=760,
        )


def _one(run: ExperimentRun, cell: Cell) -> dict[str, Any]:
    """The first record of a cell under explainers of different methods."""
    found: dict[str, Any] = {}
    for name, settings in cell.explainers.items():
        if settings["type"] in {cell.explainers[known]["type"] for known in found}:
            continue
        if kept := run.attributions(cell, name):
            found[name] = kept[0]
        if len(found) == LOGOS:
            break
    return found


def _truth(cell: Cell, record_id: str) -> tuple[Span, ...]:
    """The planted motifs of a record, which the grammar of its cell makes again."""
    splits = Grammar(**{**cell.data, "grammar": cell.grammar}).splits(None, cell.seed)
    return next(record.truth for record in splits["test"].records if record.id == record_id)


def _over(run: ExperimentRun) -> str:
    """What intervals are over."""
    return "seeds (of one seed: over records)" if len(run.experiment.about.seeds) > 1 else "records"


def _table(own: pd.DataFrame, over: str) -> Table:
    """Every measure of every explainer, level and model."""
    metrics = [metric for metric in CHANCE if metric in set(own["metric"])]
    rows = []
    keys = ["place", "level", "model", "tokenizer", "explainer", "reference"]
    for key, table in own.groupby(keys, sort=True, dropna=False):
        _, level, model, tokenizer, explainer, reference = key
        cells = {row.metric: row for row in rows_of(table)}
        first = next(iter(cells.values()))
        rows.append(
            (
                str(explainer).partition("-reference")[0],
                str(level),
                f"{model}{f' ({tokenizer})' if tokenizer else ''}",
                str(reference),
                f"{first.seeds} of {first.of_seeds}",
                quantity(max(row.n for row in cells.values())),
                *(_cell(cells.get(metric)) for metric in metrics),
            )
        )
    columns = ("Explainer", "Level", "Model", "Reference", "Seeds", "Records")
    return Table(
        "One row per level, model and explainer: means over records of all seeds that solved the "
        f"task, with 95 % intervals over {over}, and chance in parentheses.",
        (*columns, *(_upper(NAMES[metric]) for metric in metrics)),
        rows,
    )


def _cell(row: Any) -> str:
    if row is None or not row.n:
        return NONE
    chance = f" ({number(row.chance)})" if np.isfinite(row.chance) else ""
    return f"{estimate(row.value, row.low, row.high)}{chance}"


def _references(run: ExperimentRun) -> Section | None:
    """Where one explainer averages over several references, whether they tell the same story."""
    summary = run.summary
    own = summary[summary["metric"].isin(REFERENCES)]
    own = own[own["level"] == ALL]
    if own.empty:
        return None
    rows = []
    for key, table in own.groupby(["model", "explainer", "reference", "factor"], sort=False):
        model, explainer, reference, factor = key
        cells = {row.metric: row for row in rows_of(table)}
        rows.append(
            (
                _said(str(explainer)),
                str(model),
                str(reference),
                str(factor),
                quantity(max(row.n for row in cells.values())),
                *(_cell(cells.get(m)) for m in REFERENCES),
            )
        )
    rows_of_records = run.records
    flagged = rows_of_records[rows_of_records["changes"] == 1.0]
    blocks: list[Block] = [
        Text(
            "Explainers that take several references say how far these agree: the least rank "
            "correlation of any two over all bases, the least share of their ten largest scores "
            "that any two have in common, and whether the story of a sequence changes with them "
            "(less than half in common, or less than 80 % of the ten largest of one sign)."
        ),
        Table(
            "One row per explainer and factor, over all levels and seeds.",
            (
                "Explainer", "Model", "References", "Factor", "Records",
                "Least rank correlation", "Least share in common", "Share whose story changes",
            ),
            rows,
        ),
    ]  # fmt: skip
    if len(flagged):
        some = flagged.sort_values("lowest_top_overlap").head(20)
        blocks.append(
            Details(
                f"Sequences whose story changes: the first 20 of {quantity(len(flagged))}",
                (
                    Table(
                        "Those that have least in common first.",
                        (
                            "Record", "Factor", "Level", "Explainer", "Least rank correlation",
                            "Least share in common",
                        ),
                        [
                            (row.record_id, row.factor, row.level, _said(row.explainer),
                             number(row.lowest_rank_correlation),
                             percent(row.lowest_top_overlap))
                            for row in rows_of(some)
                        ],
                    ),
                ),
            )
        )  # fmt: skip
    return Section("Does the story depend on the reference?", tuple(blocks))


def _refused(run: ExperimentRun) -> list[tuple[str, ...]]:
    """Explainer, model, the factors in which the one does not serve the other, and why."""
    rows = run.records[run.records["solved"]]
    asked: dict[Any, int] = rows.groupby(["model", "explainer"])["factor"].nunique().to_dict()
    found: list[tuple[str, ...]] = []
    some = rows[rows["refused"] != ""]
    for (model, explainer, why), own in some.groupby(["model", "explainer", "refused"], sort=False):
        factors = own["factor"].unique().tolist()
        every = len(factors) == asked[model, explainer]
        told = "all" if every else listing(factors)
        found.append((_said(str(explainer)), str(model), told, str(why)))
    return found


def _gate(run: ExperimentRun) -> Section:
    """The quality of every model, beside the ceiling."""
    keys = ["model", "tokenizer", "factor", "place", "level", "seed"]
    cells = run.records.drop_duplicates(keys)
    cells = cells[cells["model"] != CEILING]
    rows = [
        (
            row.factor,
            row.level,
            row.model,
            quantity(row.parameters),
            str(row.seed),
            estimate(row.auroc, row.auroc_low, row.auroc_high),
            quantity(row.test),
            number(row.ceiling),
            "yes" if row.solved else "below the gate",
        )
        for row in rows_of(cells)
    ]
    refused = _refused(run)
    blocks: list[Block] = [
        Table(
            "One row per model: AUROC on test with its 95 % interval, and that of the grammar's "
            "own log-odds on the same records.",
            (
                "Factor",
                "Level",
                "Model",
                "Weights",
                "Seed",
                "AUROC",
                "Records",
                "Ceiling",
                "Solved",
            ),
            rows,
        ),
        SubHeading("What was not served"),
    ]  # fmt: skip
    if len(refused):
        blocks.append(
            Table(
                "One row per model and explainer that does not serve it, or not in all factors.",
                ("Explainer", "Model", "Factors", "Why"),
                refused,
            )
        )
    else:
        blocks.append(Text("Every explainer served every model."))
    blocks.append(
        Text(
            Markup("To repeat it: <code>basewise run {}/lock.json</code>.").format(run.folder.name)
        )
    )
    return Section("Did the models solve the tasks?", tuple(blocks))
