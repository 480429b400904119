"""What types cannot say of a pack's chains and errors: tools that are there, results that a later call can take.

The sentences are `pack_checks`'; `writing` finds here what a chain's placeholders and `take` mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from callwright.pack_shape import Chain, Pack, PackTool
from callwright.pack_texts import Place, Placed, apart, each, listed, placeholders
from callwright.records import Language


def chained(pack: Pack, chain: Chain, place: Place) -> Placed:
    tools = {tool.name: tool for tool in pack.tools}
    steps: list[PackTool] = []
    for i, step in enumerate(chain.steps):
        tool, at = tools.get(step.tool), (*place, "steps", i)
        if tool is None or tool.action is None:
            what = "is not there" if tool is None else "has no action, so that no result is there for the next call"
            yield at, f"chain takes tool {step.tool!r}, which {what}; name another"
            return
        for param, source in step.take.items():
            if param not in tool.properties:
                yield at, f"tool {tool.name!r} has no parameter {param!r}; it has {listed(tool.properties)}"
            if taken_from(source, steps) is None:
                known = [f"{early.name}.{name}" for early in steps for name in (*_fields(early), *early.properties)]
                yield at, f"chain takes {source!r}, which no earlier step has; they have {listed(known)}"
        steps.append(tool)
    for at, text in each(chain.phrasings, (*place, "phrasings")):
        held = placeholders(text)
        named = {name: places for name in held if (places := placed_in(name, chain, steps)) is not None}
        for name in sorted(held - named.keys()):
            yield (
                at,
                f"{text!r} holds {name!r}, which no step has as a parameter; write {{PARAMETER}} or {{TOOL.PARAMETER}}",
            )
        for name in sorted(name for name, places in named.items() if len(places) > 1):
            yield at, f"{text!r} holds {name!r}, which several steps have; write {{TOOL.{name}}}"
        said = {places[0] for places in named.values() if len(places) == 1}
        for i, (step, tool) in enumerate(zip(chain.steps, steps, strict=True)):
            for name in tool.required:
                if name not in step.take and (i, name) not in said:
                    yield at, f"tool {tool.name!r} requires {name!r}, which {text!r} leaves out; add {{{name}}}"
    for language in Language:
        yield from apart(chain.phrasings[language], (*place, "phrasings", str(language)), "chain has")


def placed_in(name: str, chain: Chain, steps: Sequence[PackTool]) -> list[tuple[int, str]] | None:
    """The (step, parameter) pairs that a chain's placeholder may mean; None where it means none."""
    tool_name, _, param = name.rpartition(".")
    found = [
        (i, param)
        for i, (step, tool) in enumerate(zip(chain.steps, steps, strict=True))
        if param in tool.properties and param not in step.take and tool_name in ("", tool.name)
    ]
    return found or None


def taken_from(source: str, steps: Sequence[PackTool]) -> tuple[int, str] | None:
    """The earlier step that `NAME` or `TOOL.NAME` names, the last that has it, and the name.

    A field of its result, or else a parameter of its call: what was said once may be needed twice.
    """
    tool_name, _, name = source.rpartition(".")
    for has in (_fields, lambda tool: tool.properties):
        found = [i for i, tool in enumerate(steps) if name in has(tool) and tool_name in ("", tool.name)]
        if found:
            return found[-1], name
    return None


def _fields(tool: PackTool) -> tuple[str, ...]:
    return tuple(field for field in tool.action.fields if field != "items") if tool.action else ()


def errors(pack: Pack) -> Placed:
    names = {tool.name: tool for tool in pack.tools}
    for i, failing in enumerate(pack.errors):
        for name in failing.tools or ():
            if name not in names or names[name].action is None:
                yield ("errors", i), f"error {failing.error!r} names tool {name!r}, which is not there or has no action"
        for place, text in each(failing.told, ("errors", i, "told")):
            if placeholders(text):
                yield place, f"error {failing.error!r} tells {text!r}, which holds a placeholder; take it out"
