"""The command line: each command parses, calls one public function, and prints.

Heavy libraries are imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import ast
import errno
import functools
import inspect
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import typer

from basewise import __version__
from basewise.cli.audit import audit
from basewise.cli.components import list_components, show
from basewise.cli.demo import demo
from basewise.cli.explain import explain
from basewise.cli.fetch import fetch
from basewise.cli.init import init
from basewise.cli.predict import predict
from basewise.cli.report import report
from basewise.cli.run import check, run, status
from basewise.errors import BasewiseError, ShardError

__all__ = ["app", "main"]

INCOMPLETE = 3
GRACE = 6.0  # seconds to stop in when asked to; schedulers kill after ten or more
_WrongUsage: Any = typer.BadParameter.__bases__[0]  # of click, which newer typer contains

app = typer.Typer(
    name="basewise",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train models of DNA, explain them base by base, and find out whether to believe it.",
)


def _unwrapped(command: Callable[..., None]) -> str:
    """What a command says of itself, a line per paragraph: terminals have widths of their own."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


_PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "Studies": {
        "demo": demo,
        "init": init,
        "check": check,
        "run": run,
        "status": status,
        "report": report,
    },
    "Single steps on files": {
        "audit": audit,
        "predict": predict,
        "explain": explain,
        "fetch": fetch,
    },
    "What there is": {"list": list_components, "show": show},
}
for _panel, _commands in _PANELS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_panel, help=_unwrapped(_command))(_command)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; errors of ours are one line and exit code 2.

    Exit code 3 means that something is left to do, and that the same command continues with it.
    """
    logging.basicConfig(format="basewise: %(message)s", level=logging.WARNING)
    logging.getLogger("basewise").setLevel(logging.INFO)  # licences, layers with adapters
    signal.signal(signal.SIGINT, _interrupted)
    signal.signal(signal.SIGTERM, _stopped)
    _stop_in_time()
    try:
        sys.exit(app(standalone_mode=False))
    except _WrongUsage as error:  # an option that is not there, a value that is none
        if said := " ".join(error.format_message().split()).rstrip("."):
            command = error.ctx.command_path if error.ctx else "basewise"
            typer.echo(f"basewise: {said}. See {command} --help.", err=True)
        sys.exit(2)
    except ShardError as error:
        typer.echo(f"basewise: {_as_typed(error)}", err=True)
        sys.exit(INCOMPLETE)
    except BasewiseError as error:
        typer.echo(f"basewise: {_as_typed(error)}", err=True)
        sys.exit(2)
    except OSError as error:  # a disk that is full, a folder that may not be written
        if error.filename is None:
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = " Make room; the same command continues." if full else ""
        typer.echo(f"basewise: {error.filename}: {error.strerror}.{remedy}", err=True)
        sys.exit(INCOMPLETE if full else 2)
    except MemoryError as error:
        said = " ".join(str(error).split()) or "no more was to be had"
        typer.echo(f"basewise: memory ran out: {said}; ask for less at once.", err=True)
        sys.exit(2)


# As errors name what to say in Python; a call is left as it is.
_ARGUMENT = re.compile(
    r"Model\.load\([^)]*\)|(?<!in Python )\b([a-z_]+)=('[^']*'|\[[^\]]*\]|\{'[^{}]*\})"
)


def _as_typed(error: BasewiseError) -> str:
    """An error in one line, with arguments as this command takes them.

    `units='windows'` becomes an option where the command has one, else a `--set`, else what a
    study file says.
    """
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    line = " ".join(str(error).split())
    command = next((commands[word] for word in sys.argv if word in commands), None)
    if command is None:
        return line
    options = {each.name: each.opts[-1] for each in command.params if each.opts[-1][:2] == "--"}

    def typed(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name is None:
            return found[0]
        plain = value.strip("'")
        if name in options:
            return f"{options[name]} {plain}"
        if value.startswith("{"):
            if (table := _inline(value)) is None:
                return found[0]
            return f"--set '{name}={table}'" if "setting" in options else f"{name} = {table}"
        if "setting" not in options:
            return f"{name} = {value}".replace("'", '"')
        return f"--set {name}={plain}" if plain != value else f'--set "{name}={value}"'

    return _ARGUMENT.sub(typed, line)


def _inline(said: str) -> str | None:
    """A dictionary, as Python writes it, in one line of TOML; None where a user wrote none."""
    try:
        table = ast.literal_eval(said)
        rows = [f"{key}={json.dumps(value)}" for key, value in table.items()]
    except (ValueError, SyntaxError, TypeError, AttributeError, MemoryError, RecursionError):
        return None
    return f"{{{', '.join(rows)}}}"


def _stopped(*_: object) -> None:
    """As schedulers ask, some seconds before they kill."""
    _say_stopped()
    sys.exit(INCOMPLETE)


@functools.cache
def _say_stopped() -> None:
    """Once, whoever comes first."""
    typer.echo("basewise: stopped; the same command continues.", err=True)


@functools.cache
def _stop_in_time() -> None:
    """Have the process end soon after SIGTERM, whatever it is in the middle of.

    Python answers signals between two of its instructions, and one may be a batch that takes
    minutes. So the signal is also written to a socket, which a thread reads.
    """
    told, teller = socket.socketpair()
    teller.setblocking(False)
    signal.set_wakeup_fd(teller.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end, args=(told, teller), daemon=True).start()


def _end(told: socket.socket, _: socket.socket) -> None:
    """End the process `GRACE` seconds after SIGTERM, if it is still there: what is done is kept,
    the shard at hand is abandoned, and processes that work for this one end with it."""
    while told.recv(1) != bytes([signal.SIGTERM]):
        pass
    time.sleep(GRACE)
    _say_stopped()
    if owner := sys.modules.get("basewise.study.owner"):
        owner.give_up()
    os._exit(INCOMPLETE)


def _interrupted(*_: object) -> None:
    typer.echo("basewise: interrupted; the same command continues.", err=True)
    sys.exit(130)
