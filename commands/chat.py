"""callwright chat: talk to the champion, or to any model, over the tools of a pack

    callwright chat "幫我查一下預算表,並在明天下午三點排個審核會。"
    callwright chat --model http://localhost:8000/v1#qwen3 --pack travel

Calls run in a world of the pack's tables, in memory: what they give back and what changes there is shown, and gone at
the end. With requests it answers them one after another in one conversation; without, it asks for them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from callwright.exchange.categories import language_of
from callwright.faults import Fault
from callwright.formats import signature
from callwright.loop import Asked, Conversation, Limits, Model, converse
from callwright.pack_backend import PackBackend, changes
from callwright.pack_start import TableRow, read_rows, starting_rows
from callwright.packs import Pack, PackTool, read_packs
from callwright.params import FILE, Params, read_params
from callwright.records import Language, System, User
from commands.chat_view import View
from commands.named_model import BASE, choose

LIMITS = Limits(seconds=600)
OFFERED = 6
"""So many tools are offered where no params.yaml says how many training offered."""
_COMMANDS = "/state shows the tables, /tools what is offered, /reset begins anew, /quit ends"


def chat(
    requests: Sequence[str],
    *,
    pack: str = "office",
    tools: str | None = None,
    language: Language | None = None,
    model: str = "champion",
    now: datetime | None = None,
    world: Path | None = None,
    show_state: bool = False,
) -> int:
    """0 where every request came to an answer or a question back, else 1."""
    params = read_params() if FILE.exists() else None
    packs = read_packs(_names(pack))
    offered = _offered(packs, tools, params)
    clock = now or datetime.now().astimezone().replace(second=0, microsecond=0)
    rows = read_rows(world, packs, clock) if world else starting_rows(packs, [tool.name for tool in offered], clock)
    if empty := next((i for i, request in enumerate(requests, start=1) if not request.strip()), None):
        raise Fault(f"request {empty} is empty; say what you want, or give no request and be asked")
    view = View()
    with contextlib.ExitStack() as stack:
        speaker, about = stack.enter_context(_model(model, params))
        view.line("model", about)
        view.line("tools", ", ".join(tool.name for tool in offered))
        view.line("now", f"{clock:%A} {clock.isoformat(' ', 'minutes')}")
        talk = stack.enter_context(Talk(speaker, packs, offered, rows, clock, language, view, show_state=show_state))
        if requests:
            answered = [talk.ask(_text(request)) for request in requests]
            return 0 if all(answered) else 1
        return _interactive(talk, view)


class Talk:
    """One conversation over one world; `reset` begins both anew."""

    def __init__(
        self,
        model: Model,
        packs: Sequence[Pack],
        tools: Sequence[PackTool],
        rows: Sequence[TableRow],
        now: datetime,
        language: Language | None,
        view: View,
        *,
        show_state: bool = False,
    ) -> None:
        self.model, self.packs, self.tools, self.rows, self.now = model, packs, tools, rows, now
        self.language, self.view, self.show_state = language, view, show_state
        self._conversation: Conversation | None = None
        self._stack = contextlib.ExitStack()
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        self._backend = self._stack.enter_context(PackBackend(self.packs, self.now))
        for table, row in self.rows:
            self._backend.put(table, row)

    def reset(self) -> None:
        self._stack.close()
        self._conversation = None
        self._open()

    def ask(self, request: str) -> bool:
        """Answer one request; whether it came to a text."""
        self.view.console.print()
        self.view.line("you", request)
        before = self._backend.state()
        conversation = self._said(request)
        try:
            converse(self.model, [conversation], lambda one: self.view.step(one.steps[-1]))
        except (Fault, KeyboardInterrupt) as stopped:
            conversation.stop(str(stopped) or "interrupted")
            raise
        after = self._backend.state()
        if conversation.detail:
            self.view.line("ended", f"{conversation.ending}: {conversation.detail}", "red")
        self.view.changes(changes(before, after))
        if self.show_state:
            self.view.state(after)
        return conversation.ending is not None and conversation.ending.is_text

    def _said(self, request: str) -> Conversation:
        if self._conversation is not None:
            self._conversation.say(request)
            return self._conversation
        language = self.language or language_of([User(request)])
        offered = tuple(tool.offered(language) for tool in self.tools)
        asked = Asked(language, offered, (System(self.packs[0].system[language][0]), User(request)))
        self._conversation = Conversation(asked, self._backend, LIMITS)
        return self._conversation

    def command(self, name: str) -> None:
        """One of the words that begin with a slash."""
        match name:
            case "/state":
                self.view.state(self._backend.state())
            case "/tools":
                language = self._conversation.language if self._conversation else self.language or Language.EN
                for tool in self.tools:
                    offered = tool.offered(language)
                    self.view.line("", f"{signature(offered)}: {offered.description}")
            case "/reset":
                self.reset()
                self.view.line("", "the tables are as at the beginning, and the conversation is a new one")
            case _:
                self.view.line("", f"{name} is no command: {_COMMANDS}")


def _interactive(talk: Talk, view: View) -> int:
    view.line("", f"say what you want; {_COMMANDS}", "dim")
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            said = _text(input("\n> " if sys.stdin.isatty() else "")).strip()
            if said == "/quit":
                break
            if said.startswith("/"):
                talk.command(said.split()[0])
            elif said:
                _patiently(talk, said, view)
    view.console.print()
    return 0


def _patiently(talk: Talk, request: str, view: View) -> None:
    """Ask; a server that fails, or a person who waits no longer, ends the request and not the chat."""
    try:
        talk.ask(request)
    except Fault as fault:
        view.line("", str(fault), "red")
    except KeyboardInterrupt:
        view.line("", "stopped; what its calls did before stays done", "red")


def _text(given: str) -> str:
    """What came over the command line or a pipe, with a mark where it was no UTF-8."""
    return given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _names(given: str) -> list[str]:
    return [name for part in given.split(",") if (name := part.strip())]


def _offered(packs: Sequence[Pack], given: str | None, params: Params | None) -> list[PackTool]:
    """The tools that are named; else the first of those that training has seen, as many as it offered at most."""
    if not packs:
        raise Fault("--pack names no pack; give one of packs/, such as office")
    known = {tool.name: tool for pack in packs for tool in pack.tools}
    if given is not None:
        names = _names(given)
        if odd := [name for name in names if name not in known]:
            place = f"--tools: there is no tool {odd[0]!r} in {', '.join(pack.pack for pack in packs)}"
            raise Fault(f"{place}; there are {', '.join(known)}")
        if not names:
            raise Fault(f"--tools names no tool; give some of {', '.join(known)}")
        return [known[name] for name in dict.fromkeys(names)]
    held = set(params.generate.held_out_tools) if params else set[str]()
    held_packs = set(params.generate.held_out_packs) if params else set[str]()
    kept = [[tool for tool in pack.tools if tool.name not in held] for pack in packs if pack.pack not in held_packs]
    seen = [tool for round_ in itertools.zip_longest(*kept) for tool in round_ if tool is not None]  # each pack in turn
    return (seen or list(known.values()))[: params.generate.tools_offered.max if params else OFFERED]


@contextlib.contextmanager
def _model(name: str, params: Params | None) -> Iterator[tuple[Model, str]]:
    """The model, and what it is in words."""
    if name.startswith(("http://", "https://")):
        from callwright.openai_model import OpenAIModel, read_where

        where = read_where(name, os.environ)
        yield OpenAIModel(where), f"{where.model} at {where.url}"
        return
    with tempfile.TemporaryDirectory() as folder:
        knobs = params or read_params()
        chosen = choose(name, knobs.register_.name, Path(folder), adapter_will_do=True)
        from stages._local import LocalModel

        model = LocalModel(
            BASE,
            chosen.adapter,
            max_new_tokens=knobs.evaluate.max_new_tokens,
            batch_size=1,
            train_as=knobs.format.train_as,
        )
        yield model, f"{chosen.about}, on {BASE}" if chosen.adapter else f"{chosen.about}, {BASE}"
