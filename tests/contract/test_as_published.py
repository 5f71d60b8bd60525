"""A published reading in a whole study, on records that a grammar makes: tables and section."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from basewise.errors import ConfigError
from basewise.report import SECTIONS, write_report
from basewise.report.as_published import as_published_sentences
from basewise.report.blocks import Details, Section, Table
from basewise.study import load_study, run_study
from basewise.study.as_published import AS_PUBLISHED
from basewise.study.results import Run

STUDY = """
[study]
name = "published"
seed = 3
explained = 40

[data]
type = "grammar"
train = 60
dev = 20
test = 80

[models.cnn]
type = "cnn"
network = { channels = 8, dilations = [1], stem_kernel = 7 }
training = { epochs = 1, batch_size = 32 }

[models.nt]
type = "nucleotide_transformer"
network = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 16 }
training = { epochs = 1, batch_size = 32 }

[target]
label = "promoter"

[explainers.lime]
units = { type = "windows", size = 20 }
masking = "shuffled"
samples = 40

[explainers.anchors]
units = { type = "windows", size = 50 }
masking = "shuffled"
samples = 40
evaluations = 40

[explainers.integrated_gradients]
reference = "zero"
steps = 2
tolerance = 1e6

[biology]
shuffles = 2
draws = 99

[as_published]
"""  # noqa: E501


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("published")
    (folder / "published.toml").write_text(STUDY)
    return run_study(load_study(folder / "published.toml"), folder / "run")


def tables(section: Section) -> Iterator[Table]:
    for block in section.blocks:
        inner = block.blocks if isinstance(block, Details) else (block,)
        yield from (b for b in inner if isinstance(b, Table))


def test_every_table_has_its_columns_and_every_explanation(run: Run) -> None:
    for name, columns in AS_PUBLISHED.items():
        assert tuple(run.as_published(name).columns) == columns
    signs, counts = run.as_published("signs"), run.as_published("counts")
    assert set(zip(signs["model"], signs["explainer"], strict=True)) == {
        (model, name) for model in ("cnn", "nt") for name in ("lime", "integrated_gradients")
    }
    assert len(counts[counts["token"] == ""]) == 6
    assert set(run.as_published("rules")["model"]) == {"cnn", "nt"}


def test_the_other_class_turns_every_sign(run: Run) -> None:
    signs = run.as_published("signs").set_index(["model", "explainer", "label", "reading"])
    for key in signs.index.droplevel("reading").unique():
        named, other = signs.loc[(*key, "by position")], signs.loc[(*key, "other class")]
        assert (named["positive"], named["negative"]) == (other["negative"], other["positive"])


def test_signs_are_those_of_the_occurrences(run: Run) -> None:
    frame = run.occurrences("nt", "lime")
    frame = frame.assign(size=frame["score"].abs()).sort_values(
        ["record_id", "size", "start"], ascending=[True, False, True], kind="stable"
    )
    top = frame.groupby("record_id", observed=True).head(10)
    word = top[top["token"].astype(str).str.contains("TATA")]
    expected = pd.crosstab(word["label"].astype(str), word["score"] > 0)
    signs = run.as_published("signs")
    mine = signs[(signs["model"] == "nt") & (signs["explainer"] == "lime")]
    mine = mine[mine["reading"] == "by position"].set_index("label")
    for label in mine.index:
        assert mine.loc[label, "positive"] == expected.get(True, {}).get(label, 0)
        assert mine.loc[label, "tokens"] == (word["label"].astype(str) == label).sum()


def test_shares_are_those_of_the_sequences(run: Run) -> None:
    presence = run.as_published("presence")
    row = presence[
        (presence["motif"] == "TATA")
        & (presence["window"] == "anywhere")
        & (presence["null"] == "other classes")
    ].iloc[0]
    held = {
        promoter: [
            "TATA" in r.sequence for r in run.records("test") if (r.label == "promoter") == promoter
        ]
        for promoter in (True, False)
    }
    assert row["observed"] == pytest.approx(sum(held[True]) / len(held[True]))
    assert row["expected"] == pytest.approx(sum(held[False]) / len(held[False]))


def test_the_borders_of_six_mers_cut_words_and_those_of_bases_do_not(run: Run) -> None:
    borders = run.as_published("borders").set_index("model")
    places = sum(
        r.sequence.startswith("TATA", i)
        for r in run.records("explained")
        for i in range(len(r.sequence))
    )
    assert (borders["places"] == places).all()
    assert borders.loc["cnn", "whole"] == places
    assert 0 < borders.loc["nt", "whole"] < places


def test_the_section_says_each_contradiction_with_its_numbers(run: Run) -> None:
    said = " ".join(as_published_sentences(run))
    borders = run.as_published("borders").set_index("model").loc["nt"]
    assert f"the tokens of nt hold it whole in {borders['whole']}" in said
    signs = run.as_published("signs")
    named = signs[(signs["reading"] == "by position") & (signs["label"] == "promoter")]
    best = named.loc[named["tokens"].idxmax()]
    assert f"Of {best['tokens']} top tokens with TATA in promoter sequences" in said
    assert f"gives {best['positive']} a positive score" in said
    assert f"for the other class it is {best['negative']}" in said
    section = SECTIONS.build("as_published").render(run)
    assert section is not None
    assert len(list(tables(section))) >= 5


def test_the_page_holds_the_section_and_the_table_of_models(run: Run) -> None:
    page = write_report(run.folder).read_text(encoding="utf-8")
    assert "As published, and soundly" in page
    assert "Nucleotide Transformer" in page
    assert " nan" not in page


def test_a_run_that_asks_for_nothing_published_has_no_section(run: Run, tmp_path: Path) -> None:
    empty = Run(tmp_path)
    (tmp_path / "lock.json").write_text('{"target": {"label": "promoter"}}')
    assert SECTIONS.build("as_published").render(empty) is None


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("[as_published]", '[as_published]\nword = "tata"', r"\[as_published\] .*word = 'tata'"),
        (
            "[as_published]",
            '[as_published]\nmotif = "TATTA"',
            r"motif = 'TATTA' is no motif of the panel 'core_promoter' with a pattern",
        ),
        ("[as_published]", "[as_published]\ntop = 0", r"\[as_published\] .*top = 0"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "wrong.toml").write_text(STUDY.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        run_study(load_study(tmp_path / "wrong.toml"), tmp_path / "run")
