"""callwright bfcl run with real models: a tiny base on this machine, and a server on loopback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from callwright.answers import Called
from callwright.bfcl.reading import Data
from callwright.bfcl.results import read_results
from callwright.records import Call
from commands import bfcl
from tests.fake_teacher import FakeTeacher, said
from tests.rows import ROOT
from tests.test_bfcl import HYPOT, question, small, write
from tests.tiny import make_base


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("params.yaml", "presets", "packs"):
        (tmp_path / name).symlink_to(ROOT / name)
    small(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(model: str, **more: object) -> None:
    given = {
        "categories": "simple_python,irrelevance",
        "name": None,
        "limit": None,
        "max_new_tokens": 4,
        "batch_size": 2,
    }
    assert bfcl.run(Path("data"), model=model, out=Path("out"), **{**given, **more}) == 0  # type: ignore[arg-type]


def test_a_base_answers_and_what_is_too_long_for_it_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_base(project / "models/base")
    config = project / "models/base/config.json"
    room = json.loads(config.read_text())["max_position_embeddings"]
    data = Data(project / "data", "BFCL_v4")
    long = question("irrelevance_1", "word " * room, HYPOT)
    write(data.questions("irrelevance"), question("irrelevance_0", "Who wrote Hamlet?", HYPOT), long)
    run("base")
    found = read_results(project / "out/base/non_live/BFCL_v4_irrelevance_result.json")
    assert [each.asked for each in found.values()] == [True, False]
    about = json.loads((project / "out/base/callwright.json").read_text())
    assert (about["model"], about["adapter"], about["max_new_tokens"]) == ("the base alone", None, 4)
    assert "irrelevance: 2 of 2 answered" in capsys.readouterr().out
    bfcl.score(project / "data", project / "out", (), None, None, partial=False)
    assert "base, irrelevance: 1 entries are too long for the model" in capsys.readouterr().out


def test_a_server_is_asked_without_dots_and_answers_with_them(project: Path) -> None:
    call = {"name": "math_hypot", "arguments": '{"x": 4, "y": 5}'}
    told = said(None, "tool_calls", tool_calls=[{"id": "c0", "type": "function", "function": call}])
    with FakeTeacher(told) as server:
        run(f"{server.address}#fake/model", limit=1, categories="simple_python")
        assert server.requests[0]["tools"][0]["function"]["name"] == "math_hypot"
    shutil.rmtree(project / "data")
    found = read_results(project / "out/fake_model/non_live/BFCL_v4_simple_python_result.json")
    assert [each.answer for each in found.values()] == [Called((Call("math.hypot", {"x": 4, "y": 5}),))]
