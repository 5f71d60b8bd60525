"""What every backend owes: each task once, whatever becomes of its workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from basewise.errors import ConfigError
from basewise.study import distribute as distributing
from basewise.study.backends import BACKENDS, processes
from basewise.study.backends.work import Failed
from basewise.study.distribute import LOSSES, TRIES, distribute
from shard_tasks import Deadly, Failing, Named, Said


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second try follows soon."""
    monkeypatch.setattr(distributing, "WAIT", 0.01)


def outcomes(tasks: list[Any], backend: Any) -> tuple[dict[int, Any], list[tuple[int, Failed]]]:
    """What became of each task, and what was tried again."""
    again: list[tuple[int, Failed]] = []
    with BACKENDS.build(backend).open("cpu") as workers:
        found = list(distribute(enumerate(tasks), workers, lambda *seen: again.append(seen)))
    assert sorted(key for key, _ in found) == list(range(len(tasks)))
    return dict(found), again


@pytest.mark.parametrize("backend", ["local", {"type": "processes", "workers": 2}])
def test_every_task_is_done_once(backend: Any) -> None:
    found, again = outcomes([Said(i) for i in range(7)], backend)
    assert [int(found[i].split()[0]) for i in range(7)] == list(range(7))
    workers = {int(each.split()[1]) for each in found.values()}
    assert (workers == {os.getpid()}) == (backend == "local")
    assert len(workers) <= 2
    assert not again


@pytest.mark.parametrize("backend", ["local", {"type": "processes", "workers": 1}])
def test_what_fails_is_tried_again_and_then_set_aside(backend: Any, tmp_path: Path) -> None:
    tasks = [
        Failing(tmp_path / "once", 1),
        Failing(tmp_path / "always", 99),
        Failing(tmp_path / "ours", 99, ours=True),
        Said(3),
    ]
    found, again = outcomes(tasks, backend)
    assert found[0] == b"well"
    assert found[1].error == "RuntimeError: no luck"
    assert "shard_tasks.py" in found[1].trace
    assert len((tmp_path / "always").read_bytes()) == TRIES
    assert found[2] == Failed("the record is bad", lasting=True)
    assert len((tmp_path / "ours").read_bytes()) == 1
    assert found[3].startswith(b"3")
    assert sorted(key for key, _ in again) == [0] + [1] * (TRIES - 1)


def test_a_worker_that_dies_is_replaced_and_one_task_cannot_kill_for_ever(tmp_path: Path) -> None:
    tasks = [Deadly(tmp_path / "twice", 2), Deadly(tmp_path / "always", 99), Said(2), Said(3)]
    found, again = outcomes(tasks, {"type": "processes", "workers": 2})
    assert found[0] == b"survived"
    assert found[1].lost
    assert found[1].error.endswith("ended by SIGKILL")
    assert len((tmp_path / "always").read_bytes()) == LOSSES
    assert found[2].startswith(b"2")
    assert len(again) == 2 + LOSSES - 1


@pytest.mark.parametrize(("given", "own"), [("2,5", {b"2", b"5"}), (None, {b"0", b"1"})])
def test_processes_take_the_accelerators_that_the_run_was_given(
    given: str | None, own: set[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "CUDA_VISIBLE_DEVICES"
    monkeypatch.delenv(variable, raising=False)
    if given is not None:
        monkeypatch.setenv(variable, given)
    monkeypatch.setattr(processes, "_accelerators", lambda: 2)
    with BACKENDS.build("processes").open("cuda") as workers:
        for key in range(2):  # both at once, so each by a process of its own
            workers.give(key, Named(variable))
        found: list[Any] = []
        while len(found) < 2:
            found += workers.take(1.0)
    assert {outcome for _, outcome in found} == own


def test_tasks_are_drawn_when_there_is_room_for_them() -> None:
    drawn = []

    def tasks() -> Any:
        for i in range(1000):
            drawn.append(i)
            yield i, Said(i)

    with BACKENDS.build("local").open("cpu") as workers:
        found = distribute(tasks(), workers)
        for _ in range(3):
            next(found)
    assert len(drawn) == 3


def test_a_setting_that_a_backend_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^backend 'local' has no setting 'workers'"):
        BACKENDS.build({"type": "local", "workers": 2})


@pytest.mark.faults
def test_ray_keeps_the_same_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    given = [str(Path(__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(given))  # of the actors, for the tasks
    tasks = [
        *(Said(i) for i in range(3)),
        Failing(tmp_path / "always", 99),
        Deadly(tmp_path / "twice", 2),
    ]
    found, again = outcomes(tasks, {"type": "ray", "address": "local", "workers": 2})
    assert [int(found[i].split()[0]) for i in range(3)] == [0, 1, 2]
    assert found[3].error == "RuntimeError: no luck"
    assert found[4] == b"survived"
    assert sorted(key for key, _ in again) == [3, 3, 4, 4]
