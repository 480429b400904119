"""callwright: what a person does beside the pipeline

callwright --help
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
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


_CLOCK = [f"%Y-%m-%d{between}%H:%M{more}" for between in "T " for more in ("", ":%S", "%z")]


@app.command()
def score(
    gold: Annotated[Path, typer.Option(help="Rows with the right answers, in any format that validate reads.")],
    predictions: Annotated[Path, typer.Option(help='Lines of {"id": …, "text": …}: the raw answers.')],
    form: Annotated[
        str, typer.Option("--format", help="How answers are written: document, or a family such as qwen3.")
    ] = "document",
    tools: Annotated[Path | None, typer.Option(help="The tools, for rows that name none.")] = None,
    now: Annotated[
        datetime | None,
        typer.Option(
            formats=_CLOCK,
            metavar="2026-03-02T09:00",
            help="The clock at which moments are compared; 2026-03-02 09:00, the pipeline's own, unless given.",
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report here, as JSON.")] = None,
) -> None:
    """Judge any model's answers against gold rows; exits with 0 once it has scored, 2 if misused."""
    from commands.score import score as run

    _exits(lambda: run(gold, predictions, form, tools, now, report))


@app.command()
def chat(
    requests: Annotated[
        list[str] | None, typer.Argument(metavar="[REQUEST]...", help="Answered one after another; none: asked for.")
    ] = None,
    pack: Annotated[str, typer.Option(help="One of packs/, or several with commas.")] = "office",
    tools: Annotated[
        str | None, typer.Option(help="Tools to offer, with commas; the first that training saw unless given.")
    ] = None,
    language: Annotated[Language | None, typer.Option(help="That of the first request unless given.")] = None,
    model: Annotated[
        str, typer.Option(help="champion, base, adapter, or an address: http://HOST/v1#MODEL.")
    ] = "champion",
    now: Annotated[
        datetime | None,
        typer.Option(
            formats=_CLOCK,
            metavar="2026-03-02T09:00",
            help="The clock; this machine's unless given.",
        ),
    ] = None,
    world: Annotated[
        Path | None, typer.Option(help="YAML or JSON: tables by name, with the rows that they begin with.")
    ] = None,
    *,
    show_state: Annotated[
        bool, typer.Option("--show-state", help="All tables after each request, not only changes.")
    ] = False,
) -> None:
    """Talk to the champion, or another model, over a pack's tools; 1 where a request came to no answer."""
    from commands.chat import chat as run

    asked, offered = requests or (), tools
    _exits(
        lambda: run(
            asked,
            pack=pack,
            tools=offered,
            language=language,
            model=model,
            now=now,
            world=world,
            show_state=show_state,
        )
    )


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
    form: Annotated[str | None, typer.Argument(metavar="FORMAT", help="Of rows: one of docs/formats.md.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write rows to.")] = None,
    source: Annotated[Path, typer.Option("--from", help="Records.")] = Path("data/validated/train.jsonl"),
    merged: Annotated[Path | None, typer.Option(help="Write the tuned model here, adapter and base in one.")] = None,
    gguf: Annotated[Path | None, typer.Option(help="Say how the tuned model becomes this GGUF file.")] = None,
    adapter: Annotated[Path, typer.Option(help="Of --merged.")] = Path("models/adapter"),
    onto: Annotated[str, typer.Option(help="The base as-trained, with NF4's rounding, or plain.")] = "as-trained",
    sample: Annotated[int, typer.Option(min=0, help="Test rows that both answer; 0 for none.")] = 20,
    *,
    force: Annotated[bool, _FORCE] = False,
) -> None:
    """Write records in another format, or the tuned model as a folder that serves; 1 where it answers otherwise."""
    _exits(lambda: _export(form, out, source, merged, gguf, adapter, onto, sample, force=force))


def _export(
    form: str | None,
    out: Path | None,
    source: Path,
    merged: Path | None,
    gguf: Path | None,
    adapter: Path,
    onto: str,
    sample: int,
    *,
    force: bool,
) -> int:
    if sum(asked is not None for asked in (form, merged, gguf)) != 1:
        raise Fault("callwright export takes a FORMAT with --out, or --merged DIR, or --gguf FILE; give one of them")
    if merged:
        from commands.export_model import merged as run

        return run(merged, adapter, onto=onto, force=force, sample=sample)
    if gguf:
        from commands.export_model import gguf as how

        return how(gguf)
    if out is None:
        raise Fault(f"callwright export {form} needs --out, the file to write")
    from commands.exchange import export_rows

    return export_rows(str(form), out, source, force=force)


