"""What explaining costs beside the forward passes it cannot do without.

    python benchmarks/explainers.py own
    python benchmarks/explainers.py overhead --sequences 16

`own`: microseconds per evaluation on a network that costs nothing, for sequences of 300 bp as 51
tokens (6-mers) and as 60 windows of 5 bp. `overhead`: wall time of explaining sequences of mixed
length, over the time of bare passes of the very same rows at the best of several batch sizes
(forward, and backward too for methods of gradients). Medians over repeats, with their range;
seconds of processor time on one thread, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

import basewise as bw
from basewise.explainers import EXPLAINERS
from basewise.explainers.gradient import Gradient
from basewise.explainers.perturbation import Perturbation
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.nucleotide_transformer import NucleotideTransformer

LABELS = ("no", "yes")
BUDGET = {  # comparable numbers of evaluations
    "banzhaf": {"evaluations": 1024},
    "kernel_shap": {"evaluations": 1024},
    "leverage_shap": {"evaluations": 1024},
    "lime": {"samples": 1024},
    "partition_shap": {"evaluations": 1024},
    "permutation_shap": {"evaluations": 1024},
}
ROW_TOKENS = (1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14)  # batch sizes that bare passes try


class Free(nn.Module):
    """A network that costs next to nothing; its value depends on three tokens."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        value = (input_ids[:, [7, 23, 41]].sum(1) % 7).float()
        return SimpleNamespace(logits=torch.stack([-value, value - 3], 1))


def sequences(lengths: list[int], seed: int = 0) -> list[bw.Record]:
    rng = np.random.default_rng(seed)
    return [
        bw.Record(str(i), "".join(rng.choice(list("ACGT"), length)))
        for i, length in enumerate(lengths)
    ]


def perturbing() -> list[str]:
    return [name for name in EXPLAINERS.names() if issubclass(EXPLAINERS.get(name), Perturbation)]


def timed(work: Callable[..., Any], *arguments: Any, **settings: Any) -> tuple[float, Any]:
    begin = time.process_time()
    done = work(*arguments, **settings)
    return time.process_time() - begin, done


def show(name: str, shape: str, values: list[float], unit: str, more: str = "") -> None:
    span = f"[{min(values):.2f}, {max(values):.2f}]"
    middle = statistics.median(values)
    print(f"{name:20} {shape:11} {middle:7.2f} {unit} {span:16} {more}", flush=True)


# ------------------------------------------------------------------------------ own cost


def own(names: list[str], repeats: int) -> None:
    records = sequences([300] * 64)
    shapes: list[tuple[str, bw.Model, dict[str, Any]]] = [
        ("51 tokens", bw.Model(Free(), NucleotideTransformer(), LABELS),
         {"units": "tokens", "masking": "mask"}),
        ("60 windows", bw.Model(Free(), Nucleotide(), LABELS),
         {"units": {"type": "windows", "size": 5}}),
    ]  # fmt: skip
    for name in names:
        if name not in perturbing() or name == "exact_shapley":
            continue
        for shape, model, settings in shapes:
            given = settings | BUDGET.get(name, {})
            bw.explain(model, records[:2], name, "yes", **given)
            costs = []
            for _ in range(repeats):
                seconds, found = timed(bw.explain, model, records, name, "yes", **given)
                n = sum(a.evaluations for a in found)
                costs.append(seconds / n * 1e6)
            show(name, shape, costs, "us", f"{n // 64} a sequence")


# ------------------------------------------------------------------------------ overhead


class Watched(nn.Module):
    """A network that takes note of the rows it is given."""

    def __init__(self, network: Any):
        super().__init__()
        self.network, self.batches = network, []

    def get_input_embeddings(self) -> Any:
        return self.network.get_input_embeddings()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        self.batches.append((input_ids, attention_mask))
        return self.network(input_ids=input_ids, attention_mask=attention_mask)


def networks() -> dict[str, tuple[bw.Model, dict[str, Any]]]:
    torch.manual_seed(0)
    tokens = NucleotideTransformer()
    cnn = CnnForSequenceClassification(CnnConfig(channels=64, num_labels=2))
    bert = BertForSequenceClassification(
        BertConfig(
            vocab_size=tokens.vocabulary_size,
            hidden_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=1024,
            num_labels=2,
        )
    )
    return {
        "cnn": (bw.Model(cnn, Nucleotide(), LABELS), {"units": {"type": "windows", "size": 5}}),
        "bert": (bw.Model(bert, tokens, LABELS), {"units": "tokens", "masking": "mask"}),
    }


def rows_of(batches: list[tuple[Tensor, Tensor | None]]) -> dict[int, Tensor]:
    """All rows that were seen, without their padding, by width."""
    found: dict[int, list[Tensor]] = {}
    for ids, mask in batches:
        lengths = [ids.shape[1]] * len(ids) if mask is None else mask.sum(1).tolist()
        for row, n in zip(ids, lengths, strict=True):
            found.setdefault(n, []).append(row[:n])
    return {n: torch.stack(rows) for n, rows in found.items()}


def bare(network: Any, rows: dict[int, Tensor], tokens: int, backward: bool) -> float:
    """Seconds of passes of the rows, each width by itself."""
    begin = time.process_time()
    for width, ids in rows.items():
        for some in ids.split(max(tokens // width, 1)):
            if not backward:
                with torch.inference_mode():
                    network(input_ids=some)
                continue
            embedded = network.get_input_embeddings()(some).detach().requires_grad_()
            logits = network(inputs_embeds=embedded).logits
            torch.autograd.grad(logits[:, 1].sum(), embedded)
    return time.process_time() - begin


def overhead(names: list[str], repeats: int, number: int) -> None:
    lengths = np.random.default_rng(1).integers(150, 301, number).tolist()
    records = sequences(lengths)
    few = {"evaluations": 256}
    for shape, (model, settings) in networks().items():
        for parameter in model.network.parameters():
            parameter.requires_grad_(False)
        for name in names:
            cls = EXPLAINERS.get(name)
            gradient = issubclass(cls, Gradient) and name not in ("attention", "attention_rollout")
            if name in ("exact_shapley", "attention", "attention_rollout", "marginalisation"):
                continue
            if name == "deep_lift" and shape != "cnn":
                continue
            given = dict(settings) if name in perturbing() else {}
            given |= few if name in BUDGET and name != "lime" else {}
            given |= {"samples": 256} if name == "lime" else {}
            if gradient and shape == "bert" and "reference" in cls.__dataclass_fields__:
                given["reference"] = "token"
            watched = Watched(model.network.eval())
            bw.explain(replace(model, network=watched), records, name, "yes", **given)
            rows = rows_of(watched.batches)
            ratios = []
            for _ in range(repeats):
                best = min(bare(model.network, rows, tokens, gradient) for tokens in ROW_TOKENS)
                seconds, found = timed(bw.explain, model, records, name, "yes", **given)
                ratios.append(seconds / best)
            n = sum(a.evaluations for a in found)
            show(name, shape, ratios, "x", f"{n // number} a sequence, bare {best:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["own", "overhead"])
    parser.add_argument("--explainers", nargs="*", default=EXPLAINERS.names())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sequences", type=int, default=16)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "own":
        own(given.explainers, given.repeats)
    else:
        overhead(given.explainers, given.repeats, given.sequences)


if __name__ == "__main__":
    main()
