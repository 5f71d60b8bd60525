"""A finished run of a study or an experiment is recognised by its bytes; a changed one is not.

What is compared is everything: each test changes one thing that results depend on, or one of them.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from basewise.data.grammar import PromoterGrammar
from basewise.study import finished
from basewise.study.finished import inputs, recognised

STUDY = """
[study]
name = "small"  # a name
explained = 6
[data]
train = "train.csv"
dev = "dev.csv"
test = "test.csv"
[models.cnn]
type = "cnn"
network = { channels = 4, dilations = [1], stem_kernel = 7 }
training = { epochs = 1, batch_size = 32 }
[target]
label = "promoter"
[explainers.saliency]
"""
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
grid = { jitter = [0] }
[models.cnn]
network = { channels = 4, dilations = [] }
training = { epochs = 1 }
[explainers.saliency]
"""
JITTER = {"grid": {"jitter": [0]}}
WEIGHTS = "runs/small/models/cnn/model.safetensors"
AFTER = """
import sys
from basewise.cli import main
try:
    main()
finally:
    sys.stdout.write("".join(f"{name}\\n" for name in ("torch", "pandas") if name in sys.modules))
"""


class Home:
    """A study of files, and its run."""

    def __init__(self, folder: Path):
        self.folder, self.run = folder, folder / "runs" / "small"

    def known(self) -> bool:
        given = inputs(self.folder / "study.toml", self.folder / "data")
        return recognised(self.folder / "runs" / given.name, given) is not None

    def command(self, study: str = "study.toml", *options: str | Path) -> tuple[list[str], str]:
        """Lines of what `basewise run` prints, and of what it says."""
        if study == "study.toml":
            options = ("--data", self.folder / "data")
        done = subprocess.run(
            [sys.executable, "-c", AFTER, "run", study, *options],
            cwd=self.folder, capture_output=True, text=True, check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        return done.stdout.splitlines(), done.stderr

    def change(self, name: str, at: float = 0.5) -> None:
        """One bit of a file, whose size and date stay as they are."""
        path = self.folder / name
        before = path.stat()
        data = bytearray(path.read_bytes())
        data[int(at * len(data))] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("finished") / "home")
    (home.folder / "data").mkdir(parents=True)
    records = PromoterGrammar(length=150, tss=110).make(80, seed=5)
    for name, some in {"train": records[:40], "dev": records[40:60], "test": records[60:]}.items():
        rows = "".join(f"{r.sequence},{r.label}\n" for r in some)
        (home.folder / "data" / f"{name}.csv").write_text("sequence,label\n" + rows)
    (home.folder / "study.toml").write_text(STUDY)
    said, _ = home.command()
    assert said[-2:] == ["torch", "pandas"]
    return home


@pytest.fixture
def home(original: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """The same at the same place, put back when a test has changed it."""
    kept = tmp_path / "kept"
    shutil.copytree(original.folder, kept)
    monkeypatch.chdir(original.folder)
    yield original
    shutil.rmtree(original.folder)
    shutil.copytree(kept, original.folder)


def test_a_finished_run_is_recognised_and_nothing_is_imported_or_written(home: Home) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.folder.rglob("*")}
    said, noted = home.command()
    assert said[-1] == "runs/small/report/index.html"  # and after it neither torch nor pandas
    assert said[0].startswith("cnn: test MCC")
    assert noted == "basewise: finished before, and no byte has changed since.\n"
    assert {path: path.stat().st_mtime_ns for path in home.folder.rglob("*")} == before


@pytest.mark.parametrize("command", [["status", "runs/small"], ["run", "missing.toml"]])
def test_what_computes_nothing_imports_nothing_that_does(home: Home, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AFTER, *command], cwd=home.folder, capture_output=True, text=True
    )
    assert done.returncode == (0 if command[0] == "status" else 2)
    assert not {"torch", "pandas"} & set(done.stdout.splitlines())


def test_comments_and_results_of_other_settings_are_none_of_a_run(home: Home) -> None:
    (home.folder / "study.toml").write_text(STUDY.replace("# a name", "# another remark"))
    other = home.run / "attributions" / "cnn" / "saliency-of-before"
    other.mkdir()
    (other / "part-00000.parquet").write_text("")
    (home.run / "log.jsonl").write_text("")
    assert home.known()


