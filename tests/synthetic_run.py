"""A small run folder, made of the project's own writers: what a report is drawn from."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd

from basewise.checks import Audit, Finding, Split
from basewise.evaluate.token_scores import TOKEN_RATIOS
from basewise.stats import Estimate
from basewise.store import write_attributions, write_frame, write_records, write_text
from basewise.study.measures import REFERENCE_RECORDS, REFERENCES
from basewise.types import Attribution, Record, Span, Target

TSS = 80
LENGTH = 120
MOTIFS = {"GC_box": (30, "GGGCGG"), "TATA": (49, "TATAAAA"), "Inr": (77, "CTCAGT")}
EXPLAINERS = ("integrated_gradients", "kernel_shap", "lime", "occlusion")
HOSTILE = '<script>alert("x")</script>'


def make_run(folder: Path, n: int = 40, *, hostile: str = "", better: bool = True) -> Path:
    """Write the run; `hostile` is put into every name a user chooses."""
    rng = np.random.default_rng(5)
    positive, negative = f"promoter{hostile}", f"background{hostile}"
    records = [_record(i, positive if i % 2 else negative, hostile, rng) for i in range(n)]
    target = Target(positive)
    lock = {
        "study": {
            "name": "synthetic",
            "title": f"Synthetic promoters {hostile}".strip(),
            "question": f"Which bases make a model call a sequence a promoter? {hostile}".strip(),
            "seed": 7,
            "explained": n,
        },
        "data": {
            "type": "files",
            "train": "train.csv",
            "tss": TSS,
            "labels": {"1": positive, "0": negative},
        },
        "models": {"cnn": {"type": "cnn", "channels": 64, "schedule": {"epochs": 8, "lr": 0.002}}},
        "explainers": {
            name: {"type": name, "units": {"type": "bases"}, "masking": {"type": "n"}}
            for name in EXPLAINERS
        },
        "target": {"label": positive, "read": "log_odds"},
        "biology": {"panel": "core_promoter", "shuffles": 20},
        "as_published": {"word": "TATA", "motif": "TATA", "top": 10},
        "places": {f"cnn/{name}": f"attributions/cnn/{name}-0a1b2c" for name in EXPLAINERS},
        "versions": {"basewise": "0.1.0", "python": "3.11.9", "torch": "2.13.0"},
        "hashes": {"data": "4f3e2d1c0b9a8877", "model cnn": "0011223344556677"},
        "steps": [
            "prepare",
            "audit",
            "train",
            "predict",
            "evaluate",
            "compare",
            "faithfulness",
            "controls",
            "biology",
            "as_published",
        ],
    }
    write_text(folder / "lock.json", json.dumps(lock))
    write_records(folder / "data" / "explained.parquet", records)
    count = {positive: n // 2, negative: n - n // 2}
    split = {
        "n": n,
        "labels": count,
        "shortest": LENGTH,
        "longest": LENGTH,
        "skipped": {"contradictory_label": 3},
    }
    summary = {s: split | {"source": f"{s}{hostile}.csv"} for s in ("train", "dev", "test")}
    write_text(folder / "data" / "summary.json", json.dumps(summary))
    write_text(folder / "audit.json", _audit(n, hostile).to_json())
    _predictions(folder, records, positive, negative, rng)
    _attributions(folder, records, target, positive, rng)
    _metrics(folder, better)
    _comparisons(folder, records, rng)
    _tests(folder)
    _biology(folder, records, positive)
    _as_published(folder, positive, negative)
    return folder


def _record(i: int, label: str, hostile: str, rng: np.random.Generator) -> Record:
    letters = rng.choice(list("ACGT"), LENGTH)
    truth = []
    if label.startswith("promoter"):
        for name, (start, motif) in MOTIFS.items():
            letters[start : start + len(motif)] = list(motif)
            truth.append(Span(start, start + len(motif), name))
    return Record(f"seq{i:03d}{hostile}", "".join(letters), label, None, tuple(truth))


def _audit(n: int, hostile: str) -> Audit:
    shared = Finding(
        check="duplicates",
        severity="warning",
        title="42 sequences of test are also in train",
        sentence="42 of 5,920 test sequences (0.7 % [0.5, 1.0]) occur in train; take them out.",
        n=42,
        effect={"share_of_test": Estimate(0.0071, 0.0053, 0.0096, 5920)},
        evidence={"pairs": {"train/test": 42}, "chance": 0.0},
        examples=(f"test seq001{hostile} = train seq099",),
    )
    blocks = Finding(
        check="blocks",
        severity="error",
        title="Negatives are built from blocks of positives",
        sentence="Negatives keep 8 of 20 aligned blocks of 15 bases of a positive.",
        n=1072,
        evidence={"block": 15, "kept": [8, 20]},
    )
    clean = Finding("lengths", "info", "Lengths do not tell", "All have 120 bases.", n)
    split = Split("test", n, n, LENGTH, LENGTH, 0, {"promoter": n // 2})
    return Audit((blocks, shared, clean), (split,))


def _predictions(
    folder: Path, records: list[Record], positive: str, negative: str, rng: np.random.Generator
) -> None:
    score = np.array([r.label == positive for r in records]) * 3.0 - 1.5
    p = 1 / (1 + np.exp(-(score + rng.normal(0, 1.4, len(records)))))
    frame = pd.DataFrame(
        {
            "record_id": [r.id for r in records],
            "split": "test",
            "label": [r.label for r in records],
            "predicted": np.where(p > 0.5, positive, negative),
            f"p:{negative}": 1 - p,
            f"p:{positive}": p,
        }
    )
    write_frame(folder / "predictions" / "cnn.parquet", frame, "predictions")


def _attributions(
    folder: Path, records: list[Record], target: Target, positive: str, rng: np.random.Generator
) -> None:
    bases = np.stack([np.arange(LENGTH), np.arange(LENGTH) + 1], 1)
    windows = np.stack([np.arange(0, LENGTH, 5), np.arange(5, LENGTH + 1, 5)], 1)
    for name in EXPLAINERS:
        found = []
        spans = windows if name == "occlusion" else bases
        for record in records:
            track = rng.normal(0, 0.04, LENGTH)
            for span in record.truth:
                track[span.start : span.end] += rng.uniform(0.1, 0.6)
            if record.label != positive:
                track[40:60] -= 0.05
            scores = np.add.reduceat(track, spans[:, 0])
            found.append(
                Attribution(
                    record_id=record.id,
                    sequence=record.sequence,
                    model="cnn",
                    target=target,
                    method=name,
                    kind="additive",
                    spans=spans,
                    scores=scores,
                    output=float(scores.sum()),
                    baseline=0.0,
                    evaluations=512,
                    seed=7,
                )
            )
        place = folder / "attributions" / "cnn" / f"{name}-0a1b2c"
        write_attributions(place / "part-00000.parquet", found[: len(found) // 2])
        write_attributions(place / "part-00001.parquet", found[len(found) // 2 :])


def _metrics(folder: Path, better: bool) -> None:
    rows = []
    shift = 0.0 if better else -0.2
    for split in ("dev", "test"):
        for metric, ours, theirs in (
            ("accuracy", 0.86, 0.79),
            ("mcc", 0.727, 0.58),
            ("f1", 0.861, 0.79),
            ("auroc", 0.938, 0.872),
        ):
            value = ours + shift
            rows.append(("cnn", "model", 180_354, split, metric, value, value - 0.02, value + 0.02))
            rows.append(
                (
                    "6-mer baseline",
                    "baseline",
                    4097,
                    split,
                    metric,
                    theirs,
                    theirs - 0.02,
                    theirs + 0.02,
                )
            )
    columns = ["model", "kind", "parameters", "split", "metric", "value", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns).assign(n=5920)
    write_frame(folder / "metrics" / "models.parquet", frame, "model_metrics")
    about = {
        "architecture": "basewise-cnn",
        "parameters": 180_354,
        "tokenizer": "nucleotide",
        "vocabulary": 6,
        "seconds": 267.4,
        "device": "2 threads of the CPU",
    }
    write_text(folder / "metrics" / "training" / "cnn.json", json.dumps(about))
    frame = pd.DataFrame(
        {
            "model": "cnn",
            "explainer": EXPLAINERS,
            "method": EXPLAINERS,
            "n": 40,
            "evaluations": [66.0, 512.0, 1000.0, 121.0],
            "median_gap": [2.1e-4, 1e-9, np.nan, np.nan],
            "median_r2": [np.nan, np.nan, 0.83, np.nan],
        }
    )
    write_frame(folder / "metrics" / "explainers.parquet", frame, "explainer_metrics")
    frame = pd.DataFrame(
        [("cnn", "integrated_gradients", 40, 10, 0.71, 0.42, 0.7, 0.9, 0.33, 0.25)],
        columns=list(REFERENCES),
    )
    write_frame(folder / "metrics" / "references.parquet", frame, "references")
    frame = pd.DataFrame(
        [
            ("cnn", "integrated_gradients", "test-0001", 10, 0.9, 0.8, 0.9, 0.9, 0.1, False),
            ("cnn", "integrated_gradients", "test-0002", 10, 0.4, 0.31, 0.4, 0.9, 0.5, True),
            ("cnn", "integrated_gradients", "test-0003", 10, 0.3, 0.12, 0.2, 0.7, 0.6, True),
        ],
        columns=list(REFERENCE_RECORDS),
    )
    write_frame(folder / "metrics" / "reference_records.parquet", frame, "reference_records")
    frame = pd.DataFrame(
        [
            (
                "cnn",
                name,
                metric,
                value - 0.05 * i,
                value - 0.05 * i - 0.04,
                value - 0.05 * i + 0.04,
            )
            for metric, value in (("auprc", 0.87), ("mass_inside", 0.55), ("top_k_precision", 0.3))
            for i, name in enumerate(EXPLAINERS)
        ],
        columns=["model", "explainer", "metric", "value", "low", "high"],
    ).assign(n=20, chance=0.17)
    write_frame(folder / "metrics" / "localisation.parquet", frame, "localisation")


def _comparisons(folder: Path, records: list[Record], rng: np.random.Generator) -> None:
    common = {"within": "model cnn", "signed": True, "n": len(records), "expected": 0.021}
    rows = [
        common
        | {
            "first": first,
            "second": second,
            "measure": measure,
            "value": value,
            "low": value - 0.04,
            "high": value + 0.04,
            "p": p,
            "q": p,
            "others": 0.034,
            "p_others": p,
            "q_others": p,
            "beyond": max(value, 0.0),
        }
        for i, (first, second) in enumerate(itertools.combinations(EXPLAINERS, 2))
        for measure, share in (("rank", 1.0), ("sign", 0.7), ("top_k", 0.5))
        for value, p in [((0.81 - 0.17 * i) * share, 0.001 if i < 4 else 0.4)]
    ]
    write_frame(folder / "metrics" / "agreement.parquet", pd.DataFrame(rows), "agreement")
    frame = pd.DataFrame(
        {
            "model": "cnn",
            "record_id": [record.id for record in records],
            "scores": [rng.normal(0, 1, LENGTH) for _ in records],
            "spread": [rng.uniform(0.1, 0.9, LENGTH) for _ in records],
            "explainers": [list(EXPLAINERS) for _ in records],
        }
    )
    write_frame(folder / "metrics" / "consensus.parquet", frame, "consensus")
    kmers = ["GGGCG", "CCGCC", "TATAA", "AAATT", "CAGTC", "ACGTA"]
    ranking = pd.DataFrame(
        [
            (method, i + 1.0, kmer, 1 - i / 6, q, q, 1.0, i + 2.0, 4, 90 - i, 1.0, i + 1.5)
            for method in ("borda", "reciprocal_rank", "robust_rank")
            for i, (kmer, q) in enumerate(
                zip(kmers, (1e-5, 0.002, 0.01, 0.3, 0.6, 0.9), strict=True)
            )
        ],
        columns=[
            "method",
            "rank",
            "token",
            "value",
            "p",
            "q",
            "rank_low",
            "rank_high",
            "tables",
            "count",
            "low",
            "high",
        ],
    )
    write_frame(folder / "rankings" / "combined.parquet", ranking, "combined")
    tokens = pd.DataFrame(
        [
            ("cnn", name, kmer, outcome, 90 - i, 30 - i, mean, low, high, mean, 0.9 * mean, 0.02)
            for name in EXPLAINERS
            for outcome in ("all", "TP", "TN")
            for i, kmer in enumerate(kmers)
            for mean, low, high in [(0.6 - 0.2 * i, 0.5 - 0.2 * i, 0.7 - 0.2 * i)]
        ],
        columns=[
            "model",
            "explainer",
            "token",
            "outcome",
            "count",
            "records",
            "mean",
            "low",
            "high",
            "median",
            "shrunken",
            "shrunken_error",
        ],
    )
    write_frame(folder / "rankings" / "tokens.parquet", tokens, "tokens")
    ratios = pd.DataFrame(
        [
            ("cnn", kmer, count, tp, 5, tp / count, 0.3, 0.7, tp / (tp + 5), 0.4, 0.01)
            for i, kmer in enumerate(kmers)
            for count, tp in [(90 - 16 * i, 40 - 6 * i)]
        ],
        columns=["model", *TOKEN_RATIOS],
    )
    write_frame(folder / "rankings" / "token_ratios.parquet", ratios, "token_ratios")


def _tests(folder: Path) -> None:
    statistic = {
        "random_scores": ("comprehensiveness beyond that of random scores", "above", 0.0),
        "randomised_layers": ("rank correlation with random layers", "within", 0.2),
        "strand": ("rank correlation with the other strand", "above", 0.7),
    }
    rows = []
    for i, name in enumerate(EXPLAINERS):
        outcomes = {
            "random_scores": ("pass", 2.1, "scores that say no more explain nothing"),
            "randomised_layers": (("pass", "fail")[i == 3], 0.02 + 0.2 * i, "it must change"),
            "strand": ("not expected", 0.4, "the model's own output changes"),
        }
        for control, (outcome, value, why) in outcomes.items():
            said, side, threshold = statistic[control]
            about = {"model": "cnn", "explainer": name, "control": control, "statistic": said}
            about |= {"side": side, "threshold": threshold, "n": 20, "evaluations": 900}
            found = {"value": value, "low": value - 0.1, "high": value + 0.1}
            rows.append(about | found | {"stage": "", "outcome": outcome, "why": why})
            if control == "randomised_layers":
                rows += [
                    about | found | {"stage": f"top {n} % of the layers", "outcome": "", "why": ""}
                    for n in (50, 100)
                ]
    write_frame(folder / "metrics" / "controls.parquet", pd.DataFrame(rows), "controls")
    rows = [
        {
            "model": "cnn",
            "explainer": name,
            "metric": metric,
            "masking": masking,
            "value": 3.0 - i,
            "low": 2.5 - i,
            "high": 3.5 - i,
            "n": 20,
            "random": 0.4,
            "inverted": -2.0,
            "gain": 2.6 - i,
            "gain_low": 2.1 - i,
            "gain_high": 3.1 - i,
            "spread": 0.3 if masking == "all" else np.nan,
        }
        for i, name in enumerate(EXPLAINERS)
        for metric, maskings in (
            ("comprehensiveness", ("n", "shuffled", "all")),
            ("deletion", ("n", "shuffled", "all")),
            ("mutagenesis", ("substitution",)),
        )
        for masking in maskings
    ]
    write_frame(folder / "metrics" / "faithfulness.parquet", pd.DataFrame(rows), "faithfulness")


def _biology(folder: Path, records: list[Record], positive: str) -> None:
    hits = pd.DataFrame(
        [
            (record.id, span.name, span.start, span.end, "+", 12.0, 1e-4)
            for record in records
            for span in record.truth
        ],
        columns=["record_id", "motif", "start", "end", "strand", "score", "p"],
    )
    write_frame(folder / "biology" / "hits.parquet", hits, "hits")
    common = {"window": "-35..-20", "label": positive, "n": 2960, "n_null": 2960}
    rows = []
    for motif, observed, expected, effect, low, high, q in (
        ("TATA", 0.23, 0.527, 0.268, 0.24, 0.30, 1e-9),
        ("Inr", 0.31, 0.127, 3.09, 2.7, 3.5, 1e-9),
        ("GC_box", 0.45, 0.22, 2.89, 2.4, 3.4, 1e-7),
        ("DPE", 0.101, 0.099, 1.02, 0.86, 1.21, 0.81),
        ("MTE", np.nan, np.nan, np.nan, np.nan, np.nan, np.nan),
    ):
        rows += [
            common
            | {
                "motif": motif,
                "null": null,
                "measure": "odds ratio",
                "with_hit": 0 if motif == "MTE" else 700,
                "observed": observed,
                "expected": expected,
                "effect": effect,
                "low": low,
                "high": high,
                "p": q,
                "q": q,
                "reason": "no sequence has a hit" if motif == "MTE" else "",
            }
            for null in ("other classes", "dinucleotide shuffles")
        ]
    write_frame(
        folder / "biology" / "class_enrichment.parquet", pd.DataFrame(rows), "class_enrichment"
    )
    rows = [
        common
        | {
            "model": "cnn",
            "explainer": explainer,
            "motif": motif,
            "null": null,
            "label": "all",
            "measure": "standardised mean difference",
            "with_hit": 120,
            "observed": 0.2 * effect,
            "expected": 0.01,
            "effect": effect + 0.05 * i,
            "low": effect + 0.05 * i - 0.2,
            "high": effect + 0.05 * i + 0.2,
            "p": q,
            "q": q,
            "reason": "",
        }
        for i, explainer in enumerate(EXPLAINERS)
        for motif, effect, q in (
            ("TATA", -0.41, 0.003),
            ("Inr", 0.9, 1e-6),
            ("GC_box", 1.3, 1e-6),
            ("DPE", 0.02, 0.64),
        )
        for null in ("same sequence", "same position")
    ]
    write_frame(
        folder / "biology" / "attribution_enrichment.parquet",
        pd.DataFrame(rows),
        "attribution_enrichment",
    )
    _edits(folder, records)


def _edits(folder: Path, records: list[Record]) -> None:
    """Interventions, seqlets and patterns."""
    common = {"model": "cnn", "window": "-35..-20", "label": "all", "evaluations": 640}
    common |= {"measure": "log-odds of promoter", "n": 40, "n_null": 180, "with_hit": 36}
    rows = [
        common
        | {
            "motif": motif,
            "edit": edit,
            "null": null,
            "observed": effect - 0.05 if q < 1 else np.nan,
            "expected": -0.05 if q < 1 else np.nan,
            "effect": effect,
            "low": effect - 0.3,
            "high": effect + 0.3,
            "p": q,
            "q": q,
            "reason": reason,
        }
        for motif, effect, q, reason in (
            ("TATA", 0.61, 0.004, ""),
            ("Inr", -1.8, 1e-5, ""),
            ("GC_box", -0.9, 1e-4, ""),
            ("DPE", -0.02, 0.8, ""),
            ("MTE", np.nan, np.nan, "10 sequences with a hit and matched controls are needed"),
        )
        for edit, null in (
            ("knock-out", "same sequence"),
            ("knock-out", "same position"),
            ("knock-in", "shuffled motif"),
        )
    ]
    frame = pd.DataFrame(rows)
    into = frame["edit"] == "knock-in"
    frame.loc[into, ["effect", "low", "high"]] = -frame.loc[into, ["effect", "high", "low"]].values
    write_frame(folder / "biology" / "interventions.parquet", frame, "interventions")
    seqlets = pd.DataFrame(
        [
            ("cnn", name, record.id, at, at + 7, record.sequence[at : at + 7], score, 1e-4, 0.01)
            for name in EXPLAINERS
            for record in records
            for at, score in ((49, 1.2), (90, -0.8))
        ],
        columns=[
            "model", "explainer", "record_id", "start", "end", "sequence", "score", "p", "q",
        ],
    )  # fmt: skip
    write_frame(folder / "biology" / "seqlets.parquet", seqlets, "seqlets")
    patterns = pd.DataFrame(
        [
            ("positive 1", 1.0, 118.0, 110.0, 4.5, "GGGCGG", "GC_box", 1e-6, ""),
            ("negative 1", -1.0, 52.0, 50.0, -2.1, "TATAaAA", "TATA", 0.2, ""),
            ("", np.nan, np.nan, np.nan, np.nan, "", "", np.nan, "hold no hypothetical scores"),
        ],
        columns=[
            "pattern",
            "sign",
            "seqlets",
            "records",
            "contribution",
            "consensus",
            "match",
            "q",
            "reason",
        ],
    ).assign(model="cnn", explainer=["integrated_gradients"] * 2 + ["lime"])
    write_frame(folder / "biology" / "patterns.parquet", patterns, "patterns")


def _as_published(folder: Path, positive: str, negative: str) -> None:
    """Letters that mark the other class; signs that matched stretches do not bear out."""
    enrichment = {"measure": "odds ratio", "n": 2960, "n_null": 2960, "with_hit": 681}
    presence = [
        enrichment
        | dict(zip(("motif", "window", "label", "null"), named, strict=True))
        | dict(zip(("observed", "expected", "effect", "low", "high", "p"), numbers, strict=True))
        | {"q": numbers[-1], "reason": ""}
        for named, numbers in (
            (
                ("TATA", "anywhere", positive, "other classes"),
                (0.23, 0.527, 0.268, 0.24, 0.3, 1e-9),
            ),
            (
                ("TATAWAW", "-35..-20", positive, "other classes"),
                (0.025, 0.017, 1.48, 1.03, 2.14, 0.03),
            ),
            (
                ("TATA", "anywhere", positive, "dinucleotide shuffles"),
                (0.23, 0.31, 0.66, 0.6, 0.73, 1e-9),
            ),
        )
    ]
    about = {"model": "cnn", "explainer": "lime"}
    signs = [
        about
        | dict(zip(("reading", "label", "tokens", "positive", "negative"), row, strict=True))
        | {"share": share, "low": share - 0.1, "high": share + 0.1, "records": 30, "others": 0.5}
        for row, share in (
            (("by position", negative, 50, 10, 40), 0.2),
            (("by position", positive, 40, 30, 10), 0.75),
            (("last occurrence", negative, 45, 9, 36), 0.2),
            (("last occurrence", positive, 36, 27, 9), 0.75),
            (("other class", negative, 50, 40, 10), 0.8),
            (("other class", positive, 40, 10, 30), 0.25),
        )
    ]
    columns = ("token", "rank", "published", "count", "occurrences", "records", "expected")
    counts = [
        about
        | dict(zip(columns, row, strict=True))
        | {"effect": row[3] / row[6], "low": 0.7, "high": 1.2, "p": 0.6, "q": 0.6}
        for row in (
            ("", np.nan, 81, 90, 300, 60, 96.0),
            ("GGGCG", 1.0, 70, 75, 200, 50, 64.0),
            ("TATAA", 2.0, 50, 55, 160, 40, 52.0),
        )
    ]
    attribution = [
        about
        | enrichment
        | {
            "motif": "TATAWAW",
            "window": "-35..-20",
            "label": label,
            "null": null,
            "measure": "standardised mean difference",
            "observed": 0.01,
            "expected": 0.02,
            "effect": -0.12,
            "low": -0.4,
            "high": 0.16,
            "p": 0.4,
            "q": 0.4,
            "reason": "",
        }
        for label in (negative, positive)
        for null in ("same sequence", "same position")
    ]
    pair = {"model": "cnn", "first": "kernel_shap", "second": "lime", "tokens": 36, "same": 32}
    rule = about | {"n": 40, "precision": 0.96, "coverage": 0.25, "least": 0.125, "most": 0.5}
    for name, rows in {
        "presence": presence,
        "signs": signs,
        "counts": counts,
        "attribution": attribution,
        "strings": [about | {"occurrences": 4640, "repeated": 400, "turned": 120}],
        "pairs": [pair],
        "borders": [{"model": "cnn", "places": 80, "whole": 40}],
        "rules": [rule | {"explainer": "anchors", "units": 2.0}],
    }.items():
        write_frame(folder / "as_published" / f"{name}.parquet", pd.DataFrame(rows), name)
