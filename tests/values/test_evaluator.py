"""The packed evaluator: what is switched, how rows are packed, and what happens without memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForTokenClassification

import basewise as bw
from basewise.errors import CapabilityError, ConfigError, DataError
from basewise.explainers import EXPLAINERS, MASKINGS, UNITS
from basewise.models.batch import join
from basewise.models.batch_size import BatchSize
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.models.evaluator import Evaluator, _fitting, _Piece, few_shapes
from basewise.models.reading import ALLOWED, as_target, probabilities, read
from basewise.models.switchboards import BaseSwitch, TokenSwitch
from basewise.sequence.alphabet import N, encode
from basewise.tokenize.bpe import Bpe
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.nucleotide import Nucleotide
from explained_models import bpe_bert, kmer_bert, tiny_cnn
from tiny_bpe import write_tiny_bpe

# ------------------------------------------------------------------------------ switchboards


def test_a_base_hides_every_kmer_that_covers_it() -> None:
    """ACGTAC in 3-mers: ACG CGT GTA TAC; base 2 is in the first three."""
    tokenizer = Kmer(k=3)
    model = kmer_bert()
    record = bw.Record("r", "ACGTAC")
    tokens = tokenizer.encode(record.sequence)
    units = UNITS.build("bases").spans(record, tokens)
    board = MASKINGS.build("mask").switchboard(record, tokens, units, model, None)
    rows, lengths = board.rows(~np.eye(6, dtype=bool), model)
    mask = tokenizer.special["mask"]
    hidden = ["".join("x" if i == mask else "." for i in row) for row in rows.numpy()]
    assert hidden == [".x....", ".xx...", ".xxx..", "..xxx.", "...xx.", "....x."]
    assert lengths is None
    assert rows[:, [0, -1]].unique(dim=0).tolist() == [[2, 3]]  # [CLS] and [SEP] stay


def test_switching_tokens_is_switching_bases_where_both_are_possible() -> None:
    """An unknown base makes every k-mer that covers it unknown; bases are tokens of themselves."""
    rng = np.random.default_rng(2)
    sequence = "ACGTTGCATTAGCCA"
    units = np.array([[0, 2], [9, 10], [4, 9], [13, 15]])
    present = rng.random((23, 4)) < 0.5
    codes = encode(sequence)
    for model in (kmer_bert(), tiny_cnn()):
        tokens = model.tokenizer.encode(sequence)
        off = rng.integers(0, 4, (3, len(codes))).astype(np.uint8)
        if model.tokenizer.tokens_are_bases:
            off_ids = model.tokenizer.encode_codes(off).ids
        else:
            off = np.full((1, len(codes)), N, np.uint8)
            off_ids = np.full((1, len(tokens)), model.tokenizer.unknown_id)
        by_token = TokenSwitch(tokens.ids, off_ids, tokens.spans, units)
        by_base = BaseSwitch(codes, off, units, len(tokens))
        assert by_token.n_units == by_base.n_units == 4
        assert by_token.draws == by_base.draws == len(off)
        assert torch.equal(by_token.rows(present, model)[0], by_base.rows(present, model)[0])


@pytest.mark.parametrize("highest", [4, 32_767, 32_768, 2_000_000])
def test_ids_of_any_size_are_switched(highest: int) -> None:
    on, off = np.array([highest, 3, highest]), np.array([[0, highest, 1], [highest, 2, 0]])
    spans = np.array([[0, 1], [1, 2], [2, 3]])
    present = np.array([[1, 0, 1], [0, 1, 0]], bool)
    rows, _ = TokenSwitch(on, off, spans, spans).rows(present, tiny_cnn())
    assert join([(rows, None)], 0).ids.dtype == torch.long  # as embeddings take them
    expected = np.where(present[:, None], on, off).reshape(4, 3)
    np.testing.assert_array_equal(rows, expected)


def test_bytepairs_are_tokenised_again_and_said_to_be_of_other_length(tmp_path: Path) -> None:
    model = bpe_bert(tmp_path)
    sequence = "TTAAATGCATTAAA"
    record, tokens = bw.Record("r", sequence), model.tokenizer.encode(sequence)
    assert len(tokens) == 5  # [CLS] TTAAA TGCA TTAAA [SEP]
    off = encode("C" * 14)[None]
    board = BaseSwitch(encode(sequence), off, np.array([[0, 5], [5, 14]]), len(tokens))
    rows, lengths = board.rows(np.array([[1, 1], [1, 0], [0, 1]], bool), model)
    assert lengths is not None
    assert lengths.tolist() == [5, 1 + 1 + 9 + 1, 1 + 5 + 2 + 1]
    expected = [sequence, "TTAAA" + "C" * 9, "C" * 5 + "TGCATTAAA"]
    for row, n, text in zip(rows, lengths.tolist(), expected, strict=True):
        np.testing.assert_array_equal(row[:n], model.tokenizer.encode(text).ids)
    by_token = UNITS.build("tokens").spans(record, tokens)
    np.testing.assert_array_equal(by_token, [[0, 5], [5, 9], [9, 14]])


def test_special_maskings_show_their_token(tmp_path: Path) -> None:
    model = bpe_bert(tmp_path)
    record = bw.Record("r", "TTAAATGCATTAAA")
    tokens = model.tokenizer.encode(record.sequence)
    for masking, role in (("mask", "mask"), ("pad", "pad"), ("unknown", "unknown")):
        units = UNITS.build("tokens").spans(record, tokens)
        board = MASKINGS.build(masking).switchboard(record, tokens, units, model, None)
        rows, lengths = board.rows(np.array([[True, False, True]]), model)
        shown = tokens.ids.copy()
        shown[2] = model.tokenizer.special[role]
        np.testing.assert_array_equal(rows, shown[None])
        assert lengths is None  # a padding token shown in place is attended to


# ------------------------------------------------------------------------------ packing


def test_joined_rows_are_padded_right_under_a_mask() -> None:
    wide = (torch.arange(12).view(2, 6), None)
    ragged = (torch.arange(8).view(2, 4), torch.tensor([3, 4]))
    batch = join([ragged, wide], pad_id=99)
    assert batch.ids.tolist()[:2] == [[0, 1, 2, 3, 99, 99], [4, 5, 6, 7, 99, 99]]
    assert batch.mask is not None
    assert batch.mask.sum(1).tolist() == [3, 4, 6, 6]
    assert join([wide, wide], pad_id=99).mask is None


def test_padding_makes_few_shapes_where_the_network_takes_them() -> None:
    wide = (torch.arange(260).view(2, 130), None)
    ragged = (torch.arange(8).view(2, 4), torch.tensor([3, 3]))
    for longest, width in ((None, 136), (136, 136), (131, 131), (10, 130)):
        batch = join([ragged, wide], pad_id=99, longest=longest)
        assert batch.ids.shape == (4, width)
        assert (batch.ids[2:, 130:] == 99).all()
        assert batch.mask is not None
        assert batch.mask.sum(1).tolist() == [3, 3, 130, 130]
    narrow = [(torch.arange(88).view(2, 44), None), (torch.arange(90).view(2, 45), None)]
    assert join(narrow, pad_id=99, longest=None).ids.shape == (
        4,
        45,
    )  # too dear there
    alike = join([ragged], pad_id=99, longest=None)
    assert alike.ids.tolist() == [[0, 1, 2], [4, 5, 6]]
    assert alike.mask is None
    for stepped, shape in ((False, (2, 130)), (True, (2, 136))):  # rows of one width
        batch = join([wide], pad_id=99, longest=None, stepped=stepped)
        assert batch.ids.shape == shape
        assert (batch.mask is not None) == stepped
        assert batch.mask is None or batch.mask.sum(1).tolist() == [130, 130]
    assert join([wide], pad_id=99, longest=130, stepped=True).mask is None


def test_rows_of_near_widths_become_one_width_where_that_makes_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values are those of each sequence alone, and no row is longer than the network takes."""
    for positions, widths in ((0, {136, 144}), (141, {136, 141})):  # the narrowest joins others
        torch.manual_seed(5)
        config = CnnConfig(channels=6, dilations=[1, 3], positions=positions, num_labels=2)
        network = CnnForSequenceClassification(config).eval()
        model = bw.Model(network, Nucleotide(), ("no", "yes"), batch_tokens=700)
        seen: set[int] = set()

        def watched(rows: Any, mask: Any, read: Any = network.read, seen: Any = seen) -> Any:
            seen.add(rows.shape[1])
            return read(rows, mask)

        monkeypatch.setattr(network, "read", watched)
        evaluate = Evaluator(model, model.target("yes"))
        asked = []
        for record in rows_of((130, 41, 137, 131, 141)):
            tokens = model.tokenizer.encode(record.sequence)
            units = UNITS.build({"type": "windows", "size": 30}).spans(record, tokens)
            board = MASKINGS.build("n").switchboard(record, tokens, units, model, None)
            asked.append((board, np.tri(4, len(units), dtype=bool)))
        together = evaluate(asked)
        assert seen == widths
        seen.clear()
        for each, values in zip(asked, together, strict=True):
            np.testing.assert_allclose(evaluate([each])[0], values, atol=2e-6)
        assert seen == {130, 41, 137, 131, 141}


