"""What of a run is done; asked of its files, without anything that computes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from basewise.explainers.parts import cuts_in
from basewise.picture.words import duration
from basewise.remote import place_of
from basewise.study.owner import owner_of
from basewise.study.results import Run
from basewise.study.watch import read_log

__all__ = ["progress_of"]


def progress_of(run: Run) -> list[str]:
    """Who runs, if anyone; shards done of all per model and explainer; the pace; the report."""
    owner = owner_of(run.folder)
    lines = [owner] if owner else []
    left = 0
    for model in run.models:
        for explainer in run.explainers:
            done, aside = len(list(run.parts(model, explainer))), len(run.errors(model, explainer))
            place = run.lock.get("places", {}).get(f"{model}/{explainer}")
            whole = len(cuts_in(run.folder / place)) if place else 0
            left += (whole or 1) - done
            said = f"{done} of {whole} shards" if whole else "not begun"
            lines.append(f"{model} by {explainer}: {said}{f', {aside} set aside' if aside else ''}")
    if owner and left and (seconds := _pace(run.folder / "log.jsonl")):
        lines.append(
            f"{duration(seconds)} from shard to shard: about {duration(seconds * left)} left"
        )
    written = (run.folder / "report" / "index.html").exists()
    earlier = " (of an earlier state: run the study again)" if left else ""
    said = f"{place_of(run.folder)}/report/index.html{earlier}"
    lines.append(f"report: {said if written else 'not written yet'}")
    return lines


def _pace(log: Path) -> float | None:
    """Seconds from one shard to the next since the run was last started, by its log.

    None where that cannot be said: of fewer than two shards, or by a clock that was set back.
    """
    times: list[datetime] = []
    for line in read_log(log):
        if line["event"] == "start":
            times.clear()
        elif line["event"] == "part":
            times.append(datetime.fromisoformat(line["time"]))
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return (times[-1] - times[0]).total_seconds() / (len(times) - 1)