CHANGES: dict[str, Callable[[Home], object]] = {
    "a letter of the data": lambda home: home.change("data/test.csv"),
    "a file of the data that is gone": lambda home: (home.folder / "data" / "dev.csv").unlink(),
    "a bit of the weights": lambda home: home.change(
        "runs/small/models/cnn/model.safetensors", 0.9
    ),
    "a bit of a part": lambda home: home.change(
        str(next(home.run.rglob("part-*.parquet")).relative_to(home.folder))
    ),
    "a part that is gone": lambda home: next(home.run.rglob("part-*.parquet")).unlink(),
    "a part too many": lambda home: (
        next(home.run.rglob("part-*.parquet")).with_name("part-00009.parquet").write_text("")
    ),
    "a table": lambda home: home.change("runs/small/metrics/explainers.parquet"),
    "the report": lambda home: (home.run / "report" / "index.html").unlink(),
    "the lock": lambda home: (home.run / "lock.json").unlink(),
    "what is remembered": lambda home: (home.run / finished.FILE).write_text("{"),
    "a setting": lambda home: (home.folder / "study.toml").write_text(
        STUDY.replace("explained = 6", "explained = 7")
    ),
    "a run at work": lambda home: (home.run / "running.json").write_text("{}"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_run_of_which_one_thing_changed_is_not_recognised(home: Home, what: str) -> None:
    assert home.known()
    CHANGES[what](home)
    assert not home.known()


def test_other_code_libraries_and_accelerators_are_seen(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home.known()
    with monkeypatch.context() as patch:
        patch.setattr(finished, "version", lambda name: "9.9")
        assert not home.known()
    with monkeypatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "3")
        assert not home.known()
    with monkeypatch.context() as patch:
        patch.setattr(finished, "_code", lambda package: [package / "errors.py"])
        assert not home.known()
    assert home.known()


def test_what_changes_while_a_run_is_at_work_is_not_remembered(home: Home) -> None:
    given = inputs(home.folder / "study.toml", home.folder / "data")
    home.change("data/train.csv")
    now = inputs(home.folder / "study.toml", home.folder / "data")
    finished.remember(home.run, given, now, [])
    assert recognised(home.run, given) is recognised(home.run, now) is None


def test_a_model_of_the_hub_may_have_changed_there(home: Home) -> None:
    text = STUDY.replace('type = "cnn"', 'type = "checkpoint"\npath = "somebody/some-model"')
    (home.folder / "study.toml").write_text(text)
    given = inputs(home.folder / "study.toml", None)
    assert given.hashes is None
    (home.folder / "somebody" / "some-model").mkdir(parents=True)
    (home.folder / "somebody" / "some-model" / "config.json").write_text("{}")
    given = inputs(home.folder / "study.toml", None)
    assert given.hashes is not None
    assert list(given.hashes["files"]) == ["somebody/some-model/config.json"]


def test_a_changed_letter_of_the_data_is_explained_anew_and_a_changed_part_mended(
    home: Home,
) -> None:
    parts = {path: path.read_bytes() for path in home.run.rglob("part-*.parquet")}
    [part] = parts
    home.change(str(part.relative_to(home.folder)))
    _, noted = home.command()
    assert "is not what its checksum says; it is made again" in noted
    assert {path: path.read_bytes() for path in home.run.rglob("part-*.parquet")} == parts
    table = home.folder / "data" / "train.csv"
    rows = table.read_text().splitlines()
    rows[1] = ("C" if rows[1][0] == "A" else "A") + rows[1][1:]
    table.write_text("\n".join(rows) + "\n")
    home.command()
    assert len(list(home.run.rglob("part-*.parquet"))) == 2  # another model's
    assert home.known()


def test_a_finished_experiment_is_recognised_and_a_changed_one_is_not(tmp_path: Path) -> None:
    home, file = Home(tmp_path), tmp_path / "experiment.toml"
    file.write_text(EXPERIMENT)
    said, _ = home.command(file.name, "--backend", "local")
    assert said == ["runs/tiny/report/index.html", "torch", "pandas"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert home.command(file.name) == (
        ["runs/tiny/report/index.html"],
        "basewise: finished before, and no byte has changed since.\n",
    )
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before

    def known() -> bool:
        given = inputs(file, None)
        return recognised(tmp_path / "runs" / given.name, given) is not None

    other = tmp_path / "runs" / "tiny" / "cells" / "cnn-jitter-1-seed1-of-other-settings"
    other.mkdir()
    (other / "rows.parquet").write_text("")
    file.write_text(f"# a remark\n{EXPERIMENT}")
    assert known()
    for name in ("cells/cnn-*/rows.parquet", "cells/cnn-*/saliency.parquet",
                 "metrics/experiment.parquet", "report/index.html", "lock.json"):  # fmt: skip
        changed = next(p for p in (tmp_path / "runs" / "tiny").glob(name) if p.parent != other)
        kept = changed.read_bytes()
        home.change(str(changed.relative_to(tmp_path)), at=0.9)
        assert not known(), name
        changed.write_bytes(kept)
        assert known()
    file.write_text(EXPERIMENT.replace("explained = 2", "explained = 3"))
    assert not known()
    # The lock of the run asks for the same, and says so by its tables.
    lock = tmp_path / "lock.json"
    shutil.copy(tmp_path / "runs" / "tiny" / "lock.json", lock)
    asked = inputs(lock, None)
    assert (asked.name, asked.hashes["tables"]["factors"]) == ("tiny", {"jitter": JITTER})
    assert inputs(file, None).hashes["file"] == asked.hashes["file"] == "experiment.toml"