def test_batches_that_are_cut_have_few_numbers_of_rows() -> None:
    few = [few_shapes(n) for n in range(1, 70)]
    assert sorted(set(few)) == [*range(1, 9), *range(10, 17, 2), *range(20, 33, 4), 40, 48, 56, 64]
    assert all(small <= n < 1.25 * small for n, small in enumerate(few, 1))


def rows_of(lengths: tuple[int, ...], seed: int = 3) -> list[bw.Record]:
    rng = np.random.default_rng(seed)
    return [bw.Record(str(i), "".join(rng.choice(list("ACGT"), n))) for i, n in enumerate(lengths)]


def test_every_row_is_evaluated_once_whatever_the_batch() -> None:
    seen: list[str] = []

    def gc(sequences: list[str]) -> list[float]:
        seen.extend(sequences)
        return [s.count("G") + s.count("C") for s in sequences]

    model = bw.Model.from_callable(gc, ["score"])
    for tokens in (1, 30, None):
        seen.clear()
        sized = replace(model, batch_tokens=tokens)
        found = bw.explain(sized, rows_of((9, 5, 7)), "occlusion", "score")
        assert len(seen) == sum(a.evaluations for a in found) == (9 + 5 + 7) + 3 * 2
        for a in found:
            np.testing.assert_allclose(a.scores, [c in "GC" for c in a.sequence])


