"""`basewise predict` of a genome: a bigWig and a BED, also after the process was killed."""

import signal
import subprocess
import sys
import time

import numpy as np
import pybigtools
import pytest
import torch

import basewise as bw
from basewise.cli import main
from basewise.models.base_cnn import BaseCnn, BaseCnnConfig
from basewise.models.thresholds import keep_thresholds, threshold_of
from basewise.tokenize.nucleotide import Nucleotide
from basewise.train.training import Training

CODE = "from basewise.cli import main; main()"
SIZES = {"chr1": 90_000, "chr2": 120_000, "chr3": 150_000}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    rng = np.random.default_rng(0)
    with open(folder / "g.fa", "w") as file:
        for name, size in SIZES.items():
            text = "".join(rng.choice(list("ACGT"), size))
            file.write(f">{name}\n{text[:50]}{'N' * 30}{text[80:]}\n")
    torch.manual_seed(1)
    network = BaseCnn(BaseCnnConfig(channels=4, dilations=[1], num_labels=2, hidden=4))
    model = bw.Model(network, Nucleotide(), ("background", "box"), "boxes")
    model.save(folder / "model")
    record = bw.read(folder / "g.fa")[0]
    values = model.predict_bases([record])[0][:, 1]
    keep_thresholds(folder / "model", {"box": float(np.quantile(values, 0.99))})
    return folder


@pytest.fixture
def predict(monkeypatch, capsys):
    """Run the command in this process; its exit code and what it said."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["basewise", "predict", *map(str, arguments)])
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(SystemExit) as stop:
            main()
        signal.signal(signal.SIGINT, before)
        return stop.value.code or 0, " ".join(capsys.readouterr().err.split())

    return run


def test_a_model_saved_again_keeps_its_thresholds_and_one_trained_again_does_not(
    home, tmp_path, predict
):
    model = bw.Model.load(home / "model")
    model.save(tmp_path / "again")
    assert threshold_of(tmp_path / "again", "box") == threshold_of(home / "model", "box")
    bed = ["-o", tmp_path / "a.bw", "--bed", tmp_path / "a.bed"]
    assert predict(home / "g.fa", "--model", tmp_path / "again", *bed)[0] == 0
    (tmp_path / "a.bed").unlink()
    records = [
        bw.Record(f"r{i}", "ACGTTGCA" * 4, "box", truth=(bw.Span(4 + i, 9 + i, "box"),))
        for i in range(4)
    ]
    training = Training(epochs=1, batch_size=4, precision="fp32")
    trained = training.train(model, records, records, tmp_path / "checkpoints").model
    trained.save(tmp_path / "trained")
    code, said = predict(home / "g.fa", "--model", tmp_path / "trained", *bed)
    assert (code, "keeps no threshold for 'box'" in said) == (2, True), said


def test_a_genome_becomes_a_bigwig_and_a_bed_also_after_a_kill(home, tmp_path, predict):
    arguments = [home / "g.fa", "--model", home / "model", "--width", 256, "--overlap", 64]
    code, said = predict(*arguments, "-o", tmp_path / "a.bw", "--bed", tmp_path / "a.bed")
    assert (code, "bases, 0 left" in said) == (0, True), said
    read = pybigtools.open(str(tmp_path / "a.bw"))
    assert read.chroms() == SIZES
    model, threshold = bw.Model.load(home / "model"), threshold_of(home / "model", "box")
    rows = [line.split("\t") for line in (tmp_path / "a.bed").read_text().splitlines()]
    for record in bw.read(home / "g.fa"):
        found = read.values(record.id, 0, SIZES[record.id], fillna=None)
        assert np.isnan(found[50:80]).all()
        expected = model.predict_bases([record])[0][:, 1]
        expected[50:80] = np.nan
        np.testing.assert_allclose(found, expected, atol=1e-6)
        above = np.flatnonzero(np.diff(np.pad(found >= np.float32(threshold), 1).astype(int)))
        stretches = {tuple(pair) for pair in above.reshape(-1, 2).tolist()}
        assert stretches == {(int(r[1]), int(r[2])) for r in rows if r[0] == record.id}
        assert stretches

    parts = tmp_path / "b.bw.parts"
    command = [sys.executable, "-c", CODE, "predict", *map(str, arguments)]
    stopped = subprocess.Popen(
        [*command, "-o", tmp_path / "b.bw", "--bed", tmp_path / "b.bed"], stderr=subprocess.DEVNULL
    )
    while stopped.poll() is None and not list(parts.rglob("*.npy")):
        time.sleep(0.002)
    stopped.send_signal(signal.SIGKILL)
    stopped.wait()
    assert not (tmp_path / "b.bw").exists()
    assert list(parts.rglob("*.npy"))
    code, said = predict(*arguments, "-o", tmp_path / "b.bw", "--bed", tmp_path / "b.bed")
    assert code == 0, said
    assert (tmp_path / "b.bw").read_bytes() == (tmp_path / "a.bw").read_bytes()
    assert (tmp_path / "b.bed").read_bytes() == (tmp_path / "a.bed").read_bytes()
    assert not parts.exists()


@pytest.mark.parametrize(
    "more, said",
    [
        (["-o", "z.csv", "--bed", "z.bed"], "--bed z.bed is of a genome; name the bigWig"),
        (["-o", "z.bw", "--target", "bx"], "No label of this model named 'bx'."),
        (["-o", "z.bw", "--bed", "z.bed", "--threshold", "1.5"], "threshold = 1.5: a number from"),
        (
            ["-o", "z.bw", "--bed", "z.bed", "--target", "background"],
            "keeps no threshold for 'background' (it has box",
        ),
        (["-o", "z.bw", "--width", "8", "--overlap", "8"], "windows would not move on"),
    ],
)
def test_what_is_wrong_is_one_line(home, tmp_path, more, said, monkeypatch, predict):
    monkeypatch.chdir(tmp_path)
    code, line = predict(home / "g.fa", "--model", home / "model", *more)
    assert code == 2
    assert said in line
    assert list(tmp_path.iterdir()) == []
