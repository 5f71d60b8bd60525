"""The script for Slurm in docs/scaling.md, run to its end: Slurm is played, Ray is real."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
[SCRIPT] = re.findall(
    r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", (ROOT / "docs" / "scaling.md").read_text(), re.DOTALL
)
STUDY = """
[study]
name = "run"
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
[explainers.gradients]
type = "integrated_gradients"
steps = 8
[explainers.saliency]
"""
# Every node is this machine, with one slot.
SRUN = """#!/bin/bash
echo "srun $*" >> "$PLAYED"
while [[ "$1" == --* ]]; do shift; done
exec "$@" --num-cpus=1 --object-store-memory=80000000
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" >> "$PLAYED"
if [ "$1" = show ]; then printf '%s\\n' $(hostname -I | cut -d' ' -f1) second; fi
"""
BASEWISE = f"""#!/bin/bash
exec {sys.executable} {ROOT / "tests" / "fault_driver.py"} "$@"
"""


def test_the_script_is_one_that_bash_reads(tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text(SCRIPT)
    subprocess.run(["bash", "-n", tmp_path / "job.sh"], check=True)


@pytest.fixture
def allocation() -> Iterator[Path]:
    """A folder with the study and the commands of Slurm; what is left running there is ended."""
    folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))  # Ray's sockets have short names
    (folder / "bin").mkdir()
    ray = Path(sys.executable).with_name("ray")
    commands = {"srun": SRUN, "scontrol": SCONTROL, "basewise": BASEWISE}
    commands["ray"] = f'#!/bin/bash\nexec {ray} "$@"\n'
    for name, text in commands.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    (folder / "study.toml").write_text(STUDY)
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    (folder / "job.sh").write_text(SCRIPT.replace("6379", str(port)))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def started(folder: Path, fault: str) -> subprocess.Popen[bytes]:
    """The script, as Slurm starts it: in a session of its own."""
    given = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PLAYED": str(folder / "played"),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_NNODES": "2",
        "SLURM_JOB_ID": "17",
        "RAY_TMPDIR": str(folder),
        "HOME": str(folder),  # Ray keeps its secret there
        "OMP_NUM_THREADS": "1",
        "FAULT": "slow",
        "MARK": fault,
    }
    return subprocess.Popen(
        ["bash", "job.sh"], cwd=folder, env=os.environ | given, start_new_session=True
    )


def cleared(job: subprocess.Popen[bytes], folder: Path) -> None:
    """End what a job leaves, as Slurm does with its allocation."""
    for _ in range(100):
        left = [
            int(path.name) for path in Path("/proc").glob("[0-9]*") if ours(path, job.pid, folder)
        ]
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGTERM if _ < 50 else signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.2)
    raise AssertionError(f"{left} are still there")


def ours(process: Path, session: int, folder: Path) -> bool:
    try:
        command = (process / "cmdline").read_bytes()
        state = (process / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    same = int(state[3]) == session or str(folder).encode() in command
    return same and state[0] != "Z" and int(process.name) != os.getpid()


@pytest.mark.faults
def test_a_job_that_is_asked_to_stop_is_queued_again_and_its_next_turn_ends_it(
    allocation: Path,
) -> None:
    pytest.importorskip("ray")
    parts = allocation / "runs" / "run" / "attributions"
    job = started(allocation, "2.0")
    try:
        end = time.monotonic() + 240
        while len(list(parts.rglob("part-*.parquet"))) < 2:
            assert job.poll() is None
            assert time.monotonic() < end, (allocation / "played").read_text()
            time.sleep(0.1)
        job.send_signal(signal.SIGTERM)  # of the script alone, as --signal=B:TERM says
        assert job.wait(30) == 3
        played = (allocation / "played").read_text().splitlines()
        assert played[0] == "scontrol show hostnames node[1-2]"
        assert [line.split()[1] for line in played[1:3]] == ["--nodes=1", "--nodes=1"]
        assert "--head" in played[1]
        assert "--exclude=" in played[2]
        assert played[3] == "scontrol requeue 17"
        before = len(list(parts.rglob("part-*.parquet")))
        assert before < 16
    finally:
        cleared(job, allocation)
    job = started(allocation, "0.1")
    try:
        assert job.wait(300) == 0
        assert len((allocation / "played").read_text().splitlines()) == 4 + 3
        assert len(list(parts.rglob("part-*.parquet"))) == 16
        log = (allocation / "runs" / "run" / "log.jsonl").read_text().splitlines()
        events = [json.loads(line)["event"] for line in log]
        assert events.count("part") == 16
        assert events[-1] == "complete"
    finally:
        cleared(job, allocation)
