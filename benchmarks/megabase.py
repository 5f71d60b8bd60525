"""Memory and time of explaining one long sequence, beside captum and DeepG's way.

    python benchmarks/megabase.py --bases 1000000 --threads 2
    python benchmarks/megabase.py --bases 100000 --all

Every row is a process of its own: the most memory it held above the loaded model (which has
explained a short sequence already), and seconds, of the processor with one thread and of the clock
with more. Networks have random weights: a CNN-LSTM with strides (414,242 weights) and the dilated
CNN (32 and 128 channels), whose layers are as long as the sequence. Integrated Gradients go from
zeros by the trapezoid rule; the bare passes are as many plain forward and backward passes that keep
nothing, in the same process as the row above them, between two explanations whose mean is taken.
*Each step by itself* is what DeepG does when asked to (`pred_stepwise`): all sequences of the path
are made, and the gradients of all steps kept until they are averaged. `--all` adds captum's
default, which takes all steps in one batch, and the CNN read whole.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

clock = time.perf_counter
ROWS = {  # name: (model, what, only with --all)
    "Integrated Gradients": ("cnn_lstm", "integrated_gradients", False),
    "captum, a step a batch": ("cnn_lstm", "captum_1", False),
    "each step by itself, kept": ("cnn_lstm", "stepwise", False),
    "captum, default": ("cnn_lstm", "captum", True),
    "Integrated Gradients, 5 shuffles, 1 step": ("cnn_lstm", "shuffled", False),
    "saliency": ("cnn_lstm", "saliency", False),
    "occlusion, 20 windows": ("cnn_lstm", "occlusion", False),
    "knock-out of 1,000 bases, 9 controls": ("cnn_lstm", "knock_out", False),
    "saliency, CNN of 32": ("cnn_32", "saliency", False),
    "the same, not in tiles": ("cnn_32", "saliency_whole", True),
    "occlusion, 20 windows, CNN of 32": ("cnn_32", "occlusion", False),
    "knock-out of 1,000 bases, 9 controls, CNN of 32": ("cnn_32", "knock_out", False),
    "saliency, CNN of 128": ("cnn_128", "saliency", False),
    "Integrated Gradients, 5 steps, CNN of 128": ("cnn_128", "few_steps", True),
}


def network(name: str) -> Any:
    """A network with random weights."""
    import torch

    from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
    from basewise.models.cnn_lstm import CnnLstmConfig, CnnLstmForSequenceClassification

    torch.manual_seed(0)
    if name == "cnn_lstm":
        return CnnLstmForSequenceClassification(
            CnnLstmConfig(
                filters=[64, 96, 128],
                kernels=[24, 12, 12],
                strides=[8, 4, 4],
                pools=[4, 2, 2],
                lstm_units=96,
                num_labels=2,
            )
        )
    return CnnForSequenceClassification(CnnConfig(channels=int(name[4:]), num_labels=2))


def explained(what: str, model: Any, record: Any, steps: int) -> Any:
    """Scores (b,) of one sequence; of a knock-out its difference from the controls, (1,)."""
    import torch
    from captum.attr import IntegratedGradients

    import basewise as bw
    from basewise.models.batch import Batch
    from basewise.models.gradient import embed, frozen, value_and_gradient
    from basewise.models.streaming import whole
    from basewise.types import Target

    own: dict[str, dict[str, Any]] = {
        "integrated_gradients": {"reference": "zero", "steps": steps, "tolerance": None},
        "few_steps": {"reference": "zero", "steps": 5, "tolerance": None},
        "shuffled": {"steps": 1, "tolerance": None},
        "occlusion": {"units": {"type": "windows", "size": -(-len(record) // 20)}},
        "saliency": {},
        "saliency_whole": {},
    }
    if what == "knock_out":
        from basewise.biology.region_knockouts import knock_out_regions
        from basewise.data.features import Feature

        start = len(record) // 2
        gene = Feature("gene", "gene", record.id, ((start, start + 1000),))
        found = knock_out_regions(model, [record], {"gene": [gene]}, target="yes", controls=9)
        return found["difference"].to_numpy()
    if what in own:
        named = what if what in ("occlusion", "integrated_gradients") else "saliency"
        named = "integrated_gradients" if what in ("few_steps", "shuffled") else named
        with whole() if what.endswith("whole") else nullcontext():
            (found,) = bw.explain(model, [record], named, "yes", **own[what])
        return found.scores
    ids = torch.from_numpy(model.tokenizer.encode(record.sequence).ids)[None]
    batch, target = Batch(ids, None), Target("yes")
    x = embed(model, batch)
    if what == "stepwise":
        with frozen(model):
            path = torch.linspace(0, 1, steps + 1)[:, None, None] * x
            kept = torch.cat(
                [value_and_gradient(model, batch, row[None], target)[1] for row in path]
            )
        mean = ((kept[:-1] + kept[1:]) / 2).mean(0)
        return (x[0] * mean).sum(1).numpy()

    def forward(rows: Any) -> Any:
        logits = model.network(inputs_embeds=rows).logits
        return logits[:, 1] - logits[:, 0]

    with frozen(model):
        found = IntegratedGradients(forward).attribute(
            x,
            torch.zeros_like(x),
            n_steps=steps + 1,
            method="riemann_trapezoid",
            internal_batch_size=1 if what == "captum_1" else None,
        )
    # captum's weights of this rule sum to steps / (steps + 1).
    return found[0].sum(1).detach().numpy() * (steps + 1) / steps


def bare(model: Any, record: Any, passes: int) -> float:
    """Seconds of so many passes forward and back that keep nothing."""
    import torch

    x = model.embedding(torch.from_numpy(model.tokenizer.encode(record.sequence).ids)[None])
    for parameter in model.network.parameters():
        parameter.requires_grad_(False)
    begin = clock()
    for _ in range(passes):
        leaf = x.detach().requires_grad_()
        logits = model.network(inputs_embeds=leaf).logits
        torch.autograd.grad(logits[0, 1] - logits[0, 0], leaf)
    return clock() - begin


def megabytes(of: str) -> float:
    """Memory of this process: `VmRSS` now, `VmHWM` at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(of):
            return int(line.split()[1]) / 1024
    raise SystemExit("Memory is read from /proc, which this system lacks.")


