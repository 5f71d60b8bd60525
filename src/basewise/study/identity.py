"""Whether the study in a run's folder is the one that is to be run there.

A study is known by the name of its file and by its data; everything else is a setting, and may
change from run to run. See `docs/decisions/006-a-run-folder-belongs-to-one-study.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basewise.errors import ConfigError
from basewise.study.results import Run
from basewise.study.study import TABLES, Study
from basewise.types import Record

__all__ = ["refuse_another_file", "refuse_other_data"]

SHARED = 0.5  # of the sequences of the smaller data set
REMEDY = "give this one another name in [study] or another folder with --out, or delete {folder}."


def refuse_another_file(study: Study, folder: Path) -> None:
    """Refuse a study of another file, unless every setting is the same.

    Raises
    ------
    ConfigError
        Naming both files.
    """
    lock = Run(folder).lock
    file = lock.get("file")
    if not file or not study.file or file == study.file or _settings(study) == _tables(lock):
        return
    raise ConfigError(
        f"{folder} holds the study of {file}, and {study.file} is another of the same name: "
        f"{_differences(study, lock)}; {REMEDY.format(folder=folder)}"
    )


def refuse_other_data(
    study: Study, records: Mapping[str, Sequence[Record]], digest: str, folder: Path
) -> None:
    """Refuse data that are not those of the run, changed: another grammar or other sequences.

    Raises
    ------
    ConfigError
        Saying what the run was made from.
    """
    run = Run(folder)
    before, now = run.lock.get("data"), _settings(study)["data"]
    if not before or run.lock["hashes"].get("data") == digest:
        return
    if _made_by(before) != _made_by(now):
        said = f"{_source(before)}, not of {_source(now)}"
    elif now["type"] == "grammar":  # other settings, or another seed, of the same grammar
        return
    else:
        there = {r.sequence for name in records for r in run.records(name)}
        here = {r.sequence for some in records.values() for r in some}
        smaller = min(len(there), len(here))
        shared = len(there & here)
        if shared >= SHARED * smaller:
            return
        said = (
            f"other data: {_source(before)} with {len(there):,} sequences, of which these data "
            f"({len(here):,}) share {shared:,}"
        )
    raise ConfigError(f"{folder} holds a study of {said}; {REMEDY.format(folder=folder)}")


def _settings(study: Study) -> dict[str, Any]:
    """The study's tables as they are read back from a lock."""
    return _tables(json.loads(json.dumps(study.settings())))


def _tables(lock: Mapping[str, Any]) -> dict[str, Any]:
    return {name: lock.get(name) for name in TABLES}


def _differences(study: Study, lock: Mapping[str, Any]) -> str:
    before, now = _tables(lock), _settings(study)
    different = ", ".join(f"[{name}]" for name in TABLES if before[name] != now[name])
    return f"they differ in {different}"


def _made_by(data: Mapping[str, Any]) -> tuple[str, str]:
    """The kind of a data set, and of its grammar where it has one."""
    return data["type"], data["grammar"]["type"] if data["type"] == "grammar" else ""


def _source(data: Mapping[str, Any]) -> str:
    if data["type"] == "grammar":
        return f"the grammar {data['grammar']['type']}"
    return str(data.get("train", data["type"]))
