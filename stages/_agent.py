"""A trained adapter as an MLflow model from code, to be the source of a registered version.

    save(folder, Path("models/adapter"), Path("models/base"), card=card, name="callwright", facts=tags)

    MLmodel, agent.py              what MLflow reads, and runs to get the agent (_agent_code.py)
    artifacts/adapter/             the adapter, byte by byte
    artifacts/packs/               the packs, for calls that run in the server
    artifacts/base/                of a base on the hub: its tokenizer, its config, and where it is; else not there
    code/callwright/, code/stages/ the code as it was: a version serves what it was, whatever changed since
    MODEL_CARD.md, requirements.txt, python_env.yaml

No weights of the base. Made without torch, without the network, and without asking the model (MLflow's own save_model
would): MLflow's `add_to_model` is for a folder that is there already.
"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from callwright.faults import Fault
from callwright.outs import whole_folder
from stages import _model

ADAPTER = "artifacts/adapter"
"""Where the adapter lies in a version."""
_CODE, _PACKS, _BASE, _AGENT = "code", "artifacts/packs", "artifacts/base", "agent.py"
_HERE = Path(__file__).parent.parent
_NEEDS = (
    *("accelerate", "bitsandbytes", "jinja2", "jsonschema-rs", "mlflow", "numpy", "orjson", "peft", "pydantic"),
    *("pyyaml", "ruamel.yaml", "safetensors", "tokenizers", "torch", "transformers"),
)
"""What answering imports: said here, as MLflow would find it out by loading the model."""


def save(
    folder: Path,
    adapter: Path,
    base: Path,
    *,
    card: str,
    name: str,
    facts: Mapping[str, str],
    packs: Path = Path("packs"),
) -> None:
    """Write the model folder, whole or not at all; what was there is replaced.

    `facts` become its metadata. `Fault` where adapter and base do not belong together.
    """
    if not (base / "callwright.json").is_file():
        raise Fault(f"{base} holds no callwright.json, so nobody knows which base it is; dvc repro base makes it")
    said = _model.check_adapter(base, adapter)
    if not (adapter / "adapter_config.json").is_file():
        raise Fault(f"{adapter} holds no adapter_config.json; dvc repro makes the adapter")
    with whole_folder(folder) as out:
        _copy(adapter, out / ADAPTER)
        (out / _PACKS).mkdir()
        for file in sorted(packs.glob("*.yaml")):
            shutil.copyfile(file, out / _PACKS / file.name)
        if (base / _model.REFERENCE).is_file():
            _copy(base, out / _BASE)
        for package in ("callwright", "stages"):
            _copy(_HERE / package, out / _CODE / package, "*.py")
        shutil.copyfile(Path(__file__).with_name("_agent_code.py"), out / _AGENT)
        (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        _write_environment(out)
        _write_mlmodel(out, name, {"base": said["base"], **facts})


def _copy(source: Path, to: Path, pattern: str = "*") -> None:
    """The files of a folder and below, without their modes: who serves may be another user."""
    for file in sorted(source.rglob(pattern)):
        if file.is_file():
            place = to / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)


def _write_environment(out: Path) -> None:
    """What answering needs, in the versions that are here; +cpu and the like are no part of them."""
    pinned = [f"{package}=={importlib.metadata.version(package).partition('+')[0]}" for package in _NEEDS]
    (out / "requirements.txt").write_text("\n".join(pinned) + "\n", encoding="utf-8")
    python = {
        "python": platform.python_version(),
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }
    (out / "python_env.yaml").write_text(yaml.safe_dump(python), encoding="utf-8")


def _write_mlmodel(out: Path, name: str, metadata: Mapping[str, Any]) -> None:
    from mlflow import pyfunc
    from mlflow.models import Model

    model = Model(metadata={"task": "agent/v1/responses", **metadata})
    places = {"adapter": ADAPTER, "packs": _PACKS} | ({"base": _BASE} if (out / _BASE).is_dir() else {})
    pyfunc.add_to_model(
        model,
        loader_module="stages._agent_served",
        code=_CODE,
        python_env="python_env.yaml",
        model_config={"name": name},
        model_code_path=_AGENT,
        streamable=True,
        artifacts={name: {"path": place, "uri": place} for name, place in places.items()},
    )
    model.save(str(out / "MLmodel"))
