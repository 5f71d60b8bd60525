"""Tracks that are read from bigWig files: in training, predicting, explaining and annotating."""

from __future__ import annotations

import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pybigtools
import pytest
import torch

import basewise as bw
from basewise.cli import main
from basewise.data.genome import Genome
from basewise.data.signals import read_signal
from basewise.data.windows import Windows, other_strand
from basewise.errors import CapabilityError, ConfigError, DataError
from basewise.evaluate.bases import choose_threshold, predict_label
from basewise.evaluate.track_reliance import track_reliance, track_values
from basewise.models.annotating import annotate
from basewise.models.base_cnn import BaseCnn, BaseCnnConfig
from basewise.models.recurrent import Recurrent, RecurrentConfig
from basewise.models.tracks import FileTrack
from basewise.study.run import run_study
from basewise.study.study import load_study
from basewise.tokenize.nucleotide import Nucleotide
from basewise.train.training import Training
from basewise.types import Interval, Record, Span, Target

SIZES = {"chr1": 6_000, "chr2": 900}
WIDTH = 50


def write(path: Path, entries: list[tuple[str, int, int, float]], sizes: Any = None) -> None:
    pybigtools.open(str(path), "w").write(sizes or SIZES, iter(entries))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A genome without any signal in its bases, peaks of a track, and labels where they are."""
    folder: Path = tmp_path_factory.mktemp("tracks")
    rng = np.random.default_rng(8)
    with open(folder / "g.fa", "w") as file:
        for name, size in SIZES.items():
            file.write(f">{name}\n{''.join(rng.choice(list('ACGT'), size))}\n")
    starts = {name: range(17, size - 20, 83) for name, size in SIZES.items()}
    peaks = [(name, a, a + 9) for name, own in starts.items() for a in own]
    write(folder / "peaks.bw", [(*peak, 5.0) for peak in peaks])
    (folder / "boxes.bed").write_text("".join(f"{c}\t{a}\t{b}\n" for c, a, b in peaks))
    return folder


def windows(home: Path) -> list[Record]:
    return Windows(width=WIDTH, negatives="all").cut(home / "g.fa", {"box": home / "boxes.bed"})


def network(home: Path, **more: Any) -> BaseCnn:
    track = {"file": str(home / "peaks.bw"), "name": "peaks", "scale": 5.0} | more
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"channels": 6, "dilations": [1], "hidden": 6, "stem_kernel": 3}
    return BaseCnn(BaseCnnConfig(tracks=["z_forming", track], num_labels=2, dropout=0, **sizes))


@pytest.fixture(scope="module")
def model(home: Path, tmp_path_factory: pytest.TempPathFactory) -> bw.Model:
    """Trained on chromosome 1, where only the track says which bases are labelled."""
    records = [r for r in windows(home) if r.locus is not None and r.locus.chrom == "chr1"]
    fresh = bw.Model(network(home), Nucleotide(), ("background", "box"), "with peaks")
    training = Training(epochs=6, batch_size=10, learning_rate=0.02, precision="fp32")
    folder = tmp_path_factory.mktemp("checkpoints")
    return training.train(fresh, records, records[:40], folder, seed=1).model


def test_numbers_stand_where_the_file_has_them(tmp_path: Path) -> None:
    write(tmp_path / "a.bw", [("chr1", 5, 8, 2.0), ("chr1", 9, 10, 4.0), ("chr2", 899, 900, 7.0)])
    places = [
        Interval("chr1", 4, 11),
        Interval("chr1", 4, 11, "-"),
        Interval("chr2", 898, 900),
        Interval("chr1", 5, 5),
    ]
    found = read_signal(tmp_path / "a.bw", places)
    nan = np.nan
    np.testing.assert_array_equal(found[0], [nan, 2, 2, 2, nan, 4, nan])
    np.testing.assert_array_equal(found[1], found[0][::-1])
    np.testing.assert_array_equal(found[2], [nan, 7])
    assert not len(found[3])
    track = FileTrack(file=str(tmp_path / "a.bw"), missing=-1.0, scale=2.0)
    (read,) = track.read([Record("r", "ACGTACG", locus=places[0])])
    np.testing.assert_array_equal(read, [-0.5, 1, 1, 1, -0.5, 2, -0.5])


def test_gaps_are_told_of_many_records_and_not_of_each(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = windows(home)[:6]
    track = FileTrack(file=str(home / "peaks.bw"))
    caplog.clear()  # of what the windows said, where an earlier test lets it through
    with caplog.at_level("INFO", logger="basewise"):
        for record in records:
            track.read([record])
        assert not caplog.messages
        track.read(records)
    assert ["has no number for" in said for said in caplog.messages] == [True]


def test_a_model_whose_label_depends_on_the_track_learns_it(home: Path, model: bw.Model) -> None:
    records = windows(home)
    unseen = [r for r in records if r.locus is not None and r.locus.chrom == "chr2"]
    threshold = choose_threshold(predict_label(model, records[:40], "box"))
    rng = np.random.default_rng(0)
    found = track_reliance(model, unseen, "box", "peaks", threshold, rng=rng, resamples=20)
    assert found["f1"].value > 0.95
    assert found["f1_without"].value < 0.5
    for values, record in zip(track_values(model, "peaks", unseen), unseen, strict=True):
        inside = {i for span in record.truth for i in range(span.start, span.end)}
        assert {i for i, value in enumerate(values) if value == 1} == inside


def test_both_strands_give_the_same(home: Path, model: bw.Model) -> None:
    records = windows(home)[:7]
    turned = model.predict_bases([other_strand(record) for record in records])
    for one, other in zip(model.predict_bases(records), turned, strict=True):
        np.testing.assert_allclose(one, other[::-1], atol=1e-5)


def test_padding_and_neighbours_change_nothing(home: Path, model: bw.Model) -> None:
    genome = Genome(home / "g.fa")
    places = [Interval("chr1", 90, 140), Interval("chr1", 100, 131), Interval("chr2", 10, 30)]
    records = [Record(str(p), genome.fetch(p), "box", p, (Span(2, 5, "box"),)) for p in places]
    together = model.predict_bases(records)
    for record, found in zip(records, together, strict=True):
        np.testing.assert_allclose(model.predict_bases([record])[0], found, atol=1e-6)
    rows = Training(epochs=1, batch_size=3, precision="fp32")
    for cls, config in ((BaseCnn, BaseCnnConfig), (Recurrent, RecurrentConfig)):
        tracks = [{"file": str(home / "peaks.bw")}]
        fresh = bw.Model(cls(config(tracks=tracks, num_labels=2)), Nucleotide(), model.labels)
        trained = rows.train(fresh, records, records, home / "mixed", seed=0).model
        assert [len(found) for found in trained.predict_bases(records)] == [50, 31, 20]


@pytest.mark.parametrize(
    "explainer",
    [
        {"type": "integrated_gradients", "steps": 6, "reference": "uniform"},
        {"type": "occlusion", "units": {"type": "windows", "size": 5}, "masking": "shuffled"},
        {"type": "kernel_shap", "units": {"type": "windows", "size": 10}, "masking": "n"},
        {"type": "mutagenesis"},
        {"type": "input_x_gradient"},
        {"type": "lime", "units": {"type": "windows", "size": 10}, "masking": "n", "samples": 40},
    ],
)
def test_explanations_keep_the_track_where_it_is(
    home: Path, model: bw.Model, explainer: Any
) -> None:
    some = [record for record in windows(home) if record.truth][:3]
    found = bw.explain(model, some, explainer, Target("box", where="labelled"))
    for attribution in found:
        assert attribution.target.where is not None
        start, end = attribution.target.region
        (record,) = [r for r in some if r.id == attribution.record_id]
        p = model.at(record).predict_bases([record])[0][start:end, 1]
        assert attribution.output == pytest.approx(np.log(p / (1 - p)).mean(), abs=1e-3)
        # The track says so still where all bases are gone.
        assert attribution.output > 1
        if not np.isnan(attribution.baseline):
            assert attribution.baseline > 1


def test_what_moves_bases_from_their_places_is_refused(home: Path, model: bw.Model) -> None:
    some = [record for record in windows(home) if record.truth][:1]
    with pytest.raises(CapabilityError, match="moves its bases from the places that tracks are"):
        bw.explain(model, some, "occlusion", "box", masking="deletion")


def test_saved_and_loaded_it_names_the_file(home: Path, model: bw.Model, tmp_path: Path) -> None:
    shutil.copy(home / "peaks.bw", tmp_path / "peaks.bw")
    network_: Any = network(tmp_path)
    network_.load_state_dict(model.network.state_dict())
    replace(model, network=network_).save(tmp_path / "model")
    assert not list((tmp_path / "model").glob("*.bw"))
    again, records = bw.Model.load(tmp_path / "model"), windows(home)[:4]
    for one, other in zip(model.predict_bases(records), again.predict_bases(records), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    (tmp_path / "peaks.bw").unlink()
    with pytest.raises(DataError, match=r"The track 'peaks': .*peaks.bw cannot be read: No such"):
        again.predict_bases(records)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Record("r", "ACGT"), "The track 'peaks': record 'r' has no place in a genome; give data"),
        (Record("r", "ACGT", locus=Interval("chr1", 0, 5)), "is of chr1:0-5.*, but has 4 bases"),
        (Record("r", "ACGT", locus=Interval("1", 0, 4)), "says 'chr1' where the sequences say '1'"),
        (Record("r", "ACGT", locus=Interval("chrX", 0, 4)), "no chromosome 'chrX'; it has chr1, c"),
        (Record("r", "ACGT", locus=Interval("chr2", 898, 902)), "outside chr2, which has 900 ba"),
    ],
)
def test_places_that_the_file_does_not_have(model: bw.Model, record: Record, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        model.predict_bases([record])
    assert "\n" not in str(caught.value)


def test_settings_of_tracks_that_are_refused(home: Path, tmp_path: Path) -> None:
    twice = [{"file": "a.bw"}, {"file": "b.bw"}]
    with pytest.raises(ConfigError, match="tracks: two are called 'track'; give each its own"):
        BaseCnn(BaseCnnConfig(tracks=twice))
    with pytest.raises(ConfigError, match="name = 'z_forming' is that of a computed track"):
        FileTrack(file="a.bw", name="z_forming")
    with pytest.raises(ConfigError, match="scale"):
        FileTrack(file="a.bw", scale=0)
    (tmp_path / "no.bw").write_text("chr1 0 5 2.0\n")
    with pytest.raises(DataError, match=r"no.bw is no bigWig"):
        read_signal(tmp_path / "no.bw", [Interval("chr1", 0, 2)])
    torch.manual_seed(0)
    placeless: Any = network(home)
    with pytest.raises(CapabilityError, match="reads peaks at places of a genome"):
        placeless(torch.zeros(1, 5, dtype=torch.long))


def test_a_genome_is_annotated_with_the_track(
    home: Path,
    model: bw.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replace(model, thresholds={"box": 0.5}).save(tmp_path / "model")

    def predict(genome: Path) -> tuple[int, str]:
        files = ["-o", str(tmp_path / "z.bw"), "--bed", str(tmp_path / "z.bed")]
        command = ["predict", str(genome), "--model", str(tmp_path / "model"), *files]
        monkeypatch.setattr(sys, "argv", ["basewise", *command, "--width", "300"])
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(SystemExit) as stop:
            main()
        signal.signal(signal.SIGINT, before)
        return int(stop.value.code or 0), " ".join(capsys.readouterr().err.split())

    assert predict(home / "g.fa")[0] == 0
    called, boxes = (
        {tuple(line.split("\t")[:3]) for line in path.read_text().splitlines()}
        for path in (tmp_path / "z.bed", home / "boxes.bed")
    )
    assert len(called & boxes) > 0.9 * len(boxes)
    text = (home / "g.fa").read_text()
    (tmp_path / "other.fa").write_text(text.replace(">chr", ">"))
    code, said = predict(tmp_path / "other.fa")
    assert (code, "says 'chr1' where the sequences say '1'" in said) == (2, True), said
    with pytest.raises(DataError, match="The track 'peaks'"):
        next(annotate(model, Genome(tmp_path / "other.fa"), "box", tmp_path / "parts"))


STUDY = """
[study]
name = "peaks"
seed = 1
explained = 4

