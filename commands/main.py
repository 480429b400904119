"""callwright: what a person does beside the pipeline

callwright --help
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from callwright.faults import Fault

app = typer.Typer(
    help="Turns a list of tools into a model that calls them correctly. The pipeline itself is `dvc repro`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _callwright() -> None:
    """One command alone would otherwise be taken for the whole program."""


@app.command()
def show() -> None:
    """Print base against tuned: the scores, the register's decision, ten requests with both answers."""
    from commands.show import show as run

    _told(run)


@app.command()
def sync() -> None:
    """Log to MLflow once more what is there, after it was out of reach."""
    from commands.sync import sync as run

    _told(run)


pack = typer.Typer(help="Packs: the tools of a domain and how people ask for them.", no_args_is_help=True)
app.add_typer(pack, name="pack")


@pack.callback()
def _pack() -> None:
    """Likewise."""


@pack.command("check")
def pack_check(
    files: Annotated[list[Path], typer.Argument(help="Pack files, such as packs/office.yaml.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Show so many sentences a pack; all unless given.")] = None,
) -> None:
    """Say what is wrong with a pack and what it lacks; exits with 1 where something is lacking."""
    from commands.pack_check import run

    _told(lambda: run(files, limit))


def _told(command: Callable[[], None]) -> None:
    """Exit codes of design §3: 2 and the sentence on stderr where something cannot be read."""
    try:
        command()
    except Fault as fault:
        print(fault, file=sys.stderr)
        raise typer.Exit(2) from None