def one(name: str, bases: int, steps: int, threads: int, scores: Path) -> dict[str, float]:
    """Measure one row in this process."""
    import torch

    import basewise as bw
    from basewise.tokenize.nucleotide import Nucleotide

    global clock
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    kind, what, _ = ROWS[name]
    model = bw.Model(network(kind).eval(), Nucleotide(), ("no", "yes"), name=kind)
    rng = np.random.default_rng(0)
    record, short = (
        bw.Record("r", "".join(rng.choice(list("ACGT"), length))) for length in (bases, 3000)
    )
    explained(what, model, short, 2)
    gc.collect()
    loaded = megabytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM counts from here
    begin = clock()
    np.save(scores, explained(what, model, record, steps))
    found = {"seconds": clock() - begin, "megabytes": megabytes("VmHWM") - loaded}
    if what == "integrated_gradients":
        found["bare"] = bare(model, record, steps + 1)
        begin = clock()  # again, so that bare passes stand between two
        explained(what, model, record, steps)
        found["seconds"] = (found["seconds"] + clock() - begin) / 2
    return found


def measured(row: list[str]) -> dict[str, float]:
    """The same in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *row], check=True, capture_output=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bases", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--all", action="store_true", help="rows that take 10 GB a megabase too")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        name, scores = args.one
        print(json.dumps(one(name, args.bases, args.steps, args.threads, Path(scores))))
        return
    print(f"| {args.bases:,} bases | seconds | of bare passes | MB above the model | differs by |")
    print("|---|---|---|---|---|", flush=True)
    settings = [f"--bases={args.bases}", f"--steps={args.steps}", f"--threads={args.threads}"]
    with tempfile.TemporaryDirectory() as folder:
        first: dict[str, tuple[Any, float]] = {}
        for i, name in enumerate(args.only):
            kind, what, costly = ROWS[name]
            if costly and not args.all:
                continue
            scores = f"{folder}/{i}.npy"
            found = measured([*settings, "--one", name, scores])
            values, path = np.load(scores), what in ("captum", "captum_1", "stepwise")
            same = "integrated_gradients" if path else what.removesuffix("_whole")
            key = f"{kind} {same}"
            start, passes = first.setdefault(key, (values, found.get("bare", np.nan)))
            ratio = "" if np.isnan(passes) else f"{found['seconds'] / passes:.2f}"
            apart = float(np.abs(values - start).max() / np.abs(start).max())
            apart_told = "" if start is values else f"{apart:.0e}"
            print(
                f"| {name} | {found['seconds']:.1f} | {ratio} | {found['megabytes']:,.0f} | "
                f"{apart_told} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
