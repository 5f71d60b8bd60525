"""What explaining costs beside the forward passes it cannot do without.

    python benchmarks/explainers.py own
    python benchmarks/explainers.py overhead --models cnn esm --sequences 64
    python benchmarks/explainers.py shapes
    python benchmarks/explainers.py peers

`own`: microseconds per evaluation on a network that costs nothing, for sequences of 300 bp as 51
tokens (6-mers) and as 60 windows of 5 bp. `overhead`: time of explaining sequences of mixed length
over the time of bare passes of as many rows of the same widths, at the best of several batch sizes
and in the precision the evaluator chose (forward, and backward too for methods of gradients); each
run stands between two of bare passes and is held against their mean; explaining and bare passes
were done before, and the kernels of both are kept (`KERNELS`). All explainers and models
without `--explainers` and `--models`; the larger a model, the fewer evaluations of a sequence
(`SHAPES`), and mutagenesis, which takes three for every base, explains a quarter of the sequences,
cut to a fifth. `shapes`: what batches of the CNN in bfloat16 cost whose shape is new, and what a
mask costs. `peers`: the first two for shap, captum, lime and shapiq, as far as they are installed
(`pip install -e '.[peers]'`), on the rows of one sequence. Medians over repeats, with their range;
seconds of processor time on one thread, which other work disturbs less, or with `--threads` above 1
seconds of wall time.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from transformers import EsmConfig, EsmForSequenceClassification

import basewise as bw
from basewise.explainers import EXPLAINERS
from basewise.explainers.gradient import Gradient
from basewise.explainers.perturbation import Perturbation
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.models.dnabert2 import Dnabert2, Dnabert2Config
from basewise.models.precision import halved
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.nucleotide_transformer import NucleotideTransformer

LABELS = ("no", "yes")
BUDGETS = {  # the setting that says how many coalitions are asked for
    "banzhaf": "evaluations",
    "kernel_shap": "evaluations",
    "leverage_shap": "evaluations",
    "lime": "samples",
    "partition_shap": "evaluations",
    "permutation_shap": "evaluations",
}
LEFT_OUT = ("attention", "attention_rollout", "random")  # a pass or two, whatever is asked
SHAPES = {  # evaluations of a sequence, bases of a window, and evaluations with gradients
    "cnn": (64, 20, 16),
    "esm": (16, 75, 6),
    "bert": (12, 100, 4),
}
ROW_TOKENS = (1 << 10, 1 << 11, 1 << 12, 1 << 13)  # batch sizes that bare passes try
SWEEP = 160  # rows they are tried on
KERNELS = 1 << 14  # that oneDNN keeps here; of 1,024 the bare passes push out the explainer's

clock: Callable[[], float] = time.process_time


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
    begin = clock()
    done = work(*arguments, **settings)
    return clock() - begin, done


def show(name: str, shape: str, values: list[float], unit: str, more: str = "") -> None:
    span = f"[{min(values):.2f}, {max(values):.2f}]"
    middle = statistics.median(values)
    print(f"{name:22} {shape:11} {middle:7.2f} {unit} {span:16} {more}", flush=True)


def budget(name: str, evaluations: int) -> dict[str, Any]:
    return {BUDGETS[name]: evaluations} if name in BUDGETS else {}


# ------------------------------------------------------------------------------ own cost


def free_models() -> list[tuple[str, bw.Model, dict[str, Any]]]:
    return [
        ("51 tokens", bw.Model(Free(), NucleotideTransformer(), LABELS),
         {"units": "tokens", "masking": "mask"}),
        ("60 windows", bw.Model(Free(), Nucleotide(), LABELS),
         {"units": {"type": "windows", "size": 5}}),
        ("300 bases", bw.Model(Free(), Nucleotide(), LABELS), {}),
    ]  # fmt: skip


def own(names: Sequence[str], repeats: int) -> None:
    records = sequences([300] * 64)
    for name in names:
        if name not in perturbing() or name == "exact_shapley":  # of 12 units at most
            continue
        for shape, model, settings in free_models():
            if shape == "300 bases" and name != "occlusion":
                continue
            given = settings | budget(name, 1024)
            own_cost(name, shape, model, records, given, repeats)
            if name == "leverage_shap":
                given |= {"adjusted": True}
                own_cost(f"{name}, adjusted", shape, model, records, given, repeats)


def own_cost(
    title: str,
    shape: str,
    model: bw.Model,
    records: list[bw.Record],
    given: dict[str, Any],
    repeats: int,
) -> None:
    name = title.partition(",")[0]
    bw.explain(model, records, name, "yes", **given)
    costs = []
    for _ in range(repeats):
        seconds, found = timed(bw.explain, model, records, name, "yes", **given)
        n = sum(a.evaluations for a in found)
        costs.append(seconds / n * 1e6)
    show(title, shape, costs, "us", f"{n // 64} a sequence")


# ------------------------------------------------------------------------------ overhead


def network(name: str) -> Any:
    """Random weights, wide enough apart that the units of a sequence matter.

    Those of the BERT have the spread that its training begins with: with three times as much it is
    so chaotic that half the bits say something else, which nothing that was trained does.
    """
    torch.manual_seed(0)
    size = {"vocab_size": NucleotideTransformer().vocabulary_size, "num_hidden_layers": 12}
    if name == "cnn":
        made: Any = CnnForSequenceClassification(
            CnnConfig(channels=192, dilations=(1, 2, 4, 8), num_labels=2)
        )
    elif name == "bert":
        head = {"head": "sequence_classification", "pooling": "mean", "num_labels": 2}
        made = Dnabert2(Dnabert2Config(**size, **head))
    else:
        ids = {"pad_token_id": 1, "mask_token_id": 2, "position_embedding_type": "absolute"}
        width = {"hidden_size": 512, "num_attention_heads": 16, "intermediate_size": 2048}
        made = EsmForSequenceClassification(
            EsmConfig(**size, **ids, **width, max_position_embeddings=1002, num_labels=2,
                      initializer_range=0.06)
        )  # fmt: skip
    for parameter in made.parameters():
        parameter.requires_grad_(False)
    return made.eval()


def model_of(name: str) -> tuple[bw.Model, dict[str, Any]]:
    """A model, and how its sequences are perturbed."""
    if name == "cnn":
        return bw.Model(network(name), Nucleotide(), LABELS), {"masking": "n"}
    return bw.Model(network(name), NucleotideTransformer(), LABELS), {"masking": "mask"}


def bare(network: Any, rows: dict[int, Tensor], tokens: int, backward: bool) -> None:
    """Passes of the rows, each width by itself."""
    for width, ids in rows.items():
        for some in ids.split(max(tokens // width, 1)):
            if not backward:
                with torch.inference_mode():
                    network(input_ids=some)
                continue
            embedded = network.get_input_embeddings()(some).detach().requires_grad_()
            logits = network(inputs_embeds=embedded).logits
            torch.autograd.grad(logits[:, 1].sum(), embedded)


def bare_of(
    network: Any, rows: dict[int, Tensor], ends: dict[int, Tensor], tokens: int, backward: bool
) -> None:
    """Passes of rows, and of those of which nothing but the value is asked for."""
    bare(network, rows, tokens, backward)
    bare(network, ends, tokens, False)


def rows_of(
    model: bw.Model, found: Sequence[bw.Attribution], share: float = 1.0
) -> dict[int, Tensor]:
    """A row of the sequence itself for every evaluation, or for a share of them, by width."""
    rows: dict[int, list[Tensor]] = {}
    for a in found:
        ids = torch.from_numpy(model.tokenizer.encode(a.sequence).ids)
        if n := round(share * a.evaluations):
            rows.setdefault(len(ids), []).append(ids.expand(n, -1))
    return {width: torch.cat(parts) for width, parts in rows.items()}


def best_size(network: Any, backward: bool) -> int:
    """The batch size, in tokens, at which bare passes of rows of one width are fastest."""
    ids = torch.randint(0, 4, (SWEEP, 300 if hasattr(network.config, "dilations") else 52))
    bare(network, {ids.shape[1]: ids[:16]}, 1 << 11, backward)
    times = {
        tokens: timed(bare, network, {ids.shape[1]: ids}, tokens, backward)[0]
        for tokens in ROW_TOKENS
    }
    return min(times, key=lambda tokens: times[tokens])


def settings_for(name: str, shape: str, masking: dict[str, Any], given: int | None) -> Any:
    """So that every explainer takes about as many evaluations of a sequence."""
    evaluations, window, gradients = SHAPES[shape]
    cls = EXPLAINERS.get(name)
    if issubclass(cls, Gradient):
        found: dict[str, Any] = {}
        n = given or gradients
        if name == "deep_lift":
            found["reference"] = {"type": "shuffled", "draws": n // 2}
        elif "reference" in cls.__dataclass_fields__:
            found["reference"] = {"type": "shuffled", "draws": 2} if shape == "cnn" else "token"
        if name == "integrated_gradients":
            found |= {"tolerance": None, "steps": n // 2}
        if "draws" in cls.__dataclass_fields__:
            found["draws"] = n // 2
        return found
    n = given or evaluations
    if name == "mutagenesis":
        return {}
    if name == "marginalisation":
        return {"motif": "TATAAA", "draws": n // 2}
    if name == "exact_shapley":
        window = max(window, 50)
    found = masking | {"units": {"type": "windows", "size": window}} | budget(name, n)
    if name == "anchors":
        found |= {"evaluations": n, "samples": n // 4, "batch": 8}
    return found


def overhead(
    names: Sequence[str],
    repeats: int,
    number: int,
    models: Sequence[str],
    evaluations: int | None,
    precision: Any,
) -> None:
    lengths = np.random.default_rng(1).integers(150, 301, number).tolist()
    for shape in models:
        model, masking = model_of(shape)
        model = replace(model, precision=precision)
        sizes: dict[tuple[bool, bool], int] = {}
        half: Any = halved(model.network)
        for name in names:
            backward = issubclass(EXPLAINERS.get(name), Gradient)
            if name in LEFT_OUT or (name == "deep_lift" and shape != "cnn"):
                continue
            given = settings_for(name, shape, masking, evaluations)
            some = [n // 5 for n in lengths[::4]] if name == "mutagenesis" else lengths
            records = sequences(some)
            explain = partial(bw.explain, model, records, name, "yes", **given)
            found = explain()  # the batch size is found and kept
            few = found[0].extras.get("bfloat16") == 1
            used = half if few else model.network
            if (few, backward) not in sizes:
                sizes[few, backward] = best_size(used, backward)
            size = sizes[few, backward]
            n = found[0].evaluations
            back = {"smoothgrad": n - 1, "expected_gradients": n // 2}.get(name, n) / n
            rows = rows_of(model, found, back), rows_of(model, found, 1 - back)
            passes = partial(bare_of, used, *rows, size, backward)
            passes()
            before, _ = timed(passes)
            ratios, least = [], before
            for _ in range(repeats):  # between two bare runs, so that other work is in both
                seconds, _ = timed(explain)
                after, _ = timed(passes)
                ratios.append(2 * seconds / (before + after))
                before, least = after, min(least, after)
            n = sum(a.evaluations for a in found)
            error = found[0].extras.get("bfloat16_error")
            numbers = f"bfloat16, error {error:.2g}" if few else "float32"
            more = f"{n / len(found):.0f} a sequence, bare {least:.2f} s, {numbers}"
            show(name, shape, ratios, "x", more)


# ------------------------------------------------------------------------------ shapes


def shapes(repeats: int) -> None:
    """Batches of shapes that are new and of shapes seen before, and batches with and without mask.

    All of 20 rows of about 200 bases; with a mask the shortest row is eight bases shorter.
    """
    network_ = halved(network("cnn"))
    assert network_ is not None

    def read(width: int, mask: Tensor | None = None) -> None:
        network_(input_ids=torch.zeros((20, width), dtype=torch.long), attention_mask=mask)

    mask = torch.arange(200) < torch.linspace(192, 200, 20).long()[:, None]
    with torch.inference_mode():
        read(200)
        for repeat in range(repeats):
            new, again = (
                timed(lambda at=at: [read(width) for width in range(at, at + 30)])[0]
                for at in (210 + 30 * repeat,) * 2
            )
            full, masked = (
                timed(lambda mask=mask: [read(200, mask) for _ in range(30)])[0]
                for mask in (None, mask)
            )
            print(f"30 widths: new {new:.2f} s, again {again:.2f} s; 30 of one width: "
                  f"full {full:.2f} s, masked {masked:.2f} s", flush=True)  # fmt: skip


# ------------------------------------------------------------------------------ peers


def peers() -> dict[str, tuple[str, Callable[[Any, int], None]]]:
    """The module each needs, and how it explains a set function of u units by about n values."""
    return {
        "shap Kernel": ("shap", _shap_kernel),
        "shap Permutation": ("shap", _shap_permutation),
        "captum KernelShap": ("captum", lambda f, n: _captum("KernelShap", f, n)),
        "captum ShapleySampling": ("captum", lambda f, n: _captum("ShapleyValueSampling", f, n)),
        "lime": ("lime", _lime),
        "shapiq permutation": ("shapiq", lambda f, n: _shapiq("PermutationSamplingSV", f, n)),
        "shapiq KernelSHAP": ("shapiq", lambda f, n: _shapiq("KernelSHAP", f, n)),
    }


class Counted:
    """A set function, (n, u) 0 or 1 to (n,), that counts its rows."""

    def __init__(self, value: Callable[[Any], Any], units: int):
        self.value, self.units, self.rows, self.seconds = value, units, 0, 0.0

    def __call__(self, present: Any) -> Any:
        present = np.atleast_2d(np.asarray(present)) > 0.5
        self.rows += len(present)
        seconds, values = timed(self.value, present)
        self.seconds += seconds
        return values


def _shap_kernel(f: Counted, n: int) -> None:
    import shap

    explainer = shap.KernelExplainer(f, np.zeros((1, f.units)))
    explainer.shap_values(np.ones((1, f.units)), nsamples=n, l1_reg=False, silent=True)


def _shap_permutation(f: Counted, n: int) -> None:
    import shap

    masker = shap.maskers.Independent(np.zeros((1, f.units)))
    explainer = shap.PermutationExplainer(f, masker)
    explainer(np.ones((1, f.units)), max_evals=n, silent=True)


def _captum(method: str, f: Counted, n: int) -> None:
    from captum import attr

    def value(x: Tensor) -> Tensor:
        return torch.from_numpy(f(x.numpy()))

    samples = n // f.units if method == "ShapleyValueSampling" else n
    getattr(attr, method)(value).attribute(
        torch.ones(1, f.units), n_samples=samples, perturbations_per_eval=64
    )


def _lime(f: Counted, n: int) -> None:
    from lime.lime_text import LimeTextExplainer

    words = [f"w{i}" for i in range(f.units)]

    def value(texts: list[str]) -> Any:
        kept = np.array([[word in set(text.split()) for word in words] for text in texts])
        p = 1 / (1 + np.exp(-f(kept)))
        return np.stack([1 - p, p], 1)

    LimeTextExplainer().explain_instance(
        " ".join(words), value, num_samples=n, num_features=f.units
    )


def _shapiq(method: str, f: Counted, n: int) -> None:
    import shapiq

    cls = getattr(shapiq, method)
    approximator = cls(n=f.units, random_state=0)
    approximator.approximate(budget=n, game=f)


def compare_peers(evaluations: int, repeats: int, model_name: str | None) -> None:
    """Own cost on rows of one sequence of 51 tokens, then the overhead on a real network."""
    record = sequences([300])[0]
    shapes: list[tuple[str, bw.Model, dict[str, Any]]] = [free_models()[0]]
    if model_name:
        model, masking = model_of(model_name)
        units = {"units": "tokens"} if model_name != "cnn" else {"units": {"type": "windows"}}
        shapes.append((model_name, model, masking | units))
    for shape, model, settings in shapes:
        n = evaluations if shape == "51 tokens" else min(evaluations, 256)
        for name, (module, explain) in peers().items():
            try:
                importlib.import_module(module)
            except ImportError as error:
                print(f"{name:22} {shape:11} left out: {error}", flush=True)
                continue
            costs, ratios = [], []
            for repeat in range(repeats + 1):
                f = Counted(*_set_function(model, record, settings))
                with _quiet():
                    seconds, _ = timed(explain, f, n)
                if repeat:  # the first compiles
                    costs.append((seconds - f.seconds) / f.rows * 1e6)
                    ratios.append(seconds)
            if shape == "51 tokens":
                show(name, shape, costs, "us", f"{f.rows} evaluations")
            else:
                ids = torch.from_numpy(model.tokenizer.encode(record.sequence).ids)
                rows = {len(ids): ids.expand(f.rows, -1)}
                least, _ = timed(bare, model.network, rows, best_size(model.network, False), False)
                show(name, shape, [s / least for s in ratios], "x", f"{f.rows} evaluations")


def _set_function(model: bw.Model, record: bw.Record, settings: dict[str, Any]) -> Any:
    """Coalitions (n, u) to values (n,) on basewise's rows, all of a call in one batch."""
    from basewise.explainers import MASKINGS, UNITS
    from basewise.explainers.units import tokens_of

    tokens = tokens_of(model, record)
    units = UNITS.build(settings["units"]).spans(record, tokens)
    masking = MASKINGS.build(settings["masking"])
    board = masking.switchboard(record, tokens, units, model, np.random.default_rng(0))

    def value(present: Any) -> Any:
        with torch.inference_mode():
            ids, _ = board.rows(present, model)
            return model.network(input_ids=ids.long()).logits[:, 1].double().numpy()

    return value, len(units)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main() -> None:
    global clock
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["own", "overhead", "shapes", "peers"])
    parser.add_argument("--explainers", nargs="*", default=EXPLAINERS.names())
    parser.add_argument("--models", nargs="*", choices=["bert", "esm", "cnn"], default=list(SHAPES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--evaluations", type=int, help="of those explainers that take a budget")
    parser.add_argument("--precision", choices=["full", "auto", "bfloat16"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = str(KERNELS)  # read by its first kernel
    torch.set_num_threads(given.threads)
    clock = time.process_time if given.threads == 1 else time.perf_counter
    with threadpool_limits(given.threads):
        if given.what == "own":
            own(given.explainers, given.repeats)
        elif given.what == "shapes":
            shapes(given.repeats)
        elif given.what == "peers":
            model = given.models[0] if given.models else None
            compare_peers(given.evaluations or 1024, given.repeats, model)
        else:
            overhead(
                given.explainers,
                given.repeats,
                given.sequences,
                given.models,
                given.evaluations,
                given.precision,
            )


if __name__ == "__main__":
    main()