def test_a_foreign_module_sees_one_length_a_call() -> None:
    widths: list[int] = []

    class Watching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            widths.append(x.shape[2])
            return x[:, 0].sum(1)

    model = bw.Model.from_module(Watching(), ["score"], outputs="values")
    bw.explain(model, rows_of((9, 5, 7, 5)), "occlusion", "score")
    assert set(widths) == {5, 7, 9}


# ------------------------------------------------------------------------------ memory


class Small(nn.Module):
    """A model that has no memory for more than so many rows at once."""

    def __init__(self, most: int, error: Exception):
        super().__init__()
        self.most, self.error = most, error
        self.asked: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        if len(x) > self.most:
            raise self.error
        return x[:, 1].sum(1)


NEEDED = {"marginalisation": {"motif": "C"}}
NAMES = [name for name in EXPLAINERS.names() if not name.startswith("attention")]
ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 8000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "numpy": MemoryError("Unable to allocate 8.00 GiB for an array"),
}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", NAMES)
def test_without_memory_batches_are_halved_and_nothing_is_lost(name: str, error: str) -> None:
    module = Small(3, ERRORS[error])
    model = bw.Model.from_module(module, ["score"])
    plenty = bw.Model.from_module(Small(10**9, ERRORS[error]), ["score"])
    some = rows_of((9,) * 6 + (7,) * 6)
    tight = replace(model, batch_tokens=200)
    for a, b in zip(
        bw.explain(tight, some, name, "score", seed=1, **NEEDED.get(name, {})),
        bw.explain(plenty, some, name, "score", seed=1, **NEEDED.get(name, {})),
        strict=True,
    ):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)
        assert a.evaluations == b.evaluations
    failed = [n for n in module.asked if n > 3]
    assert 0 < len(failed) < 6  # halved for good, not tried again and again


