"""An OpenAPI 3.0 or 3.1 document: each operation a tool.

    get /flows/{id} with query `limit` and a JSON body {name}
      ->  Tool("read_flow", "Read a flow", {"type": "object", "properties": {"id", "limit", "name"}, …})

Path, query, header and cookie parameters and the properties of a JSON body stand side by side in `parameters`; where
two have one name, or a name that no phrasing can hold, the later one gets another and a `Note` says so. A body that is
no plain object is one parameter, `body`. Left out, each with its reason: deprecated operations, bodies without JSON,
references that leave the document. https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from callwright.faults import Fault
from callwright.records import Tool
from callwright.tool_sources.dialects import openapi_30, openapi_31, without_read_only
from callwright.tool_sources.found import SAYABLE, Item, LeftOut, Note, an_object, short, valid_name
from callwright.tool_sources.json_schema import BadReference, Schemas

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
PLACES = ("path", "query", "header", "cookie")
_NOT_PARAMETERS = ("accept", "content-type", "authorization")
"""Header parameters of these names are to be ignored, as the specification says."""
_JSON = re.compile(r"(application/([\w.!#$&^-]+\+)?json|\*/\*|application/\*)\s*(;.*)?", re.IGNORECASE)
_PLAIN = {"type", "properties", "required", "description", "additionalProperties", "title", "default", "deprecated"}
"""Keywords of a body whose properties can stand beside other parameters without losing anything."""


def read_openapi(document: Any, place: str) -> Iterator[Item]:
    """Each operation as a tool, in the document's order. `Fault` where it is no such document."""
    root = an_object(document, place)
    version = root.get("openapi")
    if "swagger" in root:
        raise Fault(f"{place}: it is Swagger {root['swagger']}; convert it to OpenAPI 3, as swagger2openapi does")
    if not isinstance(version, str) or not version.startswith(("3.0", "3.1")):
        raise Fault(f"{place}: openapi is {short(version)}; OpenAPI 3.0 and 3.1 are read")
    schemas = Schemas(root, openapi_30 if version.startswith("3.0") else openapi_31)
    taken: set[str] = set()
    for path, found in an_object(root.get("paths", {}), f"{place}: paths").items():
        try:
            item = _resolved(found, schemas)
        except BadReference as error:
            yield LeftOut(path, f"is a path that cannot be read: {error}")
            continue
        for method in METHODS:
            if method in item:
                name = _name(item[method], method, path, taken)
                taken.add(name)
                yield from _operation(item, method, name, schemas)


def _name(operation: Any, method: str, path: str, taken: set[str]) -> str:
    """The operation's id, or method and path, as a name that nothing else has."""
    given = operation.get("operationId") if isinstance(operation, dict) else None
    base = valid_name(given if isinstance(given, str) else "") or valid_name(f"{method} {path}")
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def _operation(item: Mapping[str, Any], method: str, name: str, schemas: Schemas) -> Iterator[Item]:
    operation = item[method]
    if not isinstance(operation, dict):
        yield LeftOut(name, f"is {short(operation)}; an object is expected")
        return
    if operation.get("deprecated") is True:
        yield LeftOut(name, "is deprecated")
        return
    merged = _Merged(name)
    try:
        for parameter in _parameters(item, operation, schemas):
            merged.add_parameter(parameter, schemas)
        merged.add_body(_resolved(operation.get("requestBody", {}), schemas), schemas)
        # all in one, so that definitions are shared and none is lost
        parameters = without_read_only(schemas.whole(merged.schema()))
    except RecursionError:
        yield LeftOut(name, "has schemas that nest too deep; make them flatter")
    except ValueError as error:  # BadReference too
        yield LeftOut(name, f"cannot be made a tool: {error}")
    else:
        yield Tool(name, _description(operation), parameters)
        yield from merged.notes