[data]
type = "labelled_genome"
genome = ["g.fa"]
labels = { box = "boxes.bed" }
windows = { width = 50, negatives = "all" }
by = "cluster"
shares = { train = 0.6, dev = 0.2, test = 0.2 }

[models.base_recurrent]
network = { units = 8, layers = 1, hidden = 8, tracks = [{ file = "peaks.bw", scale = 5.0 }] }
training = { epochs = 8, batch_size = 10, learning_rate = 0.03, precision = "fp32" }

[target]
label = "box"
where = "labelled"

[explainers.occlusion]
units = { type = "windows", size = 10 }
"""


def test_a_study_reads_tracks_from_its_data_folder(home: Path, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    run = run_study(load_study(tmp_path / "study.toml"), tmp_path / "run", home)
    table = run.bases("bases").set_index(["model", "split", "at", "metric"])["value"]
    assert table["base_recurrent", "test", "windows", "f1"] > 0.9
    assert len(run.attributions("base_recurrent", "occlusion")) == 4
    (tmp_path / "study.toml").write_text(STUDY.replace("peaks.bw", "none.bw"))
    with pytest.raises(DataError, match=r"none.bw cannot be read: No such file") as caught:
        run_study(load_study(tmp_path / "study.toml"), tmp_path / "other", home)
    assert "\n" not in str(caught.value)
