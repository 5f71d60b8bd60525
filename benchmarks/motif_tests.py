"""How often motif tests claim what is not there, and how large an effect must be to be found.

    python benchmarks/motif_tests.py --repeats 200 --images docs/images
    python benchmarks/motif_tests.py --repeats 20 --only knock-out --results elsewhere

*False positives*: sequences without any signal, labels given at random, attributions and models
that follow composition, place and sequence but no motif. Every repeat tests the core-promoter
panel; counted are the families (the motifs of one null) with any q below 0.05, which under this
complete null is the false-discovery rate, and the tests with q below 0.05.

*Power*: one motif of the panel, TATA in its place, has an effect of known size; counted are the
repeats in which its q is below 0.05, to the right side, against every null of the test. The
picture shows how often any motif is claimed so where there is no effect beside it.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from basewise import Attribution, Model, Record, Target
from basewise.biology.enrichment import class_enrichment, shuffle_enrichment
from basewise.biology.interventions import knock_in, knock_out
from basewise.biology.reliance import attribution_enrichment
from basewise.motifs.panel import CORE_PROMOTER
from basewise.sequence.alphabet import decode_rows, encode_rows
from basewise.stats import wilson

BASES, TSS, AT = 300, 249, 218  # TATA starts 31 bases before the TSS
TATA = "TATAAAA"
IN_PLACE = re.compile("TATA[AT]A[AT]")
LEVEL = 0.05
FLIPS = 999
PROFILE = np.exp(-(((np.arange(BASES) - AT - 3) / 25) ** 2))
"""Attribution and models look more at some places: what a test must not take for a motif."""

Make = Callable[[np.random.Generator, int, float], tuple[list[Record], object]]
Ask = Callable[[list[Record], object, int], pd.DataFrame]


class Test(NamedTuple):
    """A test of motifs: what it is asked of, and how. Effects are 0 under the null."""

    name: str
    make: Make
    ask: Ask
    effects: Sequence[float]
    measure: str
    sizes: Sequence[int]
    sign: int = 1  # of the effect that is planted


def sequences(rng: np.random.Generator, n: int, with_tata: np.ndarray) -> list[str]:
    """Sequences of varying G+C, TATA written where asked and wherever chance puts it."""
    gc = np.clip(rng.normal(0.5, 0.08, n), 0.2, 0.8)
    edges = np.cumsum(np.stack([1 - gc, gc, gc], axis=1) / 2, axis=1)
    codes = (rng.random((n, BASES))[..., None] > edges[:, None]).sum(2).astype(np.uint8)
    codes[with_tata, AT : AT + len(TATA)] = encode_rows([TATA])[0]
    return decode_rows(codes)


def labelled(rng: np.random.Generator, n: int, log_odds: float) -> tuple[list[Record], None]:
    """Classes of equal size; TATA in 10 % of one, and in the other by the log odds ratio."""
    positive = np.arange(n) % 2 == 0
    base = np.log(0.1 / 0.9)
    chance = 1 / (1 + np.exp(-(base + positive * log_odds)))
    # Without an effect no motif is planted: those of the panel occur by chance alone.
    planted = (rng.random(n) < chance) & (log_odds != 0)
    names = np.where(positive, "a", "b")
    texts = sequences(rng, n, planted)
    return [
        Record(f"r{i}", s, str(k)) for i, (s, k) in enumerate(zip(texts, names, strict=True))
    ], None


def marked(rng: np.random.Generator, n: int, share: float) -> tuple[list[Record], None]:
    """Sequences without classes, TATA in a share of them."""
    texts = sequences(rng, n, rng.random(n) < share)
    return [Record(f"r{i}", s) for i, s in enumerate(texts)], None


def explained(
    rng: np.random.Generator, n: int, effect: float
) -> tuple[list[Record], list[Attribution]]:
    """Attribution that follows G+C, place, class and sequence; more of it inside TATA if asked.

    The effect is in standard deviations of a base's score before anything is added to it. TATA
    stands in a third of the sequences in any case.
    """
    planted = rng.random(n) < 1 / 3
    texts = sequences(rng, n, planted)
    codes = encode_rows(texts)
    label = np.where(rng.random(n) < np.where(planted, 0.6, 0.4), "a", "b")
    scores = rng.normal(size=(n, BASES)) + 0.5 * ((codes == 1) | (codes == 2))
    scores[planted, AT : AT + len(TATA)] += effect
    scores = (scores + np.roll(scores, 1, axis=1)) * rng.gamma(2, 0.5, (n, 1))
    scores += (1 + (label == "a"))[:, None] * PROFILE
    records = [
        Record(f"r{i}", s, str(k)) for i, (s, k) in enumerate(zip(texts, label, strict=True))
    ]
    spans = np.column_stack([np.arange(BASES), np.arange(BASES) + 1])
    target = Target("a")
    return records, [
        Attribution(r.id, r.sequence, "none", target, "none", "additive", spans, s, 1, 0, 0, 0)
        for r, s in zip(records, scores, strict=True)
    ]


def modelled(rng: np.random.Generator, n: int, effect: float) -> tuple[list[Record], Model]:
    """A model that any edit moves at random, more in some places and at some bases.

    A smooth function of the place, G+C, and a part so rugged that it is noise with a standard
    deviation of 1; TATA in its place adds the effect. TATA stands in a third of the sequences.
    """
    planted = rng.random(n) < 1 / 3
    label = np.where(rng.random(n) < np.where(planted, 0.6, 0.4), "a", "b")
    texts = sequences(rng, n, planted)
    records = [
        Record(f"r{i}", s, str(k)) for i, (s, k) in enumerate(zip(texts, label, strict=True))
    ]
    weights = rng.normal(size=(4, BASES))

    def output(asked: list[str]) -> np.ndarray:
        codes = encode_rows(asked)
        drawn = weights[codes, np.arange(BASES)].sum(1)
        smooth = ((codes == 1) | (codes == 2)) @ PROFILE / PROFILE.sum()
        rugged = np.sqrt(2) * np.sin(1e4 * drawn) * np.where(smooth > 0.5, 1.2, 0.7)
        found = rugged + 5 * smooth
        if effect:
            found += effect * np.array([bool(IN_PLACE.search(s[214:230])) for s in asked])
        return found

    return records, Model.from_callable(output, ["a"], name="rugged")


TESTS = (
    Test(
        "hits by class",
        labelled,
        lambda records, _, seed: class_enrichment(records, CORE_PROMOTER, label="a", tss=TSS),
        (0.5, 1.0, 1.5, 2.0, 2.5),
        "log of the odds ratio",
        (100, 300),
    ),
    Test(
        "hits against shuffles",
        marked,
        lambda records, _, seed: shuffle_enrichment(
            records, CORE_PROMOTER, tss=TSS, draws=10, seed=seed
        ),
        (0.01, 0.02, 0.04, 0.08, 0.16),
        "share of sequences with TATA",
        (60, 160),
    ),
    Test(
        "attribution inside hits",
        explained,
        lambda records, found, seed: attribution_enrichment(
            records, found, CORE_PROMOTER, tss=TSS, draws=FLIPS, seed=seed
        ),
        (0.2, 0.4, 0.6, 0.8, 1.0),
        "standard deviations of a base",
        (800, 1600),  # controls of the same composition at the same place are rare
    ),
    Test(
        "knock-out",
        modelled,
        lambda records, model, seed: knock_out(
            model, records, CORE_PROMOTER, target="a", tss=TSS, draws=3, flips=FLIPS, seed=seed
        ),
        (0.25, 0.5, 1.0, 1.5, 2.0),
        "standard deviations of the output",
        (100, 300),
        -1,
    ),
    Test(
        "knock-in",
        modelled,
        lambda records, model, seed: knock_in(
            model, records, CORE_PROMOTER, target="a", tss=TSS, draws=3, flips=FLIPS, seed=seed
        ),
        (0.25, 0.5, 1.0, 1.5, 2.0),
        "standard deviations of the output",
        (60, 160),
    ),
)  # fmt: skip


def repeated(test: Test, n: int, effect: float, repeats: int, key: int) -> Iterator[pd.DataFrame]:
    """The table of a test on new data, so many times; every repeat has its own seed."""
    for i in range(repeats):
        rng = np.random.default_rng([key, n, round(1000 * effect), i])
        records, what = test.make(rng, n, effect)
        yield test.ask(records, what, i)


def false_positives(test: Test, n: int, repeats: int, key: int) -> dict[str, object]:
    """How many families of tests, and how many tests, call a difference where there is none."""
    begin = time.perf_counter()
    tables = list(repeated(test, n, 0.0, repeats, key))
    families = [rows for table in tables for _, rows in table.groupby(["null", "label"])]
    families = [rows for rows in families if rows["q"].notna().any()]
    called = sum(map(claimed, families))
    q, p = (np.concatenate([table[name].dropna() for table in tables]) for name in "qp")
    return {
        "test": test.name,
        "sequences": n,
        "repeats": repeats,
        "families": len(families),
        "with any q < 0.05": wilson(called, len(families)),
        "tests": len(q),
        "with q < 0.05": wilson(int((q < LEVEL).sum()), len(q)),
        "with p < 0.05": wilson(int((p < LEVEL).sum()), len(p)),
        "by null": {
            null: wilson(sum(map(claimed, of)), len(of)) for null, of in by_null(families).items()
        },
        "claims against every null": wilson(sum(map(claims, tables)), len(tables)),
        "seconds": time.perf_counter() - begin,
    }


def claimed(rows: pd.DataFrame) -> bool:
    """Whether any q is below the level."""
    return bool((rows["q"] < LEVEL).any())


def by_null(families: Sequence[pd.DataFrame]) -> dict[str, list[pd.DataFrame]]:
    """The families of each null."""
    found: dict[str, list[pd.DataFrame]] = {}
    for rows in families:
        found.setdefault(str(rows["null"].iloc[0]), []).append(rows)
    return found


def claims(table: pd.DataFrame) -> bool:
    """Whether any motif differs from every null of the table, to one side."""
    nulls = table["null"].nunique()
    for _, rows in table[table["q"] < LEVEL].groupby(["motif", "label"]):
        if len(rows) == nulls and rows["effect"].gt(0).nunique() == 1:
            return True
    return False


def power(test: Test, n: int, repeats: int, key: int) -> Iterator[dict[str, object]]:
    """In how many repeats the planted effect on TATA is called, to its side, by every null: one
    that could not be tested calls nothing."""
    for effect in test.effects:
        found = 0
        for table in repeated(test, n, effect, repeats, key):
            row = table[(table["motif"] == "TATA") & table["label"].isin(["a", "all"])]
            neutral = 1.0 if "ratio" in test.measure or "share" in test.measure else 0.0
            right = test.sign * (row["effect"] - neutral) > 0
            found += bool(len(row) and ((row["q"] < LEVEL) & right).all())
        yield {
            "test": test.name, "measure": test.measure, "effect": effect, "sequences": n,
            "power": wilson(found, repeats),
        }  # fmt: skip


def share(found: object) -> str:
    """A share in percent with its interval."""
    value, low, high, _ = found  # type: ignore[misc]
    return f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def cell(name: str, value: object) -> str:
    """A value as a table of `docs/benchmarks.md` shows it."""
    if isinstance(value, list | tuple):
        return share(value)
    if isinstance(value, dict):
        return "; ".join(f"{null}: {share(found)}" for null, found in value.items())
    if name == "seconds":
        return f"{value:.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def markdown(rows: Sequence[dict[str, object]]) -> str:
    """Rows as a table for `docs/benchmarks.md`."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    for row in rows:
        cells = [cell(name, value) for name, value in row.items()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(curves: pd.DataFrame, null: pd.DataFrame, path: Path) -> None:
    """One panel per test: power against the planted effect, with what is called without one."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(curves["test"]))
    figure, axes = plt.subplots(
        1, len(names), figsize=(3.2 * len(names), 3.1), sharey=True, constrained_layout=True
    )
    for axis, name in zip(axes, names, strict=True):
        own = curves[curves["test"] == name]
        value, low, high, _ = null.loc[null["test"] == name, "claims against every null"].iloc[0]
        for (n, rows), colour in zip(own.groupby("sequences"), ("#2a6f97", "#c1502e"), strict=True):
            shares = np.array([p[:3] for p in rows["power"]])
            effect = rows["effect"].to_numpy()
            axis.plot(effect, shares[:, 0], "o-", color=colour, ms=4, label=f"{n} sequences")
            axis.fill_between(effect, shares[:, 1], shares[:, 2], color=colour, alpha=0.15, lw=0)
        axis.errorbar(
            [0], [value], [[value - low], [high - value]],
            fmt="s", ms=4, color="#333333", label="no effect, any motif",
        )  # fmt: skip
        axis.axhline(LEVEL, color="#888888", lw=0.8, ls="--")
        axis.set_title(name, fontsize=10)
        axis.set_xlabel(f"planted effect: {own['measure'].iloc[0]}", fontsize=7.5)
        axis.set_ylim(-0.03, 1.03)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
        axis.legend(fontsize=7, frameon=False)
    axes[0].set_ylabel("share with q < 0.05", fontsize=9)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--power", type=int, default=30, help="repeats per point of a curve")
    parser.add_argument("--only", help="tests whose name holds this")
    parser.add_argument(
        "--results", type=Path, default=Path("motif-tests"), help="folder; what is in it is kept"
    )
    parser.add_argument("--images", type=Path, help="folder for motif-tests.png")
    asked = parser.parse_args()
    asked.results.mkdir(parents=True, exist_ok=True)
    for key, test in enumerate(TESTS):
        path = asked.results / f"{test.name.replace(' ', '-')}.json"
        if path.exists() or (asked.only and asked.only not in test.name):
            continue
        null = false_positives(test, max(test.sizes), asked.repeats, key)
        curves = [row for n in test.sizes for row in power(test, n, asked.power, key)]
        path.write_text(json.dumps({"null": null, "curves": curves}))
        print(f"{test.name}: {null['seconds']:.0f} s without an effect", flush=True)
    found = [
        json.loads(path.read_text())
        for path in (asked.results / f"{test.name.replace(' ', '-')}.json" for test in TESTS)
        if path.exists()
    ]
    if found:
        print(markdown([of["null"] for of in found]) + "\n")
        print(markdown([row for of in found for row in of["curves"]]))
    if asked.images and len(found) == len(TESTS):
        curves = pd.DataFrame([row for of in found for row in of["curves"]])
        draw(curves, pd.DataFrame([of["null"] for of in found]), asked.images / "motif-tests.png")


if __name__ == "__main__":
    main()
