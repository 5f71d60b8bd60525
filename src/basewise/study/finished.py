"""A finished run is recognised by its bytes: all that it was made from, and all that it made.

Of studies and of experiments. `finished.json` in the run's folder holds a hash of everything that
results depend on, one of each file of the run, and what the command said. Whether a run is finished
is asked of these alone, so nothing is imported that trains or explains. It knows nothing of steps
and believes no date: where a byte differs, the run is gone through step by step, which says what
has to be made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any, NamedTuple

import basewise
from basewise.study.owner import FILE as OWNER
from basewise.study.which import tables_of

__all__ = ["FILE", "Inputs", "inputs", "recognised", "remember", "versions"]

FILE = "finished.json"
LIBRARIES = (
    "basewise", "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "scikit-learn",
    "torch", "transformers", "tokenizers", "accelerate", "peft", "safetensors",
    "memelite", "modisco-lite", "pybigtools", "resvg-py",
)  # fmt: skip
APART = {FILE, OWNER, "log.jsonl"}  # in the folder of a run, and no results
LITTLE = ("study", "experiment", "target")  # tables that name no files


class Inputs(NamedTuple):
    """What a run is made from: the name of its study, and all that its results depend on.

    `hashes` is None where that is not known without asking elsewhere.
    """

    name: str
    hashes: dict[str, Any] | None


def inputs(study: Path, data: Path | None) -> Inputs:
    """All that the results of a study depend on, by its bytes.

    The tables of the study; every file, and every file of a folder, that a text in them names,
    as it is or in the data folder; the code of basewise, of its libraries and of what adds to its
    tables; the accelerators there are. What a repository of the hub holds is known by asking it.

    Parameters
    ----------
    study, data : Path
        As given to `basewise run`.

    Raises
    ------
    ConfigError
        If there is no study file, or it is not TOML.
    """
    file, tables = tables_of(study)
    found: dict[str, str] = {}
    for text in {text for name in tables if name not in LITTLE for text in _texts(tables[name])}:
        for path in _meant(text, data):
            found |= {str(each): _sha(each) for each in _files(path)}
    about = tables.get("study", tables.get("experiment"))
    name = str(about.get("name", "")) if isinstance(about, Mapping) else ""
    models = tables.get("models")
    for model in models.values() if isinstance(models, Mapping) else ():
        text = str(model.get("path", "")) if isinstance(model, Mapping) else ""
        if text and not any(path.exists() for path in _meant(text, data)):
            return Inputs(name, None)
    package = Path(basewise.__file__).parent
    code = {str(path.relative_to(package)): _sha(path) for path in _code(package)}
    hashes = {
        "file": file,
        "data": str(data or ""),
        "tables": json.loads(json.dumps(tables, default=str)),
        "files": found,
        "code": _digest(code),
        "versions": versions() | _additions(),
        "machine": [platform.python_version(), platform.machine(), *_accelerators()],
    }
    return Inputs(name, hashes)


def _meant(text: str, data: Path | None) -> tuple[Path, Path]:
    """Where a file may lie that a study names."""
    return Path(os.path.expanduser(text)), (data or Path()) / text


def remember(folder: Path, given: Inputs, now: Inputs, said: list[str]) -> None:
    """Keep what a run was made from, what it made, and what was said at its end.

    Parameters
    ----------
    given, now : Inputs
        From before the run began and from after its end: what changed meanwhile may have been
        read as it was or as it is, so such a run is not remembered.
    """
    from basewise.store import write_text

    (folder / FILE).unlink(missing_ok=True)
    if given == now and given.hashes is not None:
        found = {"inputs": given.hashes, "files": _results(folder), "said": said}
        write_text(folder / FILE, json.dumps(found, indent=1) + "\n")


def recognised(folder: Path, given: Inputs) -> list[str] | None:
    """What was said at the end of a run, if all is as it was then; None otherwise."""
    try:
        known = json.loads((folder / FILE).read_text(encoding="utf-8"))
        same = given.hashes is not None and known["inputs"] == given.hashes
        if not same or (folder / OWNER).exists() or known["files"] != _results(folder):
            return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # nothing that we wrote
        return None
    said: list[str] = known["said"]
    return said


def _texts(value: Any) -> Iterator[str]:
    """Every text in tables that may be the name of a file."""
    if isinstance(value, str):
        if value.strip("./ ") and len(value) < 1000 and "\0" not in value:
            yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if key != "type":
                yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _files(path: Path) -> Iterator[Path]:
    """The file, or all files of the folder."""
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from sorted(each for each in path.rglob("*") if each.is_file())


def _code(package: Path) -> Iterator[Path]:
    return (path for path in _files(package) if "__pycache__" not in path.parts)


def versions() -> dict[str, str]:
    """Versions of the libraries that have a part in results, of those that are installed."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _additions() -> dict[str, str]:
    """What other packages add to the tables of basewise, with their versions."""
    return {
        f"{point.group}:{point.name}": f"{point.value} {each.version}"
        for each in distributions()
        for point in each.entry_points
        if point.group.startswith("basewise.")
    }


def _accelerators() -> list[str]:
    """What decides whether torch finds an accelerator, without asking torch."""
    there = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return [os.environ.get("CUDA_VISIBLE_DEVICES", ""), *there]


def _results(folder: Path) -> dict[str, str]:
    """A hash of every file of a run; of attributions and cells, of what the lock says is its own.

    Hidden files are none of a run: they say what is being made, and what a store holds of it.
    """
    lock = json.loads((folder / "lock.json").read_text(encoding="utf-8"))
    places = {folder / place for place in lock["places"].values()}
    found = {}
    for path in _files(folder):
        name = path.relative_to(folder)
        if name.parts[0] in ("attributions", "cells") and path.parent not in places:
            continue
        if str(name) not in APART and not any(part.startswith(".") for part in name.parts):
            found[str(name)] = _sha(path)
    return found


def _digest(values: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _sha(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
