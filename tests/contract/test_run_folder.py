"""Whose a run's folder is: one study at a time, and one process."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from basewise.errors import ConfigError, StoreError
from basewise.study import load_study, open_run, run_study
from basewise.study.owner import FILE, owned, owner_of
from basewise.study.watch import Silent

STUDY = """
[study]
name = "small"
seed = 3
explained = 4

[data]
type = "grammar"
train = 40
dev = 20
test = 20

[models.cnn]
type = "cnn"
network = { channels = 4, dilations = [1], stem_kernel = 7 }
training = { epochs = 1, batch_size = 32 }

[target]
label = "promoter"

[explainers.occlusion]
units = { type = "windows", size = 50 }
"""
FILES = 'train = "train.csv"\ndev = "dev.csv"\ntest = "test.csv"\n'
OTHERS = STUDY.replace('type = "grammar"\ntrain = 40\ndev = 20\ntest = 20\n', FILES)


@pytest.fixture
def write(tmp_path):
    """Write a study file and load it."""

    def written(text: str, name: str = "small.toml"):
        (tmp_path / name).write_text(text)
        return load_study(tmp_path / name)

    return written


def weights(folder: Path) -> bytes:
    return (folder / "models" / "cnn" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    home = tmp_path_factory.mktemp("owned")
    (home / "small.toml").write_text(STUDY)
    return run_study(load_study(home / "small.toml"), home / "runs" / "small")


def sequences(home: Path, first: str) -> Path:
    """Files of sequences of which each begins otherwise."""
    home.mkdir(exist_ok=True)
    for name, n, last in (("train", 24, "A"), ("dev", 12, "C"), ("test", 8, "G")):
        rows = []
        for i in range(n):
            word = "".join("ACGT"[i >> 2 * k & 3] for k in range(3))
            rows.append(f"{(first + last + word) * 5},{('non-promoter', 'promoter')[i % 2]}\n")
        (home / f"{name}.csv").write_text("sequence,label\n" + "".join(rows))
    return home


def test_a_study_of_another_file_is_refused_in_a_folder_that_is_taken(finished, write):
    before = weights(finished.folder)
    other = write(STUDY.replace("epochs = 1", "epochs = 2"), "other.toml")
    with pytest.raises(ConfigError) as caught:
        run_study(other, finished.folder)
    assert str(caught.value) == (
        f"{finished.folder} holds the study of small.toml, and other.toml is another of the same "
        "name: they differ in [models]; give this one another name in [study] or another folder "
        f"with --out, or delete {finished.folder}."
    )
    assert weights(finished.folder) == before
    assert finished.lock["file"] == "small.toml"
    assert not (finished.folder / FILE).exists()


def test_a_renamed_file_and_the_lock_go_on_with_their_study(finished, write):
    before = weights(finished.folder)
    run_study(write(STUDY, "renamed.toml"), finished.folder)
    assert finished.lock["file"] == "renamed.toml"
    run_study(load_study(finished.folder / "lock.json"), finished.folder)
    assert finished.lock["file"] == "renamed.toml"
    run_study(write(STUDY), finished.folder)
    assert weights(finished.folder) == before


def test_other_sequences_are_refused_and_mended_ones_are_not(write, tmp_path):
    mine, theirs = sequences(tmp_path / "mine", "AC"), sequences(tmp_path / "theirs", "TG")
    study, folder = write(OTHERS), tmp_path / "run"
    run_study(study, folder, mine)
    before = weights(folder)
    with pytest.raises(
        ConfigError, match=r"other data: train\.csv with 44 .* \(44\) share 0; give"
    ):
        run_study(study, folder, theirs)
    with pytest.raises(ConfigError, match=r"of train\.csv, not of the grammar promoter; give"):
        run_study(write(STUDY), folder, mine)
    assert weights(folder) == before
    half = (mine / "train.csv").read_text().splitlines(keepends=True)
    (mine / "train.csv").write_text("".join(half[:13]))
    run_study(study, folder, mine)
    assert len(open_run(folder).records("train")) == 12


class Listening(Silent):
    """Keeps what is worth saying."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_results_of_another_version_are_said_to_be(finished, write, tmp_path):
    folder = Path(shutil.copytree(finished.folder, tmp_path / "older"))
    lock = json.loads((folder / "lock.json").read_text())
    lock["versions"]["basewise"] = "0.0.1"
    (folder / "lock.json").write_text(json.dumps(lock))
    heard = Listening()
    run_study(write(STUDY), folder, watcher=heard)
    assert [note for note in heard.notes if "was made by basewise 0.0.1; what" in note]
    heard = Listening()
    run_study(write(STUDY), folder, watcher=heard)
    assert heard.notes == []


