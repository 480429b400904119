"""params.yaml, typed: frozen, unknown keys refused, all faults told at once with their dotted path.

The types hold no defaults: a knob's value stands in params.yaml and nowhere else. The file is YAML 1.2, as for DVC:
1e-3 is a number there, and a key that stands twice is a fault.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from callwright.faults import Fault, found
from callwright.records import Category

FILE = Path("params.yaml")

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


class Lora(Section):
    rank: Count
    alpha: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Train(Section):
    seed: int
    epochs: Annotated[float, Field(gt=0)]
    batch_size: Count
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
    def _shares_fit(self) -> Self:
        if self.warmup_share + self.decay_share > 1:
            both = f"warmup_share is {self.warmup_share:g} and decay_share {self.decay_share:g}"
            raise ValueError(f"{both}; make them at most 1 together")
        return self


class Evaluate(Section):
    batch_size: Count
    max_new_tokens: Count


class Floors(Section):
    missing: Share
    no_tool: Share


class Register(Section):
    significance: Annotated[float, Field(gt=0, le=1)]
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


def read_params(path: Path = FILE) -> Params:
    """Read and check every section; `Fault` holds one sentence a fault."""
    return check_params(_yaml(path), path)


def check_params(value: Any, path: Path = FILE) -> Params:
    try:
        return Params.model_validate(value)
    except ValidationError as error:
        raise Fault(_sentence(path, fault) for fault in error.errors()) from None


def _yaml(path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Fault(f"{path} is missing; run this in the project's folder, or git checkout {path}") from None
    except OSError as error:
        raise Fault(f"{path} could not be read: {error.strerror}; mend that, then run it again") from None
    except (YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that is none
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise Fault(f"{place}: not YAML: {' '.join(problem.split())}; mend that line") from None


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
