"""The promoter study, small, on Ray: its driver killed, a worker killed, a machine lost and another
joined; then its bytes beside those of the same study left in peace in one process.

python benchmarks/surviving.py --data data/gue --limit 60
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
RECORDS = 5  # in a shard, so that there are some
ROWS = {"train": 4000, "dev": 500, "test": 500}
STUDY = """
[study]
name = "promoters"
seed = 7
explained = {limit}
[data]
type = "files"
train = "train.csv"
dev = "dev.csv"
test = "test.csv"
labels = {{ "0" = "non-promoter", "1" = "promoter" }}
tss = 33
[models.cnn]
type = "cnn"
network = {network}
training = {{ epochs = 2, batch_size = 256, learning_rate = 2e-3 }}
[target]
label = "promoter"
[explainers.occlusion]
units = "bases"
masking = "n"
[explainers.kernel_shap]
units = "bases"
masking = "n"
evaluations = 512
[explainers.integrated_gradients]
reference = {{ type = "shuffled", draws = 5 }}
[biology]
panel = "core_promoter"
"""


def surviving(data: Path, limit: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_study(folder, data, limit)
        peace = folder / "peace" / "promoters"
        begin = time.perf_counter()
        _run(folder, "peace", "--backend", "local").wait()
        parts = len(_parts(peace))
        print(f"left in peace: {parts} shards, {time.perf_counter() - begin:.0f} s", flush=True)
        _disturbed(folder, parts)
        _compare(peace, folder / "disturbed" / "promoters")


def _write_study(folder: Path, data: Path, limit: int) -> None:
    """The study of `studies/gue_promoters.toml` on some rows of its files, with fewer epochs."""
    published = tomllib.loads((ROOT / "studies" / "gue_promoters.toml").read_text("utf-8"))
    network = published["models"]["cnn"]["network"]
    said = ", ".join(f"{key} = {value}" for key, value in network.items())
    study = STUDY.format(limit=limit, network=f"{{ {said} }}")
    (folder / "study.toml").write_text(study)
    for split, n in ROWS.items():
        with open(data / published["data"][split], encoding="utf-8") as file:
            (folder / f"{split}.csv").write_text("".join(islice(file, n + 1)))


def _run(folder: Path, out: str, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "run", "study.toml", "--data", ".", "--out", out, *options]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _disturbed(folder: Path, parts: int) -> None:
    """The same study on a cluster of two machines, and what happens to it."""
    run = folder / "disturbed" / "promoters"
    cluster = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "ray_nodes.py"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert cluster.stdin is not None
    assert cluster.stdout is not None
    address = cluster.stdout.readline().strip()
    ray = ("--backend", "ray", "--address", address)

    def tell(what: str) -> None:
        assert cluster.stdin is not None
        cluster.stdin.write(f"{what}\n")
        cluster.stdin.flush()

    process = _run(folder, "disturbed", *ray)
    _until(run, parts // 5, process)
    process.kill()
    process.wait()
    print(f"kill -9 of the driver: {len(_parts(run))} shards are there", flush=True)
    process = _run(folder, "disturbed", *ray)
    happens: list[tuple[str, Callable[[], None]]] = [
        ("kill -9 of a worker", _kill_worker),
        ("a raylet is killed", lambda: tell("kill")),
        ("a raylet joins", lambda: tell("add")),
    ]
    for i, (what, happen) in enumerate(happens, 2):
        _until(run, i * parts // 5, process)
        happen()
        print(f"{what}: {len(_parts(run))} shards are there", flush=True)
    print(f"the command ends with {process.wait()}", flush=True)
    log = (run / "log.jsonl").read_text()
    starts, parts, again = (log.count(f'"event": "{each}"') for each in ("start", "part", "again"))
    print(f"begun {starts} times, {parts} parts written, {again} shards given again", flush=True)
    cluster.communicate()


def _until(run: Path, n: int, process: subprocess.Popen[bytes]) -> None:
    while len(_parts(run)) < n:
        assert process.poll() is None, "the run ended"
        time.sleep(0.05)


def _kill_worker() -> None:
    """One of the actors that explain."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::_Actor" in (path / "cmdline").read_bytes():
                os.kill(int(path.name), signal.SIGKILL)
                return
        except OSError:
            continue
    raise ProcessLookupError("no actor is at work")


def _parts(run: Path) -> list[Path]:
    return sorted((run / "attributions").rglob("part-*.parquet"))


def _compare(a: Path, b: Path) -> None:
    """Every table and part file of two runs, and the weights."""
    kinds = {
        "part files": "attributions/**/*.parquet", "tables": "[mbr]*/*.parquet",
        "weights": "models/*/*.safetensors",
    }  # fmt: skip
    for what, pattern in kinds.items():
        names = {path.relative_to(a) for path in a.glob(pattern)}
        others = {path.relative_to(b) for path in b.glob(pattern)}
        same = {
            name for name in names & others if (a / name).read_bytes() == (b / name).read_bytes()
        }
        other = ", ".join(sorted(map(str, (names | others) - same)))
        print(f"{what}: {len(names)} and {len(others)}, {len(same)} the same to the byte"
              f"{f', not {other}' if other else ''}", flush=True)  # fmt: skip


def _drive() -> None:
    """The command line in small shards."""
    from basewise.cli import main
    from basewise.explainers import shards

    shards.MOST = RECORDS
    main()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("PYTHONPATH", ":".join(path for path in sys.path if path))
    if sys.argv[1] == "run":
        _drive()
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--data", type=Path, required=True)
        parser.add_argument("--limit", type=int, default=60)
        given = parser.parse_args()
        surviving(given.data, given.limit)
