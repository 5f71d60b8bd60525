"""Training: it learns, ends the same after a kill, and gives back what it borrowed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from basewise.errors import CapabilityError, ConfigError, DataError, UnknownName
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.models.model import Model
from basewise.tokenize.nucleotide import Nucleotide
from basewise.train.average import Average
from basewise.train.loop import last_whole_checkpoint, stale
from basewise.train.rows import Batches, Rows, rows_of
from basewise.train.training import Training
from basewise.types import Record

SMALL = {"channels": 8, "dilations": [1], "stem_kernel": 5, "hidden": 6, "head_dropout": 0.1}


def tiny(labels: tuple[str, ...] = ("rest", "box"), **settings: object) -> Model:
    """An untrained model, the same one every time."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        config = CnnConfig(**SMALL, num_labels=len(labels), **settings)
        network = CnnForSequenceClassification(config)
    outputs = "values" if config.problem_type == "regression" else "logits"
    return Model(network, Nucleotide(), labels, "tiny", outputs)


def boxes(n: int, seed: int, lengths: tuple[int, ...] = (23, 31)) -> list[Record]:
    """Random sequences, half of them with a TATAAA."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        letters = rng.choice(list("ACGT"), rng.choice(lengths))
        if i % 2:
            at = rng.integers(0, len(letters) - 6)
            letters[at : at + 6] = list("TATAAA")
        found.append(Record(f"s{i}", "".join(letters), "box" if i % 2 else "rest"))
    return found


TRAIN, DEV = boxes(300, 1), boxes(90, 2)
QUICK = Training(
    epochs=4,
    batch_size=30,
    learning_rate=0.03,
    average=0.8,
    hide=0.02,
    crossover=0.1,
    precision="fp32",
)


def same(one: Model, other: Model) -> bool:
    left, right = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(value, right[name]) for name, value in left.items())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return QUICK.train(tiny(), TRAIN, DEV, tmp_path_factory.mktemp("trained"), seed=7)


def test_it_learns_and_tells_how(trained):
    history = trained.history
    assert list(history["epoch"]) == [1, 2, 3, 4]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["dev_mcc"].max() > 0.5
    assert trained.best_epoch == history["epoch"][history["dev_mcc"].argmax()]
    assert history["learning_rate"].iloc[-1] == pytest.approx(0, abs=1e-3)


def test_the_model_given_is_the_one_of_the_best_epoch(trained):
    scores = trained.model.predict(DEV)
    truth = np.array([record.label == "box" for record in DEV])
    right = np.corrcoef(truth, scores[:, 1] > 0.5)[0, 1]  # Matthews' coefficient is a correlation
    assert right == pytest.approx(trained.history["dev_mcc"].max())
    assert trained.model.labels == ("rest", "box")


def test_seeds(trained, tmp_path):
    again = QUICK.train(tiny(), TRAIN, DEV, tmp_path, seed=7)
    other = QUICK.train(tiny(), TRAIN, DEV, tmp_path, seed=8)
    assert same(trained.model, again.model)
    assert not same(trained.model, other.model)


def test_nothing_borrowed_is_kept(tmp_path, capfd):
    model = tiny()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    random.seed(1)
    legacy = np.random.get_state
    torch.manual_seed(3)
    states = random.getstate(), legacy()[1].copy(), torch.get_rng_state()
    environment = dict(os.environ)
    told = []
    bf16 = Training(epochs=1, batch_size=100, precision="bf16")
    found = bf16.train(model, TRAIN, DEV, tmp_path, progress=lambda *said: told.append(said))
    assert states[0] == random.getstate()
    assert (states[1] == legacy()[1]).all()
    assert torch.equal(states[2], torch.get_rng_state())
    assert environment == dict(os.environ)
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items())
    assert not same(model, found.model)
    assert "forward" not in vars(found.model.network)
    assert not found.model.network.training
    assert found.model.network.dtype == torch.float32
    assert [said[:2] for said in told] == [(1, 3), (2, 3), (3, 3)]
    assert capfd.readouterr() == ("", "")
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".bin"]


SCRIPT = """
import sys, time
sys.path.insert(0, sys.argv[2])
from test_training import DEV, QUICK, TRAIN, tiny
def slow(done, total, note):
    print(done, flush=True)
    time.sleep(0.02)
