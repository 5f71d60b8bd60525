"""What a `tokenizer.json` holds, read, checked and pruned as plain data.

Pruning to a maximum length L keeps the vocabulary entries of at most L bases and the
merges whose parts sum to at most L, in order; special tokens always stay. A merge of
allowed parts into an allowed token is never lost, because parts are shorter than wholes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from basewise.errors import StoreError

__all__ = ["compact", "prune", "read_definition", "special_tokens"]

Definition = dict[str, Any]


def read_definition(path: Path) -> Definition:
    """The content of a BPE `tokenizer.json` for DNA, without truncation and padding.

    Raises
    ------
    StoreError
        If the file is missing, broken, not BPE, or has no token for a base.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist; give the path of a tokenizer.json.") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is not a whole tokenizer.json ({error}).") from None
    model = said.get("model") if isinstance(said, dict) else None
    kind = model.get("type") if isinstance(model, dict) else None
    if not isinstance(model, dict) or kind != "BPE":
        raise StoreError(f"{path} holds a model of type {kind!r}; only BPE is read.")
    vocab, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocab, dict) or not isinstance(merges, list):
        raise StoreError(f"{path} lacks the vocabulary or the merges of its BPE model.")
    missing = [letter for letter in "ACGT" if letter not in vocab]
    if missing:
        raise StoreError(
            f"{path} has no token for {', '.join(missing)}; it is not a tokenizer of DNA."
        )
    definition: Definition = said
    return definition | {"truncation": None, "padding": None}


def special_tokens(definition: Definition) -> list[str]:
    """Texts that pruning must keep: the added tokens and the unknown token."""
    added = [token["content"] for token in definition.get("added_tokens") or []]
    unknown = definition["model"].get("unk_token")
    return added + [unknown] * (unknown is not None and unknown not in added)


def prune(definition: Definition, max_length: int) -> Definition:
    """The definition without tokens of more than `max_length` bases; ids unchanged."""
    model, special = definition["model"], set(special_tokens(definition))
    vocab = {
        token: i
        for token, i in model["vocab"].items()
        if len(token) <= max_length or token in special
    }
    merges = [merge for merge in model["merges"] if sum(map(len, _parts(merge))) <= max_length]
    return definition | {"model": model | {"vocab": vocab, "merges": merges}}


def compact(definition: Definition) -> Definition:
    """The definition with ids 0, 1, 2, ... in the order of its ids."""
    vocab = definition["model"]["vocab"]
    new = {old: i for i, old in enumerate(sorted(vocab.values()))}
    return definition | {
        "model": definition["model"] | {"vocab": {token: new[i] for token, i in vocab.items()}},
        "added_tokens": [
            token | {"id": new[token["id"]]} for token in definition.get("added_tokens") or []
        ],
        "post_processor": _renumbered(definition.get("post_processor"), new),
    }


def _parts(merge: str | list[str]) -> list[str]:
    """Both notations of a merge: `"A C"` and `["A", "C"]`."""
    return merge.split(" ") if isinstance(merge, str) else merge


def _renumbered(processor: Definition | None, new: dict[int, int]) -> Definition | None:
    """A post-processor that adds special tokens under their new ids."""
    if processor is None:
        return None
    if processor["type"] == "TemplateProcessing":
        tokens = {
            name: token | {"ids": [new[i] for i in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
        return processor | {"special_tokens": tokens}
    if processor["type"] in ("BertProcessing", "RobertaProcessing"):
        ends = {end: [processor[end][0], new[processor[end][1]]] for end in ("cls", "sep")}
        return processor | ends
    raise StoreError(
        f"A post-processor of type {processor['type']!r} cannot be given new ids; "
        "keep the published ids (compact = false)."
    )