@pytest.mark.parametrize("name", NAMES)
def test_no_memory_for_a_single_row_is_said(name: str) -> None:
    model = bw.Model.from_module(Small(0, ERRORS["cpu"]), ["score"])
    with pytest.raises(CapabilityError, match=r"Memory ran out on the .* of (9|18) tokens"):
        bw.explain(model, rows_of((9,)), name, "score", **NEEDED.get(name, {}))


def test_other_errors_of_a_model_are_its_own() -> None:
    model = bw.Model.from_module(Small(0, RuntimeError("shapes differ")), ["score"])
    with pytest.raises(RuntimeError, match="shapes differ"):
        bw.explain(model, rows_of((9,)), "occlusion", "score")


def test_prediction_halves_too() -> None:
    module = Small(3, ERRORS["cuda"])
    model = bw.Model.from_module(module, ["score"], outputs="values")
    some = rows_of((6,) * 10)
    found = model.predict(some)[:, 0]
    np.testing.assert_allclose(found, [r.sequence.count("C") for r in some])


def test_the_batch_size_settles_on_the_best_rate() -> None:
    size = BatchSize()
    tried = []
    while not size._settled:
        tried.append(size.tokens)
        size.learn(size.tokens, 1, size.tokens * (1 + abs(np.log2(size.tokens / 4096))))
    assert size.tokens == 4096
    assert tried == sorted(tried)
    assert max(tried) == 4 * 4096
    # the first of each is of a new shape; what seems slower is looked at four times more
    assert len(tried) == 2 * 4 + 2 * (1 + 4)
    size.learn(1 << 20, 1, 1e-6)
    assert size.tokens == 4096
    assert BatchSize(100).rows(30) == 3
    assert BatchSize(100).rows(101) == 1


def test_rows_of_other_widths_join_only_batches_that_are_too_small() -> None:
    assert BatchSize(100).enough == 50  # nothing is known: half
    size = BatchSize()
    rates = {512: 512, 1024: 1120, 2048: 1130, 4096: 1190}  # hardly faster from 1,024 tokens on
    while not size._settled:
        size.learn(size.tokens, 1, size.tokens / rates.get(size.tokens, 1200))
    assert size.tokens == 4096
    assert size.enough == 1024
    queue = [_Piece(i, 0, 4) for i in range(3)]
    rows = {enough: _fitting(queue, (10, 11, 12), 200, enough) for enough in (0, 40, 41, 100)}
    assert rows == {0: 4, 40: 4, 41: 8, 100: 12}
    assert _fitting(queue, (12, 12, 12), 200, 0) == 12  # of one width
    assert _fitting(queue, (12, 12, 12), 135, 0) == 10  # what is cut has few shapes
    assert _fitting(queue, (12, 12, 12), 11, 0) == 1


