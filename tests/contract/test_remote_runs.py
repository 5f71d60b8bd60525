"""Runs in a store: the same bytes, continued from another machine, and broken files made again."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from basewise.cli import app
from basewise.errors import ConfigError, StoreError
from basewise.explainers import shards
from basewise.remote import Twin, is_url
from basewise.study import load_study, open_run, run_study
from basewise.study import twin as twins
from basewise.study.cell import Task
from basewise.study.finished import Inputs, recognised, remember
from basewise.study.watch import Silent

STUDY = """
[study]
name = "small"
explained = 9
[data]
type = "grammar"
train = 40
dev = 20
test = 20
grammar = { type = "promoter", length = 150, tss = 110 }
[models.cnn]
type = "cnn"
network = { channels = 4, dilations = [1], stem_kernel = 7 }
training = { epochs = 1, batch_size = 32 }
[target]
label = "promoter"
[explainers.saliency]
[explainers.occlusion]
units = { type = "windows", size = 30 }
"""
URL = "memory://bucket/runs/small"
PARTS = 6


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine that has seen nothing yet, and an empty store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shards, "MOST", 3)
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    (tmp_path / "study.toml").write_text(STUDY)
    yield tmp_path
    store.store.clear()


def test_commands_read_the_url_of_a_run(machine):
    run_study(load_study(machine / "study.toml"), URL)
    another_machine(machine)
    told = CliRunner().invoke(app, ["status", URL])
    assert told.exit_code == 0
    assert "cnn by occlusion" in told.output
    assert str(machine) not in told.output
    written = CliRunner().invoke(app, ["report", URL])
    assert written.output.splitlines()[-1] == f"{URL}/report/index.html"
    assert any(name.endswith("report/index.html") for name in stored())
    missing = CliRunner().invoke(app, ["status", "memory://bucket/runs/none"])
    assert str(missing.exception).startswith("memory://bucket/runs/none is not the folder of a run")


EXPERIMENT = """
[experiment]
name = "tiny"
explained = 2
gate = 0.0
[data]
train = 40
dev = 20
test = 20
grammar = { length = 30, width = 6 }
[factors.jitter]
grid = { jitter = [0, 2] }
[models.cnn]
network = { channels = 4, dilations = [] }
training = { epochs = 1 }
[explainers.saliency]
"""


def test_an_experiment_in_a_store_is_continued_recognised_and_read(machine, monkeypatch):
    url, app_of = "memory://bucket/runs/tiny", CliRunner()
    file = machine / "experiment.toml"
    file.write_text(EXPERIMENT)
    asked = ["run", str(file), "--out", "memory://bucket/runs", "--backend", "local"]
    whole, made = Task.run, []

    def run(self: Task) -> bytes:
        made.append(self.cell.name)
        if len(made) == 2:
            raise KeyboardInterrupt
        return whole(self)

    monkeypatch.setattr(Task, "run", run)
    assert app_of.invoke(app, asked).exit_code != 0
    another_machine(machine)
    done = app_of.invoke(app, asked)
    assert done.output.splitlines()[-1] == f"{url}/report/index.html"
    assert len(made) == 3  # what is there is not made again
    files = fsspec.filesystem("memory")
    assert len(files.glob("/bucket/runs/tiny/cells/*/rows.parquet")) == 2
    assert files.exists("/bucket/runs/tiny/figures/overview-cnn-auprc.svg")
    assert not [name for name in files.store if ".training" in name]
    another_machine(machine)
    assert "finished before" in app_of.invoke(app, asked).output
    assert len(made) == 3
    told = app_of.invoke(app, ["status", url]).output.splitlines()
    assert told == ["cnn, jitter: 2 of 2 cells", f"report: {url}/report/index.html"]
    assert app_of.invoke(app, ["report", url]).output.splitlines()[-1] == told[1][8:]


def another_machine(machine: Path) -> None:
    shutil.rmtree(machine / "cache")


def stored() -> dict[str, bytes]:
    """What the store holds, without what tells of time."""
    found = fsspec.filesystem("memory").store
    names = {name.removeprefix("/bucket/runs/small/"): name for name in found}
    timed = ("log.jsonl", "checksums.json", "training/cnn.json")
    return {
        short: found[name].getvalue() for short, name in names.items() if not short.endswith(timed)
    }


def results(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.suffix in (".parquet", ".safetensors")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("url", ["memory", "file"])
def test_a_run_in_a_store_has_the_bytes_of_one_in_a_folder(machine: Path, url: str) -> None:
    study = load_study(machine / "study.toml")
    run_study(study, machine / "here", backend="local")
    place = URL if url == "memory" else f"file://{machine}/store/small"
    run_study(study, place, backend="local")
    another_machine(machine)
    found = open_run(place)
    assert results(found.folder) == results(machine / "here")
    assert found.table("attributions/cnn/saliency").num_rows == 9
    assert len(list(found.folder.rglob("part-*.parquet"))) == PARTS
    if url == "file":
        assert results(machine / "store" / "small") == results(machine / "here")


def test_a_run_that_was_stopped_is_continued_by_another_machine(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, made = load_study(machine / "study.toml"), []
    whole = shards.Shard.run

    def run(self: shards.Shard) -> bytes:
        made.append(self.place.name)
        if len(made) == 4:
            raise KeyboardInterrupt
        return whole(self)

    monkeypatch.setattr(twins, "EVERY", 0.0)
    monkeypatch.setattr(shards.Shard, "run", run)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, URL, backend="local")
    assert len([name for name in stored() if "part-" in name]) == 3
    assert "running.json" not in stored()
    another_machine(machine)
    run_study(study, URL, backend="local")
    assert len(made) == 4 + PARTS - 3  # what is there is not made again
    again = stored()
    run_study(study, machine / "here", backend="local")
    for name, data in results(machine / "here").items():
        assert again[name] == data


def test_what_is_broken_in_the_store_is_made_again(machine: Path) -> None:
    study = load_study(machine / "study.toml")
    run_study(study, URL, backend="local")
    before, files = stored(), fsspec.filesystem("memory")
    part = next(name for name in before if "part-" in name)
    table, weights = "metrics/explainers.parquet", "models/cnn/model.safetensors"
    files.pipe_file(f"/bucket/runs/small/{part}", before[part][:-100])
    files.pipe_file(f"/bucket/runs/small/{table}", before[table][:-1])
    files.rm_file(f"/bucket/runs/small/{weights}")
    another_machine(machine)
    run_study(study, URL, backend="local")
    after = stored()
    assert {name for name in before if before[name] != after.get(name)} <= {"steps.json"}
    assert after[part] == before[part]


def test_only_what_changed_is_fetched_and_sent(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study(load_study(machine / "study.toml"), URL, backend="local")
    open_run(URL)
    moved: list[str] = []
    system = type(fsspec.filesystem("memory"))
    for verb in ("get_file", "put_file"):
        whole = getattr(system, verb)

        def told(self: object, a: str, b: str, *rest: object, _whole: object = whole) -> object:
            moved.append(a)
            return _whole(self, a, b, *rest)  # type: ignore[operator]

        monkeypatch.setattr(system, verb, told)
    open_run(URL)
    assert moved == []
    fsspec.filesystem("memory").pipe_file("/bucket/runs/small/log.jsonl", b"{}\n")
    open_run(URL)
    assert [Path(name).name for name in moved] == ["log.jsonl"]


def test_a_part_that_the_store_has_lost_is_sent_again(machine: Path) -> None:
    study = load_study(machine / "study.toml")
    run_study(study, URL, backend="local")
    before = stored()
    part = next(name for name in before if "part-" in name)
    fsspec.filesystem("memory").rm_file(f"/bucket/runs/small/{part}")
    run_study(study, URL, backend="local")
    assert stored()[part] == before[part]


def test_a_finished_run_in_a_store_is_recognised(machine: Path) -> None:
    study, given = load_study(machine / "study.toml"), Inputs("small", {"all": "as it was"})
    run_study(study, URL, backend="local")
    with twins.working_copy(URL, Silent()) as (folder, _):
        remember(folder, given, given, ["said"])
    for machine_is_new in (False, True):
        if machine_is_new:
            another_machine(machine)
        with twins.working_copy(URL, Silent()) as (folder, _):
            assert recognised(folder, given) == ["said"]


def test_a_run_at_work_on_another_machine_is_left_alone(machine: Path) -> None:
    owner = {"pid": 7, "host": "elsewhere", "begin": 1.7e9}
    files = fsspec.filesystem("memory")
    files.pipe_file("/bucket/runs/small/running.json", json.dumps(owner).encode())
    with pytest.raises(StoreError, match=r"belongs to process 7 on elsewhere.*small/running.json"):
        run_study(load_study(machine / "study.toml"), URL, backend="local")
    assert list(stored()) == ["running.json"]


def test_a_worker_that_does_not_see_the_folder_takes_the_model_from_the_store(
    machine: Path,
) -> None:
    run = run_study(load_study(machine / "study.toml"), URL, backend="local")
    here = run.folder / "models" / "cnn"
    before = shards._loaded(here, "a", "cnn", "full", "cpu", URL)
    another_machine(machine)
    after = shards._loaded(here, "b", "cnn", "full", "cpu", URL)
    records = open_run(URL).records("explained")[:4]
    assert (after.predict(records) == before.predict(records)).all()


def test_urls_that_nobody_knows_are_refused() -> None:
    assert is_url("s3://bucket/runs")
    assert not is_url("runs/s3:")
    assert not is_url(Path("runs"))
    with pytest.raises(ConfigError, match=r"three slashes: file:///tmp/x; or give its path, tmp/x"):
        open_run("file://tmp/x")
    with pytest.raises(ConfigError, match="give s3://"):
        Twin("nonsense://bucket/runs").pull()
    with pytest.raises(StoreError, match=r"memory://nothing/there is not the folder of a run"):
        open_run("memory://nothing/there")
