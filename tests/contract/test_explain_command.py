"""`basewise explain`: parts, interruption, resumption, progress, cost and pictures."""

from __future__ import annotations

import ast
import re
import shlex
import signal
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import basewise as bw
from basewise import store
from basewise.cli import main
from basewise.errors import ConfigError, DataError
from basewise.explainers import coalitions, shards
from basewise.explainers.occlusion import Occlusion
from basewise.models.base_cnn import BaseCnn, BaseCnnConfig
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.store import read_attributions
from basewise.tokenize.nucleotide import Nucleotide
from explained_models import kmer_bert
from tiny_networks import tiny

N = 7


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("explain")
    rng = np.random.default_rng(8)
    ids = [*(f"r{i}" for i in range(N - 1)), "../../odd/<id>"]
    text = "".join(f">{i}\n{''.join(rng.choice(list('ACGT'), 40))}\n" for i in ids)
    (folder / "seqs.fa").write_text(text)
    network = CnnForSequenceClassification(CnnConfig(channels=4, dilations=[1], num_labels=2))
    bw.Model(network, Nucleotide(), ("no", "yes"), "small").save(folder / "model")
    return folder


@pytest.fixture
def explain(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Any:
    """Run the command with three records in a part."""
    monkeypatch.setattr(shards, "MOST", 3)

    def run(
        out: Path | None,
        *more: object,
        model: object = home / "model",
        sequences: object = home / "seqs.fa",
    ) -> SimpleNamespace:
        command = ["explain", sequences, "--model", model, "--target", "yes"]
        command += [*(["-o", out] if out else []), "--explainer", "occlusion", *more]
        monkeypatch.setattr(sys, "argv", ["basewise", *map(str, command)])
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(SystemExit) as stop:
            main()
        signal.signal(signal.SIGINT, before)
        out_text, err = capfd.readouterr()
        return SimpleNamespace(code=stop.value.code or 0, out=out_text, err=err)

    return run


def same(one: list[Any], two: list[Any]) -> None:
    for a, b in zip(one, two, strict=True):
        for field in fields(a):
            np.testing.assert_equal(getattr(a, field.name), getattr(b, field.name))


def test_the_file_holds_what_the_call_gives_and_nothing_is_left_beside_it(
    explain: Any, home: Path, tmp_path: Path
) -> None:
    done = explain(tmp_path / "a.parquet", "--seed", "4")
    assert (done.code, done.out.strip()) == (0, str(tmp_path / "a.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    assert f"evaluations, {N} of {N} records" in done.err
    model, found = bw.Model.load(home / "model"), read_attributions(tmp_path / "a.parquet")
    called = bw.explain(model, bw.read(home / "seqs.fa"), "occlusion", "yes", seed=4)
    assert [a.record_id for a in found] == [a.record_id for a in called]
    for a, b in zip(found, called, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)
        assert a.seed == 4


def test_the_same_command_again_does_nothing_and_another_setting_everything(
    explain: Any, tmp_path: Path
) -> None:
    out = tmp_path / "a.parquet"
    explain(out)
    before = out.stat().st_mtime_ns
    done = explain(out)
    assert "holds all of this already" in done.err.replace("\n", " ")
    assert (done.code, out.stat().st_mtime_ns) == (0, before)
    windows = ("--set", "units={type='windows', size=10}")
    refused = explain(out, *windows)
    assert refused.code == 2
    assert "is there and holds something else; give another name" in refused.err
    assert (out.stat().st_mtime_ns, len(refused.err.splitlines())) == (before, 1)
    explain(out, *windows, "--overwrite")
    assert {len(a.scores) for a in read_attributions(out)} == {4}
    explain(out, "--precision", "bfloat16", "--overwrite")
    assert {a.extras["bfloat16"] for a in read_attributions(out)} == {1.0}


def test_a_file_that_a_setting_names_counts_by_its_content(explain: Any, tmp_path: Path) -> None:
    out, hidden = tmp_path / "a.parquet", tmp_path / "hidden.fa"
    masking = f"masking={{type='background', file='{hidden}', draws=1}}"
    found = []
    for letter in "AC":
        hidden.write_text(f">one\n{letter * 40}\n")
        explain(out, "--set", masking, "--overwrite")
        found.append(read_attributions(out)[0].baseline)
    assert found[0] != found[1]


def test_an_interruption_leaves_whole_parts_and_the_same_command_continues(
    explain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain(tmp_path / "undisturbed.parquet")
    out, write = tmp_path / "a.parquet", store.write_bytes
    written: list[Path] = []

    def interrupted(path: Path, content: bytes) -> None:
        if len(written) == 2:
            signal.raise_signal(signal.SIGINT)
        written.append(path)
        write(path, content)

    monkeypatch.setattr(store, "write_bytes", interrupted)
    done = explain(out)
    assert done.code == 130
    assert done.err.strip().endswith("interrupted; the same command continues.")
    assert not out.exists()
    left = sorted(tmp_path.rglob("part-*"))
    assert left == written
    assert [len(read_attributions(path)) for path in left] == [3, 3]
    left[0].write_bytes(left[0].read_bytes()[:-9])  # a broken part is made again, a whole one not
    written.clear()
    monkeypatch.setattr(store, "write_bytes", lambda p, b: (written.append(p), write(p, b)))
    done = explain(out)
    assert done.code == 0
    assert [path.name for path in written] == ["part-00000.parquet", "part-00002.parquet"]
    assert not out.with_name("a.parquet.parts").exists()
    same(read_attributions(out), read_attributions(tmp_path / "undisturbed.parquet"))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("here", r"here is a folder; give the name of a file"),
        ("file.txt/a.parquet", r"a\.parquet cannot be written \(.*file\.txt: Not a directory\)"),
        ("/proc/nowhere/a.parquet", r"cannot be written \(/proc: "),
    ],
)
def test_a_place_that_cannot_be_written_is_found_before_anything_else(
    explain: Any, tmp_path: Path, out: str, message: str
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "file.txt").write_text("")
    done = explain(tmp_path / out, model="nowhere")
    assert done.code == 2
    assert re.search(message, done.err)
    assert len(done.err.strip().splitlines()) == 1


def test_the_cost_is_said_and_nothing_is_written(explain: Any, tmp_path: Path) -> None:
    done = explain(tmp_path / "a.parquet", "--check")
    assert done.code == 0
    head, row = done.out.splitlines()[:2]
    assert head.split() == ["model", "explainer", "shards", "evaluations", "time", "memory", "disk"]
    assert [row.split()[i] for i in (0, 1, 3)] == ["small", "occlusion", f"{N * 42}"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("widths", "said"),
    [
        ("1e-9", f"0 of {N} records reached the width asked; the others spent their whole budget"),
        ("1e9", f"{N} of {N} records reached the width asked."),
    ],
)
def test_how_many_records_reached_the_width_is_said(
    explain: Any, tmp_path: Path, widths: str, said: str
) -> None:
    out = tmp_path / "a.parquet"
    given = ("--explainer", "leverage_shap", "--set", "evaluations=400")
    assert "width" not in explain(out, *given).err
    done = explain(out, *given, "--set", f"until={{top=3, width={widths}}}", "--overwrite")
    found = read_attributions(out)
    assert [line for line in done.err.splitlines() if line.startswith(said)], done.err
    reached = {a.extras["narrow"] for a in found}
    assert reached == {float(widths == "1e9")}
    widest = max(a.extras["width"] for a in found)
    assert (f"their widest interval is {widest:.3g}." in done.err) == (widths == "1e-9")


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_picture_of_every_record(explain: Any, tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "pictures"
    given = ("--picture", folder, "--picture-format", ending)
    for _ in range(2):  # also when the attributions were there already
        assert explain(tmp_path / "a.parquet", *given).code == 0
        names = sorted(path.name for path in folder.iterdir())
        assert names == [
            *(f"{i + 1}-r{i}.{ending}" for i in range(N - 1)),
            f"7-.._.._odd_id_.{ending}",
        ]
        for path in folder.iterdir():
            path.unlink()


def test_pictures_of_something_else_are_kept(explain: Any, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "1-r0.svg").write_text("another")
    given = (tmp_path / "a.parquet", "--picture", folder)
    done = explain(*given)
    assert done.code == 2
    assert re.search(r"holds pictures already; give another folder, or --overwrite", done.err)
    assert len(done.err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    assert (folder / "1-r0.svg").read_text() == "another"
    assert explain(*given, "--overwrite").code == 0
    assert (folder / "1-r0.svg").read_text() != "another"


# ------------------------------------------------------------------------------ refusals


def test_a_refused_reference_is_followed_by_one_that_works_and_nothing_is_left(
    explain: Any, home: Path, tmp_path: Path
) -> None:
    gradients = ("--explainer", "integrated_gradients", "--set")
    done = explain(tmp_path / "a.parquet", *gradients, "reference=token")
    said = " ".join(done.err.split())
    assert done.code == 2
    assert not list(tmp_path.iterdir())
    (advice,) = re.findall(r"--set '(reference=[^']*)'", said)
    done = explain(tmp_path / "a.parquet", *gradients, advice)
    assert done.code == 0, done.err
    (called,) = re.findall(r"in Python reference=(\{.*?\})", said)
    model, some = bw.Model.load(home / "model"), bw.read(home / "seqs.fa")
    found = bw.explain(
        model, some, "integrated_gradients", "yes", reference=ast.literal_eval(called)
    )
    written = read_attributions(tmp_path / "a.parquet")[0].scores
    np.testing.assert_allclose(found[0].scores, written, atol=1e-5)


def test_where_deep_lift_is_refused_its_advice_works(explain: Any, tmp_path: Path) -> None:
    kmer_bert().save(tmp_path / "bert")
    label = kmer_bert().labels[-1]
    given = {"model": tmp_path / "bert"}
    done = explain(None, "--check", "--target", label, "--explainer", "deep_lift", **given)
    explainer, setting = re.findall(r"use (--explainer \S+) with (--set \S+)\.$", done.err.strip())[
        0
    ]
    out = tmp_path / "a.parquet"
    done = explain(out, "--target", label, *explainer.split(), *setting.split(), **given)
    assert (done.code, read_attributions(out)[0].method) == (0, "integrated_gradients"), done.err


def test_a_language_model_is_refused_without_settings_of_an_explainer(
    explain: Any, tmp_path: Path
) -> None:
    tiny("basewise-dnabert2", head="masked_lm").save_pretrained(tmp_path)
    bw.Model.load(tmp_path, tokenizer=Nucleotide()).save(tmp_path / "saved")
    done = explain(None, "--check", model=tmp_path / "saved")
    assert done.code == 2
    assert "in Python on Model.load(folder, head='sequence_classification'" in done.err
    assert "--set" not in done.err


def test_a_refusal_keeps_parts_that_are_done(
    explain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, run = tmp_path / "a.parquet", shards.Shard.run

    def refusing(shard: shards.Shard) -> bytes:
        if shard.place.name == "part-00001.parquet":
            raise DataError("not this one.")
        return run(shard)

    monkeypatch.setattr(shards.Shard, "run", refusing)
    done = explain(out)
    assert (done.code, "not this one." in done.err) == (2, True)
    assert [path.name for path in tmp_path.rglob("part-*")] == ["part-00000.parquet"]


def test_too_small_a_budget_is_said_of_the_record_that_needs_most(
    explain: Any, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "mixed.fa").write_text(f">short\n{'ACGT' * 5}\n>long\n{'ACGT' * 6}\n")
    some = bw.read(tmp_path / "mixed.fa")
    said = "Record 'long': leverage_shap: evaluations = 20 is too few for 24 units; at least 72 are"
    with pytest.raises(ConfigError, match=f"^{said}"):
        bw.explain(bw.Model.load(home / "model"), some, "leverage_shap", "yes", evaluations=20)
    for check in ((), ("--check",)):
        out = tmp_path / "out" / "a.parquet"
        budget = ("--explainer", "leverage_shap", "--set", "evaluations=20", *check)
        done = explain(out, *budget, sequences=tmp_path / "mixed.fa")
        assert (done.code, said in " ".join(done.err.split())) == (2, True), done.err
        assert not out.parent.exists() or not list(out.parent.iterdir())


@pytest.mark.parametrize(
    ("method", "setting", "fits"),
    [
        ("leverage_shap", "evaluations", 4100),
        ("kernel_shap", "evaluations", 4100),
        ("banzhaf", "evaluations", 4100),
        ("lime", "samples", 1400),
    ],
)
def test_more_than_memory_holds_is_refused_with_what_fits(
    method: str, setting: str, fits: int, explain: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(coalitions, "machine_memory", lambda: 2_500_000)
    for check in ((), ("--check",)):
        given = ("--explainer", method, *check, "--set")
        done = explain(tmp_path / "a.parquet", *given, f"{setting}=99999999")
        assert done.code == 2
        assert f"Record 'r0': {method}: {setting} = 99999999 of 40 units take up to" in done.err
        assert (
            f"GB of memory, and this machine has 0 GB; at most {setting} = {fits} fit." in done.err
        )
        assert explain(tmp_path / "a.parquet", *given, f"{setting}={fits}").code == 0


@pytest.mark.parametrize(
    "given",
    [
        ("units=windows", "size=5"),
        ("size=5",),
        ("units=windows:5",),
        ("units=windows(size=5)",),
        ("units=windows size=5",),
    ],
)
def test_a_setting_of_units_is_answered_with_one_that_works(
    explain: Any, tmp_path: Path, given: tuple[str, ...]
) -> None:
    done = explain(None, "--check", *(word for each in given for word in ("--set", each)))
    assert done.code == 2
    advice = done.err[done.err.index("--set") :].strip().rstrip(".")
    assert advice == """--set 'units={type="windows", size=5}'"""
    done = explain(tmp_path / "a.parquet", *shlex.split(advice))
    assert (done.code, len(read_attributions(tmp_path / "a.parquet")[0].scores)) == (0, 8)


def test_help_shows_how_a_setting_inside_of_a_setting_is_given(explain: Any) -> None:
    said = " ".join(explain(None, "--help").out.split())
    assert "--set 'units={type=\"windows\",size=5}'." in said


def test_what_is_neither_a_name_nor_a_table_is_refused(explain: Any) -> None:
    done = explain(None, "--check", "--set", "units=5")
    said = "units = 5: 5 is no kind of units; give a name or a table with 'type'; one of bases, "
    assert (done.code, said in done.err) == (2, True), done.err


def test_a_file_is_needed_unless_the_cost_is_asked(explain: Any, tmp_path: Path) -> None:
    done = explain(None)
    assert (done.code, done.err) == (
        2,
        "basewise: -o is missing; give the Parquet file to write, or --check.\n",
    )
    done = explain(None, "--check")
    assert (done.code, f"{N * 42}" in done.out) == (0, True)


def test_memory_that_runs_out_in_a_trial_is_said_of_the_explainer(
    explain: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    def short(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 55.3 GiB")

    monkeypatch.setattr(Occlusion, "estimate", short)
    for check in ((), ("--check",)):
        done = explain(tmp_path / "a.parquet", *check)
        assert done.code == 2
        said = "occlusion: memory ran out (Unable to allocate 55.3 GiB); ask for fewer evaluations"
        assert said in done.err


def test_skipping_is_of_rows_that_cannot_be_read_and_the_help_says_so(
    explain: Any, tmp_path: Path
) -> None:
    (tmp_path / "n.fa").write_text(f">known\n{'ACGT' * 5}\n>hidden\n{'N' * 20}\n")
    out = tmp_path / "a.parquet"
    done = explain(out, "--on-error", "skip", sequences=tmp_path / "n.fa")
    assert (done.code, "Record 'hidden' has no base that is known" in done.err) == (2, True)
    said = explain(out, "--help").out
    assert "Rows that cannot be read: stop at them, or skip them" in " ".join(
        said.replace("│", " ").split()
    )


# ------------------------------------------------------------------------------ regions of bases


def test_each_predicted_region_of_a_model_of_bases(
    explain: Any, bases: bw.Model, home: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.parquet"
    done = explain(out, "--where", "predicted", model=home / "bases")
    assert done.code == 0, done.err
    target = bw.Target("yes", where="predicted")
    called = bw.explain(bases, bw.read(home / "seqs.fa"), "occlusion", target)
    found = read_attributions(out)
    assert len(found) > N
    assert [(a.record_id, a.target) for a in found] == [(a.record_id, a.target) for a in called]
    done = explain(out, "--where", "3-5", "--check", model=home / "bases")
    assert f"{42 * N}" in done.out  # each base, and both ends
    explain(out, "--where", "3-5", "--overwrite", model=home / "bases")
    assert {a.target for a in read_attributions(out)} == {bw.Target("yes", where=(3, 5))}


def test_records_without_a_predicted_region_are_counted(
    explain: Any, bases: bw.Model, home: Path, tmp_path: Path
) -> None:
    odds = [np.diff(np.log(found))[:, 0].max() for found in bases.predict_bases(read_all(home))]
    bases.network.out.bias.data[1] -= np.sort(odds)[2:4].mean()  # three of seven have none
    bases.save(tmp_path / "model")
    done = explain(tmp_path / "a.parquet", "--where", "predicted", model=tmp_path / "model")
    said = f"3 of {N} records have no predicted region of yes and are left out."
    assert said in done.err.splitlines(), done.err
    found = read_attributions(tmp_path / "a.parquet")
    assert len({one.record_id for one in found}) == N - 3
    done = explain(tmp_path / "b.parquet", "--where", "3-5", model=tmp_path / "model")
    assert (done.code, "left out" in done.err) == (0, False)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("3:5", "--where '3:5': write start-end (0-based, half-open), predicted, or labelled."),
        ("39-41", "Record 'r0' has 40 bases, and the target is read at 39-41; regions are"),
        ("labelled", "None of 7 records has a labelled region of yes, so there is nothing to exp"),
    ],
)
def test_regions_that_are_none(
    where: str, said: str, explain: Any, bases: bw.Model, home: Path, tmp_path: Path
) -> None:
    done = explain(tmp_path / "a.parquet", "--where", where, model=home / "bases")
    assert done.code == 2
    assert said in " ".join(done.err.split())
    assert not (tmp_path / "a.parquet").exists()


@pytest.fixture
def bases(home: Path) -> bw.Model:
    sizes = {"channels": 4, "dilations": [1], "stem_kernel": 3, "hidden": 4}
    torch.manual_seed(3)
    model = bw.Model(BaseCnn(BaseCnnConfig(num_labels=2, **sizes)).eval(), Nucleotide(), LABELS)
    odds = [np.diff(np.log(found))[:, 0] for found in model.predict_bases(read_all(home))]
    model.network.out.bias.data[1] -= np.median(odds)
    model.save(home / "bases")
    return bw.Model.load(home / "bases")


LABELS = ("no", "yes")


def read_all(home: Path) -> list[bw.Record]:
    return bw.read(home / "seqs.fa")
