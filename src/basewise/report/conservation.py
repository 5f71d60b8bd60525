"""Whether explanations of genes follow what their family keeps, and whether genes are recognised by
the bases that come first."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from markupsafe import Markup

from basewise.picture.tracks import Numbers, Stretches, tracks
from basewise.picture.words import counted, estimate, listing, number, p_value, percent, quantity
from basewise.registry import component
from basewise.report.biology import LEVEL
from basewise.report.blocks import Block, Bullets, Details, Figure, Section, SubHeading, Table, Text
from basewise.report.draw import Dot, Line, Row, intervals, legend, square
from basewise.report.frames import groups, having, rows_of
from basewise.study.results import Run

__all__ = ["Conservation", "conservation_sentences"]


def conservation_sentences(run: Run) -> list[str]:
    """Of every model, whether any explanation follows conservation, and what recognition takes."""
    frame = having(run.conserved("conservation"), "model", "explainer", "rho", "q", "cluster")
    if frame.empty:
        return []
    again = having(run.conserved("reconstruction"), "model", "order", "share", "recognised")
    said = []
    for of, own in groups(frame, ("model",)):
        by = own.groupby("explainer", sort=False)
        means = by["rho"].mean()
        follows = (own["q"] < LEVEL) & (own["rho"] > 0)  # q is two-sided
        held = follows.groupby(own["explainer"], sort=False).sum()
        most = str(held.idxmax())
        which = (
            f"{most} does in {quantity(held[most])} of {counted(int(by.size()[most]), 'gene')}"
            if held[most]
            else "none does in any gene"
        )
        said.append(
            f"Do explanations of {of['model']} follow conservation, beyond circular shifts, at "
            f"q < {LEVEL}? Of {counted(len(means), 'explainer')}, {which}; mean rank correlations "
            f"are {number(means.min())} to {number(means.max())}, in "
            f"{counted(own['cluster'].nunique(), 'cluster')} of near copies."
        )
        rows = again[again["model"] == of["model"]] if len(again) else again
        half = {str(r.order): r for r in rows_of(rows) if r.share == 0.5}
        known = [str(name) for name in means.index if name in half]
        if known and "random" in half:
            best = max(known, key=lambda name: float(half[name].recognised))
            said.append(
                f"Of {counted(int(half[best].n), 'gene')} of which half of the bases are kept, the "
                f"first by {best}, {of['model']} recognises {_recognised(half[best])}, and "
                f"{_recognised(half['random'])} where the half is random."
            )
    return said


def _recognised(row: Any) -> str:
    """A share of genes with its interval."""
    low, high = percent(row.recognised_low), percent(row.recognised_high)
    return f"{percent(row.recognised)} [{low}, {high}]"


@component
class Conservation:
    """Correlations gene by gene, the tracks of one gene of each cluster, reconstruction."""

    title: ClassVar[str] = "Do explanations follow what the genes keep?"
    place: ClassVar[int] = 67
    rare: ClassVar[bool] = True

    def render(self, run: Run) -> Section | None:
        """The section; None where conservation was not asked for."""
        frame = having(run.conserved("conservation"), "model", "explainer", "rho", "p", "cluster")
        if frame.empty:
            return None
        k = run.lock.get("conservation", {}).get("k", "k")
        blocks: list[Block] = [
            Text(
                f"The conservation of a base is the share of genes of other clusters of near "
                f"copies that hold the words of {k} bases over it, wherever they stand; no "
                "alignment is made. Scores and G+C are read as means over the same words. The "
                "null is every circular shift of the scores along the gene; the interval comes "
                "from stretches of the gene, put together at random."
            ),
            Bullets(tuple(_sentences(frame))),
            *_figure(frame),
            *_profiles(run),
            Details("Gene by gene", tuple(_tables(frame))),
            *_reconstruction(run),
        ]
        return Section(self.title, tuple(blocks))


def _sentences(frame: pd.DataFrame) -> list[str]:
    said = []
    for of, own in groups(frame, ("model", "explainer")):
        clusters = own["cluster"].nunique()
        first = own.drop_duplicates("cluster")
        each = listing(
            f"{number(row.rho)} ({p_value(row.p, 'p')}) in {_short(row.record_id)}"
            for row in rows_of(first)
        )
        held = int((own["q"] < LEVEL).sum())
        said.append(
            f"{of['explainer']} of {of['model']}: mean rank correlation "
            f"{number(own['rho'].mean())} with conservation, {number(own['partial'].mean())} at "
            f"equal G+C, {number(own['gc_rho'].mean())} with G+C itself. {quantity(held)} of "
            f"{counted(len(own), 'gene')} have q < {LEVEL}. These are "
            f"{counted(clusters, 'cluster')} of near copies, of which each is nearly one "
            f"observation: {each}. A base of the most conserved third scores higher than one of "
            "the least conserved in "
            f"{percent(own['auroc'].mean())} of pairs (50 % by chance)."
        )
    return said


def _short(id: object) -> str:
    """`Bacillus_subtilis_best7003|Chromosome:9810-11360(+)` as `Bacillus subtilis best7003`."""
    return str(id).partition("|")[0].replace("_", " ")


def _figure(frame: pd.DataFrame) -> list[Block]:
    """One gene of each cluster, by explainer."""
    blocks: list[Block] = []
    for of, of_model in groups(frame, ("model",)):
        panels = []
        every = []
        for name, own in groups(of_model, ("explainer",)):
            rows = [
                Row(
                    _short(row.record_id),
                    (Dot(row.rho, row.low, row.high, "up" if row.q < LEVEL else "muted"),),
                    chance=0.0,
                    said=f"{estimate(row.rho, row.low, row.high)}, {p_value(row.q)}",
                )
                for row in rows_of(own.drop_duplicates("cluster"))
            ]
            every += rows
            panels.append((name["explainer"], rows))
        drawn = Markup("").join(
            Markup('<div class="panel"><h4>{}</h4>{}</div>').format(
                title, intervals(rows, "rank correlation", reference=0.0, among=every)
            )
            for title, rows in panels
        )
        blocks.append(
            Figure(
                f"Model {of['model']}" if frame["model"].nunique() > 1 else "",
                Markup('<div class="panels">{}</div>').format(drawn),
                "Rank correlation of scores and conservation, one gene of each cluster, a panel "
                "per explainer; the table below holds all genes.",
                "Rank correlation of scores and conservation, one gene of each cluster of near "
                f"copies, with its 95 % interval. Grey: q of {LEVEL} or more against shifts.",
            )
        )
    return blocks


def _profiles(run: Run) -> list[Block]:
    """Conservation and every explainer's scores along one gene."""
    frame = having(
        run.conserved("conservation_profile"), "model", "explainer", "record_id", "score"
    )
    if frame.empty:
        return []
    blocks: list[Block] = []
    for of, own in groups(frame, ("model", "record_id")):
        lanes: list[Numbers | Stretches] = []
        for name, rows in groups(own, ("explainer",)):
            rows = rows.sort_values("position")
            if not lanes:
                kept = rows["conserved"].to_numpy(float)
                lanes.append(Numbers("conservation", kept, "share of other clusters"))
            lanes.append(Numbers(name["explainer"], rows["score"].to_numpy(float), "score"))
        blocks.append(
            Figure(
                "" if blocks else "Along one gene of each cluster",
                tracks(0, len(kept), lanes),
                f"Conservation and scores along {_short(of['record_id'])}, by {of['model']}.",
                f"{_short(of['record_id'])}, explained by {of['model']}: conservation, and the "
                "scores of each explainer on the same bases.",
                least_width=760,
            )
        )
    return [blocks[0], Details("The other clusters", tuple(blocks[1:]))] if blocks[1:] else blocks


