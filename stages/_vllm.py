"""vLLM as the engine that answers: a server of its own for one evaluation, in a Python environment of its own.

    with Server(folder, find()) as server:
        server.complete(prompts, stops, max_new_tokens=256)     # token ids in, token ids out, as _decode.answers

vLLM pins other versions of torch, transformers and fastapi than this project works with (0.33: transformers < 5.21,
fastapi < 0.137), so it cannot stand beside them: docs/training.md says how to set it up. It is asked what the other
engine is asked, the very token ids, at /v1/completions (`prompt` as token ids, `return_token_ids`; vLLM 0.10.2 and
later), and batches by itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from callwright.faults import Fault

if TYPE_CHECKING:
    from openai import OpenAI

EXECUTABLE = Path(".venv-vllm/bin/vllm")
HOST, NAME = "127.0.0.1", "callwright"
UP_WITHIN = 1200.0
"""Seconds: an 8B model is read, and its kernels are compiled."""
GRACE = 20.0
AT_ONCE = 512
"""Prompts in one request."""


def find() -> Path:
    """The executable: CALLWRIGHT_VLLM, or the one in `.venv-vllm`."""
    named = os.environ.get("CALLWRIGHT_VLLM")
    path = Path(named) if named else EXECUTABLE
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise Fault(
            f"params.yaml: evaluate.engine is vllm, and {path} is no executable; make it with `python3 -m venv "
            ".venv-vllm && .venv-vllm/bin/pip install vllm`, name another in CALLWRIGHT_VLLM, or say transformers"
        )
    return path.absolute()


class Server:
    """`vllm serve` over a merged model's folder; ends with the `with`, whatever happens inside."""

    def __init__(self, folder: Path, executable: Path, *, up_within: float = UP_WITHIN) -> None:
        self._folder, self._executable, self._up_within = folder, executable, up_within

    def __enter__(self) -> Self:
        self._log: IO[bytes] = tempfile.TemporaryFile()
        self._port = _free_port()
        self._process = subprocess.Popen(
            [
                *(str(self._executable), "serve", str(self._folder), "--host", HOST, "--port", str(self._port)),
                *("--served-model-name", NAME, "--generation-config", "vllm"),
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"DO_NOT_TRACK": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"},
        )
        try:
            self._wait()
            self._client = _client(self._port)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()
        self._end()

    def complete(
        self,
        prompts: Sequence[list[int]],
        stops: Collection[int],
        max_new_tokens: int,
        *,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[list[int]]:
        """The next tokens of each prompt up to a stop (not included), the likeliest at temperature 0.

        vLLM gives each prompt of a request the request's seed, so equal prompts are asked with one each.
        """
        again = Counter[tuple[int, ...]]()
        draws: dict[int, list[int]] = {}
        for row, prompt in enumerate(prompts):
            draws.setdefault(again[tuple(prompt)] if temperature else 0, []).append(row)
            again[tuple(prompt)] += 1
        answers: list[list[int]] = [[] for _ in prompts]
        more = {"stop_token_ids": sorted(stops), "return_token_ids": True, "skip_special_tokens": False}
        for draw, rows in draws.items():
            for start in range(0, len(rows), AT_ONCE):
                part = rows[start : start + AT_ONCE]
                made = self._client.completions.create(
                    model=NAME,
                    prompt=[prompts[row] for row in part],
                    max_tokens=max_new_tokens,
                    temperature=temperature,
                    seed=seed + draw,
                    extra_body=more,
                )
                for row, answer in zip(part, _answers(made.choices, len(part), stops), strict=True):
                    answers[row] = answer
        return answers

    def _wait(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        until = time.monotonic() + self._up_within
        while time.monotonic() < until:
            if (code := self._process.poll()) is not None:
                raise Fault(f"vllm ended with exit code {code} instead of starting; it says: {self._last_words()}")
            with contextlib.suppress(OSError), opener.open(f"http://{HOST}:{self._port}/health", timeout=5):
                return
            time.sleep(0.2)
        raise Fault(f"vllm did not answer within {self._up_within:g} s; it says: {self._last_words()}")

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return " / ".join(lines[-3:]) or "nothing"

    def _end(self) -> None:
        for number, wait in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(wait)
                break
        with contextlib.suppress(ProcessLookupError):  # its workers, where it left any
            os.killpg(self._process.pid, signal.SIGKILL)
        self._log.close()


def _answers(choices: Sequence[Any], asked: int, stops: Collection[int]) -> list[list[int]]:
    """In the order of the prompts, without the stop token."""
    if sorted(choice.index for choice in choices) != list(range(asked)):
        raise Fault(f"vllm was asked {asked} prompts and gave {len(choices)} answers; nothing is scored")
    answers = []
    for choice in sorted(choices, key=lambda choice: int(choice.index)):
        tokens = getattr(choice, "token_ids", None)
        if not isinstance(tokens, list):
            raise Fault("vllm gave no token_ids; it must be 0.10.2 or later")
        end = next((i for i, token in enumerate(tokens) if token in stops), len(tokens))
        answers.append(tokens[:end])
    return answers


def _client(port: int) -> OpenAI:
    import httpx2
    from openai import OpenAI

    return OpenAI(
        base_url=f"http://{HOST}:{port}/v1",
        api_key="none",
        max_retries=0,
        timeout=3600,
        http_client=httpx2.Client(trust_env=False, timeout=3600),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
