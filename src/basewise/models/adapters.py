"""Low-rank adapters (LoRA; Hu et al. 2022, arXiv 2106.09685), through the `peft` library.

The weights W of chosen linear layers stay as they are and get an addition B A of low rank that
is trained instead, together with the head. Afterwards it is merged into W, or kept beside it
in files of peft's own layout.
"""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from basewise.errors import CapabilityError, ConfigError, WeightsError
from basewise.models.network import Network, State
from basewise.registry import component
from basewise.store import write_text

__all__ = ["Lora", "adapters", "base_weights", "merged", "read_adapters", "write_adapters"]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PEFT = "base_model.model."  # before every name in peft's files
log = logging.getLogger("basewise")


@component
class Lora:
    """Train low-rank additions to some layers, and the head, instead of all weights.

    Attributes
    ----------
    rank : int
        Of the additions.
    alpha : float
        They are scaled by `alpha / rank`.
    dropout : float
        Of their input, in training.
    targets : tuple of str
        The ends of the names of the linear layers that get one; those that the architecture
        names (`Network.adapted`), or that peft knows for one of transformers', where empty.
    merge : bool
        Add the product to the weights after training, so that nothing of it is left; else
        keep it apart: `Model.save` writes the untouched weights, and beside them
        `adapter_config.json` and `adapter_model.safetensors` as peft has them.
    """

    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    targets: tuple[str, ...] = ()
    merge: bool = True

    def adapt(self, network: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
        """A copy of `network` with adapters, in which only they and the head are trainable.

        Which layers were chosen, and how many weights are trained, goes to the log `basewise`.

        Raises
        ------
        ConfigError
            If no layer has such a name, or none is known for the architecture.
        CapabilityError
            If the network has adapters already.
        """
        if adapters(network):
            raise CapabilityError(
                "This network has adapters already; train it with merge = true first."
            )
        import peft

        targets = self.targets or _targets(network)
        modules = [name for name, module in network.named_modules() if _chosen(name, targets)]
        if not modules:
            raise ConfigError(
                f"targets = {list(targets)}: {type(network).__name__} has no layer of that name; "
                f"it has {', '.join(_linear_names(network))}."
            )
        network = copy.deepcopy(network)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            peft.inject_adapter_in_model(
                peft.LoraConfig(
                    r=self.rank,
                    lora_alpha=self.alpha,  # type: ignore[arg-type]
                    lora_dropout=self.dropout,
                    target_modules=list(targets),
                ),
                network,
            )
        trunk = f"{network.base_model_prefix}."
        for name, parameter in network.named_parameters():
            head = not name.startswith(trunk) or ".pooler." in name
            parameter.requires_grad_(head or "lora_" in name)
        trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
        log.info(
            "LoRA of rank %d on %d layers (%s); %s of %s weights are trained, the head's among "
            "them",
            self.rank,
            len(modules),
            ", ".join(targets),
            f"{trained:,}",
            f"{sum(p.numel() for p in network.parameters()):,}",
        )
        return network

    def finish(self, network: PreTrainedModel) -> PreTrainedModel:
        """The trained network, its adapters merged or kept as the settings say."""
        return merged(network) if self.merge else network


def merged(network: PreTrainedModel) -> PreTrainedModel:
    """A copy in which every adapter is added to the weights it adapts, and gone."""
    network = copy.deepcopy(network)
    for name, layer in adapters(network):
        layer.merge(safe_merge=True)
        owner, _, attribute = name.rpartition(".")
        setattr(network.get_submodule(owner), attribute, layer.get_base_layer())
    vars(network).pop("peft_config", None)
    return network.requires_grad_(True)


def adapters(network: nn.Module) -> list[tuple[str, Any]]:
    """The layers with an adapter, by name."""
    return [(name, module) for name, module in network.named_modules() if _adapted(module)]


def base_weights(network: nn.Module) -> State:
    """The weights without those of adapters, under the names they have without adapters."""
    return {
        name.replace(".base_layer.", "."): value
        for name, value in network.state_dict().items()
        if "lora_" not in name
    }


def write_adapters(network: nn.Module, folder: Path) -> None:
    """Write a network's adapters into `folder`, in peft's layout; without any, none stay there."""
    if not adapters(network):
        for name in (CONFIG, WEIGHTS):
            (folder / name).unlink(missing_ok=True)
        return
    config = vars(network)["peft_config"]["default"].to_dict()
    config["target_modules"] = sorted(config["target_modules"])
    kept = {k: v for k, v in config.items() if not isinstance(v, set)}
    write_text(folder / CONFIG, json.dumps(kept, indent=2, sort_keys=True, default=str) + "\n")
    state = {
        f"{PEFT}{name.replace('.default.', '.')}": value.contiguous()
        for name, value in network.state_dict().items()
        if "lora_" in name
    }
    save_file(state, folder / WEIGHTS)


def read_adapters(network: PreTrainedModel, folder: Path) -> None:
    """Give a network the adapters that lie in its folder, if any.

    Raises
    ------
    WeightsError
        If they are not whole, not LoRA, or made for another network.
    """
    config, weights = folder / CONFIG, folder / WEIGHTS
    if not config.exists():
        return
    import peft

    try:
        said = json.loads(config.read_text(encoding="utf-8"))
        known = {k: v for k, v in said.items() if k in peft.LoraConfig.__dataclass_fields__}
        if said.get("peft_type") != "LORA":
            raise WeightsError(
                f"{config}: peft_type = {said.get('peft_type')!r}; adapters of type LORA are read."
            )
        peft.inject_adapter_in_model(peft.LoraConfig(**known), network)
        state = load_file(weights)
    except WeightsError:
        raise
    except (OSError, ValueError, TypeError, AttributeError, SafetensorError) as error:
        raise WeightsError(f"{config} or {WEIGHTS} beside it is broken ({error}).") from None
    ours = {
        f"{PEFT}{name.replace('.default.', '.')}": value
        for name, value in network.state_dict().items()
        if "lora_" in name
    }
    if {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in state.items()}:
        wrong = sorted(ours.keys() ^ state.keys()) or ["their shapes"]
        raise WeightsError(
            f"{weights} does not fit the network beside it: {', '.join(wrong[:4])}; "
            "take adapters and weights of one model."
        )
    with torch.no_grad():
        for name, value in ours.items():
            value.copy_(state[name])
    network.requires_grad_(True).eval()


def _adapted(module: nn.Module) -> bool:
    return "lora_A" in getattr(module, "_modules", {})


def _targets(network: PreTrainedModel) -> tuple[str, ...]:
    """The layers that get an adapter unless others are named."""
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    if isinstance(network, Network):
        return network.adapted
    kind = network.config.model_type
    known = {"esm": ["query", "key", "value"], "bert": ["query", "key", "value"]}
    found = known.get(kind) or KNOWN.get(kind)
    if found is None:
        raise ConfigError(
            f"No layers are known for adapters of {type(network).__name__}; name them with "
            f"targets = [...]: it has {', '.join(_linear_names(network)) or 'no linear layers'}."
        )
    return tuple(found)


def _chosen(name: str, targets: tuple[str, ...]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _linear_names(network: nn.Module) -> list[str]:
    linear = (name for name, module in network.named_modules() if isinstance(module, nn.Linear))
    return sorted({name.rpartition(".")[2] for name in linear})
