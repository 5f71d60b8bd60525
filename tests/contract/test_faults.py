"""What runs survive: real processes, killed, starved and lied to. The long form: `make faults`.

Whatever happens, the finished run has the bytes of one that was left in peace.
"""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from basewise.errors import ShardError
from basewise.explainers import shards
from basewise.models.cnn import CnnForSequenceClassification
from basewise.study import distribute as distributing
from basewise.study import load_study, open_run, run_study
from basewise.study.status import progress_of
from basewise.study.watch import Silent, read_log

DRIVER = Path(__file__).parents[1] / "fault_driver.py"
NODES = DRIVER.with_name("ray_nodes.py")
STUDY = """
[study]
name = "run"
seed = 3
explained = 24

[data]
type = "grammar"
train = 40
dev = 20
test = 40
grammar = { type = "promoter", length = 150, tss = 110 }

[models.cnn]
type = "cnn"
network = { channels = 8, dilations = [1], stem_kernel = 7 }
training = { epochs = 1, batch_size = 32 }

[target]
label = "promoter"

[explainers.shap]
type = "kernel_shap"
units = { type = "windows", size = 20 }
evaluations = 60

[explainers.gradients]
type = "integrated_gradients"
steps = 8
"""
SHARDS = 16


class Home:
    """A folder with a study, and runs of it."""

    def __init__(self, folder: Path):
        self.folder, self.run = folder, folder / "runs" / "run"
        folder.mkdir(exist_ok=True)
        (folder / "study.toml").write_text(STUDY)

    def start(self, *options: str, fault: str = "", mark: object = "") -> subprocess.Popen[str]:
        """The command `basewise run`, begun."""
        given = {"OMP_NUM_THREADS": "1", "FAULT": fault, "MARK": str(mark)}
        command = [
            sys.executable,
            DRIVER,
            "run",
            "study.toml",
            *(options or ("--backend", "local")),
        ]
        return subprocess.Popen(
            command, cwd=self.folder, env=os.environ | given, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def done(self, *options: str, fault: str = "", mark: object = "") -> tuple[int, str]:
        """The command, run to its end: exit code, and what it said."""
        process = self.start(*options, fault=fault, mark=mark)
        _, said = process.communicate(timeout=600)
        return process.returncode, said

    def finish(self, backend: str = "local") -> list[str]:
        """The run, continued in this process; gives what it said."""
        heard: list[str] = []
        watcher = Silent()
        watcher.note = heard.append  # type: ignore[method-assign]
        run_study(load_study(self.folder / "study.toml"), self.run, None, watcher, backend)
        return heard

    def parts(self) -> dict[str, bytes]:
        files = (self.run / "attributions").rglob("part-*.parquet")
        return {str(path.relative_to(self.run)): path.read_bytes() for path in files}

    def wait_for(self, n: int, process: subprocess.Popen[str]) -> None:
        """Wait until so many parts are there."""
        while len(self.parts()) < n:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)

    def events(self, name: str) -> list[dict[str, str]]:
        lines = (self.run / "log.jsonl").read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["event"] == name]

    def begun(self) -> list[dict[str, str]]:
        """One for each process that came as far as to run the study."""
        return [line for line in read_log(self.run / "log.jsonl") if line["event"] == "start"]


@pytest.fixture(scope="module", autouse=True)
def small_shards() -> Iterator[None]:
    """As in the driver."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "MOST", 3)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A run that was left in peace."""
    home = Home(tmp_path_factory.mktemp("undisturbed") / "home")
    home.finish()
    assert len(home.parts()) == SHARDS
    return home


@pytest.fixture
def home(undisturbed: Home, tmp_path: Path) -> Home:
    """A run of the same study that was stopped before anything was explained."""
    found = Home(tmp_path / "home")
    shutil.copytree(undisturbed.run, found.run)
    shutil.rmtree(found.run / "attributions")
    (found.run / "metrics" / "explainers.parquet").unlink()
    (found.run / "log.jsonl").unlink()
    return found