def test_sizes_are_compared_by_shapes_of_one_kind() -> None:
    """Larger batches are faster, but those of new shapes take five times as long."""
    size, width = BatchSize(largest=1 << 12), 1
    for slower in (5, 1):  # of the smallest size one shape comes again, of the others none
        size.learn(size.tokens, width, slower * (1000 + size.tokens))
    tried = []
    while not size._settled:
        width += 1
        tried.append(size.tokens)
        size.learn(-(-size.tokens // width), width, 5 * (1000 + size.tokens))
    assert size.tokens == 1 << 12
    assert tried == sorted(4 * [1024, 2048, 4096])


def test_the_batch_size_grows_no_further_than_it_may() -> None:
    size = BatchSize(largest=3000)
    for _ in range(20):
        size.learn(size.tokens, 1, 1.0)  # twice the tokens in the same time
    assert size.tokens == 2048


def test_the_batch_size_grows_while_batches_take_no_time() -> None:
    size = BatchSize(largest=3000)
    while not size._settled:
        size.learn(size.tokens, 1, size.tokens * 1e-7)  # none is faster than another
    assert size.tokens == 1 << 16  # the first that takes QUICK seconds


def test_what_was_learnt_about_a_model_is_kept_for_it() -> None:
    model = tiny_cnn()
    assert model.batch_size() is replace(model, name="other").batch_size()
    assert model.batch_size() is not model.batch_size("backward")
    assert model.batch_size() is not tiny_cnn().batch_size()
    fixed = replace(model, batch_tokens=77)
    assert fixed.batch_size().tokens == 77
    assert model.batch_size().largest == 1 << 13  # on a processor


def test_a_batch_that_was_too_small_to_tell_teaches_nothing() -> None:
    size = BatchSize()
    for _ in range(5):
        size.learn(size.tokens // 2 - 1, 1, 1.0)
    assert size.tokens == BatchSize.SMALLEST


DRAWN = {
    "bases": {"masking": {"type": "sampled", "draws": 7}},
    "motifs and their rest": {
        "masking": {"type": "sampled", "draws": 7},
        "units": {"type": "motifs", "patterns": ["T"], "rest": "one"},
    },
    "shuffles": {"masking": {"type": "shuffled", "draws": 11}, "units": {"type": "windows"}},
}


@pytest.mark.parametrize("most", [1, 3, 5, 100])
@pytest.mark.parametrize("how", DRAWN)
def test_the_draws_of_a_coalition_need_not_fit_a_batch(how: str, most: int) -> None:
    """No batch has more rows than it may, and scores and their errors are the same."""
    module, plenty = Small(most, ERRORS["cpu"]), Small(10**9, ERRORS["cpu"])
    some = [bw.Record("a", "TTACGTACC"), bw.Record("b", "ACGTTACGT")]
    sized = replace(bw.Model.from_module(module, ["score"]), batch_tokens=9 * most)
    found = bw.explain(sized, some, "leverage_shap", "score", **DRAWN[how])
    all_at_once = bw.Model.from_module(plenty, ["score"])
    for a, b in zip(
        found, bw.explain(all_at_once, some, "leverage_shap", "score", **DRAWN[how]), strict=True
    ):
        assert a.evaluations == b.evaluations
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)
        np.testing.assert_allclose(a.standard_error, b.standard_error, atol=1e-6)
        assert a.extras == pytest.approx(b.extras)
    assert max(module.asked) <= most
    assert sum(module.asked) == sum(a.evaluations for a in found)


def test_batches_are_halved_below_the_draws_of_one_coalition() -> None:
    module = Small(2, ERRORS["cuda"])
    model = replace(bw.Model.from_module(module, ["score"]), batch_tokens=10_000)
    masking = {"type": "sampled", "draws": 16}
    (a,) = bw.explain(model, rows_of((9,)), "occlusion", "score", masking=masking)
    plenty = bw.Model.from_module(Small(10**9, ERRORS["cuda"]), ["score"])
    (b,) = bw.explain(plenty, rows_of((9,)), "occlusion", "score", masking=masking)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)
    assert a.evaluations == sum(n for n in module.asked if n <= 2) == 16 * 11
    assert sum(n > 2 for n in module.asked) < 9


@pytest.mark.parametrize("masking", ["sampled", "shuffled"])
def test_a_region_is_read_from_some_draws_too(masking: str, tmp_path: Path) -> None:
    """Byte pairs: every draw has other tokens, so the region has other places in each."""
    model = bpe_labeller(tmp_path)
    target = bw.Target("b", where=(3, 9))
    given = {"masking": {"type": masking, "draws": 5}, "units": {"type": "windows", "size": 4}}
    sizes = []
    for tokens in (1, 60, 10_000):
        sized = replace(model, batch_tokens=tokens)
        (a,) = bw.explain(sized, [bw.Record("r", "TTAAATGCATTAAA")], "occlusion", target, **given)
        sizes.append(a)
    for a in sizes[1:]:
        np.testing.assert_allclose(a.scores, sizes[0].scores, atol=1e-5)
    assert np.abs(sizes[0].scores).max() > 1e-2


def bpe_labeller(folder: Path) -> bw.Model:
    """A tiny transformer that labels the bases of byte pairs."""
    tokenizer = Bpe(file=write_tiny_bpe(folder / "tokenizer.json", "plain"))
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=3,
        intermediate_size=16,
        initializer_range=0.5,
        pad_token_id=tokenizer.pad_id,
        num_labels=2,
    )
    return bw.Model(BertForTokenClassification(config).eval(), tokenizer, ("a", "b"))


