"""The tools of a live MCP server, over stdio or streamable HTTP, by the official SDK's client.

    ask_server("https://host/mcp", deadline=30)              a server that runs
    ask_server(["npx", "some-server"], deadline=30)          one that is started for this, and ended, whatever happens

Only tools/list is asked, page by page; no tool is called. The program that is started gets the environment that the
SDK thinks safe (PATH, HOME and the like), not ours. A server that dies, never answers or talks nonsense: what it told
until then is kept, and a sentence says what happened. https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import contextlib
import logging
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from callwright.faults import Fault
from callwright.tool_sources.found import Item, LeftOut, Note, short
from callwright.tool_sources.tool_lists import read_tool

MOST_PAGES = 1000
"""A server that has always one page more is not followed for ever."""


@dataclass(slots=True)
class Heard:
    """What a server told, tool by tool as it wrote them, and how it ended."""

    name: str = ""
    tools: list[Any] = field(default_factory=list)
    garbage: int = 0
    """Lines of its stdout that are no messages."""
    fault: str = ""
    """Why not all was heard; a sentence's end."""


def read_server(heard: Heard, place: str) -> Iterator[Item]:
    """The tools that were heard. `Fault` where there are none and the server failed."""
    if heard.fault and not heard.tools:
        raise Fault(f"{place}: {heard.fault}; nothing was made")
    for number, value in enumerate(heard.tools):
        yield from read_tool(value, f"tools[{number}]")
    if heard.fault:
        yield LeftOut("", f"what else {place} has was not heard: {heard.fault}")
    if heard.garbage:
        yield Note(
            "", f"{place} wrote {heard.garbage} lines to its stdout that are no MCP messages; they were passed over"
        )


def ask_server(server: str | Sequence[str], deadline: float) -> Heard:
    """Ask for all tools. Never raises for what a server does; `Heard.fault` tells it."""
    import anyio

    heard = Heard()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors, _quiet():
        try:
            anyio.run(_ask, server, deadline, heard, errors)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the server's, and a sentence
            heard.fault = heard.fault or _why(error, server, deadline)
        errors.seek(0)
        last = [line.strip() for line in errors.read()[-4000:].splitlines() if line.strip()][-1:]
    if heard.fault and last:
        heard.fault += f"; the last line that it wrote to stderr: {last[0][:200]}"
    return heard


async def _ask(server: str | Sequence[str], deadline: float, heard: Heard, errors: TextIO) -> None:
    import anyio
    from mcp import Client

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end_on_sigterm, tasks.cancel_scope, heard)
        with anyio.fail_after(deadline):
            async with Client(_listening(_transport(server, errors), heard), cache=None) as client:
                if client.server_info:
                    heard.name = client.server_info.name
                cursors: set[str] = set()
                cursor: str | None = None
                for _ in range(MOST_PAGES):
                    cursor = (await client.list_tools(cursor=cursor)).next_cursor
                    if cursor is None or cursor in cursors:
                        break
                    cursors.add(cursor)
                if cursor is not None:
                    heard.fault = f"it has always one page more (cursor {short(cursor)}, after {len(cursors)} pages)"
        tasks.cancel_scope.cancel()


async def _end_on_sigterm(scope: Any, heard: Heard) -> None:
    """Ended from outside: the server that we started is ended too."""
    import anyio

    if threading.current_thread() is not threading.main_thread():
        return  # signals reach the main thread only
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            heard.fault, heard.tools = "interrupted", []
            scope.cancel()
            return


def _transport(server: str | Sequence[str], errors: TextIO) -> Any:
    from mcp.client.stdio import StdioServerParameters, stdio_client
    from mcp.client.streamable_http import streamable_http_client

    if isinstance(server, str):
        return streamable_http_client(server)
    program = StdioServerParameters(command=server[0], args=list(server[1:]), encoding_error_handler="replace")
    return stdio_client(program, errlog=errors)


@contextlib.asynccontextmanager
async def _listening(transport: Any, heard: Heard) -> AsyncIterator[Any]:
    """The transport, with the tools taken out of what passes: the SDK refuses a whole page for one broken tool."""
    import anyio
    from mcp.shared.message import SessionMessage

    async with transport as (read, write):
        send, receive = anyio.create_memory_object_stream[SessionMessage | Exception](0)

        async def relay() -> None:
            async with send:
                async for message in read:
                    heard.garbage += isinstance(message, Exception)
                    await send.send(_without_tools(message, heard))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(relay)
            try:
                yield receive, write
            finally:
                tasks.cancel_scope.cancel()


def _without_tools(message: Any, heard: Heard) -> Any:
    from mcp.shared.message import SessionMessage
    from mcp_types import JSONRPCResponse

    answer = message.message if isinstance(message, SessionMessage) else None
    if not isinstance(answer, JSONRPCResponse) or not isinstance(answer.result.get("tools"), list):
        return message
    heard.tools += answer.result["tools"]
    return SessionMessage(answer.model_copy(update={"result": {**answer.result, "tools": []}}), message.metadata)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The SDK logs what a server does wrong, with tracebacks; here a sentence tells it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _why(error: BaseException, server: str | Sequence[str], deadline: float) -> str:
    """What happened, as the end of a sentence."""
    import httpx2
    from mcp.shared.exceptions import MCPError
    from mcp_types import CONNECTION_CLOSED
    from pydantic import ValidationError

    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"it did not answer within {deadline:g} seconds; is it an MCP server? --deadline gives it longer"
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"{server[0]} could not be started ({error.strerror}); give a program that is there"
    if isinstance(error, MCPError):
        if error.code == CONNECTION_CLOSED:
            return "it ended before it had answered"
        told = f"it answered with the error {error.code}: {short(str(error))}"
        file = "give an OpenAPI document, or the tools/list result of a server that wants a login, as a file"
        return told + (f"; it was asked as an MCP server: {file}" if isinstance(server, str) else "")
    if isinstance(error, httpx2.HTTPError):
        why = f"{type(error).__name__}: {error or 'no answer'}"
        return f"it could not be asked ({why}); is it running, and is the path right?"
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return f"its answer is not as MCP has it: {place} {str(first['msg']).lower()}"
    return f"it could not be asked ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
