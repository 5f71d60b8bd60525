"""Tokens per second of every native network beside transformers' BERT of the same size.

    python benchmarks/throughput.py --width 256 --layers 6 --rows 16 --tokens 64
    python benchmarks/throughput.py --preset base --device cuda --dtype bfloat16 --rows 64 256

"The same size": as many layers, the same width and vocabulary, and a feed-forward width at which
the BERT has as many weights outside its embeddings as the network it stands beside. The two
take turns; shown are the median speed and the median ratio of the two of a turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from basewise.models.dnabert2 import Dnabert2, Dnabert2Config
from basewise.models.gena import Gena, GenaConfig
from basewise.models.hyenadna import HyenaDna, HyenaDnaConfig
from basewise.models.nucleotide_transformer import (
    NucleotideTransformer,
    NucleotideTransformerConfig,
)

PRESETS = {
    "tiny": {"width": 128, "layers": 2, "heads": 4},
    "small": {"width": 256, "layers": 6, "heads": 8},
    "base": {"width": 768, "layers": 12, "heads": 12},
}
VOCABULARY = 4096
HEAD = {"head": "sequence_classification", "pooling": "mean"}


def native(width: int, layers: int, heads: int, tokens: int) -> dict[str, Callable[[], Any]]:
    """One maker per architecture, at the proportions it was published with."""
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }
    gena = {"max_position_embeddings": tokens} | sizes | HEAD
    return {
        "DNABERT-2": lambda: Dnabert2(Dnabert2Config(**sizes, **HEAD)),
        "GENA-LM": lambda: Gena(GenaConfig(**gena)),
        "GENA-LM rotary": lambda: Gena(GenaConfig(**gena, position_embedding_type="rotary")),
        "NT v2": lambda: NucleotideTransformer(
            NucleotideTransformerConfig(**sizes, **HEAD, max_position_embeddings=tokens + 2)
        ),
        "HyenaDNA": lambda: HyenaDna(
            HyenaDnaConfig(
                vocab_size=VOCABULARY,
                d_model=width,
                d_inner=4 * width,
                n_layer=layers,
                max_seq_len=tokens,
                **HEAD,
            )
        ),
    }


def size(network: nn.Module) -> int:
    """Weights outside the embeddings and the head."""
    owners = ("embeddings", "classifier", "score", "pooler")
    return sum(
        p.numel() for k, p in network.named_parameters() if not any(name in k for name in owners)
    )


def bert(like: nn.Module, width: int, layers: int, heads: int, tokens: int) -> nn.Module:
    """transformers' BERT with as many weights as `like`."""

    def made(inner: int) -> nn.Module:
        return BertForSequenceClassification(
            BertConfig(
                vocab_size=VOCABULARY,
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=inner,
                max_position_embeddings=tokens,
            )
        )

    attention_and_norms = size(made(1)) - layers * (2 * width + 1)
    return made(round((size(like) - attention_and_norms) / layers / (2 * width + 1)))


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """How long one run takes, the device included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def forward(network: nn.Module, batch: dict[str, Any]) -> None:
    network.eval()
    with torch.inference_mode():
        network(**batch)


def forward_and_backward(network: nn.Module, batch: dict[str, Any]) -> None:
    network.train()
    network(**batch, labels=batch["input_ids"][:, 0] % 2).loss.backward()
    network.zero_grad(set_to_none=True)


def compare(
    pair: tuple[nn.Module, nn.Module], work: Any, batch: dict[str, Any], repeats: int
) -> tuple[float, float]:
    """Median seconds of the first network, and how often as fast as the second it is."""
    device = batch["input_ids"].device
    taken: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for network, times in zip(pair, taken, strict=True):
            found = seconds(lambda network=network: work(network, batch), device)
            if repeat:  # the first turn warms up
                times.append(found)
    ratios = [theirs / ours for ours, theirs in zip(*taken, strict=True)]
    return statistics.median(taken[0]), statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--width", type=int)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--heads", type=int)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rows", type=int, nargs="+", default=[16])
    parser.add_argument("--ragged", action="store_true", help="rows of different lengths")
    parser.add_argument("--only", nargs="+", help="names of networks")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, help="of the CPU")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    shape = {k: getattr(args, k) or v for k, v in PRESETS[args.preset].items()}
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    print(f"{shape}, {args.tokens} tokens, {args.dtype} on {device}, {args.repeats} repeats")
    print("network          weights  rows |  forward tok/s  of BERT | + backward tok/s  of BERT")
    for name, make in native(**shape, tokens=args.tokens).items():
        if args.only and name not in args.only:
            continue
        torch.manual_seed(0)
        ours = make()
        pair = tuple(m.to(device, dtype) for m in (ours, bert(ours, **shape, tokens=args.tokens)))
        assert abs(size(pair[1]) / size(pair[0]) - 1) < 0.01
        for rows in args.rows:
            ids = torch.randint(5, VOCABULARY, (rows, args.tokens), device=device)
            lengths = torch.full((rows,), args.tokens)
            if args.ragged:
                lengths = torch.linspace(args.tokens // 2, args.tokens, rows).long()
            mask = (torch.arange(args.tokens) < lengths[:, None]).long().to(device)
            batch = {"input_ids": ids, "attention_mask": mask}
            cells = []
            for work in (forward, forward_and_backward):
                taken, ratio = compare(pair, work, batch, args.repeats)
                cells.append(f"{int(lengths.sum()) / taken:14,.0f}  {ratio:7.2f}")
            print(f"{name:15s} {size(ours) / 1e6:7.2f}M {rows:5d} | " + " | ".join(cells))


if __name__ == "__main__":
    main()