@app.command()
def plan(
    preset: Annotated[str | None, typer.Argument(help="One of presets/; all of them unless given.")] = None,
    gpu: Annotated[
        str | None, typer.Option(help="16GiB, 24GB, T4, 4090, … or cpu; 16 and 24 GiB unless given.")
    ] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens of a row; the preset's unless given.")] = None,
    batch: Annotated[int | None, typer.Option(help="Rows at a time; the preset's unless given.")] = None,
    rows: Annotated[int | None, typer.Option(help="Rows to train on; generate.rows unless given.")] = None,
    epochs: Annotated[float, typer.Option(help="Times that each is seen.")] = 1,
    tokens: Annotated[int | None, typer.Option(help="Of a row, on average; half its length unless given.")] = None,
    labelled: Annotated[float, typer.Option(help="Share of the tokens that are the assistant's.")] = 1.0,
    speed: Annotated[float | None, typer.Option(help="Tokens a second, as a training of yours printed them.")] = None,
) -> None:
    """Say what a training needs of memory and time; exits with 0 if it fits, 1 if it does not."""
    from commands.plan import plan as run

    _exits(
        lambda: run(preset, gpu, max_length, batch, rows, epochs=epochs, tokens=tokens, labelled=labelled, speed=speed)
    )


_Why = Annotated[str, typer.Option("--why", help="Stays with the version and in the history.")]


@app.command()
def models(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    history: Annotated[bool, typer.Option("--history", help="The aliases' moves: who, when, why.")] = False,
) -> None:
    """Print the registered versions with their scores, what they were made from, and the gate's decision."""
    from commands.registry import models as run

    _exits(lambda: run(as_json=as_json, moves=history))


@app.command()
def promote(version: Annotated[str, typer.Argument(help="Its number in callwright models.")], why: _Why) -> None:
    """Put a version into service by hand; what was in service becomes `previous`."""
    from commands.registry import promote as run

    _exits(lambda: run(version, why))


@app.command()
def rollback(why: _Why) -> None:
    """Put the version back that was in service before."""
    from commands.registry import rollback as run

    _exits(lambda: run(why))


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


_Model = Annotated[str, typer.Option(help="The teacher, as its address names it.")]
_Address = Annotated[str | None, typer.Option(help="OPENAI_BASE_URL unless given. The key is OPENAI_API_KEY's.")]
_Concurrency = Annotated[int | None, typer.Option(min=1, help="Requests at a time; 8 unless given.")]
_Rpm = Annotated[float | None, typer.Option(min=0.01, help="Requests a minute.")]
_MaxTokens = Annotated[int | None, typer.Option(min=1, help="Tokens, in and out, that this run may cost.")]
_MaxCost = Annotated[float | None, typer.Option(help="USD that this run may cost; needs both prices.")]
_PriceIn = Annotated[float | None, typer.Option(help="USD for a million tokens in.")]
_PriceOut = Annotated[float | None, typer.Option(help="USD for a million tokens out.")]
_Timeout = Annotated[float | None, typer.Option(min=0.1, help="Seconds for an answer; 120 unless given.")]
_AnswerTokens = Annotated[int | None, typer.Option(min=1, help="Tokens of an answer; 2048, for a draft 4096.")]
_Cache = Annotated[Path | None, typer.Option(help="Where answers are kept; data/teacher/answers.db unless given.")]


class OnError(StrEnum):
    STOP = "stop"
    GO_ON = "go-on"


_OnError = Annotated[OnError, typer.Option(help="When no answer comes: stop, or leave that part out.")]


@app.command()
def teach(
    model: _Model,
    rows: Annotated[int, typer.Option(min=1, help="Planned rows; those in the file already count.")],
    address: _Address = None,
    packs: Annotated[str | None, typer.Option(help="Packs, with commas; those of params.yaml unless given.")] = None,
    tools: Annotated[Path | None, typer.Option(help="Your own tools, JSON or YAML.")] = None,
    language: Annotated[str, typer.Option(help="zh-TW, en or both.")] = "both",
    zh_share: Annotated[float, typer.Option(help="Share of zh-TW among both.")] = 0.5,
    concurrency: _Concurrency = None,
    rpm: _Rpm = None,
    max_tokens: _MaxTokens = None,
    max_cost: _MaxCost = None,
    price_in: _PriceIn = None,
    price_out: _PriceOut = None,
    answer_tokens: _AnswerTokens = None,
    timeout: _Timeout = None,
    on_error: _OnError = OnError.STOP,
    seed: Annotated[int, typer.Option(help="Of the plan.")] = 7,
    out: Annotated[Path | None, typer.Option(help="data/sources/teacher-MODEL.jsonl unless given.")] = None,
    cache: _Cache = None,
) -> None:
    """Have an LLM write rows into data/sources/; exits with 0 if done, 1 if a cap ended it, 75 if interrupted."""
    from commands.teach import asking_of
    from commands.teach import teach as run

    asking = {
        "model": model,
        "address": address,
        "concurrency": concurrency,
        "rpm": rpm,
        "max_tokens": max_tokens,
        "max_cost": max_cost,
        "price_in": price_in,
        "price_out": price_out,
        "answer_tokens": answer_tokens,
        "timeout": timeout,
        "cache": cache,
    }
    _exits(
        lambda: run(
            asking_of(**asking),
            rows,
            packs=packs,
            tools=tools,
            language=language,
            zh_share=zh_share,
            go_on=on_error is OnError.GO_ON,
            seed=seed,
            out=out,
        )
    )


