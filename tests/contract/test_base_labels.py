"""Models that label bases: any tokenizer, any batch, saved and loaded, trained by the same loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForTokenClassification

from basewise.errors import CapabilityError, DataError, UnknownName
from basewise.models.base_cnn import BaseCnn, BaseCnnConfig
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.models.model import Model
from basewise.sequence.alphabet import reverse_complement
from basewise.tokenize import Tokenizer
from basewise.tokenize.bpe import Bpe
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.labelling import IGNORED, Labelling
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.nucleotide_transformer import NucleotideTransformer
from basewise.train.rows import Presence, rows_of
from basewise.train.training import Training
from basewise.types import Record, Span
from tiny_bpe import write_tiny_bpe

LABELS = ("background", "box")
TOKENIZERS = {
    "bases": lambda folder: Nucleotide(),
    "bases and a special token": lambda folder: Nucleotide(layout="hyenadna"),
    "overlapping 3-mers": lambda folder: Kmer(k=3),
    "6-mers": lambda folder: NucleotideTransformer(),
    "byte pairs": lambda folder: Bpe(file=write_tiny_bpe(folder / "t.json", "runs")),
}
CNN = {"channels": 6, "stem_kernel": 5, "kernel": 3, "dilations": [1, 2], "hidden": 5}


def bert(tokenizer: Tokenizer) -> BertForTokenClassification:
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
    return BertForTokenClassification(
        BertConfig(
            vocab_size=tokenizer.vocabulary_size,
            pad_token_id=tokenizer.pad_id,
            intermediate_size=20,
            initializer_range=0.4,
            num_labels=2,
            **sizes,
        )
    )


def cnn(**settings: object) -> Model:
    torch.manual_seed(2)
    network = BaseCnn(BaseCnnConfig(num_labels=2, **CNN | settings)).eval()
    return Model(network, Nucleotide(), LABELS, "cnn")


@pytest.fixture(params=[*TOKENIZERS, "cnn", "cnn of one strand"])
def model(request, tmp_path) -> Model:
    if request.param not in TOKENIZERS:
        return cnn(both_strands=request.param == "cnn")
    tokenizer = TOKENIZERS[request.param](tmp_path)
    torch.manual_seed(2)
    return Model(bert(tokenizer).eval(), tokenizer, LABELS, "bert")


def boxes(n: int, seed: int, lengths: tuple[int, ...] = (24, 31)) -> list[Record]:
    """Random sequences, each third with a labelled TATAAA."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        letters, truth = rng.choice(list("ACGT"), rng.choice(lengths)), ()
        if i % 3 == 0:
            at = int(rng.integers(0, len(letters) - 6))
            letters[at : at + 6] = list("TATAAA")
            truth = (Span(at, at + 6, "box"),)
        found.append(Record(f"s{i}", "".join(letters), truth=truth))
    return found


def test_one_row_of_probabilities_for_every_base(model):
    records = boxes(7, 1)
    found = model.predict_bases(records)
    assert [each.shape for each in found] == [(len(r.sequence), 2) for r in records]
    for each in found:
        np.testing.assert_allclose(each.sum(1), 1)
    assert np.concatenate(found)[:, 1].std() > 1e-3


def test_neighbours_do_not_matter(model):
    records = boxes(5, 2)
    together = replace(model, batch_tokens=10_000).predict_bases(records)
    alone = replace(model, batch_tokens=1).predict_bases(records)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_each_base_has_what_its_tokens_have(model):
    (record,) = boxes(1, 3)
    tokens = model.tokenizer.encode(record.sequence)
    with torch.inference_mode():
        logits = model.network(input_ids=torch.from_numpy(tokens.ids)[None]).logits[0]
    values = logits.double().softmax(1).numpy()
    (found,) = model.predict_bases([record])
    for at, row in enumerate(found):
        over = [i for i, (a, b) in enumerate(tokens.spans) if a <= at < b]
        np.testing.assert_allclose(row, values[over].mean(0), atol=1e-6)


