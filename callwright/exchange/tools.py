"""Tools as others write them: OpenAI's, MCP's, plain ones, and a file of them.

{"type": "function", "function": {"name": …, "description": …, "parameters": {…}}}     OpenAI
{"name": …, "description": …, "inputSchema": {…}}                                      MCP
{"name": …, "description": …, "parameters": {…}}                                       ours

read_tools(Path("tools.json"))   ->  (Tool(…), …)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from callwright.exchange.drafts import DEEPEST, list_of, maybe_parsed, object_of, parsed, short, text_of
from callwright.exchange.files import LONGEST
from callwright.faults import Fault
from callwright.records import BadRecord, Call, Language, Tool

_SCHEMA_KEYS = ("parameters", "inputSchema", "input_schema")
_MOST_VALUES = 1_000_000
_WAY_OUT = "a file of tools holds a list of {name, description, parameters}, OpenAI's tools, MCP's, or a pack"


def read_tool(value: Any, place: str) -> Tool:
    """One tool; what takes no parameters may leave them out."""
    tool = object_of(value, place)
    if tool.get("type") == "function" and "function" in tool:
        tool, place = object_of(tool["function"], f"{place}.function"), f"{place}.function"
    if "name" not in tool:
        raise BadRecord(f"{place} has no name")
    schema = next((tool[key] for key in _SCHEMA_KEYS if tool.get(key) is not None), None)
    if schema is None:
        schema = {"type": "object", "properties": {}}
    description = tool.get("description")
    return Tool(
        text_of(tool["name"], f"{place}.name"),
        text_of("" if description is None else description, f"{place}.description"),
        object_of(schema, f"{place}.parameters"),
    )


def read_tool_list(value: Any, place: str) -> tuple[Tool, ...]:
    """A list of tools, or its JSON text."""
    listed = list_of(maybe_parsed(value, place), place)
    return tuple(read_tool(tool, f"{place}[{i}]") for i, tool in enumerate(listed))


def read_function_call(value: Any, place: str) -> Call:
    """`{"name", "arguments"}`; arguments are an object, or the JSON text of one."""
    call = object_of(value, place)
    key = next((key for key in ("arguments", "parameters") if key in call), None)
    if "name" not in call or key is None:
        raise BadRecord(f"{place} is {short(value)}; expected a name and arguments")
    arguments = maybe_parsed(call[key], f"{place}.{key}")
    return Call(text_of(call["name"], f"{place}.name"), object_of(arguments, f"{place}.{key}"))


def read_tools(path: Path, language: Language | None = None) -> tuple[Tool, ...]:
    """The tools of a file, JSON or YAML; `Fault` with a sentence for each that is none.

    A pack has descriptions in several languages: `language` chooses, or else the first.
    """
    value = _read(path)
    if isinstance(value, Mapping):
        value = value.get("tools", [value])
    if not isinstance(value, list) or not value:
        raise Fault(f"{path} is {'empty' if not value else 'not a list of tools'}; {_WAY_OUT}")
    tools: list[Tool] = []
    faults: list[str] = []
    for i, entry in enumerate(value):
        try:
            tools.append(read_tool(_in_one_language(entry, language), f"tools[{i}]"))
        except BadRecord as error:
            faults.append(f"{path}: {error}; {_WAY_OUT}")
    faults += [
        f"{path}: tool {name!r} stands there {count} times; a call could mean either, so keep one"
        for name, count in Counter(tool.name for tool in tools).items()
        if count > 1
    ]
    if faults:
        raise Fault(faults)
    return tuple(tools)


def _in_one_language(entry: Any, language: Language | None) -> Any:
    """A pack's tool as a model sees it: `{zh-TW: [查詢資料庫, …], en: […]}` becomes 查詢資料庫."""
    if not isinstance(entry, dict) or not isinstance(entry.get("description"), dict):
        return entry
    said = entry["description"]
    chosen = said.get(str(language)) if language else next(iter(said.values()), None)
    return {**entry, "description": chosen[0] if isinstance(chosen, list) and chosen else chosen}


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > LONGEST:
            raise Fault(f"{path} is larger than {LONGEST // 2**20} MiB; {_WAY_OUT}")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise Fault(f"{path} is missing; {_WAY_OUT}") from None
    except IsADirectoryError:
        raise Fault(f"{path} is a folder; name one file. {_WAY_OUT[0].upper()}{_WAY_OUT[1:]}") from None
    except UnicodeDecodeError as error:
        raise Fault(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise Fault(f"{path} cannot be read: {error.strerror}; {_WAY_OUT}") from error
    if path.suffix in (".yaml", ".yml"):
        return _read_yaml(path, text)
    try:
        return parsed(text)
    except BadRecord as error:
        raise Fault(f"{path} is {error}; {_WAY_OUT}") from None


def _read_yaml(path: Path, text: str) -> Any:
    """YAML that is JSON in another dress: no dates, and aliases only as far as they do not make a small file huge."""
    import yaml

    from callwright.outs import to_json

    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = kind(text)
    try:
        _not_too_deep(path, yaml.parse(text, Loader=kind))
        node = loader.get_single_node()
        if node:
            _written_out(path, node, {})
        value = loader.construct_document(node) if node else None
        return parsed(to_json(value))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        what = " ".join(str(getattr(error, "problem", None) or error).split())
        raise Fault(f"{path}{f':{mark.line + 1}' if mark else ''}: not YAML that JSON could hold: {what}") from None
    finally:
        loader.dispose()


def _not_too_deep(path: Path, events: Iterable[Any]) -> None:
    """Before anything is built: the C loader takes the whole process down with it where it nests without end."""
    import yaml

    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise Fault(f"{path}:{event.start_mark.line + 1}: this nests more than {DEEPEST} deep; {_WAY_OUT}")


def _written_out(path: Path, node: Any, sizes: dict[int, int]) -> int:
    """How many values there are with aliases written out; no key twice, and not more values than a file could hold."""
    import yaml

    line = f"{path}:{node.start_mark.line + 1}"
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise Fault(f"{line}: this holds itself, by an alias (*name); write it out")
        return sizes[id(node)]
    sizes[id(node)] = 0  # until it is known
    children = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        keys = Counter(str(key.value) for key, _ in node.value)
        if twice := next((key for key, count in keys.items() if count > 1), None):
            raise Fault(f"{line}: {twice!r} stands twice in one mapping; keep one")
        children = [value for _, value in node.value]
    size = 1 + sum(_written_out(path, child, sizes) for child in children)
    if size > _MOST_VALUES:
        raise Fault(f"{line}: this is {size} values with its aliases (*name) written out; write less")
    sizes[id(node)] = size
    return size
