"""From a checkpoint's folder to a network: nothing executed, nothing skipped, nothing guessed.

`config.json` says the architecture: one of basewise's own (by `model_type`), one that was
published with code of its own and is native here (by what its configuration holds), or one
that transformers knows. Weights are matched by name, and a weight that is missing, unexpected
or of another shape is refused with the list.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
import transformers
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging as transformers_logging

from basewise.errors import ConfigError, WeightsError
from basewise.models import NETWORKS
from basewise.models.heads import Head
from basewise.models.network import Network, State
from basewise.models.nucleotide_transformer import honour_inputs_embeds, one_pass_gelu

__all__ = ["Task", "load_network", "max_tokens", "quiet", "read_config", "read_weights"]

Task = Literal[Head, "regression"]
"""A head, or a regression, which is a sequence classifier trained on numbers."""

AUTO: dict[str, Any] = {
    "masked_lm": transformers.AutoModelForMaskedLM,
    "causal_lm": transformers.AutoModelForCausalLM,
    "sequence_classification": transformers.AutoModelForSequenceClassification,
    "token_classification": transformers.AutoModelForTokenClassification,
}
HEAD_OF: dict[str, Head] = {  # the end of a class name in `architectures`
    "ForMaskedLM": "masked_lm",
    "ForPreTraining": "masked_lm",
    "ForCausalLM": "causal_lm",
    "LMHeadModel": "causal_lm",
    "ForSequenceClassification": "sequence_classification",
    "ForTokenClassification": "token_classification",
}
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in order of preference
UNUSED = (  # weights of transformers' networks without influence on what a head computes
    r"\bposition_ids$",
    r"\bpooler\.",
    r"^cls\.seq_relationship\.",
    r"\binv_freq$",
)
HEAD_WEIGHTS = (
    r"^(cls|\w*classifier|score|\w*lm_head|head|decoder|\w*predictions|vocab_\w+|qa_outputs)\.",
    r"\bpooler\.",
)
AGAIN = "copy or download the file again"


def load_network(
    folder: str | Path,
    *,
    head: Task | None = None,
    labels: Sequence[str] | None = None,
    pooling: str | None = None,
) -> PreTrainedModel:
    """The network of a checkpoint's folder, in float32 on the CPU, in evaluation mode.

    Parameters
    ----------
    folder : path
        Holds `config.json` and `model.safetensors`, or `pytorch_model.bin`, or the shards of
        either with their index.
    head : str, optional
        A new head in place of the published one, freshly initialised, for fine-tuning;
        the trunk's weights stay strict. None keeps the head the checkpoint has.
    labels : sequence of str, optional
        Names of the new head's outputs; needs `head`.
    pooling : str, optional
        What a new sequence classifier reads (`basewise.models.heads.Pooling`); the mean of
        the real tokens unless said otherwise.

    Raises
    ------
    WeightsError
        If the folder is not a whole checkpoint of a known architecture; one line that names
        the file and, where weights do not fit, lists them.
    ConfigError
        If the architecture has no such head or pooling.
    """
    folder = Path(folder)
    if head is None and (labels is not None or pooling is not None):
        raise ConfigError("labels and pooling are of a new head; name it with head=...")
    if head is not None and head not in (*AUTO, "regression"):
        raise ConfigError(f"head = {head!r}: one of {', '.join((*AUTO, 'regression'))}.")
    published = read_config(folder)
    wanted = _Wanted(head, tuple(labels) if labels is not None else None, pooling)
    state, path = read_weights(folder)
    cls = _native(published)
    if cls is None:
        network = _foreign(folder, path, published, state, wanted)
    else:
        network = _own(folder, path, published, state, wanted, cls)
    network.eval()
    return network


def max_tokens(network: PreTrainedModel) -> int | None:
    """The most tokens that a row may have, special ones included; None where any length goes."""
    config: Any = network.config
    longest: int | None
    if hasattr(config, "max_tokens"):
        longest = config.max_tokens
    else:
        longest = getattr(config, "max_position_embeddings", None)
        if longest is not None and config.model_type in ("esm", "roberta"):
            longest -= config.pad_token_id + 1  # their positions start after the pad id
    return longest


# ------------------------------------------------------------------------ reading files


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a checkpoint.

    Raises
    ------
    WeightsError
        If there is no folder, no such file in it, or it is not a JSON object.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder} is not a folder; give one that holds config.json.")
    path = folder / "config.json"
    if not path.exists():
        raise WeightsError(
            f"{path} does not exist; a checkpoint's folder holds config.json beside its weights."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is not JSON ({error}); {AGAIN}.") from None
    if not isinstance(config, dict):
        raise WeightsError(f"{path} holds {type(config).__name__}, not settings; {AGAIN}.")
    return config


def read_weights(folder: Path) -> tuple[State, Path]:
    """All weights of a checkpoint by name, and the file that holds or lists them.

    Raises
    ------
    WeightsError
        If no known file is there, a shard is missing, or a file is truncated or broken.
    """
    for name in WEIGHTS:
        path, index = folder / name, folder / f"{name}.index.json"
        if path.exists():
            return _read_file(path), path
        if index.exists():
            return _read_shards(index), index
    raise WeightsError(
        f"{folder} holds none of {', '.join(WEIGHTS)} (or the index of their shards); "
        "download the weights into it."
    )


def _read_shards(index: Path) -> State:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index} is not an index of shards ({error!r}); {AGAIN}.") from None
    state: State = {}
    for name in names:
        path = index.parent / name
        if not path.exists():
            raise WeightsError(f"{path} does not exist, but {index.name} lists it; {AGAIN}.")
        state |= _read_file(path)
    return state


def _read_file(path: Path) -> State:
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        safetensors.SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        KeyError,
    ) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"{path} ({path.stat().st_size:,} bytes) is truncated, broken or not a file of "
            f"weights ({said[0].rstrip('.')}); {AGAIN}."
        ) from None
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise WeightsError(f"{path} holds something else than weights by name; {AGAIN}.")
    return dict(state)


# ------------------------------------------------------------------------ which architecture


@dataclass(frozen=True)
class _Wanted:
    """The new head that was asked for, if any."""

    task: Task | None
    labels: tuple[str, ...] | None
    pooling: str | None

    @property
    def head(self) -> Head | None:
        return "sequence_classification" if self.task == "regression" else self.task

    def apply(self, config: Any) -> None:
        """Write the new head's labels and problem into a configuration."""
        if self.labels is not None:
            config.id2label = dict(enumerate(self.labels))
            config.label2id = {label: i for i, label in enumerate(self.labels)}
        elif self.task == "regression":
            config.num_labels = 1
        if self.task is not None:
            config.problem_type = "regression" if self.task == "regression" else None


