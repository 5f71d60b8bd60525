"""Studies of genomes: windows by blocks, genes beside genomes, the tables and sections of both."""

import numpy as np
import pandas as pd
import pytest

from basewise.errors import ConfigError, DataError, UnknownName
from basewise.report import SECTIONS, write_report
from basewise.report.genomes import few_genomes
from basewise.study.gene_tables import _calls, track_of
from basewise.study.genomes import GenesAndGenomes, GenomeWindows, genome_of
from basewise.study.results import open_run
from basewise.study.run import run_study
from basewise.study.study import study_from
from basewise.types import Attribution, Interval, Record, Target

CNN = {
    "type": "cnn",
    "network": {"channels": 8, "dilations": [1], "positions": 0, "hidden": 8},
    "training": {"epochs": 2, "batch_size": 32},
}


def fasta(path, **sequences):
    path.write_text("".join(f">{name}\n{text}\n" for name, text in sequences.items()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three genomes; the first is rich in A, has twelve genes, and its third tells it apart."""
    home = tmp_path_factory.mktemp("genomes")
    rng = np.random.default_rng(0)
    for name, p in (("rich", [0.4, 0.2, 0.2, 0.2]), ("poor", [0.2, 0.3, 0.3, 0.2])):
        b = 6000 if name == "rich" else 4000
        fasta(home / f"{name}.fa", c="".join(rng.choice(list("ACGT"), b, p=p)))
    fasta(home / "unseen.fa", c="".join(rng.choice(list("ACGT"), 1000)), d="ACGTN" * 50)
    lines = ["##gff-version 3"]
    for i in range(12):
        kind = "rRNA" if i == 11 else "gene"
        start = 1 + 500 * i
        lines.append(f"c\tx\t{kind}\t{start}\t{start + 299}\t.\t+\t.\tID=g{i};Name=gen{i}")
    (home / "rich.gff").write_text("\n".join(lines) + "\n")
    (home / "poor.gff").write_text("c\tx\trRNA\t1\t100\t.\t+\t.\tID=r\n")
    (home / "list.csv").write_text("gene\ngen0\nGEN3\nabsent\n")
    family, genes = rng.choice(list("ACGT"), 120), {}
    for genome in ("rich", "poor", "other"):
        own = np.where(np.arange(120) % 60 < 16, family, rng.choice(list("ACGT"), 120))
        genes |= {f"{genome}|{i}": "".join(own) for i in range(2)}
    fasta(home / "genes.fa", **genes)
    return home


def genomes(**more):
    return {
        "rich": {"fasta": "rich.fa", "annotation": "rich.gff", "label": "yes"},
        "poor": {"fasta": "poor.fa", "label": "no"},
        "unseen": {"fasta": "unseen.fa", "label": "no", "split": "test"},
    } | more


def windows(**more):
    settings = {"genomes": genomes(), "width": 50, "block": 500} | more
    return GenomeWindows(**settings)


def test_blocks_are_whole_and_genomes_apart(folder):
    found = windows().splits(folder, 3)
    blocks: dict[tuple[str, int], set[str]] = {}
    for name, own in found.items():
        for record in own.records:
            assert (len(record), record.locus.strand) == (50, "+")
            blocks.setdefault((record.locus.chrom, record.locus.start // 500), set()).add(name)
    assert all(len(homes) == 1 for homes in blocks.values())
    assert {genome_of(r) for r in found["train"].records} == {"rich", "poor"}
    assert {genome_of(r) for r in found["test"].records} == {"rich", "poor", "unseen"}
    every = [r for own in found.values() for r in own.records]
    # 120 of rich, 80 of poor, 20 of unseen; its contig d has an N in every window.
    assert len(every) == len({r.id for r in every}) == 220
    text = (folder / "rich.fa").read_text().split()[1]
    assert all(
        r.sequence == text[r.locus.start : r.locus.end] for r in every if genome_of(r) == "rich"
    )
    assert {r.label for r in every if genome_of(r) == "rich"} == {"yes"}
    assert "unseen" not in found["train"].source


def test_at_most_so_many_and_evenly(folder):
    found = windows(most={"test": 24}).splits(folder, 3)["test"].records
    counts = {name: sum(genome_of(r) == name for r in found) for name in genomes()}
    assert counts == {"rich": 24, "poor": 12, "unseen": 12}


@pytest.mark.parametrize(
    "change, said",
    [
        ({"shares": {"train": 1.0}}, "shares needs train, dev, test, and has train"),
        ({"most": {"tests": 3}}, "most has 'tests'; it may have train, dev, test"),
        ({"block": 20}, "block = 20 is shorter than a window, 50"),
        ({"genomes": {"a:b": {"fasta": "x"}}}, "the name of a genome has no ':'"),
        ({"genomes": {"a": {"fasta": "x"}}}, "genomes.a needs a label"),
        ({"genomes": 3}, "is a table with a table for each genome"),
    ],
)
def test_settings_that_cannot_be_are_said(change, said):
    with pytest.raises(ConfigError, match=said):
        windows(**change)


def beside(**more):
    settings = {
        "genes": "genes.fa",
        "label": "family",
        "genomes": {
            name: {"fasta": f"{home}.fa", "annotation": f"{home}.gff"}
            for name, home in (("rich", "rich"), ("poor", "poor"), ("other", "poor"))
        },
        "members": {"train": ["ric*"], "dev": ["poor"], "test": ["other"]},
        "per_gene": 3,
    } | more
    return GenesAndGenomes(**settings)


def test_stretches_have_the_lengths_and_hold_no_gene_of_the_kind(folder):
    found = beside().splits(folder, 0)
    for name, home in (("train", "rich"), ("dev", "poor"), ("test", "other")):
        records = found[name].records
        assert [r.label for r in records] == ["family"] * 2 + ["genomic"] * 6
        assert {genome_of(r) for r in records[2:]} == {home}
        text = (folder / f"{'rich' if home == 'rich' else 'poor'}.fa").read_text().split()[1]
        for record in records[2:]:
            at = record.locus
            own = text[at.start : at.end]
            turned = own[::-1].translate(str.maketrans("ACGT", "TGCA"))
            assert record.sequence == (own if at.strand == "+" else turned)
            assert len(record) == 120
            assert at.start >= 100 if home != "rich" else at.end <= 5500 or at.start >= 5800
    assert {r.locus.strand for own in found.values() for r in own.records[2:]} == {"+", "-"}


@pytest.mark.parametrize(
    "change, error, said",
    [
        ({"members": {"train": ["r*"], "dev": ["poor"], "test": ["x"]}}, UnknownName, "'other'"),
        ({"members": {"train": ["*"], "dev": ["poor"], "test": ["other"]}}, ConfigError,
         "has poor in train and dev"),
        ({"genes": "torn.fa"}, DataError, r"rich\|0 of train and poor\|0 of dev are near copies"),
        ({"genomes": {"rich": {"fasta": "rich.fa", "annotation": "rich.gff"}}}, DataError,
         r"dev = \['poor'\] names no genomes"),
        ({"genomes": {"rich": {"fasta": "rich.fa"}}}, ConfigError,
         r"\[data.genomes.rich\] needs an annotation"),
        ({"genes": "long.fa"}, DataError, "rich has no stretch of 7000 bases"),
    ],
)  # fmt: skip
def test_what_would_leak_or_lacks_is_refused(folder, change, error, said):
    rng = np.random.default_rng(1)
    same = "".join(rng.choice(list("ACGT"), 300))
    others = {f"{name}|0": "".join(rng.choice(list("ACGT"), 300)) for name in ("other",)}
    fasta(folder / "torn.fa", **{"rich|0": same, "poor|0": same}, **others)
    long = {f"{g}|0": "".join(rng.choice(list("ACGT"), 7000)) for g in ("rich", "poor", "other")}
    fasta(folder / "long.fa", **long)
    with pytest.raises(error, match=said):
        beside(**change).splits(folder, 0)


def test_a_track_of_windows_lies_where_they_lie():
    def made(id, scores):
        n = len(scores)
        spans = np.stack([np.arange(n), np.arange(1, n + 1)], 1)
        return Attribution(
            id, "A" * n, "m", Target("x"), "occlusion", "ranking", spans, np.array(scores), 0.0,
            0.0, 1, 0,
        )  # fmt: skip

    records = [
        Record("a", "AAA", "x", Interval("c", 2, 5)),
        Record("b", "AAA", "x", Interval("c", 4, 7, "-")),
        Record("z", "AAA", "x", Interval("elsewhere", 0, 3)),
        Record("n", "AAA", "x"),
    ]
    found = track_of([made(r.id, [1.0, 2.0, 3.0]) for r in records], records, {"c": 8, "d": 2})
    assert found["c"] == pytest.approx([np.nan, np.nan, 1, 2, 3, 2, 1, np.nan], nan_ok=True)
    assert np.isnan(found["d"]).all()


@pytest.fixture(scope="module")
def windows_run(folder, tmp_path_factory):
    study = study_from(
        {
            "study": {"name": "w", "explained": 0},
            "data": {
                "type": "genomes", "genomes": genomes(), "width": 50, "block": 500,
            },
            "models": {"cnn": CNN},
            "target": {"label": "yes"},
            "explainers": {"saliency": {}},
            "genes": {"genome": "rich", "draws": 99, "sets": {"chosen": {"file": "list.csv"}}},
        }
    )  # fmt: skip
    home = tmp_path_factory.mktemp("run")
    run = run_study(study, home, folder)
    assert study_from({k: v for k, v in run.lock.items() if k in study.settings()})
    return run


def test_tables_of_a_genome(windows_run):
    run = open_run(windows_run.folder)
    scores, sets, calls = (
        run.genes(name) for name in ("region_scores", "region_sets", "genome_calls")
    )
    assert set(scores["null"]) <= {"shift", "matched"}
    assert set(scores["kind"]) == {"gene", "intergenic", "promoter_proximal", "terminator"}
    assert scores.chrom.unique().tolist() == ["rich:c"]
    assert sets[["set", "listed", "missing"]].drop_duplicates().values.tolist() == [
        ["chosen", 3, 1]
    ]
    assert calls.set_index("genome").in_training.to_dict() == {
        "poor": True, "rich": True, "unseen": False,
    }  # fmt: skip
    assert calls.set_index("genome").learned.to_dict() == {"poor": 1, "rich": 1, "unseen": 1}
    assert (calls.low <= calls.share).all()
    assert (calls.share <= calls.high + 1e-9).all()


def test_the_report_says_what_one_genome_cannot_show(windows_run):
    page = write_report(windows_run.folder).read_text(encoding="utf-8")
    assert "Only one genome was learned as yes, rich." in page
    assert "Never seen in training: unseen (no; cnn calls" in page
    assert "<h2" in page
    assert SECTIONS.build("genomes").render(windows_run) is not None
    assert SECTIONS.build("conservation").render(windows_run) is None


def test_a_genome_that_is_only_learned_counts_as_learned():
    """`more` is all in train, so that no window of it is called."""

    class Found:
        models = ("m",)
        lock = {"target": {"label": "yes"}}

        def records(self, split):
            names = {"train": ("rich", "more", "poor"), "test": ("rich", "poor")}[split]
            return [
                Record(n, "A", "no" if n == "poor" else "yes", Interval(f"{n}:c", 0, 1))
                for n in names
            ]

        def predictions(self, model):
            rows = [("rich", "test", "yes", "yes"), ("poor", "test", "no", "yes")]
            return pd.DataFrame(rows, columns=["record_id", "split", "label", "predicted"])

        def genes(self, name):
            return _calls(self, "m")

    calls = Found().genes("genome_calls").set_index("genome")
    assert calls.learned.to_dict() == {"poor": 1, "rich": 2}
    said = " ".join(few_genomes(Found()))
    assert "Only one genome was learned as no, poor." in said
    assert "learned as yes" not in said


@pytest.mark.parametrize(
    "asked, error, said",
    [
        ({"genome": "pour"}, UnknownName, "Did you mean 'poor'"),
        ({"genome": "poor"}, ConfigError, "needs an annotation"),
    ],
)
def test_regions_that_cannot_be_are_refused_before_training(folder, tmp_path, asked, error, said):
    tables = {
        "study": {"name": "w"},
        "data": {"type": "genomes", "genomes": genomes(), "width": 50, "block": 500},
        "models": {"cnn": CNN},
        "target": {"label": "yes"},
        "explainers": {"saliency": {}},
        "genes": asked,
    }
    with pytest.raises(error, match=said):
        run_study(study_from(tables), tmp_path, folder)
    tables["data"] = {"type": "grammar"}
    tables["target"] = {"label": "promoter"}
    with pytest.raises(ConfigError, match=r"it needs \[data\] type = 'genomes'"):
        run_study(study_from(tables), tmp_path, folder)


def test_genes_beside_genomes_as_a_study(folder, tmp_path):
    study = study_from(
        {
            "study": {"name": "g", "explained": 0},
            "data": {
                "type": "genes", "genes": "genes.fa", "label": "family", "per_gene": 4,
                "genomes": {
                    name: {"fasta": f"{home}.fa", "annotation": f"{home}.gff"}
                    for name, home in (("rich", "rich"), ("poor", "poor"), ("other", "poor"))
                },
                "members": {"train": ["rich"], "dev": ["poor"], "test": ["other"]},
            },
            "models": {"cnn": CNN},
            "target": {"label": "family"},
            "explainers": {"saliency": {}, "occlusion": {"units": "bases", "masking": "n"}},
            "conservation": {"k": 8, "shares": [0.0, 0.5, 1.0], "draws": 2, "resamples": 99},
        }
    )  # fmt: skip
    run = run_study(study, tmp_path, folder)
    table = run.conserved("conservation")
    assert table.groupby("explainer").size().to_dict() == {"occlusion": 2, "saliency": 2}
    assert table.cluster.nunique() == 1
    profile = run.conserved("conservation_profile")
    kept = profile[profile.explainer == "saliency"].conserved.to_numpy()
    # Of the words of 8 over bases 7 and 8 all lie in the 16 that are kept; over base 40 none does.
    assert kept[[7, 8, 67, 68]].min() == 1.0
    assert kept[30:50].max() < 0.1
    again = run.conserved("reconstruction").set_index(["order", "share"])
    assert {"saliency", "occlusion reversed", "random", "conservation"} <= set(
        again.index.levels[0]
    )
    assert np.allclose(again.loc[(slice(None), 1.0), "value"], again["whole"].iloc[0], atol=1e-4)
    page = write_report(run.folder).read_text(encoding="utf-8")
    assert "Input reconstruction from attributions" in page
    assert "1 cluster of near copies" in page.replace("\N{NO-BREAK SPACE}", " ")
