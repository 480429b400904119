"""A model on this machine behind the loop's `Model`: a base, or a base with its adapter, asked as it was trained.

    model = LocalModel(Path("models/base"), Path("models/adapter"), max_new_tokens=96, batch_size=16)
    model.answer([Asked(language, tools, messages)])     ->  [Spoken('{"tool": …}', Called(…))]
    prompter(Path("models/base"), TrainAs.MESSAGES)(asked)      ->  Prompt([1, 9690, 198, …])

The prompt of a conversation is made by the very functions that write the training rows: its tokens are those that stand
before the answer there. Importing this imports neither torch nor transformers.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from callwright.answers import Answer, Unparsed, read_answer
from callwright.families import NotExpressible, family
from callwright.faults import Fault
from callwright.loop import Asked, Spoken
from callwright.params import Format, Inexpressible, Long, TrainAs
from callwright.presets import FamilyName
from callwright.records import Call, Calls, Category, Example, Message, Reply, Split, Tool
from stages import _model
from stages.format import UNLABELLED, template_and_tokens, to_native

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stages._constrained import Constrained
    from stages._engine import Complete


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked to go on from, in token ids."""

    tokens: list[int]
    between: tuple[list[int], ...] = ()
    """What stands between the turns in which the family writes one message: its calls, where a turn holds one."""


def prompts(rows: Iterable[Mapping[str, Any]]) -> dict[str, Prompt]:
    """Token ids up to the last message of each example, which is its last labelled run, or its last `turns` of them."""
    out: dict[str, Prompt] = {}
    for row in rows:
        ids, labels, ends = row["input_ids"], row["labels"], list[tuple[int, int]]()
        end = len(labels)
        for _ in range(row.get("turns", 1)):
            while end and labels[end - 1] == UNLABELLED:
                end -= 1
            last = end
            while end and labels[end - 1] != UNLABELLED:
                end -= 1
            ends.append((end, last))
        runs = ends[::-1]
        between = tuple(ids[last:begin] for (_, last), (begin, _) in pairwise(runs))
        out[str(row["id"]).partition("#")[0]] = Prompt(ids[:end], between)  # the last row of an example stands last
    return out


class Prompter(Protocol):
    def __call__(self, asked: Asked, row_id: str = "asked") -> Prompt:
        """`NotExpressible` where this model's text cannot hold the conversation. Mistral's ids of calls hang on the
        row's id: with it, the tokens are those of the very row.
        """
        ...


def prompter(base: Path, train_as: TrainAs, calls: int = 1) -> Prompter:
    """What makes the prompt of a conversation.

    `calls`: how many the awaited answer may have where the family writes each as a turn of its own; the prompt then has
    what stands `between` them. The loop runs each call before it asks for the next.
    """
    about = _model.about(base)
    render, encode = template_and_tokens(base)
    params = Format(train_as=train_as, max_length=2**31, too_long=Long.REFUSE, inexpressible=Inexpressible.TURNS)
    native = to_native(params, about, render, encode)
    marks = _marks(base, about.stops, render) if about.family is FamilyName.TEMPLATE else None
    # any answer will do: only what stands before it is kept
    some = Calls((Call("some_tool", {}),) * calls) if calls > 1 else Reply("OK.")

    def made(asked: Asked, row_id: str = "asked") -> Prompt:
        messages = (*asked.messages, some)
        row = Example(row_id, asked.language, Category.SINGLE, Split.TEST, asked.tools, messages)
        if marks and (found := marks.search(_texts(row))):
            raise NotExpressible(f"the conversation holds {found[0]!r}, a control token of this model")
        return prompts(native(row))[row.id]

    return made


def _marks(base: Path, stops: Sequence[str], render: Callable[..., str]) -> re.Pattern[str]:
    """The control tokens that a chat template writes itself, and those that end an answer. Families know their own.

    Others (<filename>, <issue_start>) are no part of a conversation's frame, and people write them.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    frame = render([{"role": "system", "content": ""}, {"role": "user", "content": ""}], None, True)
    controls = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    marks = {*stops, *(control for control in controls if control in frame)}
    return re.compile("|".join(map(re.escape, sorted(marks))))


def _texts(row: Example) -> str:
    """All that people, models and tools wrote in a conversation."""
    return "\n".join([*map(_text, row.messages), *(json.dumps(t.to_json(), ensure_ascii=False) for t in row.tools)])


def _text(message: Message) -> str:
    if not isinstance(message, Calls):
        return message.content
    return "\n".join(json.dumps(call.to_json(), ensure_ascii=False) for call in message.calls)


def reader(base: Path, train_as: TrainAs) -> Callable[[str], Answer]:
    """How an answer of the base's family is read, in the text that it was trained on."""
    told = _model.about(base)
    native = train_as is TrainAs.NATIVE and told.family is not FamilyName.TEMPLATE
    return family(told.family).read if native else read_answer