HOLD = """
import sys, time
from pathlib import Path
from basewise.study.owner import owned
with owned(Path(sys.argv[1])):
    print("owns", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that owns the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "owns\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_is_refused_with_the_owner_and_its_age(holder, tmp_path, write):
    who = rf"process {holder.pid} on {socket.gethostname()}, begun \S+ \S+ \(\d seconds ago\)"
    with pytest.raises(StoreError, match=f"is in use by {who}; wait for it, or give another --out"):
        run_study(write(STUDY), tmp_path)
    assert owner_of(tmp_path).startswith(f"in use by process {holder.pid} on ")
    assert sorted(p.name for p in tmp_path.iterdir()) == [FILE, "small.toml"]


def test_what_a_killed_run_left_is_named_and_taken_over(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert re.fullmatch(r"left by process .* ago\): run the study again", owner_of(tmp_path))
    with owned(tmp_path) as left:
        assert left.startswith(f"process {holder.pid} on {socket.gethostname()}, begun ")
        assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()
    assert owner_of(tmp_path) is None


def test_what_was_being_written_when_a_run_was_killed_is_deleted(finished, write):
    """Also where it was killed before it said who it was: then nobody is known to have left."""
    pieces = [
        finished.folder / "data" / ".train.parquet.1.part",
        finished.folder / "attributions" / "cnn" / ".part-00000.parquet.77.part",
    ]
    for piece in pieces:
        piece.write_bytes(b"PAR1")
    run_study(write(STUDY), finished.folder)
    assert not [piece for piece in pieces if piece.exists()]
    assert (finished.folder / "data" / "train.parquet").exists()
    assert list(finished.parts("cnn", "occlusion"))


def test_a_run_of_another_machine_is_believed_until_its_file_is_deleted(tmp_path):
    said = {"pid": 7, "host": "elsewhere", "begin": time.time() - 7500}
    (tmp_path / FILE).write_text(json.dumps(said))
    with (
        pytest.raises(StoreError, match=r"7 on elsewhere.*\(2 hours ago\).*delete .*running\.json"),
        owned(tmp_path),
    ):
        pass
    (tmp_path / FILE).unlink()
    with owned(tmp_path) as left:
        assert left is None


def test_a_run_killed_before_it_said_who_it_was_is_no_hindrance(tmp_path):
    (tmp_path / FILE).touch()
    with owned(tmp_path) as left:
        assert left is None


def test_of_many_that_begin_at_once_one_runs_at_a_time(tmp_path):
    """Eight processes take the folder again and again; none ever meets another inside."""
    code = """
import os, sys, time
from pathlib import Path
from basewise.errors import StoreError
from basewise.study.owner import owned
folder, had = Path(sys.argv[1]), 0
end = time.monotonic() + 3
while time.monotonic() < end:
    try:
        with owned(folder / "run"):
            inside = os.open(folder / "inside", os.O_CREAT | os.O_EXCL)
            os.close(inside)
            os.unlink(folder / "inside")
            had += 1
    except StoreError:
        pass
print(had)
"""
    many = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    had = [int(process.communicate()[0]) for process in many]
    assert all(process.returncode == 0 for process in many)
    assert sum(had) > 20