def _parameters(item: Mapping[str, Any], operation: Mapping[str, Any], schemas: Schemas) -> list[dict[str, Any]]:
    """Those of the path and of the operation, which replace the path's; by place, as `PLACES` orders them."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for listed in (item.get("parameters", []), operation.get("parameters", [])):
        if not isinstance(listed, list):
            raise ValueError(f"parameters is {short(listed)}; a list is expected")  # noqa: TRY004 - what is wrong is data
        for value in listed:
            parameter = _resolved(value, schemas)
            where, name = parameter.get("in"), parameter.get("name")
            if where not in PLACES or not isinstance(name, str) or not name:
                raise ValueError(f"the parameter {short(parameter)} has no name, or is in none of {', '.join(PLACES)}")
            if where != "header" or name.lower() not in _NOT_PARAMETERS:
                found[where, name] = parameter
    return sorted(found.values(), key=lambda parameter: PLACES.index(parameter["in"]))


@dataclass(slots=True)
class _Merged:
    """The one object that parameters and body become."""

    name: str
    properties: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    open: bool = False
    """Whether the body takes properties that it does not name."""
    notes: list[Note] = field(default_factory=list)

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": self.properties,
            **({"required": self.required} if self.required else {}),
            "additionalProperties": self.open,
        }

    def add_parameter(self, parameter: dict[str, Any], schemas: Schemas) -> None:
        content = parameter.get("content")
        schema: Any
        if isinstance(content, dict):
            schema = next((media.get("schema", {}) for media in content.values() if isinstance(media, dict)), {})
        else:
            schema = parameter.get("schema", {})
        if isinstance(schema, dict) and isinstance(parameter.get("description"), str):
            said = {"description": " ".join(parameter["description"].split())}
            schema = {"allOf": [schema], **said} if "$ref" in schema else {**schema, **said}
            schema = _flat(schema, schemas)
        required = parameter.get("required") is True or parameter["in"] == "path"
        self._add(parameter["name"], parameter["in"], schema, required=required)

    def add_body(self, body: dict[str, Any], schemas: Schemas) -> None:
        if not body:
            return
        content, required = body.get("content"), body.get("required") is True
        media = next((key for key in content if _JSON.fullmatch(key)), None) if isinstance(content, dict) else None
        if not isinstance(content, dict) or media is None:
            kinds = ", ".join(content) if isinstance(content, dict) and content else "nothing"
            if required:
                raise ValueError(f"its body is {kinds}, and only JSON is read")
            self.notes.append(Note(self.name, f"is without its body, which may be left out and is {kinds}, no JSON"))
            return
        schema = content[media].get("schema", {}) if isinstance(content[media], dict) else {}
        parts = _parts(schema, schemas)
        if parts is None or (parts.get("required") and not required):
            described = {"description": body["description"]} if isinstance(body.get("description"), str) else {}
            whole = {**described, **schema} if isinstance(schema, dict) and "$ref" not in schema else schema
            self._add("body", "body", whole, required=required)
            return
        for name, inner in parts.get("properties", {}).items():
            self._add(name, "body", inner, required=name in parts.get("required", ()))
        self.open = parts.get("additionalProperties") is True

    def _add(self, name: str, where: str, schema: Any, *, required: bool) -> None:
        if isinstance(schema, dict) and schema.get("readOnly") is True:
            return
        free = name if SAYABLE.fullmatch(name) else valid_name(name) or where
        base, number = free, 2
        if free in self.properties:
            base = free = f"{where}_{free}"
        while free in self.properties:
            free, number = f"{base}_{number}", number + 1
        if free != name:
            why = "a name that another has" if SAYABLE.fullmatch(name) else "a name that no phrasing can hold"
            self.notes.append(Note(self.name, f"takes {free!r} for {name!r} in {where}, {why}"))
        self.properties[free] = schema
        if required:
            self.required.append(free)


def _flat(schema: dict[str, Any], schemas: Schemas) -> dict[str, Any]:
    """A reference with a description beside it, as OpenAPI 3.0 cannot write it."""
    if list(schema) != ["allOf", "description"]:
        return schema
    target = schemas.target(schema["allOf"][0]["$ref"])
    if (
        isinstance(target, dict)
        and "$ref" not in target
        and target.get("type") in ("string", "integer", "number", "boolean")
    ):
        return {**target, "description": schema["description"]}
    return schema


def _parts(schema: Any, schemas: Schemas) -> dict[str, Any] | None:
    """A body's properties, required names and openness; None where it is no plain object.

    `allOf` of plain objects is one: all of their properties.
    """
    found = (
        _resolved(schema, schemas) if isinstance(schema, dict) and set(schema) <= {"$ref", "description"} else schema
    )
    if not isinstance(found, dict):
        return None
    keywords = {key for key in found if not key.startswith("x-")} - {"example", "examples", "xml", "externalDocs"}
    if keywords - _PLAIN == {"allOf"} and isinstance(found["allOf"], list):
        parts = [_parts(part, schemas) for part in found["allOf"]]
        own = {key: value for key, value in found.items() if key in ("properties", "required", "additionalProperties")}
        return _together([*parts, own])
    if found.get("type", "object") != "object" or keywords - _PLAIN or not isinstance(found.get("properties"), dict):
        return None
    if not isinstance(found.get("additionalProperties", True), bool) or found.get("nullable") is True:
        return None
    return found


def _together(parts: list[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Several plain objects as one; None where that would say something else."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for part in parts:
        if part is None or part.get("additionalProperties", True) is not True:
            return None
        if properties.keys() & part.get("properties", {}).keys():
            return None
        properties.update(part.get("properties", {}))
        required += [name for name in part.get("required", ()) if name not in required]
    return {"properties": properties, "required": required} if properties else None


def _resolved(value: Any, schemas: Schemas) -> dict[str, Any]:
    """The object, or what it refers to: path items, parameters and bodies may be references."""
    for _ in range(20):
        if not isinstance(value, dict):
            raise BadReference(f"{short(value)} stands where an object is expected")
        if not isinstance(value.get("$ref"), str):
            return value
        value = schemas.target(value["$ref"])
    raise BadReference("a reference refers to a reference, again and again")


def _description(operation: Mapping[str, Any]) -> str:
    """The first paragraph of the description, or the summary where that is shorter to read."""
    described, summary = operation.get("description"), operation.get("summary")
    first = described.strip().split("\n\n")[0] if isinstance(described, str) else ""
    title = summary if isinstance(summary, str) else ""
    return title if not first or (title and len(first) > 200) else first
