"""A teacher on loopback for tests: an HTTP server that answers like OpenAI, well or with scripted faults.

with FakeTeacher() as teacher:
    teacher.script += [failing(500), said("no JSON")]       # the next answers; after them good ones
    teacher.address, teacher.requests
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr

from callwright.moments import is_moment
from callwright.packs import Pack
from callwright.records import Example, Language, read_line
from callwright.rules import Rules
from callwright.teacher.address import Address
from callwright.teacher.budget import Budget, Caps
from callwright.teacher.cache import Cache
from callwright.teacher.client import Client
from callwright.teacher.plans import Plans, Toolset
from callwright.teacher.report import Report
from callwright.teacher.rowfile import RowFile
from callwright.teacher.run import Run
from callwright.teacher.toolsets import of_packs
from tests.small_pack import both, halves, write_pack

Request = dict[str, Any]
Answer = tuple[int, Mapping[str, str], bytes]
Script = Callable[[Request, int], Answer]


class FakeTeacher:
    """`requests` are the bodies that came; `busiest` is how many were open at one time."""

    def __init__(self, answer: Script | None = None) -> None:
        self.requests: list[Request] = []
        self.headers: list[Mapping[str, str]] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.script: list[Script] = []
        self.answer = answer or good
        self.busiest = self._open = 0
        self._lock = threading.Lock()
        teacher = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                script, number = teacher._begin(self.path, dict(self.headers), body)
                try:
                    status, headers, content = script(body, number)
                finally:
                    teacher._end()
                try:
                    self._send(status, headers, content)
                except OSError:
                    self.close_connection = True  # the client has gone

            def do_GET(self) -> None:
                teacher._begin(self.path, dict(self.headers), {})
                teacher._end()
                self._send(200, {}, b"{}")

            def _send(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in {"content-length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
                if "content-length" in headers:  # one that is not the content's
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Nothing: tests look at what is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _begin(self, path: str, headers: Mapping[str, str], body: Request) -> tuple[Script, int]:
        with self._lock:
            self.paths.append(path)
            self.times.append(time.monotonic())
            self.headers.append(headers)
            self.requests.append(body)
            self._open += 1
            self.busiest = max(self.busiest, self._open)
            return (self.script.pop(0) if self.script else self.answer), len(self.requests)

    def _end(self) -> None:
        with self._lock:
            self._open -= 1


# Answers with faults


def failing(status: int, message: str = "out of order", **headers: str) -> Script:
    """An error as OpenAI sends it; `retry_after="7"` is a header."""
    body = json.dumps({"error": {"message": message}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _, __: (status, {"content-type": "application/json", **named}, body)


def raw(body: bytes, **headers: str) -> Script:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _, __: (200, {"content-type": "application/json", **named}, body)


def said(text: str | None, finish: str = "stop", usage: tuple[int, int] | None = (100, 10), **message: Any) -> Script:
    return lambda _, __: envelope(text, finish, usage, **message)


def envelope(
    text: str | None, finish: str = "stop", usage: tuple[int, int] | None = (100, 10), **message: Any
) -> Answer:
    """A whole chat completion around one answer."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    body: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 1, "model": "fake", "choices": [choice]}
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return 200, {"content-type": "application/json"}, json.dumps(body).encode()


# A good teacher: it writes what the schema of the question asks for, and says every value that it calls with


def good(request: Request, number: int) -> Answer:
    return envelope(json.dumps(well_written(request, number), ensure_ascii=False))


def well_written(request: Request, number: int) -> dict[str, Any]:
    """An answer that makes a row; `number` makes its values differ from those of others."""
    shape = request["response_format"]["json_schema"]["schema"]["properties"]
    prompt = request["messages"][1]["content"]
    zh = "Traditional Chinese" in prompt
    spoken: list[str] = []
    answer: dict[str, Any] = {}
    if "missing" in shape:
        return _asking(shape, prompt, zh, number)
    if "calls" in shape:
        answer["calls"] = _calls(shape["calls"], zh, number, spoken, prompt)
    if "steps" in shape:
        answer["steps"] = _steps(shape["steps"], zh, number, spoken, '"error"' in prompt.rpartition("Answer with")[2])
    if "user" in shape:
        opening = f"麻煩你第{number}件事" if zh else f"Please do job {number}"
        answer["user"] = "、".join([opening, *spoken]) + "。" if zh else ", ".join([opening, *spoken]) + "."
    if "reply" in shape:
        told = [leaf for step in answer.get("steps", ()) for result in step["results"] for leaf in leaves(result)]
        told = told[-1:] or [leaf for result in _results(prompt) for leaf in leaves(result)]
        answer["reply"] = f"好的，{'、'.join(told)}。" if zh else f"Here you are: {', '.join(told)}."
    return answer