def same(home: Home, undisturbed: Home) -> None:
    """No row is lost and none double: every part and table is the same to the bit."""
    a, b = home.parts(), undisturbed.parts()
    assert a.keys() == b.keys()
    assert [name for name in a if a[name] != b[name]] == []
    for table in (undisturbed.run / "metrics").glob("*.parquet"):
        assert (home.run / "metrics" / table.name).read_bytes() == table.read_bytes()
    left = [p for p in home.run.rglob("*") if p.name.endswith((".part", ".error.json"))]
    assert left == []


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes that explain for a driver."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (path / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == process.pid and b"spawn_main" in command:
            found.append(int(path.name))
    return found


def gone(pids: list[int], seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
            return True
        time.sleep(0.05)
    return False


def test_a_driver_that_is_killed_takes_its_workers_along_and_is_continued(
    home: Home, undisturbed: Home
) -> None:
    process = home.start("--workers", "2", fault="slow", mark=0.2)
    home.wait_for(3, process)
    workers = children(process)
    process.kill()
    process.communicate()
    assert len(workers) == 2
    assert gone(workers)
    before = len(home.parts())
    assert 3 <= before < SHARDS
    home.finish()
    assert len(home.events("part")) in (SHARDS, SHARDS - 1)  # killed before it wrote its line
    same(home, undisturbed)


def test_a_scheduler_that_asks_to_stop_is_obeyed(home: Home, undisturbed: Home) -> None:
    stopped(home, "--backend", "local")
    home.finish()
    same(home, undisturbed)


def stopped(home: Home, *options: str) -> None:
    process = home.start(*options, fault="slow", mark=0.5)
    home.wait_for(2, process)
    workers = children(process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 3
    assert "basewise: stopped; the same command continues." in said
    assert gone(workers)
    assert not (home.run / "running.json").exists()
    assert len(home.parts()) < SHARDS


def stopped_in_time(home: Home, mark: Path, *options: str) -> None:
    """Asked in the middle of a batch that takes minutes."""
    process = home.start(*options, fault="long", mark=mark)
    while not mark.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    workers = children(process)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - asked < 10, said
    assert process.returncode == 3, said
    assert said.count("basewise: stopped; the same command continues.") == 1
    assert gone(workers, 10)
    assert not (home.run / "running.json").exists()
    assert home.parts() == {}


def test_a_batch_of_minutes_is_abandoned_within_ten_seconds(
    home: Home, undisturbed: Home, tmp_path: Path
) -> None:
    stopped_in_time(home, tmp_path / "mark", "--backend", "local")
    home.finish()
    same(home, undisturbed)


@pytest.mark.faults
def test_a_batch_of_minutes_is_abandoned_by_processes_too(
    home: Home, undisturbed: Home, tmp_path: Path
) -> None:
    stopped_in_time(home, tmp_path / "mark", "--workers", "2")
    home.finish()
    same(home, undisturbed)


def once_without_memory() -> Callable[..., Any]:
    """The network, in which memory runs out once."""
    whole, calls = CnnForSequenceClassification.forward, []

    def forward(self: Any, input_ids: Any = None, *args: Any, **given: Any) -> Any:
        calls.append(len(input_ids))
        if len(calls) == 60:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")
        return whole(self, input_ids, *args, **given)

    return forward


def never_enough_memory() -> Callable[..., Any]:
    """The network, in which batches of more than ten rows find no memory."""
    whole = CnnForSequenceClassification.forward

    def forward(self: Any, input_ids: Any = None, *args: Any, **given: Any) -> Any:
        if len(given.get("inputs_embeds", input_ids)) > 10:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")
        return whole(self, input_ids, *args, **given)

    return forward


def test_a_batch_without_memory_is_calculated_again_with_its_shard(
    home: Home, undisturbed: Home, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(CnnForSequenceClassification, "forward", once_without_memory())
    home.finish()
    assert "memory ran out; 3 records are explained again" in caplog.text
    same(home, undisturbed)


def test_where_memory_never_suffices_batches_are_smaller_and_the_same_each_time(
    home: Home, undisturbed: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(CnnForSequenceClassification, "forward", never_enough_memory())
        home.finish()
        first = home.parts()
        shutil.rmtree(home.run / "attributions")
        home.finish()
    assert home.parts() == first
    for explainer in ("shap", "gradients"):
        for a, b in zip(
            open_run(home.run).attributions("cnn", explainer),
            open_run(undisturbed.run).attributions("cnn", explainer),
            strict=True,
        ):
            np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


def test_a_shard_that_always_fails_is_set_aside_and_the_rest_is_done(
    home: Home, undisturbed: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = open_run(home.run).records("explained")[7].id
    whole = shards.Shard.run

    def run(self: shards.Shard) -> bytes:
        if poison in [record.id for record in self.records]:
            raise ValueError("this one cannot be done")
        return whole(self)

    monkeypatch.setattr(distributing, "WAIT", 0.01)
    with monkeypatch.context() as patch, pytest.raises(ShardError) as caught:
        patch.setattr(shards.Shard, "run", run)
        home.finish()
    assert "2 of 16 shards failed and were set aside, the others are done" in str(caught.value)
    assert "ValueError: this one cannot be done" in str(caught.value)
    assert len(home.parts()) == SHARDS - 2
    assert len(home.events("again")) == 2 * 2  # each was tried three times
    [error] = open_run(home.run).errors("cnn", "shap")
    assert poison in error["records"]
    assert "this one cannot be done" in error["trace"]
    assert "cnn by shap: 7 of 8 shards, 1 set aside" in progress_of(open_run(home.run))
    home.finish()
    same(home, undisturbed)


def test_parts_that_are_cut_off_altered_or_unreadable_are_made_again_and_said(
    undisturbed: Home, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(undisturbed.run, home.run)
    cut, altered, lost, empty, *_ = [home.run / name for name in sorted(home.parts())]
    cut.write_bytes(cut.read_bytes()[:-100])
    data = bytearray(altered.read_bytes())
    data[len(data) // 3] ^= 4
    altered.write_bytes(data)
    lost.unlink()
    lost.symlink_to(lost.name)  # to itself: nobody can read it
    empty.write_bytes(b"")
    said = home.finish()
    assert said == [
        f"{cut} is cut off; it is made again.",
        f"{altered} is not what its checksum says; it is made again.",
        f"{lost} is unreadable (Too many levels of symbolic links); it is made again.",
        f"{empty} is empty; it is made again.",
    ]
    assert len(home.events("flawed")) == 4
    same(home, undisturbed)


def test_a_clock_that_goes_backwards_changes_nothing(
    home: Home, undisturbed: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, read = time.time, []

    def back() -> float:
        read.append(None)
        return now() - 3600 * len(read)

    monkeypatch.setattr(time, "time", back)
    home.finish()
    for path in home.run.rglob("part-*"):
        os.utime(path, (2e9, 2e9))  # of the year 2033
    next(iter(home.run.rglob("part-*.parquet"))).unlink()
    home.finish()
    assert read
    same(home, undisturbed)


def test_a_full_disk_ends_the_run_and_room_continues_it(undisturbed: Home, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        home = Home(disk / "home")
        shutil.copytree(undisturbed.run, home.run)
        shutil.rmtree(home.run / "attributions")
        free = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(bytes(free - 100_000))
        with pytest.raises(OSError, match="No space left on device"):
            home.finish()
        assert 0 < len(home.parts()) < SHARDS
        (disk / "filler").unlink()
        home.finish()
        same(home, undisturbed)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.faults
def test_a_fresh_run_in_processes_has_the_same_bytes_from_training_on(
    undisturbed: Home, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    code, said = home.done("--workers", "3")
    assert code == 0, said
    same(home, undisturbed)
    lock, other = (json.loads((h.run / "lock.json").read_text()) for h in (home, undisturbed))
    assert lock == other


@pytest.mark.faults
def test_workers_that_are_killed_are_replaced_and_their_shards_done_again(
    home: Home, undisturbed: Home
) -> None:
    process = home.start("--workers", "2", fault="slow", mark=0.3)
    killed = 0
    while process.poll() is None:
        if len(home.parts()) >= killed * 4 and killed < 3 and (pids := children(process)):
            os.kill(random.choice(pids), signal.SIGKILL)
            killed += 1
        time.sleep(0.05)
    assert process.returncode == 0, process.communicate()
    process.communicate()
    assert killed == 3
    lost = [line["error"] for line in home.events("again")]
    assert lost
    assert all("ended by SIGKILL" in each for each in lost)
    same(home, undisturbed)


@pytest.mark.faults
def test_workers_end_with_a_driver_that_is_asked_to_stop(home: Home, undisturbed: Home) -> None:
    stopped(home, "--workers", "2")
    home.finish()
    same(home, undisturbed)


def phase(home: Home) -> str:
    """What a run is at, by what lies in its folder."""
    if not (home.run / "models" / "cnn").exists():
        return "before explaining"
    return "explaining" if len(home.parts()) < SHARDS else "after explaining"


AGAIN = (["models", "attributions"], [], ["attributions"])


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(2))
def test_fifty_kills_at_random_moments_of_one_study(
    undisturbed: Home, tmp_path: Path, seed: int
) -> None:
    """Of workers and of drivers, in training, explaining and everything after."""
    home, rng, again = Home(tmp_path / "home"), random.Random(seed), itertools.cycle(AGAIN)
    killed: Counter[tuple[str, str]] = Counter()
    ended, slow = 0, 4.0  # seconds from a start to its work on this machine, by the last one
    while True:
        begun, start = len(home.begun()), time.monotonic()
        process = home.start("--workers", "2", fault="slow", mark=0.2)
        if rng.random() < 0.8:  # most come to their work, some are killed before
            while len(home.begun()) == begun and process.poll() is None:
                time.sleep(0.1)
            slow = time.monotonic() - start
        end = time.monotonic() + slow * rng.uniform(0, 4)
        while killed.total() < 50 and time.monotonic() < end and process.poll() is None:
            time.sleep(slow * rng.uniform(0.05, 0.5))
            if (pids := children(process)) and rng.random() < 0.5:
                killed["worker", phase(home)] += 1
                os.kill(rng.choice(pids), signal.SIGKILL)
        if killed.total() < 50 and process.poll() is None:
            workers = children(process)
            killed["driver", phase(home)] += 1
            process.kill()
            process.communicate()
            assert gone(workers)
            continue
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        if killed.total() >= 50:
            break
        ended += 1
        for part in next(again):  # it came to its end before fifty: some of it once more
            shutil.rmtree(home.run / part)
        for table in (home.run / "metrics").glob("*.parquet"):
            table.unlink()
    same(home, undisturbed)
    sys.stdout.write(f"\nseed {seed}: {dict(killed)}; it ended {ended} times between\n")
    assert killed.total() == 50
    assert {("worker", "explaining"), ("driver", "explaining")} <= set(killed)


@pytest.fixture
def cluster() -> Iterator[subprocess.Popen[str]]:
    """A head without slots and two nodes with one each; its address is the first line."""
    pytest.importorskip("ray")
    environment = os.environ | {"RAY_DISABLE_IMPORT_WARNING": "1", "RAY_DEDUP_LOGS": "0"}
    process = subprocess.Popen(
        [sys.executable, NODES], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield process
    process.communicate(timeout=60)


def told(cluster: subprocess.Popen[str], what: str = "") -> str:
    """Tell the cluster something; gives its next line."""
    assert cluster.stdin is not None
    assert cluster.stdout is not None
    if what:
        cluster.stdin.write(f"{what}\n")
        cluster.stdin.flush()
    for line in cluster.stdout:
        if what == line.strip() or (not what and ":" in line):
            return line.strip()
    raise AssertionError("the cluster ended")


@pytest.mark.faults
def test_a_node_that_is_killed_and_one_that_joins_change_nothing(
    cluster: subprocess.Popen[str], home: Home, undisturbed: Home
) -> None:
    address = told(cluster)
    process = home.start("--backend", "ray", "--address", address, fault="slow", mark=1.0)
    home.wait_for(2, process)
    told(cluster, "kill")
    home.wait_for(5, process)
    told(cluster, "add")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert [line for line in home.events("again") if "actor was lost" in line["error"]]
    same(home, undisturbed)


@pytest.mark.faults
def test_a_batch_of_minutes_is_abandoned_on_ray_too(
    cluster: subprocess.Popen[str], home: Home, undisturbed: Home, tmp_path: Path
) -> None:
    stopped_in_time(home, tmp_path / "mark", "--backend", "ray", "--address", told(cluster))
    home.finish()
    same(home, undisturbed)
