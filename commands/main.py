"""callwright: what a person does beside the pipeline

callwright --help
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from callwright.faults import Fault
from callwright.records import Language, Split

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


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(help="Rows in any format that `callwright import` reads.")],
    tools: Annotated[Path | None, typer.Option(help="The tools, for rows that name none.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="The rows' format; detected unless given.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the whole report here, as JSON.")] = None,
    today: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day from which `March 4` is the next one.")
    ] = None,
    against: Annotated[
        list[Path] | None, typer.Option(help="A test set that no row may hold: rows, or BFCL's data folder.")
    ] = None,
) -> None:
    """Check every row against the rules; exits with 0 if all are accepted, 1 if some are rejected, 2 if misused."""
    from commands.validate import validate as run

    _exits(lambda: run(file, tools, form, report, today.date() if today else None, against or ()))


_FORCE = typer.Option("--force", help="Replace the file that is there.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="JSON lines or a JSON array, in any format of docs/formats.md.")],
    form: Annotated[str | None, typer.Option("--format", help="Detected unless given.")] = None,
    tools: Annotated[Path | None, typer.Option(help="JSON or YAML: what rows that name no tools are offered.")] = None,
    language: Annotated[Language | None, typer.Option(help="Detected unless given.")] = None,
    split: Annotated[Split, typer.Option(help="Of rows that do not say theirs.")] = Split.TRAIN,
    out: Annotated[Path | None, typer.Option(help="data/sources/NAME.jsonl unless given.")] = None,
    *,
    force: Annotated[bool, _FORCE] = False,
) -> None:
    """Read rows of another format into data/sources/, which the next validate reads."""
    from commands.exchange import import_rows

    _exits(lambda: import_rows(file, form, tools, language, split, out, force=force))


@app.command("export")
def export(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="One of docs/formats.md.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    source: Annotated[Path, typer.Option("--from", help="Records.")] = Path("data/validated/train.jsonl"),
    *,
    force: Annotated[bool, _FORCE] = False,
) -> None:
    """Write records in another format."""
    from commands.exchange import export_rows

    _exits(lambda: export_rows(form, out, source, force=force))


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
    from commands.pack_check import check

    _exits(lambda: check(files, limit))


def _exits(command: Callable[[], int]) -> None:
    """Leave with the code that the command returns, or with 2 and a sentence."""
    try:
        code = command()
    except Fault as fault:
        print(fault, file=sys.stderr)
        raise typer.Exit(2) from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # who read has read enough
            sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for what is flushed at the end
            raise typer.Exit(0) from None
        if error.filename is None:
            raise
        print(f"{error.filename}: {error.strerror}; name another place, or mend this one", file=sys.stderr)
        raise typer.Exit(2) from None
    if code:
        raise typer.Exit(code)


def _told(command: Callable[[], None]) -> None:
    """Exit codes of design §3: 2 and the sentence on stderr where something cannot be read."""
    try:
        command()
    except Fault as fault:
        print(fault, file=sys.stderr)
        raise typer.Exit(2) from None
