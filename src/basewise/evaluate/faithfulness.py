"""Are scores faithful to the model: does hiding what they call important change its output?

Bases are hidden, or shown alone, in the order of the scores, and the target is read. How a
hidden base looks is a choice of its own, so everything is done by several maskings, and the
spread between them is reported: a method that is faithful by one masking only has been fitted to
it. Beside each explanation stand two lines of reference: random orders of the same bases, and
the explanation upside down.

Every perturbation goes through the one evaluator: the rows of all tracks and references of a
record, on one switchboard, share batches with those of other records, and none is valued twice.

Sources: DeYoung et al. 2020 (ERASER, ACL; comprehensiveness, sufficiency and their means over
shares), Petsiuk, Das & Saenko 2018 (RISE; deletion and insertion), Yeh et al. 2019 (infidelity).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field, PlainValidator

from basewise.errors import CapabilityError, DataError
from basewise.evaluate.faithfulness_measures import (
    area,
    deleted,
    infidelity,
    inserted,
    places,
    rank_correlation,
    unexplained,
    window_sums,
)
from basewise.explainers import MASKINGS
from basewise.explainers.count import Count, at_most
from basewise.explainers.game import Estimate, Game, Play, play
from basewise.explainers.masking import Masking
from basewise.explainers.mutagenesis import Mutagenesis
from basewise.explainers.regions import regions_of
from basewise.explainers.units import Bases, tokens_of
from basewise.models.evaluator import Evaluator
from basewise.models.precision import question_of
from basewise.models.switchboards import Switchboard
from basewise.registry import component
from basewise.stats import mean_interval, random_numbers
from basewise.types import Attribution, Bools, Floats, Ints, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = [
    "BETTER",
    "CURVES",
    "FAITHFULNESS",
    "RECORD_FAITHFULNESS",
    "Faithful",
    "Faithfulness",
]

BETTER: Mapping[str, str] = {
    "comprehensiveness": "higher",
    "sufficiency": "lower",
    "deletion": "lower",
    "insertion": "higher",
    "infidelity": "lower",
    "unexplained": "lower",
    "occlusion": "higher",
    "mutagenesis": "higher",
}
"""The measures, and which way is better.