def _tables(frame: pd.DataFrame) -> list[Table]:
    return [
        Table(
            f"{of['model']} by {of['explainer']}: a row per gene; rank correlations with "
            "conservation (95 % interval), 95 % of the shifts, G+C, conservation at equal G+C, "
            "mean score per base in the most and the least conserved third.",
            ("Gene", "Bases", "Conservation", "Shifts", "q", "G+C", "At equal G+C", "p",
             "Conserved", "Variable"),
            [
                (
                    str(row.record_id), quantity(row.bases), estimate(row.rho, row.low, row.high),
                    f"{number(row.null_low)} to {number(row.null_high)}", p_value(row.q, ""),
                    number(row.gc_rho), number(row.partial), p_value(row.partial_p, ""),
                    number(row.conserved), number(row.variable),
                )
                for row in rows_of(own)
            ],
        )
        for of, own in groups(frame, ("model", "explainer"))
    ]  # fmt: skip


def _reconstruction(run: Run) -> list[Block]:
    frame = having(run.conserved("reconstruction"), "model", "order", "share", "recognised")
    if frame.empty:
        return []
    target = run.lock.get("target", {}).get("label", "the class")
    blocks: list[Block] = [
        SubHeading("Input reconstruction from attributions"),
        Text(
            "The first x % of a gene's bases by score are kept, the rest is replaced by a "
            "dinucleotide shuffle of the same gene, so that length and composition stay, and the "
            "model is asked again. Beside each order stand random orders of the bases, the order "
            "reversed, and that of conservation itself. A gene that is recognised from few bases "
            "is recognised by this model; it has not been rebuilt."
        ),
    ]
    for of, own in groups(frame, ("model",)):
        back = own["order"].str.endswith(" reversed") | (own["order"] == "random")
        panels, rows = [], []
        for title, some in (
            ("Highest first", own[~own["order"].str.endswith(" reversed")]),
            ("Lowest first", own[back].replace({"order": " reversed$"}, "", regex=True)),
        ):
            lines = []
            for name, curve in groups(some, ("order",)):
                curve = curve.sort_values("share")
                place = curve["share"].to_numpy(float), curve["recognised"].to_numpy(float)
                lines.append(Line(name["order"], *place))
            drawing = square(lines, "share of bases kept", f"share recognised as {target}")
            panels.append(
                Markup('<div class="panel"><h4>{}</h4>{}{}</div>').format(
                    title, legend([line.name for line in lines]), drawing
                )
            )
        for name, curve in groups(own, ("order",)):
            at = {float(row.share): row for row in rows_of(curve)}
            shown = [share for share in (0.02, 0.05, 0.1, 0.2, 0.5) if share in at]
            rows.append(
                (
                    name["order"],
                    *(f"{number(at[s].value)}, {percent(at[s].recognised)}" for s in shown),
                )
            )
        n = int(own["n"].iloc[0])
        blocks += [
            Figure(
                f"Model {of['model']}" if frame["model"].nunique() > 1 else "",
                Markup('<div class="panels wide">{}</div>').format(Markup("").join(panels)),
                f"Share of {n} genes that {of['model']} recognises by the share of bases kept, a "
                "line per order.",
                f"How often {counted(n, 'gene')} are recognised as {target} when only the first "
                "bases are kept, by the order they are kept in.",
            ),
            Table(
                f"{of['model']}: mean log-odds of {target}, and share recognised, by the share of "
                f"bases that is kept. Whole genes: {number(float(own['whole'].iloc[0]))}.",
                ("Order", *(f"{100 * s:g}\N{NO-BREAK SPACE}%" for s in shown)),
                rows,
            ),
        ]
    return blocks