def test_saved_and_loaded_it_labels_the_same(model, tmp_path):
    given = replace(model, labelling=Labelling(rule="first", threshold=0.3, comparison=">="))
    given.save(tmp_path / "saved")
    loaded = Model.load(tmp_path / "saved")
    assert loaded.labelling == given.labelling
    assert loaded.labels == LABELS
    assert loaded.labels_tokens
    records = boxes(3, 4)
    for one, other in zip(given.predict_bases(records), loaded.predict_bases(records), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    other = Labelling(threshold=0.7)
    assert Model.load(tmp_path / "saved", labelling=other).labelling == other


def test_rows_hold_labels_of_tokens(model):
    records = boxes(4, 5)
    rows = rows_of(model, records)
    assert rows.labels.shape == rows.ids.shape
    for record, labels in zip(records, rows.labels, strict=True):
        spans = model.tokenizer.encode(record.sequence).spans
        (truth,) = record.truth or (Span(0, 0, ""),)
        for (start, end), label in zip(spans.tolist(), labels[: len(spans)].tolist(), strict=True):
            inside = max(0, min(end, truth.end) - max(start, truth.start))
            expected = int(inside * 2 > end - start) if end > start else IGNORED
            assert label == expected
        assert (labels[len(spans) :] == IGNORED).all()


def test_it_learns_from_labelled_stretches(tmp_path):
    train, dev = boxes(240, 6), boxes(90, 7)
    settings = Training(
        epochs=6, batch_size=30, learning_rate=0.03, precision="fp32", sampling="presence"
    )
    found = settings.train(cnn(channels=12), train, dev, tmp_path)
    assert found.history["dev_mcc"].max() > 0.8
    for record, each in zip(dev, found.model.predict_bases(dev), strict=True):
        for start, end, _ in record.truth:
            assert each[start + 1 : end - 1, 1].mean() > 0.3


def test_the_other_strand_has_the_same_labels():
    model = cnn()
    records = [Record("a", "ACGTTGCATTAG"), Record("b", "GGATC")]
    turned = [replace(r, sequence=reverse_complement(r.sequence)) for r in records]
    for one, other in zip(model.predict_bases(records), model.predict_bases(turned), strict=True):
        np.testing.assert_allclose(one, other[::-1], atol=1e-6)
    single = cnn(both_strands=False)
    one, other = (single.predict_bases(each)[0] for each in (records, turned))
    assert np.abs(one - other[::-1]).max() > 1e-3


def test_pads_are_not_read_on_either_strand():
    network = cnn().network
    ids = torch.tensor([[0, 1, 2, 3, 3, 1, 2], [2, 0, 1, 1, 5, 5, 5]])
    with torch.inference_mode():
        together, alone = network(input_ids=ids).logits, network(input_ids=ids[1:, :4]).logits
    torch.testing.assert_close(together[1:, :4], alone)


def test_loss_leaves_out_what_is_ignored():
    network = cnn().network
    ids = torch.tensor([[0, 1, 2, 3, 2]])
    labels = torch.tensor([[1, IGNORED, 0, IGNORED, IGNORED]])
    found = network(input_ids=ids, labels=labels)
    chosen = found.logits.log_softmax(-1)[0, [0, 2], [1, 0]]
    torch.testing.assert_close(found.loss, -chosen.mean())


def test_models_of_sequences_have_no_labels_of_bases():
    network = CnnForSequenceClassification(CnnConfig(channels=4, dilations=[1], num_labels=2))
    model = Model(network, Nucleotide(), LABELS, "whole")
    with pytest.raises(CapabilityError, match="whole gives one label for a sequence and none for"):
        model.predict_bases(boxes(1, 0))


@pytest.mark.parametrize(
    ("records", "labels", "error", "said"),
    [
        ([Record("a", "ACGTACGT")], LABELS, DataError, "None of 1 records has a labelled base; gi"),
        (boxes(1, 0), ("background", "Box"), UnknownName, r"named 'box'\. Did you mean 'Box'\?"),
        (boxes(1, 0), ("rest", "box"), UnknownName, "No label for bases in no stretch named 'back"),
    ],
)
def test_records_without_labels_to_learn(records, labels, error, said, tmp_path):
    with pytest.raises(error, match=said):
        Training(epochs=1).train(replace(cnn(), labels=labels), records, records, tmp_path)


# ------------------------------------------------------------------------------ sampling


def test_rows_with_rare_labels_come_as_often():
    # 90 rows of background alone, 9 that hold a 1, and one that holds a 2 (and a 1).
    labels = np.zeros((100, 7), int)
    labels[:10, 3] = 1
    labels[0, 4:6] = [2, IGNORED]
    sampler = Presence(labels, seed=5)
    assert len([*sampler]) == len(sampler) == 100
    many = []
    for epoch in range(300):
        sampler.set_epoch(epoch)
        many += [*sampler]
    counts = np.bincount(many, minlength=100)
    shares = [counts[0], counts[1:10].sum(), counts[10:].sum()] / counts.sum()
    np.testing.assert_allclose(shares, 1 / 3, atol=0.015)
    assert counts[10:].max() < 2 * counts[10:].min()


def test_a_draw_follows_from_seed_and_epoch():
    labels = np.array([0, 1, 0, 0, 1, 0])

    def drawn(seed: int, epoch: int) -> list[int]:
        sampler = Presence(labels, seed)
        sampler.set_epoch(epoch)
        return [*sampler]

    assert drawn(3, 1) == drawn(3, 1)
    assert len({tuple(drawn(seed, epoch)) for seed in (3, 4) for epoch in (0, 1, 2)}) > 4


def test_a_sampled_training_that_stopped_ends_the_same(tmp_path):
    train, dev = boxes(60, 8), boxes(30, 9)
    settings = Training(epochs=3, batch_size=20, sampling="presence", precision="fp32")
    whole = settings.train(cnn(), train, dev, tmp_path / "whole", seed=4)

    def stop(done: int, total: int, note: str) -> None:
        if done == 5:  # of 9: in the second epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        settings.train(cnn(), train, dev, tmp_path / "cut", seed=4, progress=stop)
    resumed = settings.train(cnn(), train, dev, tmp_path / "cut", seed=4)
    weights = whole.model.network.state_dict()
    for name, value in resumed.model.network.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_numbers_cannot_be_sampled_by_presence(tmp_path):
    from basewise.train.rows import Rows

    rows = Rows(np.zeros((4, 3), int), None, np.zeros(4))
    with pytest.raises(CapabilityError, match="sampling = 'presence': needs labels that are"):
        Training(sampling="presence").fit(cnn().network, rows, rows, tmp_path)