class LocalModel:
    """A base, or with an adapter what is served: the base as it was in training with the adapter merged.

    Loaded when it is first asked, once. Several threads may ask; one is answered at a time. `train_as` is for what does
    not say it itself: a base alone. `complete` is the same model where it is loaded already, or served by an engine;
    it has its own sizes. `constrained`: answers are held to the schemas of the tools that are offered. `Fault` where
    base and adapter do not belong together.
    """

    def __init__(
        self,
        base: Path,
        adapter: Path | None,
        *,
        max_new_tokens: int,
        batch_size: int,
        train_as: TrainAs | None = None,
        watch: Callable[[int], None] = lambda _: None,
        complete: Complete | None = None,
        constrained: bool = False,
    ) -> None:
        self.base, self.adapter, self.constrained = base, adapter, constrained
        self.max_new_tokens, self.batch_size, self.watch = max_new_tokens, batch_size, watch
        self.train_as = _train_as(base, adapter) or train_as
        if self.train_as is None:
            place = adapter or base
            raise Fault(f"{place} does not say in which text it was trained; train it again with dvc repro")
        self._prompt, self._read = prompter(base, self.train_as), reader(base, self.train_as)
        self._lock, self._complete = threading.Lock(), complete

    def answer(self, asked: Sequence[Asked], *, temperature: float = 0.0, seed: int = 0) -> list[Spoken]:
        """One answer to each, each up to its stop token; the likeliest, or with a temperature one that is drawn.

        A conversation that this model cannot be asked is a `Spoken` that was not `asked`, with the reason.
        """
        made = [self._written(one) for one in asked]
        with self._lock:
            written = [(one, each.tools) for one, each in zip(made, asked, strict=True) if isinstance(one, list)]
            texts = iter(self._decoded([one for one, _ in written], [tools for _, tools in written], temperature, seed))
        return [self._spoken(next(texts)) if isinstance(one, list) else one for one in made]

    def _written(self, asked: Asked) -> list[int] | Spoken:
        try:
            tokens = self._prompt(asked).tokens
        except NotExpressible as why:
            return _unasked(str(why))
        if len(tokens) + self.max_new_tokens > self._room:
            many = f"the conversation has {len(tokens):,} tokens and its answer up to {self.max_new_tokens:,}"
            return _unasked(f"{many}, and the model holds {self._room:,} in all")
        return tokens

    def _spoken(self, text: str) -> Spoken:
        return Spoken(text, self._read(text))

    def _decoded(
        self, tokens: list[list[int]], tools: list[tuple[Tool, ...]], temperature: float, seed: int
    ) -> list[str]:
        if not tokens:
            return []
        drawn: dict[str, Any] = {"temperature": temperature, "seed": seed} if temperature else {}
        if self.constrained:
            drawn["constraint"] = self._grammars.for_tools(tools)
        stops = self._stops
        if self._complete:
            made = self._complete(tokens, stops, self.watch, **drawn)
        else:
            from stages import _decode

            most, at_once = self.max_new_tokens, self.batch_size
            made = _decode.greedy(self._loaded, tokens, stops, most, at_once, self.watch, **drawn)
        return [str(self._tokenizer.decode(answer)) for answer in made]

    @cached_property
    def _stops(self) -> list[int]:
        return list(self._tokenizer.convert_tokens_to_ids(list(_model.about(self.base).stops)))

    @cached_property
    def _grammars(self) -> Constrained:
        from stages._constrained import DOCUMENT, Constrained

        family_name = _model.about(self.base).family
        native = self.train_as is TrainAs.NATIVE and family_name is not FamilyName.TEMPLATE
        return Constrained(self.base, str(family_name) if native else DOCUMENT, self._stops, moments=False)

    @cached_property
    def _room(self) -> int:
        config = json.loads((self.base / "config.json").read_text(encoding="utf-8"))
        return int(config.get("max_position_embeddings") or 2**31)

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerFast:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.base)

    @cached_property
    def _loaded(self) -> PreTrainedModel:
        _model.quiet()
        dtype = _model.number_format()
        if self.adapter is None:
            return _model.load_to_answer(self.base, dtype)
        return _model.load_with_adapter(self.base, self.adapter, dtype)


def _train_as(base: Path, adapter: Path | None) -> TrainAs | None:
    said = _model.check_adapter(base, adapter).get("train_as") if adapter else None
    return TrainAs(said) if said in list(TrainAs) else None


def _unasked(why: str) -> Spoken:
    return Spoken("", Unparsed("", why), asked=False)
