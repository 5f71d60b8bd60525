"""The command line, as a user meets it: exit codes, one-line errors."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from basewise.cli import _as_typed, main, progress
from basewise.cli.components import _described, _tables
from basewise.data.grammar import PromoterGrammar
from basewise.errors import ConfigError
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.models.model import Model
from basewise.store import read_attributions
from basewise.tokenize.nucleotide import Nucleotide


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def basewise(monkeypatch, capfd):
    """Run a command in this process, as its entry point does."""

    def run(*arguments, cwd=None):
        monkeypatch.setattr(sys, "argv", ["basewise", *map(str, arguments)])
        before = signal.getsignal(signal.SIGINT)
        with chdir(cwd or "."), pytest.raises(SystemExit) as stop:
            main()
        signal.signal(signal.SIGINT, before)
        return Done(stop.value.code or 0, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A CSV of sequences, a FASTA of the same, and a saved model."""
    folder = tmp_path_factory.mktemp("commands")
    records = PromoterGrammar(length=150, tss=110).make(30, seed=5)
    table = pd.DataFrame([(r.sequence, r.label) for r in records], columns=["sequence", "label"])
    table.to_csv(folder / "data.csv", index=False)
    fasta = "".join(f">{r.id}\n{r.sequence}\n" for r in records[:3])
    (folder / "three.fa").write_text(fasta)
    network = CnnForSequenceClassification(CnnConfig(channels=4, dilations=[1], num_labels=2))
    Model(network, Nucleotide(), ("non-promoter", "promoter"), "small").save(folder / "model")
    return folder


def test_help_names_every_command(basewise):
    done = basewise("--help")
    assert done.returncode == 0
    for name in ("demo", "init", "run", "check", "status", "report", "audit", "predict", "explain"):
        assert name in done.stdout


@pytest.mark.parametrize("command", ["run", "check"])
def test_help_says_what_data_is(basewise, command):
    words = basewise(command, "--help").stdout.replace("│", " ").split()
    assert "Folder that the data paths of the study are relative to." in " ".join(words)