QUICK.train(tiny(), TRAIN, DEV, sys.argv[1], seed=7, progress=slow)
"""


def test_killed_in_the_middle_it_ends_the_same(trained, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) == 15:  # of 40 steps: in the second epoch
                process.send_signal(signal.SIGKILL)
                break
    assert process.wait() == -signal.SIGKILL
    (folder,) = tmp_path.iterdir()
    assert last_whole_checkpoint(folder).name == "checkpoint-10"
    # A checkpoint that was being written is no checkpoint.
    (folder / "checkpoint-20").mkdir()
    (folder / "checkpoint-20" / "trainer_state.json").write_text('{"global_step": 20')
    told = []
    resumed = QUICK.train(
        tiny(), TRAIN, DEV, tmp_path, seed=7, progress=lambda *said: told.append(said[0])
    )
    assert told == list(range(11, 41))
    assert same(resumed.model, trained.model)
    assert resumed.best_epoch == trained.best_epoch
    columns = ["epoch", "dev_loss", "dev_mcc", "learning_rate"]
    assert resumed.history[columns].equals(trained.history[columns])


def test_what_has_ended_is_not_trained_again(tmp_path):
    settings = Training(epochs=50, batch_size=300, learning_rate=1e-7, patience=2)
    told = []
    first = settings.train(tiny(), TRAIN, DEV, tmp_path)
    again = settings.train(tiny(), TRAIN, DEV, tmp_path, progress=lambda *said: told.append(said))
    assert len(first.history) == first.best_epoch + 2 < 50
    assert told == []
    assert same(first.model, again.model)
    assert first.history.equals(again.history)


def test_other_settings_or_data_do_not_continue_it(tmp_path):
    quick = Training(epochs=1, batch_size=300)
    for settings, train, seed in (
        (quick, TRAIN, 0),
        (Training(epochs=1, batch_size=300, clip=0.5), TRAIN, 0),
        (quick, TRAIN[:-1], 0),
        (quick, TRAIN, 1),
    ):
        settings.train(tiny(), train, DEV, tmp_path, seed=seed)
    assert len(list(tmp_path.iterdir())) == 4


def test_the_loss_by_hand():
    class Outputs:
        logits = torch.zeros(5, 2, requires_grad=True)

    rows = Rows(np.zeros((5, 2), int), None, np.array([0, 1, 1, 1, 0]))
    labels = torch.tensor([0, 1, 1, -100, 0])
    names = ("rest", "box")
    plain = Training()._loss(rows, names)
    weighted = Training(class_weights={"box": 3, "rest": 0.5})._loss(rows, names)
    assert plain(Outputs, labels).item() == pytest.approx(np.log(2))
    assert weighted(Outputs, labels).item() == pytest.approx((3 + 3 + 0.5 + 0.5) / 4 * np.log(2))
    # Over several batches of a step the Trainer counts; the part of this one is its share.
    assert plain(Outputs, labels, torch.tensor(16)).item() == pytest.approx(np.log(2) / 4)
    Outputs.logits = torch.tensor([[2.0, 0.0]] * 5, requires_grad=True)
    smooth = Training(label_smoothing=0.2)._loss(rows, names)
    right, wrong = np.log1p(np.exp(-2)), np.log1p(np.exp(2))
    expected = (2 * (0.9 * right + 0.1 * wrong) + 2 * (0.9 * wrong + 0.1 * right)) / 4
    assert smooth(Outputs, labels).item() == pytest.approx(expected)


def test_balanced_weights_are_inverse_frequencies():
    rows = Rows(np.zeros((6, 2), int), None, np.array([0, 0, 0, -100, 2, 2]))
    weights = Training(class_weights="balanced")._weights(rows, ())
    torch.testing.assert_close(weights[[0, 2]], torch.tensor([5 / 9, 5 / 6]))


def test_numbers_are_learned_too(tmp_path):
    records = [
        Record(record.id, record.sequence, float(record.label == "box")) for record in TRAIN + DEV
    ]
    model = tiny(("activity",), problem_type="regression")
    settings = Training(epochs=4, batch_size=30, learning_rate=0.03)
    found = settings.train(model, records[:300], records[300:], tmp_path)
    assert found.history["dev_loss"].min() < 0.2  # 0.25 is the variance
    assert "dev_mcc" not in found.history


def test_labels_on_tokens_are_learned_by_the_same_loop(tmp_path):
    class PerBase(CnnForSequenceClassification):
        """Logits of every base: the loop asks only for logits (..., k)."""

        def __init__(self, config):
            super().__init__(config)
            self.out = torch.nn.Linear(config.channels, config.num_labels)

        def read(self, x, mask):
            found = self.members[0].stem(x)
            return self.out(found), [found]

    torch.manual_seed(0)
    ids = torch.randint(0, 4, (130, 21)).numpy()
    mask = np.arange(21) < np.arange(130)[:, None] % 7 + 15
    labels = np.where(mask, ids == 2, -100).astype(int)
    rows = [Rows(ids[part], mask[part], labels[part]) for part in (slice(90), slice(90, None))]
    network = PerBase(CnnConfig(**SMALL))
    found = Training(epochs=3, batch_size=10, learning_rate=0.05).fit(network, *rows, tmp_path)
    assert found.history["dev_mcc"].max() > 0.99


def test_batches_are_as_wide_as_their_longest_row():
    mask = np.arange(9) < np.array([4, 9, 2, 6])[:, None]
    ids = np.where(mask, 1, 5)
    batches = Batches(Rows(ids, mask, np.array([1, 0, 1, 1])))
    batch = batches.__getitems__([3, 0])
    assert batch["input_ids"].shape == (2, 6)
    assert batch["attention_mask"].sum(1).tolist() == [6, 4]
    assert batch["labels"].tolist() == [1, 1]
    assert batch["input_ids"][1].tolist() == [1, 1, 1, 1, 5, 5]


def test_hidden_tokens():
    mask = np.arange(50) < np.arange(40, 50)[:, None]
    batches = Batches(Rows(np.where(mask, 1, 5), mask, np.zeros(10, int), hidden_id=4), hide=0.25)
    ids = torch.stack([batches.__getitems__(range(10))["input_ids"] for _ in range(20)])
    real = torch.from_numpy(mask[:, :49])
    assert set(ids[:, real].unique().tolist()) == {1, 4}
    assert ids[:, ~real].unique().tolist() == [5]
    assert (ids[:, real] == 4).float().mean() == pytest.approx(0.25, abs=0.02)
    assert ids.float().std(0)[real].min() > 0  # drawn anew, everywhere


def test_crossover():
    # Row i holds its own number everywhere; even rows are one class, odd ones the other.
    lengths = np.array([12, 7, 9, 12, 1, 10])
    mask = np.arange(12) < lengths[:, None]
    ids = np.where(mask, np.arange(6)[:, None], 99)
    batches = Batches(Rows(ids, mask, np.arange(6) % 2), crossover=0.5)
    starts, partners, crossed = set(), set(), 0
    for _ in range(300):
        batch = batches.__getitems__([2, 3])
        assert batch["labels"].tolist() == [0, 1]
        for row, own, held in zip(
            batch["input_ids"], (2, 3), batch["attention_mask"].bool(), strict=True
        ):
            other = int(row[held][-1])
            assert other % 2 == own % 2
            assert held.sum() == lengths[other] or other == own
            changes = (row[held].diff() != 0).nonzero().flatten().tolist()
            assert row[0] == own
            assert len(changes) == (other != own)
            starts |= {change + 1 for change in changes}
            partners.add(other)
            crossed += other != own
    assert partners == {0, 2, 3, 1, 5}  # a record of one base has no place to cut
    assert starts == set(range(1, 10))
    assert crossed / 600 == pytest.approx(0.5 * (1 / 3 + 2 / 3) / 2, abs=0.06)


def test_rows_keep_the_order_of_records():
    records = [Record("a", "ACGTN", "box"), Record("b", "TT", "rest"), Record("c", "GGGAC", "box")]
    rows = rows_of(tiny(), records)
    assert rows.ids.tolist() == [[0, 1, 2, 3, 4], [3, 3, 5, 5, 5], [2, 2, 2, 0, 1]]
    assert rows.mask.sum(1).tolist() == [5, 2, 5]
    assert rows.labels.tolist() == [1, 0, 1]
    assert rows_of(tiny(), records[::2]).mask is None


def test_the_average_is_the_recurrence():
    layer = torch.nn.BatchNorm1d(3)
    average = Average(layer, 0.9)
    expected = torch.ones(3)
    for step in range(1, 40):
        layer.weight.data.fill_(step)
        layer.num_batches_tracked.fill_(step)
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with average.in_place():
        torch.testing.assert_close(layer.weight.data, expected)
    assert layer.weight.data.tolist() == [39] * 3
    average.keep()
    torch.testing.assert_close(layer.weight.data, expected)
    assert layer.num_batches_tracked == 39


def test_stale():
    history = [{"loss": 1.0}, *({"m": m} for m in (0.1, 0.5, 0.5, 0.4))]
    assert stale(history, "m", greater=True) == 2
    assert stale(history, "m", greater=False) == 3
    assert stale([], "m", greater=True) == 0


@pytest.mark.parametrize(
    ("records", "error", "said"),
    [
        ([Record("a", "ACG", None)], DataError, "'a' has the label None; this model learns a cl"),
        ([Record("a", "ACG", 0.5)], DataError, "'a' has the label 0.5; this model learns a class"),
        ([Record("a", "ACG", "Box")], UnknownName, r"named 'Box'\. Did you mean 'box'\?"),
        ([], DataError, "No records to train on"),
    ],
)
def test_bad_records(records, error, said, tmp_path):
    with pytest.raises(error, match=said):
        QUICK.train(tiny(), records, DEV, tmp_path)
    assert not list(tmp_path.iterdir())


def test_bad_settings(tmp_path):
    with pytest.raises(ConfigError, match="epochs = 0: input should be greater than or equal to 1"):
        Training(epochs=0)
    with pytest.raises(UnknownName, match=r"No class to weigh named 'bix'\. Did you mean 'box'\?"):
        Training(class_weights={"bix": 1}).train(tiny(), TRAIN, DEV, tmp_path)
    with pytest.raises(ConfigError, match="class_weights has no weight for rest"):
        Training(class_weights={"box": 1}).train(tiny(), TRAIN, DEV, tmp_path)
    rows = Rows(np.zeros((4, 3), int), None, np.zeros((4, 3), int))
    for settings, said in (
        (Training(hide=0.1), "hide: the model's tokenizer has no token"),
        (Training(crossover=0.1), "crossover: needs one class for each record"),
    ):
        with pytest.raises(CapabilityError, match=said):
            settings.fit(tiny().network, rows, rows, tmp_path)
    function = Model.from_callable(lambda sequences: [0.0] * len(sequences), ["score"])
    with pytest.raises(CapabilityError, match="callable wraps foreign code"):
        QUICK.train(function, TRAIN, DEV, tmp_path)
