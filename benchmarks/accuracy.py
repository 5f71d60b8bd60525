"""How near Shapley values come to the truth for how many evaluations, beside other libraries.

    python benchmarks/accuracy.py --data DIR [--models cnn esm cnn_lstm] [--sequences 20]

DIR is the folder of the published GUE files. Three small networks are trained on promoters (and
kept in --cache): a CNN on 70 bases (units: bases, absent: N), an ESM on 300 bases (units: 6-mer
tokens, absent: mask), a CNN-LSTM on 300 bases (units: windows of 5, absent: N). Every method
explains the log-odds of the same sequences through the same game, with the budget as its own
setting; the distinct coalitions it asked for are counted. The error is |found - reference| /
|reference|, Euclidean; the reference is the mean of two runs with other seeds and 16,384
evaluations each, whose distance says how sure it is. Given are medians over sequences with 95 %
bootstrap intervals, and each method's error over the best peer's, sequence by sequence. What was
computed for a sequence is kept in --cache, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import EsmConfig, EsmForSequenceClassification

import basewise as bw
from basewise.explainers import EXPLAINERS, MASKINGS, UNITS
from basewise.explainers.game import keys_of, play_one
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.models.cnn_lstm import CnnLstmConfig, CnnLstmForSequenceClassification
from basewise.models.evaluator import Evaluator
from basewise.stats import bootstrap
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.nucleotide_transformer import NucleotideTransformer
from basewise.train.training import Training
from basewise.types import Floats

LABELS = ("non-promoter", "promoter")
BUDGETS = (256, 512, 1024, 2048)
Value = Callable[[Any], Floats]


# ------------------------------------------------------------------------------ models


def cnn() -> Any:
    config = CnnConfig(channels=32, positions=70, reduced=8, num_labels=2)
    return CnnForSequenceClassification(config), Nucleotide()


def esm() -> Any:
    tokens = NucleotideTransformer()
    config = EsmConfig(
        vocab_size=tokens.vocabulary_size,
        pad_token_id=tokens.pad_id,
        mask_token_id=tokens.mask_id,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=128,
        position_embedding_type="rotary",
        token_dropout=False,
        num_labels=2,
    )
    return EsmForSequenceClassification(config), tokens


def cnn_lstm() -> Any:
    config = CnnLstmConfig(
        filters=[48, 64], kernels=[12, 5], strides=[1, 1], pools=[5, 2], lstm_units=32, num_labels=2
    )
    return CnnLstmForSequenceClassification(config), Nucleotide()


# network, folder of the data, training files, epochs, units, masking
MODELS: dict[str, tuple[Callable[[], Any], str, tuple[str, ...], int, Any, str]] = {
    "cnn": (cnn, "prom_core_all", ("prom_core_all/train",), 2, "bases", "n"),
    "esm": (esm, "prom_300_all", ("prom_300_all/dev", "prom_300_tata/train"), 2, "tokens", "mask"),
    "cnn_lstm": (
        cnn_lstm,
        "prom_300_all",
        ("prom_300_all/dev", "prom_300_tata/train"),
        3,
        {"type": "windows", "size": 5},
        "n",
    ),
}


def records(file: Path) -> list[bw.Record]:
    table = pd.read_csv(file)
    table = table[~table.sequence.str.contains("[^ACGT]")]
    return [
        bw.Record(str(i), sequence, label=LABELS[label])
        for i, sequence, label in zip(table.index, table.sequence, table.label, strict=True)
    ]


def model_of(name: str, data: Path, cache: Path) -> bw.Model:
    folder = cache / name
    if not folder.exists():
        make, test, train, epochs, _, _ = MODELS[name]
        torch.manual_seed(0)
        network, tokenizer = make()
        rows = [record for file in train for record in records(data / "prom" / f"{file}.csv")]
        dev = records(data / "prom" / test / "dev.csv")[:1000]
        training = Training(epochs=epochs, batch_size=128, learning_rate=2e-3, precision="fp32")
        with tempfile.TemporaryDirectory() as checkpoints:
            model = bw.Model(network, tokenizer, LABELS, name)
            training.train(model, rows, dev, checkpoints).model.save(folder)
    return bw.Model.load(folder)


def games(name: str, data: Path, cache: Path, n: int) -> Iterable[tuple[Value, int]]:
    """The value of coalitions (n, u) and the number of units, of every sequence."""
    model = model_of(name, data, cache)
    _, folder, _, _, units, masking = MODELS[name]
    every = records(data / "prom" / folder / "test.csv")
    evaluator = Evaluator(model, model.target("promoter"))
    for i in np.random.default_rng(1).choice(len(every), n, replace=False):
        tokens = model.tokenizer.encode(every[i].sequence)
        spans = UNITS.build(units).spans(every[i], tokens)
        rng = np.random.default_rng(0)
        board = MASKINGS.build(masking).switchboard(every[i], tokens, spans, model, rng)
        yield partial(value_of, evaluator, board), board.n_units


def value_of(evaluator: Evaluator, board: Any, present: Any) -> Floats:
    return evaluator([(board, np.asarray(present) > 0.5)])[0]


# ------------------------------------------------------------------------------ methods


def ours(name: str, settings: dict[str, Any], value: Value, u: int, n: int, seed: int) -> Floats:
    explainer = EXPLAINERS.build({"type": name, "evaluations": n} | settings)
    rng = np.random.default_rng(seed)
    return play_one(value, u, lambda game: explainer.estimate(game, rng))[1].scores


def imported_shap() -> Any:
    import numba

    numba.config.DISABLE_JIT = True
    import shap

    return shap


def shap_kernel(value: Value, u: int, n: int, seed: int) -> Floats:
    explainer = imported_shap().KernelExplainer(value, np.zeros((1, u)))
    np.random.seed(seed)  # noqa: NPY002 - shap draws from it
    return explainer.shap_values(np.ones((1, u)), nsamples=n, l1_reg=False, silent=True)[0]


def shap_permutation(value: Value, u: int, n: int, seed: int) -> Floats:
    shap = imported_shap()
    masker = shap.maskers.Independent(np.zeros((1, u)))
    explainer = shap.PermutationExplainer(value, masker, seed=seed)
    return explainer(np.ones((1, u)), max_evals=max(n, 2 * u + 1), silent=True).values[0]


def captum(kind: str, value: Value, u: int, n: int, seed: int) -> Floats:
    from captum import attr

    def forward(present: Any) -> Any:
        return torch.from_numpy(value(present.numpy()))

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - captum draws from it
    method = getattr(attr, kind)(forward)
    walks = kind == "ShapleyValueSampling"  # each of whose samples is an order, of u coalitions
    found = method.attribute(
        torch.ones(1, u), n_samples=max(n // u, 1) if walks else n, perturbations_per_eval=64
    )
    return np.asarray(found[0].detach(), float)


def shapiq(kind: str, value: Value, u: int, n: int, seed: int) -> Floats:
    from shapiq import approximator

    empty = value(np.zeros((1, u)))[0]
    settings = {"index": "SV", "max_order": 1} if kind == "KernelSHAPIQ" else {}
    method = getattr(approximator, kind)(n=u, random_state=seed, **settings)
    found = method.approximate(n, lambda present: value(np.atleast_2d(present)) - empty)
    return np.array([found[(i,)] for i in range(u)])


Method = Callable[[Value, int, int, int], Floats]
OURS: dict[str, Method] = {
    "leverage_shap, adjusted": partial(ours, "leverage_shap", {"adjusted": True}),
    "leverage_shap": partial(ours, "leverage_shap", {}),
}
PEERS: dict[str, Method] = {
    "shap Kernel, no selection": shap_kernel,
    "shap Permutation": shap_permutation,
    "captum KernelShap": partial(captum, "KernelShap"),
    "captum ShapleyValueSampling": partial(captum, "ShapleyValueSampling"),
    "shapiq KernelSHAP": partial(shapiq, "KernelSHAP"),
    "shapiq permutation": partial(shapiq, "PermutationSamplingSV"),
}


# ------------------------------------------------------------------------------ the comparison


class Counted:
    """A game that counts the distinct coalitions it was asked for, both ends aside."""

    def __init__(self, value: Value):
        self.value, self.seen = value, set[Any]()

    def __call__(self, present: Any) -> Floats:
        self.seen.update(keys_of(np.asarray(present) > 0.5))
        return self.value(present)


def compared(value: Value, u: int) -> dict[str, Any]:
    """Errors of all methods at all budgets for one sequence."""
    two = [ours("leverage_shap", {"adjusted": True}, value, u, 16384, 900 + i) for i in range(2)]
    truth = (two[0] + two[1]) / 2
    size = np.linalg.norm(truth)
    found: dict[str, Any] = {"reference": np.linalg.norm(two[0] - two[1]) / 2 / size}
    for name, method in (OURS | PEERS).items():
        for budget in BUDGETS:
            counted = Counted(value)
            scores = method(counted, u, budget, 7)
            error = np.linalg.norm(scores - truth) / size
            found[f"{name}|{budget}"] = [float(error), len(counted.seen)]
    return found


def table(found: list[dict[str, Any]]) -> None:
    """Medians with intervals; then ratios to the peer that is best at the budget."""
    rng = np.random.default_rng(0)
    reference = np.median([each["reference"] for each in found])
    print(f"{len(found)} sequences; the reference is known to {reference:.4f} (median)")
    best = {}
    for name in [*PEERS, *OURS]:
        cells = []
        for n in BUDGETS:
            errors = np.array([each[f"{name}|{n}"][0] for each in found])
            count = np.median([each[f"{name}|{n}"][1] for each in found])
            e = bootstrap(np.median, errors, rng=rng)
            cells.append(f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}] {count:.0f}")
            if name in PEERS and (n not in best or e.value < best[n][0]):
                best[n] = (e.value, name, errors)
            if name in OURS:
                ratio = bootstrap(np.median, errors / best[n][2], rng=rng)
                cells[-1] += f" x{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        print(f"{name:28}", *cells, sep=" | ")
    print("best peer:", ", ".join(f"{n}: {name}" for n, (_, name, _) in best.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--sequences", type=int, default=20)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "accuracy")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the peers
    for model in given.models:
        found = []
        played = games(model, given.data, given.cache, given.sequences)
        for i, (value, u) in enumerate(played):
            file = given.cache / f"{model}-{i}.json"
            if not file.exists():
                text = json.dumps(compared(value, u))
                file.write_text(text)
            found.append(json.loads(file.read_text()))
        print(f"\n{model}, {u} units")
        table(found)


if __name__ == "__main__":
    main()
