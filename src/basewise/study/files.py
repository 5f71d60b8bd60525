"""What lies in files that settings only name: results depend on it as on the settings."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from basewise.models.hub import checkpoint_folder

__all__ = ["contents", "files_digest"]


def contents(settings: Any) -> dict[str, str]:
    """Hashes of the files that a component and those inside it name, by what they are named.

    A component says which of its settings name files in `files`, a tuple of their names. A file
    that is missing has no hash; that it is missing says who reads it.

    Parameters
    ----------
    settings : component
        Or a tuple of components; anything else names no files.
    """
    found = {}
    for component in _components(settings):
        for name in getattr(type(component), "files", ()):
            if (said := getattr(component, name)) and (digest := _digest(component, said)):
                found[str(said)] = digest
    return found


def _components(value: Any) -> Iterator[Any]:
    """A component and all components in its settings."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from _components(each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in dataclasses.fields(value):
            yield from _components(getattr(value, field.name))


def _digest(component: Any, said: str) -> str:
    path = Path(said)
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    if hasattr(component, "revision"):  # a model: a folder, or a name on the hub
        return files_digest(checkpoint_folder(said, component.revision))
    return ""


def files_digest(folder: Path) -> str:
    """A hash of a model's weights, labels and tokenizer: of all files of its folder."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(folder)}\n".encode())
        with open(path, "rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]
