"""Workers of one machine share the pages of a model's file: the kernel says so."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.models.mapped import map_weights
from basewise.models.model import Model
from basewise.tokenize.nucleotide import Nucleotide
from basewise.types import Record

HELD = """
import sys
from pathlib import Path
from basewise.explainers import shards
model = shards._loaded(Path(sys.argv[1]), "", "m", "full", "cpu")
sys.stdout.write("there\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of some megabytes."""
    torch.manual_seed(3)
    network = CnnForSequenceClassification(CnnConfig(channels=384, dilations=[1, 2], num_labels=2))
    path = tmp_path_factory.mktemp("mapped") / "model"
    Model(network, Nucleotide(), ("a", "b"), "m").save(path)
    return path


def pages(file: Path, process: str = "self") -> dict[str, int]:
    """Kilobytes of a file that a process holds, as the kernel counts them."""
    found: dict[str, int] = {}
    ours = False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        key, *rest = line.split()
        if not key.endswith(":"):
            ours = line.endswith(str(file))
        elif ours and rest[-1] == "kB":
            found[key[:-1]] = found.get(key[:-1], 0) + int(rest[0])
    return found


def size_of(model: Model) -> int:
    """Bytes of what is saved of a network."""
    return sum(each.nbytes for each in model.network.state_dict().values())


def test_every_weight_is_mapped_and_says_the_same(folder: Path) -> None:
    model = Model.load(folder)
    records = [Record("a", "ACGTTGCA" * 20), Record("b", "GATTACA" * 20)]
    before = model.predict(records)
    assert map_weights(model.network, folder) == size_of(model)
    np.testing.assert_array_equal(model.predict(records), before)


def test_what_is_written_to_a_weight_stays_with_its_process(folder: Path) -> None:
    file = folder / "model.safetensors"
    before = file.read_bytes()
    model = Model.load(folder)
    map_weights(model.network, folder)
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.add_(1.0)
    assert file.read_bytes() == before


def test_weights_that_differ_from_the_file_are_kept(folder: Path) -> None:
    model = Model.load(folder)
    name, weight = next(iter(model.network.named_parameters()))
    with torch.no_grad():
        weight.view(-1)[0] += 1.0
    assert map_weights(model.network, folder) == size_of(model) - weight.nbytes
    assert not torch.equal(weight, Model.load(folder).network.get_parameter(name))


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the kernel does not say")
def test_two_workers_hold_one_copy(folder: Path) -> None:
    file = folder / "model.safetensors"
    size = file.stat().st_size / 1024
    started = [
        subprocess.Popen(
            [sys.executable, "-c", HELD, folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "there\n"
        found = [pages(file, str(process.pid)) for process in started]
    finally:
        for process in started:
            process.communicate()
    for each in found:
        assert each["Rss"] > 0.9 * size
        assert each["Private_Dirty"] == 0
        assert each["Pss"] < 0.6 * size  # half of it each