def test_help_breaks_no_sentence(basewise, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    said = basewise("run", "--help").stdout
    lines = [line.strip() for line in said.splitlines()]
    at = next(i for i, line in enumerate(lines) if line.startswith("Ends with 0"))
    end = lines.index("", at)
    assert all(len(line) > 50 for line in lines[at : end - 1])  # only the last may be short


def test_errors_name_what_a_command_takes(basewise, home, tmp_path):
    (tmp_path / "bad.csv").write_text("sequence,label\nACGT,a\nAC!T,b\n")
    asked = ["--model", home / "model", "--target", "promoter", "-o", tmp_path / "x.parquet"]
    bad = basewise("explain", tmp_path / "bad.csv", *asked)
    assert bad.stderr.endswith("or skip these rows: --on-error skip.\n")
    few = ["--explainer", "kernel_shap", "--set", "units=bases", "--set", "evaluations=3"]
    done = basewise("explain", home / "data.csv", *asked, *few)
    assert done.returncode == 2
    assert "use larger units (--set units=windows)" in done.stderr
    file = tmp_path / "study.toml"
    file.write_text(
        f'[study]\nname = "x"\n[data]\ntrain = "{home}/data.csv"\ndev = "{home}/data.csv"\n'
        f'test = "{home}/data.csv"\n[models.cnn]\ntype = "cnn"\n[target]\nlabel = "promoter"\n'
        '[explainers.kernel_shap]\nunits = "bases"\nevaluations = 3\n'
    )
    assert '(units = "windows")' in basewise("check", file).stderr


@pytest.mark.parametrize(
    ("command", "said", "typed"),
    [
        ("explain", "use masking='n', or x", "use --set masking=n, or x"),
        ("explain", "as reference=['zero', 'n'].", "as --set \"reference=['zero', 'n']\"."),
        ("explain", "Use precision='full'.", "Use --precision full."),
        (
            "explain",
            "by Model.load(f, head='x', labels=[1])",
            "by Model.load(f, head='x', labels=[1])",
        ),
        ("explain", "as x={'type': 'y', 'a': [1, 'b']}.", 'as --set \'x={type="y", a=[1, "b"]}\'.'),
        ("explain", "Record x={'a b}: no", "Record x={'a b}: no"),
        ("explain", "Record x={'a': b}: no", "Record x={'a': b}: no"),
        ("explain", "Record x={'a'}: no", "Record x={'a'}: no"),
        ("run", "as x={'type': 'y', 'a': True}.", 'as x = {type="y", a=true}.'),
        ("run", "in Python reference={'type': 'y'}", "in Python reference={'type': 'y'}"),
        ("run", "as reference=['zero', 'n'].", 'as reference = ["zero", "n"].'),
        ("run", "seed = 'x': no", "seed = 'x': no"),
    ],
)
def test_arguments_in_errors_are_written_as_typed(command, said, typed, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["basewise", command, "a.csv"])
    assert _as_typed(ConfigError(said)) == typed


def test_the_installed_command_is_a_process_of_its_own():
    code = "from basewise.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "0.1.0")


def test_audit_prints_findings_and_writes_json(basewise, home, tmp_path):
    done = basewise("audit", home / "data.csv", "-o", tmp_path / "audit.json")
    assert done.returncode == 0, done.stderr
    assert "data: 30 rows" in done.stdout
    assert json.loads((tmp_path / "audit.json").read_text())["findings"]


def test_predict_writes_a_column_per_label(basewise, home, tmp_path):
    done = basewise(
        "predict", home / "three.fa", "--model", home / "model", "-o", tmp_path / "p.csv"
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "p.csv")
    assert list(table.columns) == ["id", "non-promoter", "promoter"]
    np.testing.assert_allclose(table[["non-promoter", "promoter"]].sum(axis=1), 1)


def test_explain_writes_attributions(basewise, home, tmp_path):
    out = tmp_path / "a.parquet"
    arguments = ("--model", home / "model", "--target", "promoter", "-o", out)
    settings = ("--explainer", "occlusion", "--set", "units={type='windows', size=50}")
    done = basewise("explain", home / "three.fa", *arguments, *settings)
    assert done.returncode == 0, done.stderr
    assert [len(a.scores) for a in read_attributions(out)] == [3, 3, 3]


def test_list_and_show_speak_of_every_component(basewise):
    assert "kernel_shap" in basewise("list", "explainers").stdout
    shown = basewise("show", "explainer", "lime").stdout
    assert "kernel_width = 25.0" in shown
    assert "Ribeiro" in shown or "surrogate" in shown
    shown = basewise("show", "dataset", "files").stdout
    assert "labels = {}" in shown
    assert "train = (needed)" in shown


def test_list_alone_names_the_tables_and_their_rows(basewise):
    done = basewise("list")
    assert done.returncode == 0
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert {"explainers", "maskings", "models", "tokenizers", "units"} <= set(rows)
    assert "lime, marginalisation" in rows["explainers"]


def test_show_explains_every_setting_once_and_in_order(basewise):
    for kind, table in _tables().items():
        for name in table.names():
            if not dataclasses.is_dataclass(cls := table.get(name)):
                continue
            block = _described(cls).partition("Attributes\n----------\n")[2]
            entries = [line for line in block.splitlines() if re.match(r"\w[\w, ]* : ", line)]
            named = [each for line in entries for each in line.split(" : ")[0].split(", ")]
            fields = [field.name for field in dataclasses.fields(cls)]
            assert [each for each in named if each in fields] == fields, (kind, name)
    shown = basewise("show", "explainer", "leverage_shap").stdout
    assert "no\n    wider than 0.1; None spends the whole budget." in shown
    assert shown.count("masking : Masking\n    How a switched-off unit looks") == 1


@pytest.mark.parametrize(
    "what, said",
    [
        (("network", "basewise-cnn"), ["Width of every layer.", "  channels = 128"]),
        (("network", "basewise-gena"), ["  hidden_size = 768"]),
        (("model", "cnn"), ["settings of basewise-cnn;", "  channels = 128"]),
        (("model", "gena"), ["settings of basewise-gena;", "  hidden_size = 128"]),
    ],
)
def test_show_says_what_a_network_may_be_told(basewise, what, said):
    shown = basewise("show", *what).stdout
    assert all(text in shown for text in said)
    assert "id2label" not in shown


def test_a_step_without_a_terminal_is_told_in_plain_lines(monkeypatch, capfd):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    terminal = progress.Terminal()
    with terminal.step("explain [x]", 1200) as step:
        step.at(100, note="7 evaluations" + " more" * 20)
    terminal.note("a [long] line " * 20)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "explain [x]: 100 of 1,200, 7 evaluations" + " more" * 20
    assert lines[1].startswith("explain [x]    ")
    assert lines[2] == "a [long] line " * 20
    assert len(lines) == 3


def test_a_place_that_cannot_be_written_is_named_as_it_was_given(basewise, home, tmp_path):
    (tmp_path / "p.csv").mkdir()
    done = basewise(
        "predict", home / "three.fa", "--model", home / "model", "-o", tmp_path / "p.csv"
    )
    assert done.returncode == 2
    assert str(tmp_path / "p.csv") in done.stderr
    assert ".part" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_memory_that_runs_out_is_one_line(basewise, home, tmp_path):
    arguments = ("--model", home / "model", "--target", "promoter", "-o", tmp_path / "a.parquet")
    settings = ("--explainer", "permutation_shap", "--set", f"evaluations={10**12}")
    done = basewise("explain", home / "three.fa", *arguments, *settings)
    assert done.returncode == 2
    assert "memory ran out" in done.stderr
    assert "Traceback" not in done.stderr


def test_init_prints_a_study_that_loads(basewise, tmp_path):
    from basewise.study import load_study

    text = basewise("init").stdout
    for name in ("sequence", "on_error", "tss"):  # what stands there as a comment is a setting
        assert f"\n# {name} = " in text
        text = text.replace(f"\n# {name} = ", f"\n{name} = ")
    (tmp_path / "study.toml").write_text(text)
    assert load_study(tmp_path / "study.toml").about.name == "my_study"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("audit", "nothing.csv"), "nothing.csv"),
        (("run", "nothing.toml"), "nothing.toml"),
        (("show", "explainer", "kernelshap"), "Did you mean 'kernel_shap'?"),
        (("list", "explaners"), "Did you mean 'explainers'?"),
        (("report", "."), "lock.json"),
        (("demo", "--out", "/dev/null/runs"), "Not a directory"),
        (("predict", "x.fa", "--model", "nowhere", "-o", "y.csv"), "nowhere"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(basewise, arguments, message, tmp_path):
    done = basewise(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("basewise: ")
    assert message in done.stderr
    assert not done.stdout


def test_an_unknown_label_is_refused_with_the_known_ones(basewise, home, tmp_path):
    out = tmp_path / "a.parquet"
    arguments = ("--model", home / "model", "--target", "1", "-o", out)
    done = basewise("explain", home / "three.fa", *arguments)
    assert done.returncode == 2
    assert "non-promoter, promoter" in done.stderr
    assert not out.exists()


def test_columns_can_be_named_and_bad_rows_skipped(basewise, tmp_path):
    rows = "dna;class\n" + "ACGTACGTACGTACGTACGT;1\nTTGACATTGACATTGACATT;0\n" * 8 + "ACGTXX;1\n"
    (tmp_path / "mine.csv").write_text(rows.replace(";", ","))
    arguments = ("audit", tmp_path / "mine.csv", "--sequence", "dna", "--label", "class")
    refused = basewise(*arguments)
    assert refused.returncode == 2
    assert "mine.csv" in refused.stderr
    done = basewise(*arguments, "--on-error", "skip")
    assert done.returncode == 0, done.stderr
    assert "mine: 16 rows" in done.stdout