@pack.command("draft")
def pack_draft(
    tools: Annotated[Path, typer.Option(help="Your tools, JSON or YAML, or a pack that was begun.")],
    model: _Model,
    address: _Address = None,
    out: Annotated[Path | None, typer.Option(help="packs/NAME.yaml, of the tools' file's name unless given.")] = None,
    concurrency: _Concurrency = None,
    rpm: _Rpm = None,
    max_tokens: _MaxTokens = None,
    max_cost: _MaxCost = None,
    price_in: _PriceIn = None,
    price_out: _PriceOut = None,
    answer_tokens: _AnswerTokens = None,
    timeout: _Timeout = None,
    on_error: _OnError = OnError.STOP,
    cache: _Cache = None,
    *,
    force: Annotated[bool, _FORCE] = False,
) -> None:
    """Have an LLM draft a pack's texts for your own tools; a person then edits them."""
    from commands.pack_draft import draft_pack
    from commands.teach import asking_of

    asking = {
        "model": model,
        "address": address,
        "concurrency": concurrency,
        "rpm": rpm,
        "max_tokens": max_tokens,
        "max_cost": max_cost,
        "price_in": price_in,
        "price_out": price_out,
        "answer_tokens": answer_tokens or 4096,
        "timeout": timeout,
        "cache": cache,
    }
    go_on = on_error is OnError.GO_ON
    _exits(lambda: draft_pack(asking_of(**asking), tools, out=out, force=force, go_on=go_on))


tools = typer.Typer(help="Tools as others describe them.", no_args_is_help=True)
app.add_typer(tools, name="tools")


@tools.callback()
def _tools() -> None:
    """Likewise."""


@tools.command("import")
def tools_import(
    source: Annotated[
        str | None,
        typer.Argument(help="A JSON, YAML or Python file, - for standard input, or an MCP server's address."),
    ] = None,
    command: Annotated[str | None, typer.Option(help="Start this program and ask it as an MCP server.")] = None,
    kind: Annotated[str | None, typer.Option(help="openai, python, openapi or mcp; found out unless given.")] = None,
    name: Annotated[str | None, typer.Option(help="The pack's name; the source's own unless given.")] = None,
    out: Annotated[Path | None, typer.Option(help="The pack's file; packs/NAME.yaml unless given.")] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Only tools of such names (`read_*`); may be repeated.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="No tools of such names; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many tools.")] = None,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds for an MCP server to tell its tools.")] = 30,
    *,
    force: Annotated[bool, _FORCE] = False,
) -> None:
    """Make a pack skeleton of your own tools; exits with 1 where some had to be left out."""
    from commands.tools import run

    _exits(lambda: run(source, command, kind, name, out, include or (), exclude or (), limit, force, deadline))


bfcl = typer.Typer(help="Answer BFCL's single-turn Python categories, and score the answers.", no_args_is_help=True)
app.add_typer(bfcl, name="bfcl")

_BFCL_DATA = typer.Option("--data", help="bfcl-eval's data, or a folder above it.")
_BFCL_CATEGORIES = typer.Option("--categories", help="Names or groups (non_live, live, all), with commas between them.")


@bfcl.command("run")
def bfcl_run(
    data: Annotated[Path, _BFCL_DATA],
    categories: Annotated[str | None, _BFCL_CATEGORIES] = None,
    model: Annotated[str, typer.Option(help="adapter, base, champion, or an address.")] = "adapter",
    out: Annotated[Path, typer.Option(help="Where the result files go.")] = Path("reports/bfcl"),
    name: Annotated[str | None, typer.Option(help="Their folder in it; the model's name unless given.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first entries of each category only.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 512,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows at a time, for a model on this machine.")] = 16,
    *,
    constrained: Annotated[bool, typer.Option("--constrained", help="Hold answers to the tools' schemas.")] = False,
) -> None:
    """Answer the entries of BFCL that are not answered yet, and write the files that its own evaluator reads."""
    from commands.bfcl import run as answer

    _exits(
        lambda: answer(data, categories, model, out, name, limit, max_new_tokens, batch_size, constrained=constrained)
    )


@bfcl.command("score")
def bfcl_score(
    data: Annotated[Path, _BFCL_DATA],
    categories: Annotated[str | None, _BFCL_CATEGORIES] = None,
    results: Annotated[Path, typer.Option(help="Where the result files are.")] = Path("reports/bfcl"),
    name: Annotated[list[str] | None, typer.Option(help="A folder of it; may be repeated. All unless given.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write scores and rows here, as JSON.")] = None,
    *,
    partial: Annotated[bool, typer.Option("--partial", help="Score what is answered where some is not.")] = False,
) -> None:
    """Score the answers of one or several models by category, side by side."""
    from commands.bfcl import score as judge

    _exits(lambda: judge(data, results, name or (), categories, report, partial=partial))


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