def _native(published: Mapping[str, Any]) -> type[PreTrainedModel] | None:
    """The class of this package for a configuration; None where transformers has the network."""
    model_type = published.get("model_type")
    if model_type in NETWORKS.names():
        cls: type[PreTrainedModel] = NETWORKS.get(model_type)
        return cls
    for name in NETWORKS.names():
        cls = NETWORKS.get(name)
        if issubclass(cls, Network) and cls.matches(published):
            return cls
    return None


def _head(folder: Path, published: Mapping[str, Any]) -> Head:
    """The head that `architectures` names."""
    names = published.get("architectures") or []
    for name in names[:1]:
        for ending, head in HEAD_OF.items():
            if name.endswith(ending):
                return head
    raise WeightsError(
        f"{folder / 'config.json'}: architectures = {names}, which names no head that basewise "
        f"knows (a class ending in {', '.join(HEAD_OF)}); load it in Python by "
        "Model.load(folder, head=...) for a new one."
    )


# ------------------------------------------------------------------------ building


def _own(
    folder: Path,
    path: Path,
    published: Mapping[str, Any],
    state: State,
    wanted: _Wanted,
    cls: type[PreTrainedModel],
) -> PreTrainedModel:
    config: Any = cls.config_class
    if not issubclass(cls, Network):
        # One-hot networks: small, saved by basewise, and with one head.
        if wanted.task is not None:
            raise ConfigError(f"{cls.__name__} is trained from scratch; it takes no new head.")
        network = cls(config.from_dict(dict(published)))
        _strict(network, state, path, ())
        return network
    if published.get("model_type") == config.model_type:
        config = config.from_dict(dict(published))
    else:
        try:
            config = config.from_published(published, wanted.head or _head(folder, published))
        except WeightsError as error:
            raise WeightsError(f"{folder / 'config.json'}: {error}") from None
    if wanted.head is not None:
        config.head, config.pooling = wanted.head, wanted.pooling or "mean"
        wanted.apply(config)
    state = cls.convert_keys(state, config)
    with torch.device("meta"):
        network = cls(config)
    network.to_empty(device="cpu")
    trunk = f"{cls.base_model_prefix}."
    _strict(network, state, path, cls.unused, trunk if wanted.head is not None else None)
    return network


def _strict(
    network: PreTrainedModel,
    state: State,
    path: Path,
    unused: Iterable[str],
    trunk: str | None = None,
) -> None:
    """Fill a network with weights, every one by name.

    With `trunk`, the prefix of the trunk's weights, the head is new: what the file holds for
    another one is left, and what it lacks is initialised.
    """
    ours = network.state_dict()
    missing = ours.keys() - state.keys()
    unexpected = {k for k in state.keys() - ours.keys() if not _any(unused, k)}
    shapes = {
        k: (tuple(state[k].shape), tuple(ours[k].shape))
        for k in ours.keys() & state.keys()
        if state[k].shape != ours[k].shape
    }
    fresh: set[str] = set()
    if trunk is not None:
        unexpected = {k for k in unexpected if k.startswith(trunk)}
        fresh = {k for k in ours if not k.startswith(trunk) or (k in missing and "pooler" in k)}
        missing -= fresh
        shapes = {k: v for k, v in shapes.items() if k not in fresh}
    _refuse(path, network, missing, unexpected, shapes)
    network.load_state_dict({k: state[k] for k in ours if k not in fresh}, strict=False)
    _initialise(network, fresh)


