"""Where a checkpoint lies: a folder, or a repository of the Hugging Face hub and its cache.

Only files that are read are fetched: configuration, tokenizer, card and weights, safetensors
if there are any. A repository's code is never among them.
"""

from __future__ import annotations

import re
from pathlib import Path

from basewise.errors import ConfigError, WeightsError

__all__ = ["checkpoint_folder", "licence_of"]

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
SMALL = (
    "config.json",
    "README.md",
    "tokenizer.json",
    "vocab.txt",
    "basewise_*.json",
    "adapter_*",
)
SAFE = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")
NEEDED = (
    "config.json, model.safetensors (or pytorch_model.bin) and the tokenizer's tokenizer.json "
    "or vocab.txt, where it has one"
)


def checkpoint_folder(source: str | Path, revision: str | None = None) -> Path:
    """The folder of a checkpoint; one of the hub is fetched into the local cache first.

    Parameters
    ----------
    source : path or str
        A folder, or `"owner/name"` of a repository of the hub.
    revision : str, optional
        A commit, tag or branch of the repository; the newest state of `main` if None.

    Raises
    ------
    WeightsError
        If there is no such folder, or the repository is neither in the local cache nor can
        be reached; the message says which files to put where.
    ConfigError
        If a revision of a folder is asked for.
    """
    folder = Path(source).expanduser()
    if folder.exists():
        if revision is not None:
            raise ConfigError(f"revision = {revision!r}: {folder} is a folder, which has none.")
        return folder
    name = str(source)
    if isinstance(source, Path) or not HUB_NAME.fullmatch(name) or name.startswith("."):
        raise WeightsError(
            f"{name} is not a folder, and not the 'owner/name' of a repository of the hub either; "
            f"give a folder that holds {NEEDED}."
        )
    found = _fetch(name, revision, (*SMALL, *SAFE))
    if not any(found.glob("model*.safetensors")):
        found = _fetch(name, revision, (*SMALL, *PICKLED))
    return found


def _fetch(name: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    import huggingface_hub
    from huggingface_hub import constants, errors

    try:
        found = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=list(patterns)
        )
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        what = "revision" if isinstance(error, errors.RevisionNotFoundError) else "repository"
        at = "" if revision is None else f" at revision {revision!r}"
        raise WeightsError(
            f"The hub knows no such {what}: {name}{at}; look at {constants.ENDPOINT}/{name} "
            "(one that is private or gated needs `hf auth login`)."
        ) from None
    except OSError as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        at = "" if revision is None else f" (revision {revision})"
        raise WeightsError(
            f"{name}{at} is not a folder, not whole in the local cache {constants.HF_HUB_CACHE}, "
            f"and could not be fetched from {constants.ENDPOINT} ({said}); put {NEEDED}, into a "
            "folder and load that folder."
        ) from None
    return Path(str(found))


def licence_of(folder: Path) -> str | None:
    """The licence that a model card, `README.md`, names in its front matter; None without one."""
    card = folder / "README.md"
    if not card.exists():
        return None
    front = re.match(r"---\s*\n(.*?)\n---\s*$", card.read_text("utf-8", "replace"), re.S | re.M)
    said = front and re.search(r"^license:\s*(\S.*?)\s*$", front[1], re.M)
    return said[1].strip("'\"") if said else None
