"""Live MCP servers, written with the SDK's server side: over stdio, over HTTP, dying, silent or talking nonsense."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest
import yaml

from callwright.faults import Fault
from callwright.records import Tool
from callwright.tool_sources.found import Choice, Found, LeftOut, collect
from callwright.tool_sources.mcp_server import Heard, ask_server, read_server
from commands.tools import import_tools

ROOT = Path(__file__).parent.parent

# One tool a page; {end} is what it does instead of answering for page {at}.
SERVER = """
import os, sys, time
import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import ListToolsResult, Tool

TOOLS = [
    Tool(name="get_weather", description="查詢天氣",
         input_schema={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
    Tool(name="broken", description="Broken", input_schema={"type": "object", "properties": {"x": {"type": "strnig"}}}),
    Tool(name="search-flights", description="Search flights", input_schema={"type": "object", "properties": {}}),
]
LAST, END = int(os.environ.get("LAST", "99")), os.environ.get("END", "")

async def list_tools(context, params):
    page = int(params.cursor or 0) if params else 0
    if page == LAST:
        print("the last words", file=sys.stderr, flush=True)
        if END == "die":
            os._exit(9)
        if END == "hang":
            await anyio.sleep_forever()
    following = None if page == len(TOOLS) - 1 else str(page + 1)
    if END == "endless":
        following = "0"
    return ListToolsResult(tools=[TOOLS[page]], next_cursor=following)

server = Server("Weather 服務", on_list_tools=list_tools)
"""
STDIO = """
async def main():
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
anyio.run(main)
"""
HTTP = """
import uvicorn
uvicorn.run(server.streamable_http_app(), fd=int(sys.argv[1]), log_level="error")
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "server.py"
    path.write_text(SERVER + STDIO, "utf-8")
    return path


def command(script: Path, last: int = 99, end: str = "") -> list[str]:
    """With settings as arguments of `env`: the server is not given our environment."""
    return ["env", f"LAST={last}", f"END={end}", sys.executable, str(script)]


def listed(heard: Heard) -> Found:
    return collect(read_server(heard, "the server"), Choice())


def names(heard: Heard) -> list[str]:
    return [tool.name for tool in listed(heard).tools]


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    assert left == []


Start = Callable[..., tuple[str, subprocess.Popen[bytes]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the server over HTTP; the socket listens before it does, so that nobody has to wait for it."""
    path = tmp_path / "http_server.py"
    path.write_text(SERVER + HTTP, "utf-8")
    started: list[subprocess.Popen[bytes]] = []
    sockets: list[socket.socket] = []

    def begin(last: int = 99, end: str = "") -> tuple[str, subprocess.Popen[bytes]]:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)
        words = [*command(path, last, end), str(listening.fileno())]
        started.append(subprocess.Popen(words, pass_fds=[listening.fileno()], stderr=subprocess.DEVNULL))
        port = listening.getsockname()[1]
        return f"http://127.0.0.1:{port}/mcp", started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
    for listening in sockets:
        listening.close()


# Servers that do what they should


def test_a_server_over_stdio_tells_all_its_pages(script: Path) -> None:
    heard = ask_server(command(script), deadline=60)
    assert (heard.name, heard.fault, heard.garbage) == ("Weather 服務", "", 0)
    found = listed(heard)
    assert found.tools[0] == Tool(
        "get_weather", "查詢天氣", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    )
    assert found.tools[1].name == "search_flights"
    assert [left.name for left in found.left_out] == ["broken"]


def test_a_server_over_http_tells_the_same(start: Start, script: Path) -> None:
    address, process = start()
    heard = ask_server(address, deadline=60)
    assert (heard.name, heard.fault) == ("Weather 服務", "")
    assert heard.tools == ask_server(command(script), deadline=60).tools
    assert process.poll() is None  # it was not ours to end


def test_a_server_of_the_sdks_own_kind_is_read(tmp_path: Path) -> None:
    path = tmp_path / "decorated.py"
    path.write_text(
        "from mcp.server.mcpserver import MCPServer\n"
        "server = MCPServer('rooms')\n"
        "@server.tool()\n"
        "def book_room(seats: int, note: str | None = None) -> str:\n"
        "    '''Book a room.'''\n"
        "    return ''\n"
        "server.run('stdio')\n"
    )
    [tool] = listed(ask_server([sys.executable, str(path)], deadline=60)).tools
    assert (tool.name, tool.description, tool.required) == ("book_room", "Book a room.", ("seats",))
    assert tool.properties["seats"]["type"] == "integer"


def test_the_command_makes_a_pack_named_as_the_server(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert import_tools(None, command=" ".join(command(script))) == 1
    pack = yaml.safe_load(Path("packs/weather.yaml").read_text("utf-8"))
    assert [tool["name"] for tool in pack["tools"]] == ["get_weather", "search_flights"]
    assert "left out: broken has no usable schema" in capsys.readouterr().out


def test_a_server_is_not_given_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    told = tmp_path / "environment"
    code = f"import os; open({str(told)!r}, 'w').write('\\n'.join(os.environ))"
    ask_server([sys.executable, "-c", code], deadline=20)
    assert "PATH" in told.read_text()
    assert "OPENAI_API_KEY" not in told.read_text()


# Servers that do not


def test_what_a_server_told_before_it_died_is_kept_and_that_it_died_is_told(script: Path) -> None:
    heard = ask_server(command(script, last=1, end="die"), deadline=60)
    assert heard.fault == "it ended before it had answered; the last line that it wrote to stderr: the last words"
    found = listed(heard)
    assert [tool.name for tool in found.tools] == ["get_weather"]
    assert found.left_out == (LeftOut("", f"what else the server has was not heard: {heard.fault}"),)


def test_a_server_over_http_that_dies_half_way_keeps_what_it_told(start: Start) -> None:
    address, process = start(last=1, end="die")
    heard = ask_server(address, deadline=10)
    assert names(heard) == ["get_weather"]
    assert heard.fault
    assert process.wait() == 9


def test_a_half_heard_server_makes_a_pack_and_exit_code_1(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert import_tools(None, command=" ".join(command(script, last=1, end="die"))) == 1
    assert "left out: what else env LAST=1" in capsys.readouterr().out
    assert Path("packs/weather.yaml").exists()


def test_a_server_that_hangs_is_left_at_the_deadline_and_ended(script: Path) -> None:
    heard = ask_server(command(script, last=1, end="hang"), deadline=8)
    assert names(heard) == ["get_weather"]
    assert heard.fault.startswith("it did not answer within 8 seconds; is it an MCP server?")


def test_a_server_that_never_ends_its_pages_is_not_followed_for_ever(script: Path) -> None:
    heard = ask_server(command(script, end="endless"), deadline=60)
    assert heard.fault == 'it has always one page more (cursor "0", after 1 pages)'


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sys; sys.exit(3)", "it ended before it had answered"),
        ("import sys; print('no such table', file=sys.stderr)", "wrote to stderr: no such table"),
        ("while True: input()", "it did not answer within 1 seconds"),
        (
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(99)",
            "it did not answer within 1 s",
        ),
        ("print('hello'); print('<html>'); print('{}')", "it ended before it had answered"),
        ("import os; os.write(1, b'\\xff\\xfe\\n' * 3)", "it ended before it had answered"),
    ],
)
def test_a_server_that_is_none_is_a_sentence_and_is_ended(code: str, told: str) -> None:
    heard = ask_server([sys.executable, "-c", code], deadline=1)
    assert told in heard.fault
    with pytest.raises(Fault, match=r"the server: .*; nothing was made"):
        listed(heard)


def test_garbage_between_messages_is_passed_over_and_told(script: Path) -> None:
    script.write_text(
        script.read_text("utf-8").replace("anyio.run(main)", "print('starting…', flush=True)\nanyio.run(main)"), "utf-8"
    )
    heard = ask_server(command(script), deadline=60)
    assert (heard.garbage, heard.fault, len(heard.tools)) == (1, "", 3)
    assert "the server wrote 1 lines to its stdout that are no MCP messages" in listed(heard).notes[-1].what


def test_a_page_whose_tools_are_nonsense_loses_those_alone(script: Path) -> None:
    """The SDK's client refuses the page; its tools are taken before it sees them."""
    raw = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        version = asked["params"]["protocolVersion"]
        result = {"protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
    elif asked.get("method") == "tools/list":
        good = {"name": "b", "inputSchema": {"type": "object"}}
        result = {"tools": ["text", {"name": 5}, {"name": "a", "inputSchema": "none"}, good]}
    else:
        if "id" in asked:
            error = {"code": -32601, "message": "no"}
            print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}), flush=True)
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""
    script.write_text(raw)
    heard = ask_server([sys.executable, str(script)], deadline=60)
    assert heard.fault == ""
    assert names(heard) == ["b"]
    assert [left.name for left in listed(heard).left_out] == ["tools[0]", "tools[1]", "a"]
    script.write_text(raw.replace('"tools": [', '"tools": 5, "x": ['))
    assert ask_server([sys.executable, str(script)], deadline=60).fault.startswith(
        "its answer is not as MCP has it: tools"
    )
    script.write_text(raw.replace('"tools/list"', '"never"'))
    assert ask_server([sys.executable, str(script)], deadline=60).fault == 'it answered with the error -32601: "no"'


def test_a_program_that_is_not_there_is_a_sentence() -> None:
    heard = ask_server(["no-such-program-here"], deadline=5)
    assert heard.fault.startswith("no-such-program-here could not be started (No such file or directory)")


def test_an_address_where_nobody_listens_is_a_sentence_without_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Fault) as raised:
        import_tools(f"http://me:secret@127.0.0.1:{port}/mcp", name="x")
    told = str(raised.value)
    assert told.startswith(f"http://127.0.0.1:{port}/mcp: it could not be asked (ConnectError")
    assert "secret" not in told


class _Page(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        text = b"<html>Not here</html>"
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_an_address_that_is_no_mcp_server_is_a_sentence(status: int) -> None:
    with HTTPServer(("127.0.0.1", 0), _Page) as web:
        Thread(target=web.serve_forever, daemon=True).start()
        try:
            heard = ask_server(f"http://127.0.0.1:{web.server_port}/{status}", deadline=10)
        finally:
            web.shutdown()
    assert heard.tools == []
    assert heard.fault.startswith("it answered with the error -32")
    assert heard.fault.endswith("or the tools/list result of a server that wants a login, as a file")


def test_ended_from_outside_it_ends_the_server_too(script: Path, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    code = (
        f"import os,time; open({str(mark)!r}, 'w').write(str(os.getpid())); os.kill(os.getppid(), 15); time.sleep(99)"
    )
    ours = (
        "import sys\nfrom callwright.tool_sources.mcp_server import ask_server\n"
        "print(ask_server([sys.executable, '-c', sys.argv[1]], 60).fault)"
    )
    done = subprocess.run(
        [sys.executable, "-c", ours, code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "interrupted\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), signal.SIGKILL)
