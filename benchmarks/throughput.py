"""Tokens per second of every native network beside transformers' BERT of the same size.

    python benchmarks/throughput.py --preset small --threads 1
    python benchmarks/throughput.py --preset full --threads 1 --repeats 3 --rows 2 8 --only HyenaDNA
    python benchmarks/throughput.py --preset full --device cuda --rows 64 256 1024

Sequences of 300 bases, in as many tokens as each network's tokenizer makes of them. "The same
size": as many layers and tokens, the same width and vocabulary, and a feed-forward width at
which the BERT has as many weights outside its embeddings and head as the network it stands
beside. Neither has dropout, and BERT's attention is the fast one. The two take turns; of each
is taken the median time at every number of rows, and then the best number of rows of each.
Below 0.85 of BERT's speed is slower than what is asked for.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    EsmConfig,
    EsmForSequenceClassification,
)

from basewise.models.dnabert2 import Dnabert2, Dnabert2Config
from basewise.models.gena import Gena, GenaConfig
from basewise.models.hyenadna import HyenaDna, HyenaDnaConfig
from basewise.models.memory import memory_kept
from basewise.models.nucleotide_transformer import (
    NucleotideTransformer,
    NucleotideTransformerConfig,
    one_pass_gelu,
)

SMALL = {"width": 256, "layers": 4, "heads": 8}
FULL = {  # as published: DNABERT-2-117M, gena-lm-bert-base, v1-500m, v2-50m, medium-160k
    "DNABERT-2": {"width": 768, "layers": 12, "heads": 12},
    "GENA-LM": {"width": 768, "layers": 12, "heads": 12},
    "GENA-LM last LN": {"width": 768, "layers": 12, "heads": 12},
    "GENA-LM rotary": {"width": 768, "layers": 12, "heads": 12},
    "NT v1": {"width": 1280, "layers": 24, "heads": 20},
    "NT v2": {"width": 512, "layers": 12, "heads": 16},
    "HyenaDNA": {"width": 256, "layers": 8, "heads": 8},
}
TOKENS = {  # of 300 bases
    "DNABERT-2": 62,
    "GENA-LM": 40,
    "GENA-LM last LN": 40,
    "GENA-LM rotary": 40,
    "NT v1": 51,
    "NT v2": 51,
    "HyenaDNA": 301,
}
VOCABULARY = 4096
HEAD = {"head": "sequence_classification", "pooling": "mean"}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def native(name: str, width: int, layers: int, heads: int, tokens: int) -> nn.Module:
    """A network of these sizes, at the proportions it was published with."""
    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "max_position_embeddings": tokens + 2,
    } | STILL
    if name == "DNABERT-2":
        del sizes["max_position_embeddings"]
        return Dnabert2(Dnabert2Config(**sizes, **HEAD))
    if name.startswith("GENA-LM"):
        positions = "rotary" if "rotary" in name else "absolute"
        last = "last LN" in name
        config = GenaConfig(
            **sizes, **HEAD, position_embedding_type=positions, last_layer_norm=last
        )
        return Gena(config)
    if name == "NT v1":
        config = EsmConfig(**sizes, pad_token_id=1, mask_token_id=2, token_dropout=True)
        esm = EsmForSequenceClassification(config)
        one_pass_gelu(esm)
        return esm
    if name == "NT v2":
        return NucleotideTransformer(NucleotideTransformerConfig(**sizes, **HEAD))
    return HyenaDna(
        HyenaDnaConfig(
            vocab_size=VOCABULARY,
            d_model=width,
            d_inner=4 * width,
            n_layer=layers,
            max_seq_len=tokens,
            embed_dropout=0.0,
            **HEAD,
        )
    )


def size(network: nn.Module) -> int:
    """Weights outside the embeddings and the head."""
    owners = ("embeddings", "classifier", "score", "pooler", "contact_head")
    return sum(
        p.numel() for k, p in network.named_parameters() if not any(name in k for name in owners)
    )


def bert(like: nn.Module, width: int, layers: int, heads: int, tokens: int) -> nn.Module:
    """transformers' BERT with as many weights as `like`."""

    def config(layers: int, inner: int) -> BertConfig:
        return BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
            max_position_embeddings=tokens,
            **STILL,
        )

    a_layer = size(BertForSequenceClassification(config(1, 1))) - (2 * width + 1)
    made = BertForSequenceClassification(
        config(layers, round((size(like) / layers - a_layer) / (2 * width + 1)))
    )
    if abs(size(made) / size(like) - 1) > 0.01 or made.config._attn_implementation != "sdpa":
        raise SystemExit("The two networks are not to be compared.")
    return made


def forward(network: nn.Module, batch: dict[str, Any]) -> None:
    network.eval()
    with torch.inference_mode():
        network(**batch)


def forward_and_backward(network: nn.Module, batch: dict[str, Any]) -> None:
    network.train()
    network(**batch, labels=batch["input_ids"][:, 0] % 2).loss.backward()
    network.zero_grad(set_to_none=True)


WORKS: dict[str, Callable[[nn.Module, dict[str, Any]], None]] = {
    "forward": forward,
    "forward + backward": forward_and_backward,
}


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """How long one run takes, the device included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def in_turns(
    pair: tuple[nn.Module, nn.Module], work: Any, batch: dict[str, Any], repeats: int
) -> list[float]:
    """Median seconds of each network."""
    taken: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for network, times in zip(pair, taken, strict=True):
            found = seconds(lambda network=network: work(network, batch), batch["input_ids"].device)
            if repeat:  # the first turn warms up
                times.append(found)
    return [statistics.median(times) for times in taken]


def batch_of(rows: int, tokens: int, ragged: bool, device: torch.device) -> dict[str, Any]:
    """Random tokens; where ragged, rows of half of the tokens up to all of them."""
    lengths = torch.linspace(tokens // 2 if ragged else tokens, tokens, rows).long()
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    ids = torch.randint(5, VOCABULARY, (rows, tokens))
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=["small", "full"], default="small")
    parser.add_argument("--rows", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--tokens", type=int, help="instead of those of 300 bases")
    parser.add_argument("--ragged", action="store_true", help="rows of different lengths")
    parser.add_argument("--only", nargs="+", choices=TOKENS, default=list(TOKENS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of the CPU")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    print("| network | weights | tokens | arithmetic | work | rows | tokens/s | of BERT's |")
    print("|---|---|---|---|---|---|---|---|")
    for name in args.only:
        shape = SMALL if args.preset == "small" else FULL[name]
        tokens = args.tokens or TOKENS[name]
        torch.manual_seed(0)
        ours = native(name, **shape, tokens=tokens)
        theirs = bert(ours, **shape, tokens=tokens)
        for dtype in args.dtype:
            pair = tuple(network.to(device, getattr(torch, dtype)) for network in (ours, theirs))
            for told, work in WORKS.items():
                speeds: list[tuple[list[float], int]] = []
                for rows in args.rows:
                    batch = batch_of(rows, tokens, args.ragged, device)
                    count = int(batch["attention_mask"].sum())
                    with memory_kept():
                        taken = in_turns(pair, work, batch, args.repeats)
                    speeds.append(([count / second for second in taken], rows))
                best, rows = max((own, rows) for (own, _), rows in speeds)
                ratio = best / max(other for (_, other), _ in speeds)
                print(
                    f"| {name} | {size(ours) / 1e6:.1f} M | {tokens} | {dtype} | {told} | "
                    f"{rows} | {best:,.0f} | {ratio:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