# ------------------------------------------------------------------------------ reading


def test_the_number_that_is_read() -> None:
    raw = torch.tensor([[1.0, -0.5, 2.0], [0.3, 0.2, -4.0]])
    p = raw.double().softmax(1)
    expected = {
        "logit": raw[:, 1].double(),
        "probability": p[:, 1],
        "log_odds": torch.log(p[:, 1] / (1 - p[:, 1])),
        "margin": torch.tensor([-2.5, -0.1], dtype=torch.double),
        "top": torch.tensor([0.0, 0.0], dtype=torch.double),
    }
    for how in ALLOWED["logits"]:
        torch.testing.assert_close(read(raw, 1, how, "logits"), expected[how], atol=1e-7, rtol=1e-6)
    for how in ALLOWED["probabilities"]:
        torch.testing.assert_close(
            read(p, 1, how, "probabilities"), expected[how], atol=1e-7, rtol=1e-6
        )


def test_the_top_label() -> None:
    raw = torch.tensor([[1.0, -0.5, 2.0], [0.3, 0.2, -4.0]])
    for outputs in ("logits", "probabilities"):
        assert [read(raw, i, "top", outputs).tolist() for i in range(3)] == [[0, 1], [0, 0], [1, 0]]
    single = torch.tensor([[0.2], [-0.1], [0.7], [float("nan")]])
    assert read(single, 0, "top", "logits").tolist()[:3] == [1, 0, 1]
    assert read(single, 0, "top", "probabilities").tolist()[:3] == [0, 0, 1]
    assert read(single, 0, "top", "logits")[3].isnan()


def test_a_label_that_is_top_or_not_has_no_gradient() -> None:
    with pytest.raises(CapabilityError, match=r"The top of a is 0 or 1 and has no gradient; read"):
        bw.explain(tiny_cnn(), rows_of((9,)), "saliency", bw.Target("a", "top"))


def test_a_single_logit_is_the_log_odds_of_its_label() -> None:
    raw = torch.tensor([[1.5], [-3.0]])
    for how in ("log_odds", "logit", "margin"):
        assert read(raw, 0, how, "logits").tolist() == [1.5, -3.0]
    sigmoid = 1 / (1 + np.exp([-1.5, 3.0]))
    np.testing.assert_allclose(read(raw, 0, "probability", "logits"), sigmoid)
    np.testing.assert_allclose(probabilities(raw, "logits")[:, 0], sigmoid, rtol=1e-6)


