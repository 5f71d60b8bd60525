"""What shards cost, what workers bring, how quickly a finished run is recognised.

python benchmarks/scaling.py overhead|resume|workers|ray|records|weights
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

STUDY = """
[study]
name = "run"
explained = {n}
[data]
type = "grammar"
train = 200
dev = 50
test = {n}
[models.cnn]
type = "cnn"
training = {{ epochs = 1 }}
[target]
label = "promoter"
[explainers.{explainer}]
{settings}
"""


BESIDE = ("cut", "pack and seal", "write", "check")


@contextmanager
def timed(times: Counter[str], what: str) -> Iterator[None]:
    """Add seconds, and those of a core, which others' work on the machine does not change much."""
    begin, processor = time.perf_counter(), time.process_time()
    yield
    times[what] += time.perf_counter() - begin
    times[f"{what}, of a core"] += time.process_time() - processor


def overhead(n: int = 2000) -> None:
    """Seconds of cutting, packing, sealing and writing beside those of explaining."""
    import torch

    from basewise.data.grammar import PromoterGrammar
    from basewise.explainers import EXPLAINERS
    from basewise.explainers.parts import flawed_part, part_of, pieces
    from basewise.explainers.shards import cut_once, explain_again
    from basewise.store import attribution_bytes, write_bytes
    from basewise.study.scratch import Cnn

    torch.set_num_threads(1)
    records = PromoterGrammar(length=300, tss=249).make(n, seed=1)
    with TemporaryDirectory() as name:
        folder = Path(name)
        model = Cnn().untrained("cnn", records[:200], folder, 0)
        target = model.target("promoter")
        units = {"type": "windows", "size": 20}
        asked = ({"type": "saliency"}, {"type": "occlusion", "units": units})
        for settings in asked:
            if settings["type"] not in (sys.argv[2:] or ("occlusion", "saliency")):
                continue
            explainer = EXPLAINERS.build(settings)
            times: Counter[str] = Counter()
            place = folder / settings["type"]
            with timed(times, "cut"):
                cuts = cut_once(place, explainer, lambda: model, records, "cpu")
            for i, some in enumerate(pieces(records, cuts)):
                with timed(times, "explain"):
                    found = explain_again(explainer, model, some, target, 0)
                with timed(times, "pack and seal"):
                    data = attribution_bytes(found)
                with timed(times, "write"):
                    write_bytes(part_of(place, i), data)
                with timed(times, "check"):
                    flawed_part(part_of(place, i))
            said = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in times.items())
            shares = []
            for clock in ("", ", of a core"):
                parts = (times[f"{what}{clock}"] for what in BESIDE)
                shares.append(f"{sum(parts) / times[f'explain{clock}']:.2%}{clock}")
            print(f"{settings['type']}, {n:,} records, {len(cuts)} shards: {said}; "
                  f"beside explaining {'; '.join(shares)}", flush=True)  # fmt: skip


def resume(n: int = 6000) -> None:
    """Seconds in which the command finds that a study is finished."""
    with TemporaryDirectory() as name:
        study = STUDY.format(n=n, explainer="saliency", settings="")
        command = _command(Path(name), study)
        for i in range(4):
            begin = time.perf_counter()
            subprocess.run(command, cwd=name, check=True, capture_output=True)
            print(f"run {i}: {time.perf_counter() - begin:.2f} s", flush=True)
        code = "import basewise.study.run"
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        print(f"of which imports: {time.perf_counter() - begin:.2f} s")


def workers(n: int = 80) -> None:
    """Shards with one and with two workers: seconds, and seconds of a core, which others' work on
    the machine does not change much."""
    from basewise.data.grammar import PromoterGrammar
    from basewise.explainers.shards import Shard
    from basewise.study.backends.processes import Processes
    from basewise.study.distribute import distribute
    from basewise.study.scratch import Cnn
    from basewise.types import Target

    records = PromoterGrammar(length=300, tss=249).make(n, seed=1)
    with TemporaryDirectory() as name:
        folder = Path(name)
        Cnn().untrained("cnn", records, folder, 0).save(folder)
        explainer = {
            "type": "kernel_shap", "units": {"type": "windows", "size": 20}, "evaluations": 200
        }  # fmt: skip
        tasks = [
            Shard(folder, folder, "", "cnn", "full", "cpu", explainer, Target("promoter"),
                  tuple(records[i : i + 5]), 0)
            for i in range(0, n, 5)
        ]  # fmt: skip
        seen: list[dict[int, bytes]] = []
        for count in (1, 2, 1, 2):
            before = _of_children()
            with Processes(workers=count).open("cpu") as pool:
                warm = dict(distribute(enumerate(tasks[:count]), pool))  # imports, the model
                begin = time.perf_counter()
                found = dict(distribute(enumerate(tasks[count:], count), pool))
                took = time.perf_counter() - begin
            spent = _of_children() - before
            seen.append(warm | found)
            shard = took / len(found)
            print(
                f"{count} workers: {len(found)} shards in {took:.1f} s, {shard:.2f} s a shard; "
                f"{spent:.1f} s of cores with starting",
                flush=True,
            )
        print(f"the same bytes: {all(each == seen[0] for each in seen)}")


