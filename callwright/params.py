"""params.yaml, typed: frozen, unknown keys refused, all faults told at once with their dotted path.

The types hold no defaults: a knob's value stands in params.yaml, or, where it says `preset` there, in the preset of the
base model, so that another base is one word to change.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from callwright.faults import Fault, found
from callwright.presets import FOLDER, read_preset
from callwright.records import Category
from callwright.yaml_files import read_yaml

FILE = Path("params.yaml")
AS_PRESET = "preset"
"""What stands in the place of a value in `format`, `train` and `evaluate`: as presets/<base.preset>.yaml says."""

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TrainAs(StrEnum):
    MESSAGES = "messages"
    ALPACA = "alpaca"
    NATIVE = "native"


class Quantization(StrEnum):
    NF4 = "nf4"
    NONE = "none"


class Optimizer(StrEnum):
    SOAP = "soap"
    ADAMW = "adamw"


class Long(StrEnum):
    """What becomes of a row over `format.max_length`."""

    REFUSE = "refuse"
    DROP = "drop"
    CUT = "cut"


class Engine(StrEnum):
    """What makes the answers of an evaluation."""

    TRANSFORMERS = "transformers"
    VLLM = "vllm"


class Change(StrEnum):
    """In what a row of the exam is changed, to see whether its answer still comes (callwright/robustness.py)."""

    DISTRACTORS_3 = "distractors_3"
    DISTRACTORS_10 = "distractors_10"
    RENAMED = "renamed"
    SCRAMBLED_DESCRIPTIONS = "scrambled_descriptions"
    TYPOS = "typos"


class Inexpressible(StrEnum):
    """What becomes of a row whose turn holds more calls than the family can write in one."""

    TURNS = "turns"
    SET_ASIDE = "set_aside"


class Machine(StrEnum):
    AUTO = "auto"
    GPU = "gpu"
    CPU = "cpu"


class Base(Section):
    preset: str
    """Name of a file in presets/, without .yaml."""


class Exam(Section):
    rows: Count
    seed: int


class Range(Section):
    min: Count
    max: Count
    rarer: Annotated[float, Field(ge=1)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min} and max is {self.max}; min is at most max")
        return self


class Categories(Section):
    single: Share
    parallel: Share
    chained: Share
    missing: Share
    no_tool: Share
    full_loop: Share
    tool_error: Share

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = sum(self.shares().values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares add up to {total:g}; make them add up to 1")
        return self

    def shares(self) -> dict[Category, float]:
        return {Category(name): share for name, share in self.model_dump().items()}


class Exams(Section):
    zh_tw_share: Share
    categories: Categories
    dev: Exam
    test: Exam
    unseen: Exam


class Varied(Section):
    """Shares of what is varied; callwright/variation.py says of what each is a share."""

    other_packs: Share
    renamed: Share
    paraphrased: Share
    undescribed: Share
    english_tools: Share
    lead_ins: Share
    mixed_language: Share
    typos: Share
    widths: Share
    spoken: Share


class Generate(Section):
    packs: Annotated[list[str], Field(min_length=1)]
    held_out_packs: list[str]
    rows: Count
    seed: int
    zh_tw_share: Share
    categories: Categories
    tools_offered: Range
    rows_per_tool_list: Count
    voices: Count
    parallel_calls: Annotated[int, Field(ge=2, le=4)]
    follow_ups: Share
    variation: Varied
    held_out_tools: list[str]
    exam: Exams

    @model_validator(mode="after")
    def _seeds_apart(self) -> Self:
        seeds = [self.seed, self.exam.dev.seed, self.exam.test.seed, self.exam.unseen.seed]
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"seed, exam.dev.seed, exam.test.seed and exam.unseen.seed are {seeds}; make them differ")
        return self


class Validate(Section):
    near_duplicate: Annotated[float, Field(gt=0, le=1)]
    test_sets: list[str]


class Format(Section):
    train_as: Annotated[TrainAs, BeforeValidator(lambda v: _enum(TrainAs, v))]
    max_length: Annotated[int, Field(ge=64)]
    too_long: Annotated[Long, BeforeValidator(lambda v: _enum(Long, v))]
    inexpressible: Annotated[Inexpressible, BeforeValidator(lambda v: _enum(Inexpressible, v))]


class Lora(Section):
    rank: Count
    alpha: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Train(Section):
    profile: Annotated[Machine, BeforeValidator(lambda v: _enum(Machine, v))]
    processes: Count
    launch: str | None
    seed: int
    epochs: Annotated[float, Field(gt=0)]
    batch_size: Count
    rows_at_a_time: Count
    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    warmup_share: Share
    decay_share: Share
    weight_decay: Annotated[float, Field(ge=0)]
    decision_weight: Annotated[float, Field(ge=1)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    lora: Lora
    optimizer: Annotated[Optimizer, BeforeValidator(lambda v: _enum(Optimizer, v))]
    quantization: Annotated[Quantization, BeforeValidator(lambda v: _enum(Quantization, v))]
    int8_products: bool
    checkpoint_steps: Count

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        at_once = self.processes * self.rows_at_a_time
        if self.launch is None and self.batch_size % self.processes:
            both = f"batch_size is {self.batch_size} and processes {self.processes}"
            raise ValueError(f"{both}; make batch_size a multiple of it, so that every process has as many rows")
        if self.launch is None and self.batch_size > at_once and self.batch_size % at_once:
            both = f"rows_at_a_time is {self.rows_at_a_time} in {self.processes} process(es)"
            raise ValueError(f"batch_size is {self.batch_size} and {both}; make batch_size a multiple of their product")
        return self

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.warmup_share + self.decay_share > 1:
            both = f"warmup_share is {self.warmup_share:g} and decay_share {self.decay_share:g}"
            raise ValueError(f"{both}; make them at most 1 together")
        return self


class Robustness(Section):
    rows: Annotated[int, Field(ge=0)]
    changes: list[Annotated[Change, BeforeValidator(lambda v: _enum(Change, v))]]


class Executed(Section):
    rows: Annotated[int, Field(ge=0)]
    trials: Annotated[int, Field(ge=1, le=16)]
    temperature: Annotated[float, Field(gt=0, le=2)]
    seed: int


class Evaluate(Section):
    batch_size: Count
    max_new_tokens: Count
    engine: Annotated[Engine, BeforeValidator(lambda v: _enum(Engine, v))]
    robustness: Robustness
    constrained: bool
    executed: Executed

    @model_validator(mode="after")
    def _engine_can(self) -> Self:
        if self.engine is Engine.VLLM and self.constrained:
            raise ValueError("constrained is true and engine is vllm; only the engine transformers decodes constrained")
        return self


class Floors(Section):
    missing: Share
    no_tool: Share


class Register(Section):
    significance: Annotated[float, Field(gt=0, le=1)]
    margin: Annotated[float, Field(ge=0, lt=1)]
    least_rows: Count
    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")]
    floors: Floors


class Params(Section):
    base: Base
    generate: Generate
    validate_: Validate = Field(alias="validate")
    format: Format
    train: Train
    evaluate: Evaluate
    register_: Register = Field(alias="register")


def read_params(path: Path = FILE, *, on_gpu: bool = False) -> Params:
    """Read and check every section; `Fault` holds one sentence a fault.

    `on_gpu` says which numbers of the preset hold where `train.profile` is auto; only train asks.
    """
    return check_params(_filled(read_yaml(path), path, on_gpu), path)


def check_params(value: Any, path: Path = FILE) -> Params:
    try:
        return Params.model_validate(value)
    except ValidationError as error:
        raise Fault(_sentence(path, fault) for fault in error.errors()) from None


def _filled(value: Any, path: Path, on_gpu: bool) -> Any:
    """`value` with the preset's number in the place of each `preset`."""
    asked = [
        (section, knob)
        for section in ("format", "train", "evaluate")
        for knob, said in (_mapping(value, section)).items()
        if said == AS_PRESET
    ]
    if not asked:
        return value
    try:
        name = Base.model_validate(_mapping(value, "base")).preset
    except ValidationError as error:
        raise Fault(_sentence(path, {**fault, "loc": ("base", *fault["loc"])}) for fault in error.errors()) from None
    preset = read_preset(name, path.parent / FOLDER)
    profile = _mapping(value, "train").get("profile")
    on_gpu = on_gpu if profile == Machine.AUTO else profile == Machine.GPU
    says = {
        "format": preset.format_knobs(),
        "train": preset.train_knobs(on_gpu),
        "evaluate": preset.evaluate_knobs(),
    }
    filled = {name: dict(part) if isinstance(part, dict) else part for name, part in value.items()}
    missing = []
    for section, knob in asked:
        if knob in says[section]:
            filled[section][knob] = says[section][knob]
        else:
            missing.append(f"{section}.{knob}")
    if missing:
        raise Fault(
            f"presets/{name}.yaml does not say what `preset` stands for in {path}: {', '.join(missing)} "
            f"(for a {_MACHINES[on_gpu]}); add that, as presets/smollm2-135m.yaml has it, or write values in {path}"
        )
    return filled


_MACHINES = {True: "GPU", False: "CPU"}


def _mapping(value: Any, section: str) -> dict[str, Any]:
    part = value.get(section) if isinstance(value, dict) else None
    return part if isinstance(part, dict) else {}


def _sentence(path: Path, fault: Any) -> str:
    """`params.yaml: train.learning_rate is 'fast'; input should be a valid number`"""
    place = ".".join(str(part) for part in fault["loc"]) or "the file"
    if fault["type"] == "missing":
        return f"{path}: {place} is missing; git diff {path} shows what it was"
    return f"{path}: {place} {found(fault)}"


def _enum(kind: type[StrEnum], value: Any) -> Any:
    """Strict mode takes no text for an enum; take exactly its values."""
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"{value!r} is unknown; choose one of {', '.join(kind)}") from None