comprehensiveness, sufficiency: what the target loses when the share of bases with the highest
scores is hidden, or alone kept, mean over shares. deletion, insertion: area under the target
while bases are hidden, or shown, from the highest score down. infidelity: mean squared error of
the sum of the scores of hidden windows against what hiding them takes away (additive scores
only); unexplained: the same at the best scale, as a share of that of no scores. occlusion,
mutagenesis: rank correlation with what hiding, or replacing, each single base takes away."""

FAITHFULNESS = (
    "track", "metric", "masking", "value", "low", "high", "n", "random", "inverted",
    "gain", "gain_low", "gain_high", "spread",
)  # fmt: skip
"""Columns of `Faithful.summary`: mean over records with its 95 % bootstrap interval, the mean of
random orders and of the inverted order, by how much the track is better than random orders
(paired by record, positive is better, with its interval). masking is `all` for the mean over
maskings, whose spread is the largest of their means less the smallest; `substitution` for
mutagenesis."""

RECORD_FAITHFULNESS = ("record_id", "track", "order", "masking", "metric", "value")
"""Columns of `Faithful.records`; order is `own`, `inverted` or `random` (a mean of several)."""

CURVES = ("track", "order", "masking", "curve", "share", "value")
"""Columns of `Faithful.curves`: the mean target over records by the share of bases that was
hidden (`deletion`) or shown (`insertion`); order is `own` or `random`."""

_RANDOM = "random"


class Faithful(NamedTuple):
    """How faithful tracks are: `FAITHFULNESS`, `RECORD_FAITHFULNESS`, `CURVES`, and how many
    rows went through the network."""

    summary: pd.DataFrame
    records: pd.DataFrame
    curves: pd.DataFrame
    evaluations: int


def _maskings(given: Any) -> tuple[Masking, ...]:
    built = tuple(MASKINGS.build(each) for each in given)
    names = [MASKINGS.name_of(each) for each in built]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"one or more different maskings are needed, not {names}")
    return built


def _shares(given: Any) -> tuple[float, ...]:
    shares = tuple(float(share) for share in given)
    if not shares or not all(0 < share < 1 for share in shares):
        raise ValueError("shares of the bases lie between 0 and 1")
    return shares


@component
class Faithfulness:
    """Measures how faithful explanations are to the model; the verb is `measure`.

    Attributes
    ----------
    maskings : list of Masking
        How hidden bases look. Those that a model's tokenizer cannot show are left out.
    shares : list of float
        Of the bases, behind comprehensiveness and sufficiency. The share 0, which changes
        nothing, is not among them.
    steps : int
        Of the curves of deletion and insertion.
    orders : int
        Random orders of each record.
    perturbations, window : int
        Windows of so many bases, at random places, behind the infidelity; 0 perturbations: none.
    correlations : bool
        Whether to hide, and to replace, every single base.
    records : int
        Records it is measured on, in a study; 0: all that are explained.
    """

    maskings: Annotated[tuple[Masking, ...], PlainValidator(_maskings)] = Field(
        default=("n", "mask", "shuffled", "sampled"), validate_default=True
    )
    shares: Annotated[tuple[float, ...], PlainValidator(_shares)] = (0.01, 0.05, 0.1, 0.2, 0.5)
    steps: Annotated[int, Field(ge=2)] = 10
    orders: Annotated[int, Field(ge=1)] = 3
    perturbations: Annotated[int, Field(ge=0)] = 30
    window: Annotated[int, Field(ge=1)] = 10
    correlations: bool = True
    records: Annotated[int, Field(ge=0)] = 20

    def cost(self, model: Model, record: Record, tracks: int) -> Count:
        """How many evaluations measuring a record takes at most; refuses as `measure` does.

        Bases that several orders hide are hidden once, so it may take fewer.

        Parameters
        ----------
        tracks : int
            Explanations that are measured together.
        """
        bases = len(record.sequence)
        orders = 2 * tracks + self.orders  # own, inverted, random
        rows = orders * 2 * (len(self.shares) + min(self.steps, bases) + 1)
        rows += self.perturbations + self.correlations * bases + 2  # and both ends
        draws = sum(masking.draws for masking in self._able(model.at(record), record).values())
        more = Mutagenesis().cost(model, record).number if self.correlations else 0
        return at_most(rows * draws + more)

    def measure(
        self,
        model: Model,
        records: Sequence[Record],
        tracks: Mapping[str, Sequence[Attribution]],
        target: str | Target,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Faithful:
        """How faithful tracks are, against random orders and against themselves inverted.

        Parameters
        ----------
        model : Model
        records : sequence of Record
        tracks : mapping of str to sequence of Attribution
            Name -> attributions of these records for the target, as from several explainers.
            Scores are shared equally by the bases of a unit; equal scores are put in random
            order. Rules of records that are not predicted the target count against it.
        target : str or Target
            Where it is of each `labelled` region, every record has one.
        seed : int
            Of random orders, windows, and what hidden bases look like.
        progress : callable, optional
            Told how many records and maskings are done, of how many.

        Raises
        ------
        DataError
            If there is no track, a track lacks a record, or its sequence is another, or a record
            has not one region where the target is of regions.
        CapabilityError
            If the model can show none of the maskings.
        """
        target = model.target(target)
        scores = {name: _scores(name, found, records) for name, found in tracks.items()}
        if not tracks or not records:
            raise DataError(
                f"Faithfulness needs records and tracks; there are {len(records)} and "
                f"{len(tracks)}."
            )
        additive = {name for name, found in tracks.items() if found[0].kind == "additive"}
        parts, done = [], 0
        for rows, own, read in _apart(model, records, target):
            some = [records[i] for i in rows]
            of_some = {name: [found[i] for i in rows] for name, found in scores.items()}

            def told(now: int, whole: int, before: int = done, n: int = len(rows)) -> None:
                if progress:
                    progress(before * (whole // n) + now, len(records) * (whole // n))

            parts.append(self._measured(own, some, of_some, additive, read, seed, told))
            done += len(rows)
        table = pd.concat([part.records for part in parts], ignore_index=True)
        drawn = pd.concat([part.curves for part in parts], ignore_index=True)
        keys = [column for column in CURVES if column != "value"]
        drawn = drawn.groupby(keys, sort=False)["value"].mean().reset_index()
        evaluations = sum(part.evaluations for part in parts)
        return Faithful(_summary(table, seed), table, drawn[list(CURVES)], evaluations)

    def _measured(
        self,
        model: Model,
        records: Sequence[Record],
        scores: Mapping[str, Sequence[Floats]],
        additive: set[str],
        target: Target,
        seed: int,
        progress: Callable[[int, int], None],
    ) -> _Part:
        """What is measured on records that a target is read of at the same place."""
        maskings = self._able(model, records[0])
        evaluator = Evaluator(model, target, question_of(self, records, seed))
        plans: dict[tuple[int, str], _Plan] = {}

        def boards() -> Iterator[tuple[tuple[int, str], Switchboard, Callable[[Game], Play]]]:
            for name, masking in maskings.items():
                for i, record in enumerate(records):
                    rng = random_numbers(seed, record.id, f"faithfulness by {name}")
                    tokens = tokens_of(model, record)
                    units = Bases().spans(record, tokens)
                    board = masking.switchboard(record, tokens, units, model, rng)
                    own = {track: found[i] for track, found in scores.items()}
                    # Orders are those of the record, whatever the masking.
                    same = random_numbers(seed, record.id, "faithfulness")
                    plans[i, name] = _Plan(self, own, same)
                    yield (i, name), board, plans[i, name].estimator

        rows: list[tuple[Any, ...]] = []
        curves: list[pd.DataFrame] = []
        evaluations = 0
        for done, ((i, name), game, values) in enumerate(play(boards(), evaluator.by_draw), 1):
            plan = plans.pop((i, name))
            found = plan.found(values.scores, game.full, additive)
            rows += [(records[i].id, track, order, name, *rest) for track, order, *rest in found]
            curves.append(plan.curves(values.scores).assign(masking=name))
            evaluations += game.evaluations
            progress(done, len(records) * len(maskings))
        if self.correlations:
            more, paid = _mutagenesis(model, records, scores, target, seed)
            rows += more
            evaluations += paid
        table = pd.DataFrame(rows, columns=list(RECORD_FAITHFULNESS))
        return _Part(table, pd.concat(curves, ignore_index=True), evaluations)

    def _able(self, model: Model, record: Record) -> dict[str, Masking]:
        """The maskings that the model can show, by name."""
        found, refusals = {}, []
        tokens = tokens_of(model, record)
        units = Bases().spans(record, tokens)
        for masking in self.maskings:
            try:
                masking.switchboard(record, tokens, units, model, np.random.default_rng(0))
            except CapabilityError as error:
                refusals.append(str(error))
            else:
                found[MASKINGS.name_of(masking)] = masking
        if not found:
            raise CapabilityError(f"None of the maskings can be shown: {' '.join(refusals)}")
        return found


class _Part(NamedTuple):
    """What some of the records gave."""

    records: pd.DataFrame
    curves: pd.DataFrame
    evaluations: int


def _apart(
    model: Model, records: Sequence[Record], target: Target
) -> Iterator[tuple[list[int], Model, Target]]:
    """Rows of records that are evaluated together, the model where they lie, and their target.

    Records with regions of their own are apart, and where tracks are read from files each is.

    Raises
    ------
    DataError
        If a record does not have one region.
    """
    groups: dict[Any, list[int]] = {}
    places = regions_of(model, records, target)
    for i, (record, found) in enumerate(zip(records, places, strict=True)):
        if len(found) != 1:
            raise DataError(
                f"Record {record.id!r} has {len(found)} {target.where} regions of {target.label}; "
                "faithfulness needs one of each: give each region a record of its own."
            )
        groups.setdefault((found[0], i if model.tracks else 0), []).append(i)
    for (read, _), rows in groups.items():
        yield rows, model.at(records[rows[0]]), read


class _Plan:
    """What is asked about one record, and what the values say.

    Parameters
    ----------
    settings : Faithfulness
    scores : mapping of str to (b,) float
        Of every track.
    rng : Generator
        Of orders and windows.
    """

    def __init__(
        self, settings: Faithfulness, scores: Mapping[str, Floats], rng: np.random.Generator
    ):
        self._settings = settings
        b = len(next(iter(scores.values())))
        share = np.array(settings.shares)
        self._top: Ints = np.clip(np.rint(share * b).astype(np.int64), 1, b)
        self._grid: Ints = np.unique(np.rint(np.linspace(0, b, settings.steps + 1)).astype(int))
        self._width = min(settings.window, b)
        self._starts = rng.integers(0, b - self._width + 1, settings.perturbations)
        drawn = [rng.standard_normal(b) for _ in range(settings.orders)]
        self._scores = {(name, "own"): own for name, own in scores.items()}
        self._scores |= {(name, "inverted"): -own for name, own in scores.items()}
        self._scores |= {(f"{_RANDOM} {i}", _RANDOM): own for i, own in enumerate(drawn)}
        self._blocks: dict[Any, slice] = {}
        self._rows: list[Bools] = []
        self._asked = 0
        for name in scores:
            place = places(scores[name], rng)
            self._ask_order((name, "own"), place)
            self._ask_order((name, "inverted"), b - 1 - place)
        for i, own in enumerate(drawn):
            self._ask_order((f"{_RANDOM} {i}", _RANDOM), places(own, rng))
        at = np.arange(b)
        ends = self._starts[:, None] + self._width
        self._ask("windows", (at < self._starts[:, None]) | (at >= ends))
        if settings.correlations:
            self._ask("single", ~np.eye(b, dtype=bool))

    def _ask_order(self, key: tuple[str, str], place: Ints) -> None:
        self._ask((*key, "comprehensiveness"), deleted(place, self._top))
        self._ask((*key, "sufficiency"), inserted(place, self._top))
        self._ask((*key, "deletion"), deleted(place, self._grid))
        self._ask((*key, "insertion"), inserted(place, self._grid))

    def _ask(self, key: Any, rows: Bools) -> None:
        self._blocks[key] = slice(self._asked, self._asked + len(rows))
        self._rows.append(rows)
        self._asked += len(rows)

    def estimator(self, game: Game) -> Play:
        """Asks for everything at once; what is found are the values of the rows."""
        values = yield np.concatenate(self._rows)
        return Estimate(values)

    def _of(self, values: Floats, key: Any) -> Floats:
        return values[self._blocks[key]]

    def found(
        self, values: Floats, full: float, additive: set[str]
    ) -> list[tuple[str, str, str, float]]:
        """Track, order, metric and value; what random orders give is averaged."""
        rows, random = [], []
        for (name, order), scores in self._scores.items():
            measured = self._measures(values, full, (name, order), scores)
            if order == "own" and name not in additive:
                measured.pop("infidelity", None)
            if order == _RANDOM:
                measured.pop("infidelity", None)  # random scores have no scale
                random.append(measured)
            else:
                rows += [(name, order, metric, value) for metric, value in measured.items()]
        rows += [
            ("", _RANDOM, metric, float(np.mean([each[metric] for each in random])))
            for metric in random[0]
        ]
        return rows

    def _measures(
        self, values: Floats, full: float, key: tuple[str, str], scores: Floats
    ) -> dict[str, float]:
        found = {
            name: float(np.mean(full - self._of(values, (*key, name))))
            for name in ("comprehensiveness", "sufficiency")
        }
        found |= {
            name: area(self._grid, self._of(values, (*key, name)))
            for name in ("deletion", "insertion")
        }
        if self._settings.perturbations:
            lost = full - self._of(values, "windows")
            said = window_sums(scores, self._starts, self._width)
            found["infidelity"] = infidelity(said, lost)
            found["unexplained"] = unexplained(said, lost)
        if self._settings.correlations:
            found["occlusion"] = rank_correlation(scores, full - self._of(values, "single"))
        return found

    def curves(self, values: Floats) -> pd.DataFrame:
        """Deletion and insertion by share of bases, of every track and of random orders."""
        shares = self._grid / self._grid[-1]
        parts = []
        for name, order in self._scores:
            if order == "inverted":
                continue
            for curve in ("deletion", "insertion"):
                part = {"share": shares.round(6), "value": self._of(values, (name, order, curve))}
                track = "" if order == _RANDOM else name
                parts.append(pd.DataFrame(part).assign(track=track, order=order, curve=curve))
        return pd.concat(parts, ignore_index=True)


def _scores(name: str, found: Sequence[Attribution], records: Sequence[Record]) -> list[Floats]:
    """The scores on bases of the records, in their order, high where a base speaks for the target.

    A rule that holds another prediction speaks against it.
    """
    known = {attribution.record_id: attribution for attribution in found}
    for record in records:
        if record.id not in known:
            raise DataError(f"The track {name!r} has no attribution of record {record.id!r}.")
        if known[record.id].sequence != record.sequence:
            raise DataError(f"Record {record.id!r} has another sequence in the track {name!r}.")
    own = [known[record.id] for record in records]
    return [-a.per_base() if a.kind == "rule" and a.output == 0 else a.per_base() for a in own]


def _mutagenesis(
    model: Model,
    records: Sequence[Record],
    scores: Mapping[str, Sequence[Floats]],
    target: Target,
    seed: int,
) -> tuple[list[tuple[Any, ...]], int]:
    """Rows of the rank correlation with in-silico mutagenesis, and what it cost."""
    effects = Mutagenesis().explain(model, records, target, seed)
    rows: list[tuple[Any, ...]] = []
    for i, (record, effect) in enumerate(zip(records, effects, strict=True)):
        about = ("substitution", "mutagenesis")
        lost = effect.per_base()
        for name, found in scores.items():
            value = rank_correlation(found[i], lost)
            rows.append((record.id, name, "own", *about, value))
            rows.append((record.id, name, "inverted", *about, -value))
        drawn = random_numbers(seed, record.id, "faithfulness").standard_normal(len(lost))
        rows.append((record.id, "", _RANDOM, *about, rank_correlation(drawn, lost)))
    return rows, sum(effect.evaluations for effect in effects)


def _summary(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Means over records, of each masking and over all of them."""
    every = table.groupby(["record_id", "track", "order", "metric"], sort=False, as_index=False)
    whole = every["value"].mean().assign(masking="all")
    both = pd.concat([table, whole[whole["metric"] != "mutagenesis"]], ignore_index=True)
    wide = both.pivot_table(
        index=["track", "order", "metric", "masking"],
        columns="record_id",
        values="value",
        sort=False,
        dropna=False,
    )
    values: dict[Any, Floats] = {key: row.to_numpy(float) for key, row in wide.iterrows()}
    tracks = [track for track in table["track"].unique() if track]
    maskings = [*table["masking"].unique()]
    rows = []
    for track in tracks:
        for metric in BETTER:
            here = []
            for masking in [*maskings, "all"]:
                if (track, "own", metric, masking) not in values:
                    continue
                own = values[track, "own", metric, masking]
                if np.isnan(own).all():
                    continue
                row = _row(values, own, track, metric, masking, seed)
                if masking != "all":
                    here.append(row["value"])
                row["spread"] = max(here) - min(here) if len(here) > 1 else np.nan
                rows.append(row | ({} if masking == "all" else {"spread": np.nan}))
    return pd.DataFrame(rows, columns=list(FAITHFULNESS))


def _row(
    values: Mapping[Any, Floats], own: Floats, track: str, metric: str, masking: str, seed: int
) -> dict[str, Any]:
    def of(track: str, order: str) -> Floats:
        return values.get((track, order, metric, masking), np.full(len(own), np.nan))

    random, inverted = of("", _RANDOM), of(track, "inverted")
    sign = 1 if BETTER[metric] == "higher" else -1
    value = mean_interval(own, np.random.default_rng([seed, 7]))
    gain = mean_interval(sign * (own - random), np.random.default_rng([seed, 7]))
    return {
        "track": track,
        "metric": metric,
        "masking": masking,
        "value": value.value,
        "low": value.low,
        "high": value.high,
        "n": value.n,
        "random": mean_interval(random, np.random.default_rng(0), 1).value,
        "inverted": mean_interval(inverted, np.random.default_rng(0), 1).value,
        "gain": gain.value,
        "gain_low": gain.low,
        "gain_high": gain.high,
    }