def _of_children() -> float:
    """Seconds of a core that processes took which have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _command(folder: Path, study: str) -> list[str]:
    (folder / "study.toml").write_text(study)
    code = "from basewise.cli import main; main()"
    return [sys.executable, "-c", code, "run", "study.toml", "--backend", "local"]


@dataclass(frozen=True)
class Sleeping:
    """A shard of 500 records whose model sleeps."""

    seconds: float
    size: int

    def run(self) -> bytes:
        time.sleep(self.seconds)
        return bytes(self.size)


def on_ray(
    actors: int = 32, shards: int = 2000, seconds: float = 1.0, size: int = 1_000_000
) -> None:
    """Scheduling cost per shard and memory of the driver, for shards that only sleep."""
    import ray

    from basewise.study.backends.on_ray import OnRay
    from basewise.study.distribute import distribute

    ray.init(
        num_cpus=actors, include_dashboard=False, log_to_driver=False, logging_level="error",
        object_store_memory=500_000_000,
    )  # fmt: skip
    tasks: Iterator = ((i, Sleeping(seconds, size)) for i in range(shards))
    with OnRay(workers=actors).open("cpu") as pool:
        while pool.room() < actors:
            pool.take(1.0)
        print(f"{actors} actors ready, {_memory():.0f} MB", flush=True)
        begin, processor = time.perf_counter(), time.process_time()
        for done, (_, outcome) in enumerate(distribute(tasks, pool), 1):
            assert len(outcome) == size
            if done % (shards // 5) == 0:
                print(f"{done} shards: driver {_memory():.0f} MB", flush=True)
        took, spent = time.perf_counter() - begin, time.process_time() - processor
    ideal = shards * seconds / actors
    print(f"{took:.1f} s for {ideal:.1f} s of sleep on {actors} actors: {ideal / took:.1%} used; "
          f"driver {1e3 * spent / shards:.2f} ms of a core per shard")  # fmt: skip


def records() -> None:
    """Memory of the driver and its time per shard, by how many records a study explains.

    The step that explains is the real one; its shards give their bytes at once.
    """
    for n in (10_000, 100_000, 1_000_000):
        code = f"import scaling; scaling._explained({n})"
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)


def _explained(n: int, size: int = 100_000) -> None:
    import json
    from types import SimpleNamespace

    import numpy as np

    from basewise.explainers.random import Random
    from basewise.study.backends.local import Local
    from basewise.study.steps import explain
    from basewise.study.watch import Log, Silent
    from basewise.types import Record

    before = _memory()
    letters = np.frombuffer(b"ACGT", "S1")[np.random.default_rng(0).integers(0, 4, (n, 300))]
    some = [Record(f"r{i}", row.tobytes().decode(), "promoter") for i, row in enumerate(letters)]
    del letters
    held = _memory()
    with TemporaryDirectory() as name:
        folder = Path(name)
        place = folder / "attributions"
        place.mkdir()
        (place / "shards.json").write_text(json.dumps([[500, 1]] * (n // 500)))
        explain.place_of = lambda *_: place
        explain._shard = lambda *_: Sleeping(0.0, size)
        study = SimpleNamespace(explainers={"random": Random()})
        seen: list[float] = []
        watcher = Silent()
        watcher.at = lambda *_, **__: seen.append(_memory())  # type: ignore[method-assign]
        job = SimpleNamespace(
            models={"m": None}, study=study, folder=folder, lock={"places": {}}, explained=some,
            device="cpu", watcher=watcher, backend=Local(), log=Log(folder / "log.jsonl"),
            save_lock=lambda: None,
        )  # fmt: skip
        begin, processor = time.perf_counter(), time.process_time()
        explain.explain(job)
        took, spent = time.perf_counter() - begin, time.process_time() - processor
    shards, each = n // 500, (held - before) / n * 1e6
    print(f"{n:,} records: {held - before:.0f} MB of records ({each:.0f} bytes each); {shards} "
          f"shards: {seen[1] - held:.0f} MB more at the first, "
          f"{seen[-1] - seen[1]:.0f} MB from the first to the last; "
          f"{1e3 * spent / shards:.2f} ms of a core and "
          f"{1e3 * took / shards:.2f} ms per shard", flush=True)  # fmt: skip


def weights() -> None:
    """Memory of one and of two processes that hold a model, by what they share (Linux)."""
    from basewise.data.grammar import PromoterGrammar
    from basewise.study.scratch import Dnabert2

    published = {
        "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072,
    }  # fmt: skip
    code = (
        "import sys; from pathlib import Path; from basewise.explainers import shards\n"
        "kept = shards._loaded(Path(sys.argv[1]), '', 'm', 'full', 'cpu'); print(); "
        "sys.stdout.flush(); sys.stdin.read()"
    )
    with TemporaryDirectory() as name:
        folder, some = Path(name), PromoterGrammar(length=150, tss=110).make(40, seed=1)
        Dnabert2(network=published).untrained("m", some, folder / "aside", 0).save(folder / "m")
        size = (folder / "m" / "model.safetensors").stat().st_size / 1e6
        for count in (1, 2):
            started = [
                subprocess.Popen(
                    [sys.executable, "-c", code, folder / "m"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                )
                for _ in range(count)
            ]  # fmt: skip
            for process in started:
                assert process.stdout is not None
                process.stdout.readline()
            held = [Path(f"/proc/{p.pid}/smaps_rollup").read_text() for p in started]
            pss = [int(each.split("Pss:")[1].split()[0]) / 1e3 for each in held]
            rss = [int(each.split("Rss:")[1].split()[0]) / 1e3 for each in held]
            print(f"{count} workers, {size:.0f} MB of weights: resident {[round(x) for x in rss]} "
                  f"MB, {sum(pss):.0f} MB together (PSS)", flush=True)  # fmt: skip
            for process in started:
                process.communicate()


def _memory() -> float:
    """MB that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("PYTHONPATH", ":".join(path for path in sys.path if path))
    what = {"overhead": overhead, "resume": resume, "workers": workers, "ray": on_ray}
    (what | {"records": records, "weights": weights})[sys.argv[1]]()
