"""Other dialects of JSON Schema, made into 2020-12: drafts 4 to 7, OpenAPI 3.0 and 3.1.

    openapi_30({"type": "string", "nullable": True})         ->  {"type": ["string", "null"]}
    draft_07({"minimum": 0, "exclusiveMinimum": True})       ->  {"exclusiveMinimum": 0}

Each changes one schema and leaves those in it; `json_schema` goes through them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callwright.tool_sources.json_schema import REMARKS, Change, Schemas, inner_schemas, with_inner

_ELSEWHERE = ("$id", "$anchor", "$dynamicRef", "$recursiveRef")
_NOISE = ("title", "example", "examples", "xml", "externalDocs", "discriminator", "$comment")


def standing_alone(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A tool's own parameters, with their references put in place. What uses anchors and ids stays as it is."""
    found = dict(parameters)
    dialect = found.pop("$schema", "")
    if isinstance(dialect, str) and any(f"draft-0{number}" in dialect for number in (3, 4, 6, 7)):
        found = _all(found, draft_07)
    schemas = list(inner_schemas(found))
    if any(key in schema for schema in schemas for key in _ELSEWHERE) or all("$ref" not in each for each in schemas):
        return found
    whole: dict[str, Any] = Schemas(found).whole(found)
    return whole


def _all(schema: Any, change: Change) -> Any:
    if not isinstance(schema, dict):
        return schema
    return with_inner(change(schema), lambda inner: _all(inner, change))


def draft_07(schema: dict[str, Any]) -> dict[str, Any]:
    """Of drafts 4 to 7 what 2020-12 writes in another way.

    https://json-schema.org/draft/2020-12/release-notes
    """
    found = _exclusive_bounds(dict(schema))
    if isinstance(found.get("items"), list):
        found["prefixItems"] = found.pop("items")
        if "additionalItems" in found:
            found["items"] = found.pop("additionalItems")
    found.pop("additionalItems", None)
    depends = found.pop("dependencies", None)
    if isinstance(depends, dict):
        names = {key: value for key, value in depends.items() if isinstance(value, list)}
        found.update({"dependentRequired": names} if names else {})
        others = {key: value for key, value in depends.items() if not isinstance(value, list)}
        found.update({"dependentSchemas": others} if others else {})
    if isinstance(found.get("id"), str):
        found["$id"] = found.pop("id")
    return found


def openapi_31(schema: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing to a model: titles, examples, extensions."""
    return {key: value for key, value in schema.items() if key not in _NOISE and not key.startswith("x-")}


def openapi_30(schema: dict[str, Any]) -> dict[str, Any]:
    """`nullable` and truth values as exclusive bounds; beside a `$ref` OpenAPI 3.0 reads nothing.

    https://spec.openapis.org/oas/v3.0.3#schema-object
    """
    found = _exclusive_bounds(openapi_31(schema))
    if "$ref" in found:
        return {key: value for key, value in found.items() if key == "$ref" or key in REMARKS}
    if found.pop("nullable", False) is not True:
        return found
    if isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
        if isinstance(found.get("enum"), list) and None not in found["enum"]:
            found["enum"] = [*found["enum"], None]
        return found
    remarks = {key: found.pop(key) for key in list(found) if key in REMARKS}
    return {"anyOf": [found, {"type": "null"}], **remarks} if found else remarks


def _exclusive_bounds(schema: dict[str, Any]) -> dict[str, Any]:
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and bound in schema:
            schema[exclusive] = schema.pop(bound)
    return schema


def without_read_only(schema: Any) -> Any:
    """What a caller may send: properties that only the server sets are taken out, wherever they stand."""
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    if isinstance(found.get("properties"), dict):
        served = {name for name, inner in found["properties"].items() if _read_only(inner)}
        found["properties"] = {name: inner for name, inner in found["properties"].items() if name not in served}
        if isinstance(found.get("required"), list):
            found["required"] = [name for name in found["required"] if name not in served]
    return with_inner(found, without_read_only)


def _read_only(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("readOnly") is True