def _asking(shape: Mapping[str, Any], prompt: str, zh: bool, number: int) -> dict[str, Any]:
    tools = [json.loads(line) for line in prompt.splitlines() if line.startswith('{"name"')]
    wanted = prompt.partition("The user wants what ")[2].partition(" does")[0]
    missing = next(tool for tool in tools if tool["name"] == wanted)["parameters"]["required"][0]
    answer: dict[str, Any] = {
        "user": f"幫我辦第{number}件事。" if zh else f"Please handle matter {number}.",
        "missing": missing,
        "question": "請問要哪一個？" if zh else "Which one?",
        "words": ["哪一個"] if zh else ["which one"],
    }
    if "calls" in shape:
        spoken: list[str] = []
        answer["calls"] = _calls(shape["calls"], zh, number, spoken, prompt)
        answer["answer"] = "、".join(spoken) + "。" if zh else ", ".join(spoken) + "."
    return answer


def _steps(shape: Mapping[str, Any], zh: bool, number: int, spoken: list[str], failing: bool) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    kinds = shape["items"]["properties"]["calls"]["items"]["anyOf"]
    for i in range(shape["minItems"]):
        call = _call(kinds[i % len(kinds)], zh, number + i, spoken)
        if i:  # a later call takes what the earlier one gave back
            first = next(name for name, value in call["params"].items() if isinstance(value, str))
            call["params"] = {**call["params"], first: steps[-1]["results"][0]["code"]}
        result = {"error": "timeout"} if failing else {"code": f"K{number}{i}"}
        steps.append({"calls": [call], "results": [result]})
    return steps


def _calls(shape: Mapping[str, Any], zh: bool, number: int, spoken: list[str], prompt: str) -> list[dict[str, Any]]:
    kinds = shape["items"]["anyOf"]
    if "The conversation so far:" in prompt:  # the next call of a chain
        taken = [leaf for result in _results(prompt) for leaf in leaves(result)][-1]
        call = _call(kinds[0], zh, number, [])
        call["params"] = dict.fromkeys(call["params"], taken)
        return [call]
    return [_call(kinds[i % len(kinds)], zh, 10 * number + i, spoken) for i in range(shape["minItems"])]


def _call(kind: Mapping[str, Any], zh: bool, number: int, spoken: list[str]) -> dict[str, Any]:
    """A call with the required parameters, each said."""
    parameters = kind["properties"]["params"]
    params: dict[str, Any] = {}
    for name in parameters.get("required", ()):
        schema = parameters["properties"][name]
        if is_moment(name, schema):
            params[name] = "tomorrow"
            spoken.append("明天" if zh else "tomorrow")
        elif schema.get("type") == "integer":
            params[name] = schema.get("minimum", 3)
            spoken.append(str(params[name]))
        else:
            params[name] = f"《第{number}冊》" if zh else f"Volume{number}"
            spoken.append(params[name])
    return {"tool": kind["properties"]["tool"]["const"], "params": params}


def _results(prompt: str) -> list[Any]:
    turns = [json.loads(line) for line in prompt.splitlines() if line.startswith('{"role": "tool"')]
    return [json.loads(turn["content"]) for turn in turns]


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in leaves(item)]
    return [value if isinstance(value, str) else json.dumps(value)]


# A run with it

KEY = "sk-test-7f3e9b1c5a"
BOTH = {Language.ZH_TW: 0.5, Language.EN: 0.5}
CHAIN = {
    "steps": [{"tool": "find_book"}, {"tool": "count_books", "take": {"shelf": "shelf"}}],
    "phrasings": both(halves(["查{title}"], ["找{title}"]), halves(["Find {title}"], ["Look for {title}"])),
}


def library(folder: Path) -> Toolset:
    """The small pack, with a chain."""
    write_pack(folder, ("chains", [CHAIN]))
    return of_packs(["library"], folder)[0]


class Runner:
    """One run on a folder, with what it left."""

    def __init__(self, teacher: FakeTeacher, folder: Path, *toolsets: Toolset) -> None:
        self.teacher, self.folder, self.toolsets = teacher, folder, toolsets
        self.out = folder / "rows.jsonl"
        self.waits: list[float] = []
        self.budget = Budget(Caps())
        self.report: Report
        self.client: Client

    def run(self, rows: int = 6, caps: Caps | None = None, key: str = KEY, **options: Any) -> Report:
        self.budget = Budget(caps or Caps())
        client = {name: options.pop(name) for name in ("timeout", "rpm") if name in options}
        plans = Plans(self.toolsets, options.pop("seed", 7), options.pop("languages", BOTH), "fake/teacher")
        packs: list[Pack] = [toolset.pack for toolset in self.toolsets if toolset.pack]
        where = Address(self.teacher.address, "fake/teacher", SecretStr(key))

        async def through() -> Report:
            with RowFile(self.out) as file, Cache(self.folder / "answers.db") as cache:
                async with Client(where, self.budget, cache, pause=self._pause(), **client) as self.client:
                    run = Run(self.client, plans, Rules(packs), file, **options)
                    self.report = run.report
                    return await run.through(rows)

        return asyncio.run(through())

    def _pause(self) -> Callable[[float], Awaitable[None]]:
        async def pause(seconds: float) -> None:
            self.waits.append(seconds)

        return pause

    @property
    def rows(self) -> list[Example]:
        return [read_line(line) for line in self.out.read_text(encoding="utf-8").splitlines()]
