"""OpenAPI documents: ours for each rule, and those that Prefect's and MLflow's own servers write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from callwright.faults import Fault
from callwright.packs import lacking
from callwright.records import Call, Tool
from callwright.schemas import schema_fault, tool_fault
from callwright.tool_sources.found import Choice, Item, LeftOut, Note, collect
from callwright.tool_sources.openapi import read_openapi
from commands.tools import import_tools

TEXT = {"type": "string"}


def document(paths: dict[str, Any], version: str = "3.1.0", **schemas: Any) -> dict[str, Any]:
    return {
        "openapi": version,
        "info": {"title": "Shop", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def read(document: dict[str, Any]) -> list[Item]:
    return list(read_openapi(document, "api.json"))


def one(operation: dict[str, Any], version: str = "3.1.0", **schemas: Any) -> Tool:
    [tool] = [
        item for item in read(document({"/x/{id}": {"post": operation}}, version, **schemas)) if isinstance(item, Tool)
    ]
    assert tool_fault(tool) is None
    return tool


def body(schema: Any, kind: str = "application/json", *, required: bool = True) -> dict[str, Any]:
    return {"required": required, "content": {kind: {"schema": schema}}}


# Parameters and bodies


def test_an_operation_is_one_object_of_all_its_parameters() -> None:
    operation = {
        "operationId": "updateOrder",
        "summary": "Update an order",
        "parameters": [
            {"name": "note", "in": "query", "schema": TEXT},
            {
                "name": "id",
                "in": "path",
                "required": True,
                "schema": {"type": "integer"},
                "description": "Which\n order",
            },
            {"name": "Accept", "in": "header", "schema": TEXT},
            {"name": "session", "in": "cookie", "schema": TEXT},
            {"name": "filter", "in": "query", "content": {"application/json": {"schema": {"type": "array"}}}},
        ],
        "requestBody": body(
            {"type": "object", "properties": {"size": TEXT, "tags": {"type": "array"}}, "required": ["size"]}
        ),
    }
    assert one(operation).to_json() == {
        "name": "updateOrder",
        "description": "Update an order",
        "parameters": {
            "type": "object",
            "properties": {
                "id": {"type": "integer", "description": "Which order"},
                "note": TEXT,
                "filter": {"type": "array"},
                "session": TEXT,
                "size": TEXT,
                "tags": {"type": "array"},
            },
            "required": ["id", "size"],
            "additionalProperties": False,
        },
    }


def test_names_are_ids_or_method_and_path_and_each_stands_once() -> None:
    paths = {
        "/orders/{id}": {"get": {}, "delete": {"operationId": "orders.delete-one"}},
        "/orders/{id}/": {"get": {}},
        "/2x": {"get": {"operationId": "2x"}, "put": {"operationId": "訂單"}},
    }
    assert [item.name for item in read(document(paths))] == [
        "get_orders_id",
        "orders_delete_one",
        "get_orders_id_2",
        "_2x",
        "put_2x",
    ]


def test_one_name_in_two_places_is_two_parameters_and_told() -> None:
    operation = {
        "operationId": "move",
        "parameters": [
            {"name": "id", "in": "path", "schema": TEXT},
            {"name": "id", "in": "query", "schema": {"type": "integer"}},
            {"name": "X-Trace", "in": "header", "schema": TEXT},
        ],
        "requestBody": body({"type": "object", "properties": {"id": {"type": "boolean"}}, "required": ["id"]}),
    }
    tool, *notes = read(document({"/x": {"post": operation}}))
    assert isinstance(tool, Tool)
    assert {name: schema["type"] for name, schema in tool.properties.items()} == {
        "id": "string",
        "query_id": "integer",
        "X_Trace": "string",
        "body_id": "boolean",
    }
    assert tool.required == ("id", "body_id")
    assert notes == [
        Note("move", "takes 'query_id' for 'id' in query, a name that another has"),
        Note("move", "takes 'X_Trace' for 'X-Trace' in header, a name that no phrasing can hold"),
        Note("move", "takes 'body_id' for 'id' in body, a name that another has"),
    ]


def test_an_operations_parameter_replaces_the_paths() -> None:
    path = {
        "parameters": [{"name": "n", "in": "query", "schema": TEXT}, {"name": "m", "in": "query", "schema": TEXT}],
        "get": {"parameters": [{"name": "n", "in": "query", "schema": {"type": "integer"}}]},
    }
    [tool] = read(document({"/x": path}))
    assert isinstance(tool, Tool)
    assert tool.properties == {"n": {"type": "integer"}, "m": TEXT}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": TEXT},
        TEXT,
        {"type": "object", "additionalProperties": TEXT},
        {"oneOf": [{"type": "object", "properties": {"a": TEXT}}, {"type": "object", "properties": {"b": TEXT}}]},
        {"type": "object", "properties": {"a": TEXT}, "minProperties": 1},
    ],
)
def test_a_body_that_is_no_plain_object_is_one_parameter(schema: dict[str, Any]) -> None:
    tool = one({"requestBody": body(schema)})
    assert (tool.properties, tool.required) == ({"body": schema}, ("body",))


def test_a_body_that_may_be_left_out_does_not_make_its_parts_required() -> None:
    schema = {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["a"]}
    tool = one({"requestBody": body(schema, required=False)})
    calls: list[dict[str, Any]] = [{}, {"body": {"a": "x"}}, {"body": {}}]
    verdicts = [schema_fault(Call(tool.name, params), tool) is None for params in calls]
    assert verdicts == [True, True, False]
    assert one({"requestBody": body({"type": "object", "properties": {"a": TEXT}}, required=False)}).properties == {
        "a": TEXT
    }


def test_all_of_plain_objects_is_one_object_and_any_other_is_kept() -> None:
    base = {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}
    more = {"type": "object", "properties": {"b": {"type": "integer"}}}
    merged = one({"requestBody": body({"allOf": [{"$ref": "#/components/schemas/Base"}, more]})}, Base=base)
    assert (dict(merged.properties), merged.required) == ({"a": TEXT, "b": {"type": "integer"}}, ("a",))
    clash = {"allOf": [base, {"type": "object", "properties": {"a": {"minLength": 2}}}]}
    kept = one({"requestBody": body(clash)})
    assert kept.properties == {"body": clash}
    inner = one({"requestBody": body({"type": "object", "properties": {"x": clash}})})
    assert inner.properties == {"x": clash}


def test_what_only_the_server_sets_is_not_asked_for() -> None:
    inner = {
        "type": "object",
        "properties": {"key": TEXT, "made": {**TEXT, "readOnly": True}},
        "required": ["key", "made"],
    }
    schema = {
        "type": "object",
        "properties": {"id": {"type": "integer", "readOnly": True}, "item": {"$ref": "#/components/schemas/Item"}},
        "required": ["id", "item"],
    }
    tool = one({"requestBody": body(schema)}, Item=inner)
    assert tool.required == ("item",)
    assert tool.properties == {"item": {"type": "object", "properties": {"key": TEXT}, "required": ["key"]}}


def test_what_a_version_3_0_says_in_its_own_way_means_the_same() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": False},
            "b": {"type": "string", "nullable": True, "enum": ["x"], "example": "x", "title": "B", "x-y": 1},
            "c": {"allOf": [{"$ref": "#/components/schemas/C"}], "nullable": True, "description": "see"},
            "title": {"$ref": "#/components/schemas/C", "minLength": 9},
        },
    }
    tool = one({"requestBody": body(schema)}, "3.0.3", C=TEXT)
    assert tool.properties == {
        "a": {"type": "integer", "exclusiveMinimum": 0, "maximum": 9},
        "b": {"type": ["string", "null"], "enum": ["x", None]},
        "c": {"anyOf": [{"allOf": [TEXT]}, {"type": "null"}], "description": "see"},
        "title": TEXT,  # beside a reference 3.0 reads nothing
    }


def test_a_schema_that_holds_itself_is_kept_in_definitions() -> None:
    node = {
        "type": "object",
        "properties": {"name": TEXT, "kids": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}}},
    }
    tool = one({"requestBody": body({"$ref": "#/components/schemas/Node"})}, Node=node)
    assert list(tool.properties) == ["name", "kids"]
    assert list(tool.parameters["$defs"]) == ["Node"]
    good, bad = {"kids": [{"kids": [{"name": "x"}]}]}, {"kids": [{"kids": [{"name": 1}]}]}
    assert schema_fault(Call(tool.name, good), tool) is None
    assert schema_fault(Call(tool.name, bad), tool) is not None


def test_parameters_and_bodies_may_be_references() -> None:
    found = document({"/x": {"$ref": "#/components/pathItems/X"}})
    found["components"] |= {
        "pathItems": {
            "X": {
                "get": {
                    "parameters": [{"$ref": "#/components/parameters/N"}],
                    "requestBody": {"$ref": "#/components/requestBodies/B"},
                }
            }
        },
        "parameters": {
            "N": {"name": "n", "in": "query", "description": "how many", "schema": {"$ref": "#/components/schemas/N"}}
        },
        "requestBodies": {"B": body({"type": "object", "properties": {"a": TEXT}})},
        "schemas": {"N": {"type": "integer"}},
    }
    [tool] = read(found)
    assert isinstance(tool, Tool)
    assert tool.properties == {"n": {"type": "integer", "description": "how many"}, "a": TEXT}


# What is left out


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"deprecated": True}, "is deprecated"),
        ({"requestBody": body(TEXT, "text/csv")}, "cannot be made a tool: its body is text/csv, and only JSON is read"),
        (
            {"parameters": [{"name": "n", "in": "query", "schema": {"$ref": "https://example.com/n.json"}}]},
            "cannot be made a tool: 'https://example.com/n.json' lies outside the document, and nothing …",
        ),
        (
            {"requestBody": body({"$ref": "#/components/schemas/Gone"})},
            "cannot be made a tool: '#/components/schemas/Gone' refers to what is not in the document",
        ),
        (
            {"parameters": [{"in": "query"}]},
            'cannot be made a tool: the parameter {"in": "query"} has no name, or is in none of path, query, …',
        ),
        ({"parameters": 5}, "cannot be made a tool: parameters is 5; a list is expected"),
        ("text", 'is "text"; an object is expected'),
    ],
)
def test_an_operation_that_cannot_be_a_tool_is_left_out_with_the_reason(operation: Any, why: str) -> None:
    paths = {"/x": {"post": operation}, "/y": {"get": {"operationId": "fine"}}}
    left, tool = read(document(paths))
    assert isinstance(left, LeftOut)
    assert left.name == "post_x"
    assert left.why.startswith(why.removesuffix("…"))
    assert tool.name == "fine"


def test_a_path_that_leads_elsewhere_is_left_out() -> None:
    [left] = read(document({"/x": {"$ref": "https://example.com/paths.json#/x"}}))
    assert isinstance(left, LeftOut)
    assert left.why.startswith("is a path that cannot be read: 'https://example.com/paths.json#/x' lies outside")


def test_an_optional_body_without_json_is_left_away_and_told() -> None:
    tool, note = read(document({"/x": {"post": {"requestBody": body(TEXT, "text/csv", required=False)}}}))
    assert isinstance(tool, Tool)
    assert tool.properties == {}
    assert note == Note("post_x", "is without its body, which may be left out and is text/csv, no JSON")


def test_json_goes_by_several_names() -> None:
    for kind in ("application/json; charset=utf-8", "application/vnd.api+json", "*/*", "APPLICATION/JSON"):
        assert one({"requestBody": body({"type": "object", "properties": {"a": TEXT}}, kind)}).properties == {"a": TEXT}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"swagger": "2.0"}, "api.json: it is Swagger 2.0; convert it to OpenAPI 3"),
        ({"openapi": "4.0.0"}, 'api.json: openapi is "4.0.0"; OpenAPI 3.0 and 3.1 are read'),
        ({"openapi": 3.1}, "api.json: openapi is 3.1; OpenAPI 3.0 and 3.1 are read"),
        ([], "api.json: [] stands there; an object is expected"),
        ({"openapi": "3.1.0", "paths": []}, "api.json: paths: [] stands there; an object is expected"),
    ],
)
def test_what_is_no_such_document_is_a_fault(value: Any, told: str) -> None:
    with pytest.raises(Fault) as raised:
        read(value)
    assert str(raised.value).startswith(told)


def test_a_document_in_yaml_is_the_same_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = document({"/orders": {"get": {"operationId": "list_orders", "responses": {200: {}}}}})
    Path("shop.yaml").write_text(yaml.safe_dump(found), "utf-8")
    assert import_tools("shop.yaml", out=Path("made/orders.yaml")) == 0
    assert yaml.safe_load(Path("made/orders.yaml").read_text("utf-8"))["tools"][0]["name"] == "list_orders"


def test_600_operations_are_read_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    schema = {"type": "object", "properties": {"name": TEXT, "count": {"type": "integer"}}, "required": ["name"]}
    paths = {
        f"/{kind}{i}/{{id}}": {
            "post": {"operationId": f"{kind}_{i}", "requestBody": body({"$ref": "#/components/schemas/S"})}
        }
        for i in range(300)
        for kind in ("read", "write")
    }
    Path("big.json").write_text(json.dumps(document(paths, S=schema)), "utf-8")
    assert import_tools("big.json") == 0
    assert "big.json: 600 tools; 600 taken, 0 left out, 0 not chosen" in capsys.readouterr().out
    assert import_tools("big.json", name="few", choice=Choice(include=("read_*",), limit=40)) == 0
    assert "big.json: 600 tools; 40 taken, 0 left out, 560 not chosen" in capsys.readouterr().out


# Documents that we did not write


def served(code: str, folder: Path) -> dict[str, Any]:
    """What a server's own process says of itself; it calls nobody and writes nowhere else."""
    quiet = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    places = {"PREFECT_HOME": str(folder), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    words = [sys.executable, "-c", f"import json\n{code}\nprint(json.dumps(app.openapi()))"]
    done = subprocess.run(
        words, env=os.environ | quiet | places, cwd=folder, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def prefect_document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    code = "from prefect.server.api.server import create_app\napp = create_app()"
    return served(code, tmp_path_factory.mktemp("prefect"))


@pytest.fixture(scope="module")
def mlflow_document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return served("from mlflow.server.fastapi_app import app", tmp_path_factory.mktemp("mlflow"))


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    methods = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
    return [item[method] for item in document["paths"].values() for method in methods if method in item]


@pytest.mark.parametrize("name", ["prefect_document", "mlflow_document"])
def test_every_operation_of_a_real_server_is_a_tool_or_is_named(name: str, request: pytest.FixtureRequest) -> None:
    theirs = request.getfixturevalue(name)
    found = collect(read_openapi(theirs, name), Choice())
    assert len(found.tools) + len(found.left_out) == len(operations(theirs)) > 50
    deprecated = [operation for operation in operations(theirs) if operation.get("deprecated")]
    assert [left.why for left in found.left_out] == ["is deprecated"] * len(deprecated)
    assert [tool_fault(tool) for tool in found.tools] == [None] * len(found.tools)
    for tool in found.tools:
        assert "#/components" not in json.dumps(tool.parameters)


def test_prefects_schemas_say_what_its_server_accepts(prefect_document: dict[str, Any]) -> None:
    """A call that passes, or does not, by our schema is one that Prefect's own models take, or do not."""
    from prefect.server.schemas.actions import FlowCreate, WorkQueueCreate
    from pydantic import BaseModel, ValidationError

    tools = {tool.name: tool for tool in collect(read_openapi(prefect_document, "prefect"), Choice()).tools}
    cases: list[tuple[str, type[BaseModel], Any]] = [
        ("create_flow_flows__post", FlowCreate, {"name": "daily"}),
        ("create_flow_flows__post", FlowCreate, {"name": "daily", "tags": ["a"], "labels": {"x": 1}}),
        ("create_flow_flows__post", FlowCreate, {"name": 5}),
        ("create_flow_flows__post", FlowCreate, {"name": "a/b"}),
        ("create_flow_flows__post", FlowCreate, {"name": "daily", "tags": "a"}),
        ("create_flow_flows__post", FlowCreate, {}),
        ("create_work_queue_work_queues__post", WorkQueueCreate, {"name": "q", "priority": 1}),
        ("create_work_queue_work_queues__post", WorkQueueCreate, {"name": "q", "priority": 0}),
        ("create_work_queue_work_queues__post", WorkQueueCreate, {"name": "q", "concurrency_limit": -1}),
        ("create_work_queue_work_queues__post", WorkQueueCreate, {"name": "q", "concurrency_limit": None}),
    ]
    verdicts = set()
    for name, model, params in cases:
        try:
            model.model_validate(params)
            theirs = True
        except ValidationError:
            theirs = False
        assert (schema_fault(Call(name, params), tools[name]) is None) is theirs, (name, params)
        verdicts.add(theirs)
    assert verdicts == {True, False}


def test_mlflows_document_becomes_a_pack_that_can_be_checked(
    mlflow_document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mlflow.json").write_text(json.dumps(mlflow_document), "utf-8")
    assert import_tools("mlflow.json", choice=Choice(limit=30)) == 0
    pack, lacks = lacking(Path("packs/mlflow.yaml"))
    assert len(pack.tools) == 30
    assert len([sentence for sentence in lacks if "tool '" in sentence]) == 30
