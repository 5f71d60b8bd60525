"""From which probability on a base is called: kept in the card of a model's folder, by label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from basewise.errors import ConfigError, StoreError
from basewise.models.card import CARD, read_card, write_card

__all__ = ["keep_thresholds", "threshold_of"]


def keep_thresholds(folder: Path, thresholds: Mapping[str, float]) -> None:
    """Write thresholds, by label, into the card of a saved model.

    They are chosen on data the model was not trained on; see
    `basewise.evaluate.bases.choose_threshold`. A model that is loaded from there has them.

    Raises
    ------
    ConfigError
        If one is no number from 0 to 1.
    StoreError
        If the folder holds no model that `Model.save` wrote.
    """
    for label, threshold in thresholds.items():
        _check(f"threshold of {label!r}", threshold)
    card = read_card(folder)
    if not card:
        raise StoreError(f"{folder} has no {CARD}; save the model with Model.save first.")
    kept = card.get("thresholds", {}) | {label: float(t) for label, t in thresholds.items()}
    write_card(folder, card | {"thresholds": kept})


def threshold_of(folder: Path, label: str, said: float | None = None) -> float:
    """The threshold that was said, or that the card of a model's folder has for a label.

    Raises
    ------
    ConfigError
        If neither is there, or what was said is no number from 0 to 1.
    """
    if said is not None:
        _check("threshold", said)
        return said
    kept = read_card(folder).get("thresholds", {})
    if label not in kept:
        known = ", ".join(f"{name} {value:g}" for name, value in kept.items()) or "none"
        raise ConfigError(
            f"The card of {folder} keeps no threshold for {label!r} (it has {known}); say from "
            "which probability on a base is called: --threshold 0.5."
        )
    return float(kept[label])


def _check(name: str, threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise ConfigError(f"{name} = {threshold}: a number from 0 to 1 is needed.")
