"""What a model of bases loses without a track: networks that read it alone, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import basewise as bw
from basewise.errors import ConfigError, UnknownName
from basewise.evaluate.bases import base_metrics, predict_label
from basewise.evaluate.track_reliance import track_reliance, track_values, without_track
from basewise.models.base_cnn import BaseCnn, BaseCnnConfig
from basewise.models.z_forming import z_forming
from basewise.sequence.alphabet import encode
from basewise.tokenize.nucleotide import Nucleotide

LABELS = ("background", "Z-DNA")


def model(track: float, bases: float) -> bw.Model:
    """The log-odds of a base are `track` times the energy and `bases` times whether it is G."""
    sizes = {"channels": 4, "stem_kernel": 1, "dilations": [], "hidden": 2, "num_labels": 2}
    torch.manual_seed(1)
    network = BaseCnn(BaseCnnConfig(tracks=["z_forming"], both_strands=False, **sizes)).eval()
    network.strand = lambda x, mask: (  # the layers are put aside, so the answer is known
        torch.stack([torch.zeros_like(x[..., 0]), track * (x[..., 4] - 2) + bases * x[..., 2]], -1),
        [],
    )
    return bw.Model(network, Nucleotide(), LABELS, "known")


def records() -> list[bw.Record]:
    rng = np.random.default_rng(5)
    found = []
    for i in range(9):
        letters = rng.choice(list("ACGT"), 40 + i)
        if i % 3:
            letters[10:24] = list(("CG" if i % 2 else "CGCA") * 7)[:14]
        truth = (bw.Span(10, 24, "Z-DNA"),) if i % 3 else ()
        found.append(bw.Record(f"r{i}", "".join(letters), truth=truth))
    return found


def test_values_are_those_of_the_layer_for_every_record():
    some = records()
    for record, own in zip(some, track_values(model(1, 0), "z_forming", some), strict=True):
        np.testing.assert_allclose(own, z_forming(encode(record.sequence)[None])[0], atol=1e-5)


def test_a_model_of_nothing_but_the_track_loses_everything():
    some = records()
    values = np.concatenate(track_values(model(1, 0), "z_forming", some))
    truth = predict_label(model(1, 0), some, "Z-DNA")
    found = track_reliance(
        model(3, 0), some, "Z-DNA", "z_forming", 0.8, rng=np.random.default_rng(0)
    )
    level = values.mean()
    assert found["log_odds_without"].value == pytest.approx(3 * (level - 2), abs=1e-4)
    expected = 3 * (values[truth.truth].mean() - level)
    assert found["log_odds_difference"].value == pytest.approx(expected, abs=1e-4)
    assert found["log_odds_difference"].n == 6 * 14
    assert found["f1"].n == sum(len(r.sequence) for r in some)
    own = base_metrics(predict_label(model(3, 0), some, "Z-DNA"), 0.8, rng=np.random.default_rng(1))
    assert found["f1"].value == pytest.approx(own["f1"].value)
    assert found["f1_without"].value == 0
    assert found["f1_difference"].low > 0.5


def test_a_model_that_does_not_read_it_loses_nothing():
    found = track_reliance(
        model(0, 2), records(), "Z-DNA", "z_forming", 0.6, rng=np.random.default_rng(0)
    )
    for name in ("f1_difference", "log_odds_difference"):
        assert found[name][:3] == pytest.approx((0, 0, 0), abs=1e-9)
    assert found["f1"] == found["f1_without"]


def test_the_interval_holds_the_difference_of_records_drawn_in_pairs():
    found = track_reliance(
        model(1, 1), records(), "Z-DNA", "z_forming", 0.5, rng=np.random.default_rng(3)
    )
    apart = found["log_odds"], found["log_odds_without"]
    paired = found["log_odds_difference"]
    assert paired.value == pytest.approx(apart[0].value - apart[1].value)
    assert paired.low <= paired.value <= paired.high
    assert paired.high > paired.low


def test_what_cannot_be_asked():
    some, rng = records(), np.random.default_rng(0)
    with pytest.raises(UnknownName, match="track of known"):
        track_reliance(model(1, 1), some, "Z-DNA", "energy", 0.5, rng=rng)
    with pytest.raises(ConfigError, match="threshold = 2: a number from 0 to 1"):
        track_reliance(model(1, 1), some, "Z-DNA", "z_forming", 2, rng=rng)
    with pytest.raises(UnknownName, match="label of a base"):
        track_reliance(model(1, 1), some[:1], "Z-DNA", "z_forming", 0.5, rng=rng)
    with pytest.raises(UnknownName, match="track of"):
        without_track(model(1, 1), "energy", 0.0)
