"""callwright plan: what a preset takes of memory, part by part, whether it fits, and about how long it trains

    callwright plan llama-3-8b --gpu 16GiB      exits with 0 if it fits, 1 if it does not
    callwright plan                             every preset at 16 and 24 GiB

Reads presets/ and, for the number of rows, params.yaml. Nothing is loaded or fetched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from callwright.faults import Fault
from callwright.fitting import MOST_ROWS, MOST_TOKENS, gib, knobs_of, largest_length, largest_rows, setting_of
from callwright.machines import Machine, read_machine
from callwright.memory import LABELS_AT_ONCE, Memory, Setting, counts, estimate
from callwright.params import FILE
from callwright.presets import FOLDER, Preset, Shape, preset_names, read_preset
from callwright.speed import CPU_GIGAFLOPS, REFERENCE, Speed, duration, tokens_a_second
from callwright.yaml_files import read_yaml

SIZES = ("16GiB", "24GiB")
ROWS = 5000
"""Of a training, where params.yaml does not say; the document's normal number."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One preset on one machine."""

    name: str
    shape: Shape
    setting: Setting
    machine: Machine

    @property
    def memory(self) -> Memory:
        return estimate(self.shape, self.setting)

    @property
    def fits(self) -> bool:
        return self.memory.total <= self.machine.memory


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be trained."""

    rows: int
    epochs: float
    tokens: int | None
    """Of a row on average; None where nobody said."""
    speed: float | None
    """Tokens a second, where somebody measured them."""

    def a_row(self, setting: Setting) -> int:
        return min(self.tokens, setting.length) if self.tokens else max(1, setting.length // 2)

    def seconds(self, plan: Plan) -> tuple[float, float] | None:
        """From, to; None where nobody knows."""
        tokens = self.rows * self.epochs * self.a_row(plan.setting)
        average = replace(plan.setting, length=self.a_row(plan.setting))
        speed = Speed(self.speed, self.speed) if self.speed else tokens_a_second(plan.shape, average, plan.machine)
        return (tokens / speed.fast, tokens / speed.slow) if speed else None


def plan(
    preset: str | None = None,
    gpu: str | None = None,
    max_length: int | None = None,
    batch: int | None = None,
    rows: int | None = None,
    *,
    epochs: float = 1,
    tokens: int | None = None,
    labelled: float = 1.0,
    speed: float | None = None,
) -> int:
    """Print it; 0 if everything asked fits, else 1. `Fault` for what makes no sense."""
    _check(max_length, batch, rows, epochs, tokens, labelled, speed)
    machines = [read_machine(size) for size in (SIZES if gpu is None else [gpu])]
    work = Work(_rows() if rows is None else rows, epochs, tokens, speed)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=100)
    names = preset_names() if preset is None else [preset]
    if not names:
        raise Fault(f"{FOLDER} holds no preset; run this in the project's folder")
    plans = [
        _plan(name, machine, max_length, batch, labelled)
        for machine in (machines if preset is None else machines[:1])
        for name in names
    ]
    if preset is None:
        _print_all(console, plans, work)
    else:
        _print_one(console, plans[0], work)
    return 0 if all(each.fits for each in plans) else 1


def _check(
    max_length: int | None,
    batch: int | None,
    rows: int | None,
    epochs: float,
    tokens: int | None,
    labelled: float,
    speed: float | None,
) -> None:
    wrong = []
    for name, value, most in (
        ("--max-length", max_length, MOST_TOKENS),
        ("--batch", batch, MOST_ROWS),
        ("--rows", rows, 10**9),
        ("--tokens", tokens, MOST_TOKENS),
    ):
        if value is not None and not 1 <= value <= most:
            wrong.append(f"{name} is {value}; say a whole number from 1 to {most:,}")
    if not 0 < epochs <= 1000:
        wrong.append(f"--epochs is {epochs:g}; say a number over 0 and up to 1,000")
    if not 0 < labelled <= 1:
        wrong.append(f"--labelled is {labelled:g}; say a share over 0 and up to 1")
    if speed is not None and not 0 < speed < 1e9:
        wrong.append(f"--speed is {speed:g}; say the tokens a second that train printed, a number over 0")
    if wrong:
        raise Fault(wrong)


def _rows(path: Path = FILE) -> int:
    """generate.rows of params.yaml."""
    value = read_yaml(path) if path.exists() else None
    generate = value.get("generate") if isinstance(value, dict) else None
    rows = generate.get("rows") if isinstance(generate, dict) else None
    return rows if isinstance(rows, int) and rows > 0 else ROWS


def _plan(name: str, machine: Machine, max_length: int | None, batch: int | None, labelled: float) -> Plan:
    if name not in preset_names():
        raise Fault(
            f"preset {name!r} is unknown; choose one of {', '.join(preset_names()) or f'none, {FOLDER} is empty'}"
        )
    preset = read_preset(name)
    shape, length = _shape(name, preset), max_length or preset.max_length
    if length is None:
        raise Fault(f"presets/{name}.yaml: max_length is missing; add it, or say --max-length")
    number = 2 if machine.on_gpu else _number()
    setting = setting_of(
        knobs_of(preset, on_gpu=machine.on_gpu), length, on_gpu=machine.on_gpu, number=number, labelled=labelled
    )
    return Plan(name, shape, replace(setting, rows=batch) if batch else setting, machine)


def _shape(name: str, preset: Preset) -> Shape:
    if preset.shape is None:
        raise Fault(f"presets/{name}.yaml: shape is missing, so nothing can be reckoned; add it, as in config.json")
    return preset.shape


def _number() -> int:
    from stages._model import has_bfloat16

    return 2 if has_bfloat16() else 4


def _print_one(console: Console, plan: Plan, work: Work) -> None:
    memory, count = plan.memory, counts(plan.shape, plan.setting.rank)
    console.print(Text(plan.name, style="bold"), f"{count.base:,} parameters and {count.lora:,} of LoRA,")
    console.print(f"{_rows_of(plan.setting.rows)} of {plan.setting.length:,} tokens at a time, {plan.machine.name}")
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("memory")
    table.add_column("GiB", justify="right")
    table.add_column("what it is")
    for part, size, why in _parts(plan, memory):
        table.add_row(part, size, Text(why, style="dim"))
    table.add_section()
    left = plan.machine.memory - memory.total
    verdict = f"fits, {gib(left)} GiB are left" if plan.fits else f"does not fit, {gib(-left)} GiB are missing"
    style = "bold green" if plan.fits else "bold red"
    table.add_row(
        Text("in all", style="bold"),
        Text(gib(memory.total), style="bold"),
        Text(f"of {gib(plan.machine.memory)} GiB: {verdict}", style=style),
    )
    console.print(table)
    console.print()
    console.print(_largest(plan))
    for line in _time(plan, work):
        console.print(line)


def _parts(plan: Plan, memory: Memory) -> Iterable[tuple[str, str, str]]:
    setting, shape = plan.setting, plan.shape
    number = "16-bit numbers" if setting.number == 2 else "float32"
    packed = setting.nf4 and setting.on_gpu
    layers = f"{shape.num_hidden_layers} layers"
    weights = f"linear layers in NF4 with double quantisation, the rest in {number}" if packed else f"in {number}"
    if setting.int8:
        weights += ", and linear layers twice in bytes"
    yield "base weights", gib(memory.weights), weights
    yield "LoRA weights", gib(memory.lora), f"rank {setting.rank} on all linear layers"
    yield "gradients", gib(memory.gradients), "of LoRA alone"
    eight = " in 8 bits, paged" if setting.on_gpu and setting.optimizer == "adamw" else ""
    yield "optimiser", gib(memory.optimizer), f"{setting.optimizer}{eight}"
    yield "activations", gib(memory.kept), f"inputs of {layers}" if setting.checkpointing else f"all of {layers}"
    again = "computed again, with gradients" + (" and its largest weight dense" if packed else "")
    labels = min(LABELS_AT_ONCE, setting.rows * setting.length) if setting.on_gpu else setting.rows * setting.length
    turns = [
        ("one layer", memory.layer, again if setting.checkpointing else "at work, with gradients"),
        ("logits", memory.logits, f"{labels:,} labelled positions at a time, {shape.vocab_size:,} words"),
    ]
    for part, size, why in turns:
        counted = size == max(memory.layer, memory.logits)
        yield part, gib(size) if counted else f"({gib(size)})", why if counted else f"{why}; in turn"
    outside = "CUDA's context" if setting.on_gpu else "Python and the libraries"
    yield "overhead", gib(memory.overhead), f"{outside} {gib(memory.outside)}, gaps between blocks {gib(memory.slack)}"


def _largest(plan: Plan) -> str:
    setting, memory = plan.setting, plan.machine.memory
    length, rows = largest_length(plan.shape, setting, memory), largest_rows(plan.shape, setting, memory)
    if not rows:
        one = largest_length(plan.shape, replace(setting, rows=1), memory)
        shorter = f"; one row fits up to {one:,} tokens (--batch 1 --max-length {one})" if one else ""
        return f"Not one row of {setting.length:,} tokens fits{shorter}."
    longest = f"rows of {length:,} tokens ({setting.rows} at a time)" if length else f"no {setting.rows} rows at a time"
    return f"Largest that fits: {longest}, or {_rows_of(rows)} at a time (of {setting.length:,} tokens)."


def _rows_of(count: int) -> str:
    return f"{count} row{'s' if count > 1 else ''}"


def _time(plan: Plan, work: Work) -> Iterable[str]:
    each = work.a_row(plan.setting)
    mean = "Tokens are as --tokens says" if work.tokens else "Tokens are half of the longest row's"
    times = "once" if work.epochs == 1 else f"{work.epochs:g} times"
    yield f"Time for {work.rows:,} rows {times}, {each:,} tokens each: {_span(work.seconds(plan))}."
    yield f"{mean}."
    yield _source(plan.machine, work)


def _source(machine: Machine, work: Work) -> str:
    if work.speed:
        return f"That is at the {work.speed:,.0f} tokens/s of --speed."
    if not machine.on_gpu:
        return f"An estimate, at the {CPU_GIGAFLOPS} GFLOP/s of 2 cores with bfloat16."
    if machine.name == "T4":
        return "An estimate, from TRL's notebook on a T4 and torchtune's QLoRA."
    card = machine.name if machine.teraflops else f"{REFERENCE.name}, as no card is named"
    return f"An estimate for one {card}, from torchtune's QLoRA, compiled and not."


def _span(seconds: tuple[float, float] | None) -> str:
    if seconds is None:
        return "unknown"
    first, last = map(duration, seconds)
    return first if first == last else f"{first} to {last}"


def _print_all(console: Console, plans: list[Plan], work: Work) -> None:
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("GPU", "preset", "at a time", "GiB", "", "longest row", "most rows", "time"):
        table.add_column(heading, justify="left" if heading in ("GPU", "preset", "", "time") else "right")
    before = None
    for each in plans:
        if before and each.machine != before:
            table.add_section()
        memory, setting = each.machine.memory, each.setting
        table.add_row(
            each.machine.name.removesuffix(" GPU") if each.machine != before else "",
            each.name,
            f"{setting.rows} x {setting.length:,}",
            gib(each.memory.total),
            Text("fits", style="green") if each.fits else Text("does not fit", style="red"),
            f"{largest_length(each.shape, setting, memory):,}",
            f"{largest_rows(each.shape, setting, memory):,}",
            _span(work.seconds(each)),
        )
        before = each.machine
    console.print(table)
    console.print()
    mean = f"{work.tokens:,} tokens" if work.tokens else "half of their longest"
    times = "once" if work.epochs == 1 else f"{work.epochs:g} times"
    console.print("Longest row and most rows are what memory allows; a model's own limit may be lower.")
    console.print(f"Time for {work.rows:,} rows {times}, each of {mean}.")
    console.print(_source(plans[0].machine, work))
    console.print("callwright plan PRESET shows the parts.")
