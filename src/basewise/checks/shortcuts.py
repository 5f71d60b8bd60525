"""How far composition and length alone tell the classes apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from basewise.checks.findings import Finding, Part, Severity, class_name, counted, graded
from basewise.checks.splits import OWN, Splits, own
from basewise.checks.text import Text
from basewise.registry import component
from basewise.stats import Estimate
from basewise.train.baseline import KmerBaseline
from basewise.train.metrics import classification_metrics
from basewise.types import Floats, Ints, Record

__all__ = ["PLAIN", "Shortcuts"]

_CHECK = "shortcuts"
_FOLDS = 5
_STRENGTH = 0.01  # C of the k-mers where no split is left to choose it on
_FAR = 5.0  # standard deviations beyond which an outlier goes no farther
_CG = 6  # the number of the dinucleotide

PLAIN: Mapping[str, Callable[[Ints, Ints], Floats]] = {
    "GC content": lambda bases, _: (bases[:, 1] + bases[:, 2]) / np.maximum(bases[:, :4].sum(1), 1),
    "CpG observed/expected": lambda bases, cpg: (
        cpg * bases[:, :4].sum(1) / np.maximum(bases[:, 1] * bases[:, 2], 1)
    ),
    "length": lambda bases, _: bases.sum(1).astype(float),
    "share of unknown bases": lambda bases, _: bases[:, 4] / np.maximum(bases.sum(1), 1),
}
"""Plain numbers of a sequence: name -> function of the counts of A, C, G, T, N, (n, 5), and of
the dinucleotide CG, (n,)."""


@component
class Shortcuts:
    """How far GC, CpG, length, unknown bases and k-mers, each alone, tell the classes apart.

    Each number of `PLAIN` enters a logistic regression by its value and its square (so that
    "neither short nor long" is found, too), the classes weighing the same; k-mers enter
    `KmerBaseline`. Fitted on train (dev where there is no train) and read off on test (dev
    where there is no test); a split that stands alone is cross-validated in five folds. The
    penalty of the k-mers is chosen on dev where train and test are there, too, and is
    `C = 0.01` otherwise. AUROC and MCC with intervals as in `classification_metrics`.
    Reference sets play no part.

    Attributes
    ----------
    kmer : int
        Bases of a k-mer.
    plain, plain_strong : float
        Lower bound of the AUROC from which one plain number is a warning and an error. At 0.6
        it ranks six of ten pairs right without a look at the order of the bases, and any model
        has this for free. At 0.9 little is left for a model to learn.
    composition : float
        The same for k-mers: a warning, never an error. k-mers hold motifs, so that a high value
        is no fault of the data; but a task solved to 0.9 by them cannot show that a model reads
        positions or order.
    resamples, seed : int
        Of the bootstrap; the seed also deals the folds.
    """

    kmer: Annotated[int, Field(ge=1, le=8)] = 6
    plain: Part = 0.6
    plain_strong: Part = 0.9
    composition: Part = 0.9
    resamples: Annotated[int, Field(ge=1)] = 500
    seed: int = 0

    def check(self, splits: Splits) -> list[Finding]:
        """One finding per shortcut, or one `info` that says why there is none."""
        chosen = own(splits)
        names = list(chosen)
        ends = [(names[0], names[-1])] if names[0] in OWN else [(name, name) for name in names]
        return [found for fit, read in ends for found in self._between(chosen, fit, read)]

    def _between(self, splits: Splits, fit: str, read: str) -> list[Finding]:
        labels = sorted({r.label for r in splits[fit] if isinstance(r.label, str)})
        whole = all(name in splits for name in OWN)
        names = OWN if whole else dict.fromkeys((fit, read))
        parts = [[r for r in splits[name] if r.label in labels] for name in names]
        where = f"{read} (cross-validated)" if fit == read else f"{read} (fitted on {fit})"
        if unfit := _unfit(labels, parts):
            sentence = f"Not looked at: {unfit}."
            return [Finding(_CHECK, "info", f"Shortcuts in {where}", sentence, n=0)]
        rows = [record for part in parts for record in part]
        task = _Task(where, labels, rows, _dealt(parts, self.seed), chosen=len(parts) == 3)
        values = _numbers([record.sequence for record in task.rows])
        plain = [self._plain(task, name, values[name]) for name in PLAIN]
        return [*plain, self._composition(task)]

    def _plain(self, task: _Task, name: str, values: Floats) -> Finding:
        if np.ptp(values) == 0:
            sentence = f"The {name} is {values[0]:g} in every sequence: no shortcut."
            return Finding(_CHECK, "info", f"Shortcut: {name}", sentence, n=len(task.read))
        p = np.concatenate([_logistic(values, task.truth, deal) for deal in task.deals])
        scores = self._scores(task, p)
        truth, read = task.truth[task.read], values[task.read]
        means = {label: float(read[truth == label].mean()) for label in task.labels}
        severity = graded(scores["AUROC"].low, self.plain, self.plain_strong)
        shown = (f"{mean:.3g} in {class_name(label)}" for label, mean in means.items())
        told = f"Means: {', '.join(shown)}."
        if severity != "info":
            told += f" Match the classes for {name}, or print this beside every score."
        return _finding(task, f"the {name}", scores, severity, told, {"means": means})

    def _composition(self, task: _Task) -> Finding:
        baseline = KmerBaseline(k=self.kmer)
        if not task.chosen:
            baseline = KmerBaseline(k=self.kmer, strengths=(_STRENGTH,))
        p = []
        for deal in task.deals:
            fit, choose, read = ([task.rows[i] for i in some] for some in deal)
            p.append(baseline.fit(fit, choose).predict(read))
        scores = self._scores(task, np.concatenate(p))
        severity = graded(scores["AUROC"].low, self.composition)
        told = "A model has learned positions or order only as far as it beats this."
        return _finding(task, f"{self.kmer}-mer composition", scores, severity, told, {})

    def _scores(self, task: _Task, p: Floats) -> dict[str, Estimate]:
        found = classification_metrics(
            task.truth[task.read].tolist(),
            p,
            task.labels,
            rng=np.random.default_rng(self.seed),
            resamples=self.resamples,
        )
        return {"AUROC": found["auroc"], "MCC": found["mcc"]}


class _Deal(NamedTuple):
    """Places of rows to fit on, to choose a penalty on (those fitted on if none), to read off."""

    fit: Ints
    choose: Ints
    read: Ints


class _Task(NamedTuple):
    """Labelled rows and how they are dealt; every row is read off at most once."""

    where: str
    labels: list[str]
    rows: list[Record]
    deals: list[_Deal]
    chosen: bool

    @property
    def truth(self) -> NDArray[np.str_]:
        """The label of every row."""
        return np.array([str(record.label) for record in self.rows])

    @property
    def read(self) -> Ints:
        """Places of the rows read off, in the order of the deals."""
        return np.concatenate([deal.read for deal in self.deals])


def _unfit(labels: Sequence[str], parts: Iterable[Sequence[Record]]) -> str:
    """Why the classes cannot be told apart; empty where they can."""
    if len(labels) < 2:
        return "there are no two classes (labels are values, unknown or all the same)"
    counts = [Counter(record.label for record in rows) for rows in parts]
    least, label = min((count[label], label) for label in labels for count in counts)
    if least < 2 * _FOLDS:
        return f"{class_name(label)} has {counted(least, 'row')}, {2 * _FOLDS} are needed"
    return ""


def _dealt(parts: Sequence[Sequence[Record]], seed: int) -> list[_Deal]:
    """How rows laid end to end are dealt: fit, choose and read; fit and read; or folds of one."""
    from sklearn.model_selection import StratifiedKFold

    places = np.split(np.arange(sum(map(len, parts))), np.cumsum([len(p) for p in parts])[:-1])
    if len(parts) > 1:
        return [_Deal(places[0], places[-2], places[-1])]
    labels = [record.label for record in parts[0]]
    dealer = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    return [_Deal(fit, fit, read) for fit, read in dealer.split(labels, labels)]


def _logistic(values: Floats, truth: NDArray[np.str_], deal: _Deal) -> Floats:
    """Class probabilities of the rows read off, from one number and its square."""
    from sklearn.linear_model import LogisticRegression

    fit = values[deal.fit]
    z = np.clip((values - fit.mean()) / (fit.std() or 1.0), -_FAR, _FAR)
    terms = np.stack([z, z**2], 1)
    model = LogisticRegression(class_weight="balanced").fit(terms[deal.fit], truth[deal.fit])
    return np.asarray(model.predict_proba(terms[deal.read]))


def _finding(
    task: _Task,
    name: str,
    scores: Mapping[str, Estimate],
    severity: Severity,
    told: str,
    evidence: Mapping[str, Any],
) -> Finding:
    auroc, mcc = scores["AUROC"], scores["MCC"]
    classes = " from ".join(map(class_name, task.labels))
    return Finding(
        check=_CHECK,
        severity=severity,
        title=f"Shortcut: {name.removeprefix('the ')}",
        sentence=(
            f"In {task.where}, {name} alone tells {classes} with AUROC "
            f"{_shown(auroc)} and MCC {_shown(mcc)}, n = {auroc.n:,}; chance would give 0.5 and "
            f"0. {told}"
        ),
        n=auroc.n,
        effect=scores,
        evidence=evidence,
    )


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _numbers(sequences: Sequence[str]) -> dict[str, Floats]:
    """Every number of `PLAIN` for every sequence."""
    text = Text.of(sequences)
    row = np.repeat(np.arange(len(sequences)), text.length + 1)[:-1]
    bases = np.bincount(row * 5 + text.codes, minlength=5 * len(sequences)).reshape(-1, 5)
    bases[:-1, 4] -= 1  # the N that parts two sequences
    pairs = text.words(2)
    cpg = np.bincount(pairs.row[pairs.number == _CG], minlength=len(sequences))
    return {name: number(bases, cpg) for name, number in PLAIN.items()}
