"""Whether the explanations pass their controls, and how faithful they are to the model."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from markupsafe import Markup

from basewise.picture.words import (
    MINUS,
    NONE,
    counted,
    estimate,
    listing,
    number,
    quantity,
)
from basewise.registry import component
from basewise.report.blocks import (
    Block,
    Bullets,
    Details,
    Figure,
    Section,
    SubHeading,
    Table,
    Text,
)
from basewise.report.draw import Dot, Row, intervals
from basewise.report.frames import groups, having, rows_of
from basewise.study.results import Run

__all__ = ["Controls", "control_sentences", "faithfulness_sentences"]

_CONTROLS = (
    "model", "explainer", "control", "stage", "outcome", "statistic", "value", "low", "high", "n",
    "side", "threshold", "why",
)  # fmt: skip
_FAITHFULNESS = (
    "model", "explainer", "metric", "masking", "value", "low", "high", "n", "random", "inverted",
    "gain", "gain_low", "gain_high", "spread",
)  # fmt: skip
_NAMES = {
    "random_scores": "random scores",
    "randomised_layers": "random layers",
    "permuted_labels": "permuted labels",
    "decoys": "decoy motif",
    "strand": "other strand",
    "shift": "shift",
}
_MEASURES = {
    "comprehensiveness": "comprehensiveness: what is lost when the bases of the highest scores are "
    "hidden, mean over shares; more is better",
    "sufficiency": "sufficiency: what is lost when only these are left; less is better",
    "deletion": "deletion: area under the target while bases are hidden, highest scores first; "
    "less is better",
    "insertion": "insertion: area while they are shown, highest scores first; more is better",
    "infidelity": "infidelity: mean squared error of what the scores say that hiding a window "
    "takes away; less is better",
    "unexplained": "unexplained: the same at the best scale, as a share of that of no scores; 0 is "
    "best, 1 is nothing explained",
    "occlusion": "occlusion: rank correlation with the effect of hiding each base; 1 is best",
    "mutagenesis": "mutagenesis: rank correlation with the mean effect of replacing each base; 1 "
    "is best",
}
_DRAWN = ("comprehensiveness", "sufficiency", "deletion", "insertion")


def control_sentences(run: Run) -> list[str]:
    """Per model and explainer, which controls it passes and which not."""
    frame = _verdicts(run)
    found = []
    for said, own in groups(frame, ("model", "explainer")) if len(frame) else []:
        by = {o: [_name(r.control) for r in rows_of(rows)] for o, rows in _by_outcome(own)}
        judged = sum(len(by.get(o, ())) for o in ("pass", "fail", "undecided"))
        sentence = (
            f"{said['explainer']} on {said['model']} passes "
            f"{len(by.get('pass', ()))} of {counted(judged, 'control')}"
        )
        failed, open_ = by.get("fail", []), by.get("undecided", [])
        if failed:
            sentence += f"; it fails {listing(failed)}"
        if open_:
            sentence += f"; undecided {'is' if len(open_) == 1 else 'are'} {listing(open_)}"
        if free := by.get("not expected", []):
            sentence += f"; it owes nothing to {listing(free)}"
        found.append(f"{sentence}.")
    return found


def faithfulness_sentences(run: Run) -> list[str]:
    """Per model, which explainers name bases that matter more than random ones."""
    frame = having(run.faithfulness, *_FAITHFULNESS)
    if frame.empty:
        return []
    rows = frame[(frame["metric"] == "comprehensiveness") & (frame["masking"] == "all")]
    found = []
    for said, own in groups(rows, ("model",)):
        best: Any = own.sort_values("gain").iloc[-1]
        sentence = (
            f"Hiding the bases that {best['explainer']} names costs {said['model']} most: "
            f"{estimate(best['gain'], best['gain_low'], best['gain_high'])} more of the target "
            f"than random bases do, mean over {counted(int(best['n']), 'record')}."
        )
        none = own[own["gain_low"] <= 0]["explainer"].tolist()
        if none:
            sentence += f" No more than random bases: {listing(none)}."
        found.append(sentence)
    return found


def _name(control: str) -> str:
    return _NAMES.get(control, control.replace("_", " "))


def _verdicts(run: Run) -> pd.DataFrame:
    frame = having(run.controls, *_CONTROLS)
    return frame if frame.empty else frame[frame["stage"] == ""]


def _by_outcome(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(outcome), rows) for outcome, rows in frame.groupby("outcome", sort=False)]


@component
class Controls:
    """Controls with their verdicts, and faithfulness against random orders."""

    title: ClassVar[str] = "Does the explanation pass its controls?"
    place: ClassVar[int] = 52

    def render(self, run: Run) -> Section | None:
        """The section; None where nothing was put to the test."""
        blocks = [*_control_blocks(run), *_faithfulness_blocks(run)]
        return Section(self.title, tuple(blocks)) if blocks else None


def _control_blocks(run: Run) -> list[Block]:
    frame = _verdicts(run)
    if frame.empty:
        return []
    several = frame["model"].nunique() > 1
    blocks: list[Block] = [
        Text(
            "A control is an experiment whose outcome is known if the scores explain the model. A "
            "line says pass where the whole 95 % interval lies on the good side of its threshold, "
            "fail where all of it lies on the bad side, and undecided between. What a model does "
            "not owe is told and not judged."
        ),
        Bullets(tuple(control_sentences(run))),
        _control_table(frame, several),
        Bullets(tuple(_reasons(frame))),
    ]
    stages = run.controls[run.controls["stage"] != ""]
    if len(stages):
        blocks.append(Details("Layer by layer", (_stages(stages, several),)))
    return blocks


def _control_table(frame: pd.DataFrame, several: bool) -> Table:
    rows = []
    for row in rows_of(frame.sort_values("control", key=lambda c: c.map(_order), kind="stable")):
        who = f"{row.model} / {row.explainer}" if several else row.explainer
        known = row.outcome != "not run"
        rows.append(
            (
                _name(row.control),
                str(who),
                str(row.outcome),
                estimate(row.value, row.low, row.high) if known else NONE,
                _wanted(row) if known else NONE,
                quantity(row.n) if known else NONE,
            )
        )
    return Table(
        "One row per control and explainer: its outcome, the statistic (mean over records with its "
        "95 % interval), and where that should lie. What the statistics are stands below.",
        ("Control", "Explainer", "Outcome", "Statistic", "Should be", "Records"),
        rows,
    )


def _order(control: str) -> int:
    return list(_NAMES).index(control) if control in _NAMES else len(_NAMES)


def _wanted(row: Any) -> str:
    if row.side == "within":
        return f"{MINUS}{row.threshold:g} to {row.threshold:g}"
    return f"{row.side} {row.threshold:g}"


def _reasons(frame: pd.DataFrame) -> list[Markup]:
    """What each control measures, and why its threshold is that."""
    found = []
    for said, rows in groups(
        frame.sort_values("control", key=lambda c: c.map(_order), kind="stable"),
        ("control", "statistic", "why"),
    ):
        every = (frame["control"] == said["control"]).sum()
        who = "" if len(rows) == every else _of(rows, frame["model"].nunique() > 1)
        measured = f"{said['statistic']}. " if said["statistic"] else ""
        found.append(
            Markup("<b>{}</b>{}: {}{}.").format(
                _name(said["control"]), who, measured, _sentence(said["why"].rstrip("."))
            )
        )
    return found


def _of(rows: pd.DataFrame, several: bool) -> str:
    """Which explanations rows are of: explainers, and models where there are several."""
    models = f" on {listing(rows['model'].unique())}" if several else ""
    return f" ({listing(rows['explainer'].unique())}{models})"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _stages(stages: pd.DataFrame, several: bool) -> Table:
    """The statistic on the way, one row per explainer, one column per stage."""
    names = list(dict.fromkeys(stages["stage"]))
    rows = []
    for said, own in groups(stages, ("model", "explainer", "control")):
        values = {row.stage: estimate(row.value, row.low, row.high) for row in rows_of(own)}
        who = f"{said['model']} / {said['explainer']}" if several else said["explainer"]
        rows.append((who, *(values.get(name, NONE) for name in names)))
    return Table(
        "One row per explainer: the rank correlation with the explanation of the trained model, "
        "while layers are initialised anew from the output down.",
        ("Explainer", *names),
        rows,
    )


def _faithfulness_blocks(run: Run) -> list[Block]:
    frame = having(run.faithfulness, *_FAITHFULNESS)
    if frame.empty:
        return []
    several = frame["model"].nunique() > 1
    maskings = [m for m in frame["masking"].unique() if m not in ("all", "substitution")]
    return [
        SubHeading("Are the scores faithful to the model?"),
        Text(
            "Bases are hidden, or shown alone, in the order of their scores. How hidden bases look "
            f"is a choice ({listing(maskings)}), so the numbers are means over these, and the "
            "spread says how far they lie apart. Random orders of the same bases, and the order "
            "upside down, are the lines of reference."
        ),
        *(Text(sentence) for sentence in faithfulness_sentences(run)),
        _gains(frame, several),
        _summary(frame, several),
        Details("By masking", (_by_masking(frame, several),)),
    ]


def _who(row: Any, several: bool) -> str:
    return f"{row.model} / {row.explainer}" if several else str(row.explainer)


def _gains(frame: pd.DataFrame, several: bool) -> Figure:
    """By how much better than random orders."""
    drawn = frame[(frame["masking"] == "all") & frame["metric"].isin(_DRAWN)]
    panels = [
        (
            metric,
            [
                Row(
                    _who(row, several),
                    (
                        Dot(
                            row.gain,
                            row.gain_low,
                            row.gain_high,
                            "model" if row.gain_low > 0 else "muted",
                        ),
                    ),
                    None,
                    estimate(row.gain, row.gain_low, row.gain_high),
                )
                for row in rows_of(drawn[drawn["metric"] == metric])
            ],
        )
        for metric in _DRAWN
    ]
    parts = [
        Markup('<div class="panel"><h4>{}</h4>{}</div>').format(
            metric, intervals(rows, reference=0.0)
        )
        for metric, rows in panels
        if rows
    ]
    return Figure(
        "",
        Markup('<div class="panels">{}</div>').format(Markup("").join(parts)),
        f"Dots with intervals for {listing(_DRAWN)}, one row per explainer, beside 0. The table "
        "below holds the numbers behind them.",
        "By how much each explainer is better than random orders of the same bases, in units of "
        "the target, paired by record and whichever way is better. A dot is the mean over records "
        "and maskings, its line the 95 % interval; one that does not clear 0 is drawn in grey.",
    )


def _summary(frame: pd.DataFrame, several: bool) -> Table:
    """One row per explainer, then random orders and the best there is upside down."""
    rows_all = frame[frame["masking"].isin(["all", "substitution"])]
    metrics = [m for m in _MEASURES if m in set(rows_all["metric"])]
    rows: list[tuple[str, ...]] = []
    for said, of_model in groups(rows_all, ("model",)):
        for _, own in groups(of_model, ("explainer",)):
            by = {row.metric: row for row in rows_of(own)}
            name = _who(next(iter(by.values())), several)
            cells = {m: estimate(row.value, row.low, row.high) for m, row in by.items()}
            rows.append((name, *(cells.get(m, NONE) for m in metrics)))
        random = {row.metric: number(row.random) for row in rows_of(of_model)}
        model = f"{said['model']} / " if several else ""
        rows.append((f"{model}random orders", *(random.get(m, NONE) for m in metrics)))
    return Table(
        "One row per explainer, mean over records and maskings with its 95 % interval; the row of "
        "random orders is what scores give that say nothing. "
        f"{'; '.join(_MEASURES[m] for m in metrics)}.",
        ("Explainer", *metrics),
        rows,
    )


def _by_masking(frame: pd.DataFrame, several: bool) -> Table:
    maskings = [m for m in frame["masking"].unique() if m not in ("all", "substitution")]
    rows = []
    for said, own in groups(frame, ("model", "explainer", "metric")):
        by = {row.masking: row for row in rows_of(own)}
        if "all" not in by:
            continue
        whole = by["all"]
        rows.append(
            (
                _who(whole, several),
                said["metric"],
                *(number(by[m].value) if m in by else NONE for m in maskings),
                number(whole.spread),
                number(whole.random),
                number(whole.inverted),
            )
        )
    return Table(
        "One row per explainer and measure: the mean over records by each masking, the spread (the "
        "largest of them less the smallest), and what random orders and the explanation upside "
        "down give, mean over maskings.",
        ("Explainer", "Measure", *maskings, "Spread", "Random", "Upside down"),
        rows,
    )
