"""vLLM as an engine, against a stand-in that speaks its /v1/completions: how it is started, asked and ended."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from callwright.faults import Fault
from stages import _vllm

STAND_IN = """#!{python}
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

mode = os.environ.get("STAND_IN", "good")
if mode == "dies":
    print("no GPU here"); sys.exit(3)
folder, port = sys.argv[2], int(sys.argv[sys.argv.index("--port") + 1])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if mode == "never" else 200); self.end_headers()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        stop = body["stop_token_ids"][0]
        choices = []
        for i, prompt in enumerate(body["prompt"]):
            drawn = body["seed"] if body["temperature"] else 0
            tokens = [sum(prompt) + drawn, body["max_tokens"], stop, 5]
            more = {{"token_ids": tokens}} if body.get("return_token_ids") and mode != "old" else {{}}
            choices.append({{"index": i, "text": "x", "finish_reason": "stop", **more}})
        choices = choices[::-1][: 1 if mode == "loses" else None]
        made = json.dumps({{"id": "1", "object": "text_completion", "created": 1, "model": body["model"],
                            "choices": choices}}).encode()
        self.send_response(200); self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(made))); self.end_headers(); self.wfile.write(made)

    def log_message(self, *arguments):
        pass


open(os.path.join(folder, "pid"), "w").write(str(os.getpid()))
HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    path = tmp_path / "vllm"
    path.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    path.chmod(0o755)
    return path


def gone(folder: Path) -> bool:
    pid = int((folder / "pid").read_text())
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_token_ids_go_there_and_come_back_in_the_order_of_the_prompts_without_the_stop(
    stand_in: Path, tmp_path: Path
) -> None:
    with _vllm.Server(tmp_path, stand_in) as server:
        assert server.complete([[1, 2], [3], [4, 5, 6]], {9}, 7) == [[3, 7], [3, 7], [15, 7]]
    assert gone(tmp_path)


def test_the_same_prompt_asked_twice_at_a_temperature_is_drawn_with_two_seeds(stand_in: Path, tmp_path: Path) -> None:
    with _vllm.Server(tmp_path, stand_in) as server:
        made = server.complete([[1, 2], [1, 2], [4]], {9}, 7, temperature=0.5, seed=10)
        assert made == [[13, 7], [14, 7], [14, 7]]
        assert server.complete([[1, 2], [1, 2]], {9}, 7, seed=10) == [[3, 7], [3, 7]]


def test_the_server_ends_where_the_evaluation_fails(stand_in: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), _vllm.Server(tmp_path, stand_in):
        raise RuntimeError
    assert gone(tmp_path)


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("dies", "vllm ended with exit code 3 instead of starting; it says: no GPU here"),
        ("never", "vllm did not answer within 2 s; it says: nothing"),
        ("old", "vllm gave no token_ids; it must be 0.10.2 or later"),
        ("loses", "vllm was asked 2 prompts and gave 1 answers; nothing is scored"),
    ],
)
def test_a_server_that_does_not_do_is_told(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, sentence: str
) -> None:
    monkeypatch.setenv("STAND_IN", mode)
    with pytest.raises(Fault) as fault, _vllm.Server(tmp_path, stand_in, up_within=2) as server:
        server.complete([[1], [2]], {9}, 7)
    assert str(fault.value) == sentence
    assert mode == "dies" or gone(tmp_path)


def test_no_vllm_is_told_with_the_way_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLWRIGHT_VLLM", str(tmp_path / "none"))
    with pytest.raises(Fault, match=r"is no executable; make it with `python3 -m venv \.venv-vllm"):
        _vllm.find()
