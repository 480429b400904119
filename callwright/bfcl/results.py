"""Result files, in the layout that BFCL's own evaluator reads, and back.

    OUT/NAME/non_live/BFCL_v4_simple_python_result.json      one line an entry:
    {"id": "simple_python_0", "result": "[f(base=10)]", "answer": {"calls": […]}, "raw": "{\\"tool\\": …}"}

`result` is what bfcl_eval's prompting handlers decode (model_handler.utils.default_decode_ast_prompting): calls as a
Python list of keyword calls, text as it is. `answer` and `raw` are ours, and are passed over there. A file without
`answer`, of another model that was run with bfcl-eval itself, is read from its `result`: as Python literals, none of
which is evaluated.
"""

from __future__ import annotations

import ast
import json
import keyword
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callwright.answers import Answer, Called, Said, Unparsed, strict_json, to_json
from callwright.bfcl.categories import group, wants_no_call
from callwright.bfcl.reading import Data
from callwright.faults import Fault
from callwright.loop import Spoken
from callwright.records import BadRecord, Call, read_call

_ASIDE = "[not_read()]"
"""For what the official evaluator must not count as right, or must not be handed: it evaluates sums in a call."""

_MOST_CHARACTERS = 100_000
"""Of a text that is handed on."""


@dataclass(frozen=True, slots=True)
class Result:
    answer: Answer
    asked: bool = True


def result_path(out: Path, name: str, data: Data, category: str) -> Path:
    return out / name / group(category) / f"{data.prefix}_{category}_result.json"


def result_line(entry_id: str, category: str, spoken: Spoken) -> dict[str, Any]:
    """One line of a result file."""
    asked = {} if spoken.asked else {"asked": False}
    return {
        "id": entry_id,
        "result": result_text(category, spoken),
        "answer": to_json(spoken.answer),
        **asked,
        "raw": spoken.raw.encode(errors="replace").decode(),
    }


def result_text(category: str, spoken: Spoken) -> str:
    """The answer as the official evaluator decodes it."""
    if isinstance(spoken.answer, Called):
        return python_calls(spoken.answer.calls)
    if not spoken.asked:  # wrong for both: where nothing is to be called, text would be right
        return _ASIDE if wants_no_call(category) else "too long for the model"
    text = spoken.raw.encode(errors="replace").decode()[:_MOST_CHARACTERS]
    return _ASIDE if _has_sums(text) else text


def python_calls(calls: tuple[Call, ...]) -> str:
    """`[math.factorial(number=5), f(**{"a-b": 1})]`; names that Python has no room for stand as text there."""
    return "[" + ", ".join(f"{_name(call.tool)}({', '.join(_arguments(call.params))})" for call in calls) + "]"


def _name(tool: str) -> str:
    return tool if all(map(_is_name, tool.split("."))) else repr(tool)


def _arguments(params: Mapping[str, Any]) -> Iterator[str]:
    for name, value in params.items():
        yield f"{name}={value!r}" if _is_name(name) else f"**{ {name: value}!r}"


def _is_name(text: str) -> bool:
    # Python reads a name in its compatibility form: another one would come back changed
    return text.isidentifier() and not keyword.iskeyword(text) and unicodedata.normalize("NFKC", text) == text


def _has_sums(text: str) -> bool:
    """Whether the official decoder, reading this as calls, would come upon an operator, which it evaluates."""
    tree = _parsed(text)
    return tree is not None and any(isinstance(node, ast.BinOp | ast.Lambda) for node in ast.walk(tree))


def _parsed(text: str) -> ast.expr | None:
    """The text as the official decoder takes it: as a Python expression, in brackets. Nothing of it is run."""
    shown = text.strip("`\n ")
    shown = ("" if shown.startswith("[") else "[") + shown + ("" if shown.endswith("]") else "]")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python has opinions on escapes in what a model wrote
            return ast.parse(shown.strip().strip("'"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def read_result(text: str) -> Answer:
    """What another model's `result` says, as the official decoder would read it, but for sums and names as values."""
    if not text.strip():
        return Unparsed(text, "the answer is empty")
    body = _parsed(text)
    if body is None:
        return Said(text)
    items = body.elts if isinstance(body, ast.List | ast.Tuple) else [body]
    if not items:
        return Unparsed(text, "it is a list of no calls")
    if not any(isinstance(item, ast.Call) for item in items):
        return Said(text)
    try:
        return Called(tuple(map(_call, items)))
    except (ValueError, RecursionError) as error:
        return Unparsed(text, str(error))


def _call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise ValueError("some of it is a call and some is not")  # noqa: TRY004 - it is about the text
    if node.args or any(word.arg is None for word in node.keywords):
        raise ValueError("a call has values without a parameter's name")
    params = {str(word.arg): _value(word.value) for word in node.keywords}
    return Call(ast.unparse(node.func), params)


def _value(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
        return strict_json(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"a value is no literal that JSON has too ({str(error)[:80]})") from None


def read_results(path: Path) -> dict[str, Result]:
    """The answers of a result file by id. `Fault` names file and line of what cannot be read."""
    found: dict[str, Result] = {}
    for number, row in enumerate(result_lines(path), start=1):
        try:
            found[row["id"]] = Result(_answer(row), row.get("asked") is not False)
        except ValueError as error:
            raise Fault(f"{path}:{number}: {row['id']}: {error}; {_again()}") from None
    return found


def result_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a result file, each with an id of its own. `Fault` where one is not."""
    rows: dict[str, dict[str, Any]] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise Fault(f"{path} is missing; callwright bfcl run writes it") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = strict_json(line.decode())
        except (ValueError, RecursionError) as error:
            raise Fault(f"{path}:{number}: not JSON ({error}); {_again()}") from None
        name = row.get("id") if isinstance(row, dict) else None
        if not isinstance(name, str):
            raise Fault(f"{path}:{number}: a line is one JSON object with an id; {_again()}")
        if name in rows:
            raise Fault(f"{path}:{number}: {name} is answered twice; take one of its lines out")
        rows[name] = row
    return list(rows.values())


def _again() -> str:
    return "take the file away and run callwright bfcl run again"


def _answer(row: Mapping[str, Any]) -> Answer:
    text = row.get("result")
    match row.get("answer"):
        case None if isinstance(text, str):
            return read_result(text)
        case {"calls": [_, *_] as calls}:
            try:
                return Called(tuple(read_call(call, f"calls[{i}]") for i, call in enumerate(calls)))
            except BadRecord as error:
                raise ValueError(f"its answer has a call that is none: {error}") from None
        case {"text": str(said)}:
            return Said(said)
        case {"unparsed": str(reason)}:
            return Unparsed(text if isinstance(text, str) else "", reason)
    raise ValueError("it has neither an answer nor a result that is text")
