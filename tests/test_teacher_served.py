"""A server that is not ours as the teacher: `transformers serve` with the embedded model, which is a weak one.

Its rows may be none: what counts is that nothing breaks and every answer is accounted for.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from callwright.presets import read_preset
from callwright.records import read_line
from commands.teach import Asking, teach
from stages.base import base
from tests.fake_teacher import KEY, library
from tests.rows import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The server's address and the model's folder, by which it goes there."""
    folder = tmp_path_factory.mktemp("served") / "base"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        base("smollm2-135m", read_preset("smollm2-135m"), folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    log = folder.with_name("log").open("wb")
    env = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder.with_name("hf")),
        "TRANSFORMERS_VERBOSITY": "error",
    }
    process = subprocess.Popen(
        [program, "serve", folder, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        stdout=log,
        stderr=log,
        env=env,
    )
    try:
        while not _answers(f"http://127.0.0.1:{port}/health"):
            try:
                process.wait(0.3)
            except subprocess.TimeoutExpired:
                continue
            pytest.fail(f"transformers serve ended: {folder.with_name('log').read_text(encoding='utf-8')[-2000:]}")
        yield f"http://127.0.0.1:{port}/v1", folder
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as response:  # noqa: S310 - our own server on loopback
            return int(response.status) == 200
    except (URLError, OSError):
        return False


def test_a_weak_teacher_breaks_nothing_and_every_answer_is_accounted_for(
    served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address, model = served
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (tmp_path / "packs").mkdir()
    library(tmp_path / "packs")
    asking = Asking(model=str(model), address=address, concurrency=2, timeout=240, answer_tokens=96)
    code = teach(asking, 2, packs="library", out=Path("rows.jsonl"))
    report = json.loads(Path("rows.report.json").read_text(encoding="utf-8"))
    assert report["accepted"] + report["rejected"] == report["planned"] == 2
    assert report["left"] == 0
    assert report["stopped"] is None
    assert code == (0 if report["accepted"] else 1)
    assert len(report["rejects"]) == sum(report["answers_rejected"].values())
    requests = report["requests"]
    assert requests["sent"] == requests["answered"] >= 2
    assert report["tokens"]["in"] > 1000
    assert 0 < report["tokens"]["out"] <= 96 * requests["sent"]
    assert report["tokens"]["estimated_requests"] == 0
    for line in Path("rows.jsonl").read_text(encoding="utf-8").splitlines():
        read_line(line)
    assert teach(asking, 2, packs="library", out=Path("again.jsonl")) == code
    again = json.loads(Path("again.report.json").read_text(encoding="utf-8"))
    assert again["requests"]["sent"] == 0
    assert again["requests"]["from_cache"] == requests["sent"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    with capsys.disabled():
        print(f"\n  {report['accepted']} of 2; {report['answers_rejected']}, {report['tokens']}, {report['notes']}")
