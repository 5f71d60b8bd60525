"""The command line: each command parses, calls one public function, and prints.

Heavy libraries are imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import sys

import click
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
from basewise.errors import BasewiseError

__all__ = ["app", "main"]

app = typer.Typer(
    name="basewise",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train models of DNA, explain them base by base, and find out whether to believe it.",
)

for _command in (demo, run, check, status, report, init):
    app.command(rich_help_panel="Studies")(_command)
for _command in (audit, predict, explain, fetch):
    app.command(rich_help_panel="Single steps on files")(_command)
app.command("list", rich_help_panel="What there is")(list_components)
app.command(rich_help_panel="What there is")(show)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; errors of ours are one line and exit code 2."""
    command = typer.main.get_command(app)
    try:
        status = command.main(standalone_mode=False)
    except BasewiseError as error:
        _say(f"basewise: {' '.join(str(error).split())}")
        status = 2
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("basewise: interrupted; the same command continues.")
        status = 130
    sys.exit(status)


def _say(text: str) -> None:
    typer.echo(text, err=True)