def test_certain_probabilities_have_finite_log_odds() -> None:
    raw = torch.tensor([[1.0, 0.0]])
    assert read(raw, 0, "log_odds", "probabilities").item() == pytest.approx(27.63, abs=0.01)
    assert read(raw, 1, "log_odds", "probabilities").item() == pytest.approx(-27.63, abs=0.01)


def test_a_target_is_no_number() -> None:
    with pytest.raises(ConfigError, match="target = 0: name the label to explain, one of a, b"):
        as_target(0, ("a", "b"), "logits")  # type: ignore[arg-type]


def test_a_letter_that_is_none_is_named_with_its_record() -> None:
    records = [bw.Record("one", "ACGT"), bw.Record("two", "ACXT")]
    with pytest.raises(DataError, match="Record 'two': letter 'X' at base 2 is not one of ACGTN"):
        tiny_cnn().predict(records)


def test_a_target_that_the_outputs_do_not_give_is_refused() -> None:
    model = bw.Model.from_callable(lambda s: [0.0] * len(s), ["score"])
    with pytest.raises(CapabilityError, match=r"gives values, .* as 'log_odds'; read is .* value"):
        bw.explain(model, rows_of((5,)), "occlusion", bw.Target("score", "log_odds"))


# ------------------------------------------------------------------------------ foreign code


def test_a_function_sees_letters_without_padding() -> None:
    seen: list[str] = []

    def keep(sequences: list[str]) -> list[float]:
        seen.extend(sequences)
        return [0.0] * len(sequences)

    model = bw.Model.from_callable(keep, ["score"])
    evaluator = Evaluator(model, model.target("score"))
    boards = []
    for sequence in ("ACGTN", "GA"):
        tokens = Nucleotide().encode(sequence)
        off = Nucleotide().encode_codes(np.full((1, len(sequence)), N, np.uint8)).ids
        boards.append(TokenSwitch(tokens.ids, off, tokens.spans, tokens.spans))
    evaluator([(boards[0], np.eye(5, dtype=bool)[:1]), (boards[1], np.eye(2, dtype=bool))])
    assert sorted(seen) == ["ANNNN", "GN", "NA"]


def test_a_function_that_returns_another_shape_is_refused() -> None:
    model = bw.Model.from_callable(lambda s: np.zeros((len(s), 2)), ["score"])
    with pytest.raises(DataError, match=r"returned shape \(\d+, 2\) for .* one column per label"):
        bw.explain(model, rows_of((5,)), "occlusion", "score")


def test_a_module_in_double_precision_is_read_in_double_precision() -> None:
    seen: list[Any] = []

    class Exact(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((4, 1), 1e-9, dtype=torch.double))

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.dtype)
            return 1 + (x * self.weight).sum((1, 2))

    model = bw.Model.from_module(Exact(), ["score"])
    for name in ("occlusion", "integrated_gradients"):
        settings: dict[str, Any] = {} if name == "occlusion" else {"reference": "zero"}
        (a,) = bw.explain(model, rows_of((5,)), name, "score", **settings)
        np.testing.assert_allclose(a.scores, 0 if name == "occlusion" else 1e-9, atol=1e-15)
    assert set(seen) == {torch.double}


def test_names_of_outputs_are_told_apart() -> None:
    with pytest.raises(ConfigError, match="labels: 'a' stands there more than once; an output is"):
        bw.Model.from_callable(lambda seqs: np.zeros((len(seqs), 3)), ["a", "b", "a"])


@pytest.mark.parametrize("value", [-0.25, 1.5])
def test_what_is_no_probability_is_not_read_as_one(value: float) -> None:
    model = bw.Model.from_callable(
        lambda seqs: [value] * len(seqs), ["a"], outputs="probabilities", name="mine"
    )
    said = rf"mine gave {value:g} where outputs='probabilities' promises numbers from 0 to 1; say"
    with pytest.raises(DataError, match=said):
        model.predict([bw.Record("r", "ACGT")])
    with pytest.raises(DataError, match=said):
        bw.explain(model, [bw.Record("r", "ACGT")], "occlusion", "a")