def _initialise(network: PreTrainedModel, names: Iterable[str]) -> None:
    """Draw the weights of the modules that own these names, as in a new network."""
    modules: dict[str, nn.Module] = dict(network.named_modules())
    for owner in sorted({name.rpartition(".")[0] for name in names}):
        network._init_weights(modules[owner])


def _refuse(
    path: Path,
    network: PreTrainedModel,
    missing: Iterable[str],
    unexpected: Iterable[str],
    shapes: Mapping[str, tuple[Any, Any]],
) -> None:
    problems = []
    for what, names in (("missing", set(missing)), ("unexpected", set(unexpected))):
        if names:
            problems.append(f"{len(names)} {what} ({_grouped(names)})")
    if shapes:
        said = [f"{k} {list(a)} instead of {list(b)}" for k, (a, b) in sorted(shapes.items())]
        problems.append(f"{len(shapes)} of another shape ({', '.join(said)})")
    if problems:
        raise WeightsError(
            f"{path} does not fit {type(network).__name__} as config.json describes it: "
            f"{'; '.join(problems)}; take config.json and weights of one checkpoint."
        )


def _grouped(names: Iterable[str]) -> str:
    """Names with their layer numbers folded: `layer.{0,1,2}.output.bias`."""
    found: dict[tuple[str, str], list[int]] = {}
    for name in names:
        head, number, tail = [*re.split(r"\.(\d+)\.", name, maxsplit=1), "", ""][:3]
        found.setdefault((head, tail), []).append(int(number or -1))
    return ", ".join(
        head if not tail else f"{head}.{_numbers(sorted(numbers))}.{tail}"
        for (head, tail), numbers in sorted(found.items())
    )


def _numbers(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    if len(numbers) == numbers[-1] - numbers[0] + 1:
        return f"{{{numbers[0]}..{numbers[-1]}}}"
    return f"{{{','.join(map(str, numbers))}}}"


def _any(patterns: Iterable[str], name: str) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


# ------------------------------------------------------------------------ transformers' own


def _foreign(
    folder: Path, path: Path, published: Mapping[str, Any], state: State, wanted: _Wanted
) -> PreTrainedModel:
    """A network that transformers has, loaded by its own code, and what it reports held strict."""
    head = wanted.head or _head(folder, published)
    config = _foreign_config(folder, published)
    wanted.apply(config)
    if wanted.pooling is not None:
        raise ConfigError(f"{config.model_type} networks pool as transformers has it.")
    try:
        with torch.device("meta"):
            cls = type(AUTO[head].from_config(config))
    except ValueError:
        raise WeightsError(
            f"{folder / 'config.json'}: transformers has no {head} network of model_type "
            f"{config.model_type!r}."
        ) from None
    with quiet():
        network, report = cls.from_pretrained(
            None,
            config=config,
            state_dict=state,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    new = HEAD_WEIGHTS if wanted.head is not None else ()
    _refuse(
        path,
        network,
        {k for k in report["missing_keys"] if not _any(new, k)},
        {k for k in report["unexpected_keys"] if not _any((*UNUSED, *new), k)},
        {k: (a, b) for k, a, b in report["mismatched_keys"] if not _any(new, k)},
    )
    if config.model_type == "esm":
        honour_inputs_embeds(network)
        one_pass_gelu(network)
    network.register_forward_pre_hook(_explicit_attention, with_kwargs=True)
    network.register_forward_hook(_fast_attention, always_call=True)
    return network  # type: ignore[no-any-return]


def _foreign_config(folder: Path, published: Mapping[str, Any]) -> Any:
    path = folder / "config.json"
    settings = {k: v for k, v in published.items() if k not in ("auto_map", "torch_dtype", "dtype")}
    model_type = settings.pop("model_type", None)
    if model_type is None and str(settings.get("architectures", [""])[0]).startswith("Bert"):
        model_type = "bert"  # the published DNABERT says no more than that
    if model_type not in CONFIG_MAPPING:
        raise WeightsError(
            f"{path}: model_type = {model_type!r} is known neither to basewise nor to this "
            "transformers, and code that comes with a checkpoint is never run."
        )
    positions = settings.get("position_embedding_type", "absolute")
    if model_type == "bert" and positions != "absolute":
        raise WeightsError(
            f"{path}: position_embedding_type = {positions!r}, but transformers' BERT "
            "has absolute positions only."
        )
    return CONFIG_MAPPING[model_type].from_dict(settings)


def _explicit_attention(
    network: PreTrainedModel, given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """Before a pass that is asked for attention maps, leave the fast path, which has none."""
    fast: Any = network.config._attn_implementation
    if named.get("output_attentions") and fast != "eager":
        network.fast_attention = fast
        network.set_attn_implementation("eager")


def _fast_attention(network: PreTrainedModel, given: Any, output: Any) -> None:
    """After the pass, back to the fast path."""
    fast: Any = network.__dict__.pop("fast_attention", None)
    if fast is not None:
        network.set_attn_implementation(fast)


@contextmanager
def quiet() -> Iterator[None]:
    """transformers writes nothing but errors to the terminal inside the block."""
    level, bar = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()
