"""BFCL's own decoder, checker and evaluator, from a folder of bfcl-eval that a developer names: an oracle for ours.

    official = load(Path("/somewhere/bfcl-eval"), scratch)
    official.right(entry, "multiple", "[triangle.area(base=10, height=5)]", gold)      ->  True
    official.evaluate(results, scores, ["multiple"])        ->  {"multiple": 0.8333, …}

Its code runs in this process as that of any installed package would; none of it is copied here. Its table of models
imports every vendor's client, and its Java and JavaScript parsers a compiled grammar: empty modules stand in for those,
as only Python answers are checked. Its decoder evaluates sums in an answer: hand it what `result_text` wrote.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

MODEL = "callwright"


@dataclass(frozen=True, slots=True)
class Official:
    checker: ModuleType
    decoder: ModuleType
    tables: ModuleType
    runner: ModuleType
    version: str

    def decoded(self, text: str) -> Any:
        """The calls, as the prompting handlers read them; an exception where they do not."""
        return self.decoder.default_decode_ast_prompting(text)

    def right(self, functions: Sequence[Any], category: str, text: str, gold: Sequence[Any] | None) -> bool:
        """As eval_runner judges one entry, with `result` as the answer's text."""
        entry = {"id": f"{category}_0", "function": functions}
        handler = SimpleNamespace(decode_ast=self._decode)
        if gold is None:
            judge = self.runner._evaluate_single_relevance_entry  # noqa: SLF001 - its public ones judge whole files
            one = judge(handler, entry["id"], text, entry, MODEL, category)
        else:
            python, form = self.tables.Language.PYTHON, self.tables.ReturnFormat.PYTHON
            judge = self.runner._evaluate_single_ast_entry  # noqa: SLF001
            one = judge(handler, entry["id"], text, gold, entry, MODEL, category, python, form)
        return bool(one["valid"])

    def _decode(self, text: str, language: Any, has_tool_call_tag: bool) -> Any:
        return self.decoder.default_decode_ast_prompting(text, language, has_tool_call_tag)

    def evaluate(self, results: Path, scores: Path, categories: Sequence[str]) -> dict[str, float]:
        """Its whole evaluator over result files that lie under `results`/callwright."""
        vars(self.runner)["generate_leaderboard_csv"] = lambda *_: None  # it needs prices and links of its own models
        self.runner.runner([MODEL], list(categories), results, scores)
        found = {}
        for category in categories:
            (file,) = scores.rglob(f"BFCL_v?_{category}_score.json")
            with file.open(encoding="utf-8") as lines:
                found[category] = float(json.loads(next(lines))["accuracy"])
        return found


def load(root: Path, scratch: Path) -> Official:
    """`root` is the folder that holds the package bfcl_eval; what it writes on import goes to `scratch`."""
    os.environ["BFCL_PROJECT_ROOT"] = str(scratch)
    sys.path.insert(0, str(root))
    try:
        _stand_in("bfcl_eval.model_handler.parser.java_parser", parse_java_function_call=None)
        _stand_in("bfcl_eval.model_handler.parser.js_parser", parse_javascript_function_call=None)
        _stand_in("bfcl_eval.model_handler.base_handler", BaseHandler=object)
        model_table: dict[str, Any] = {}
        _stand_in("bfcl_eval.constants.model_config", MODEL_CONFIG_MAPPING=model_table)
        decoder = importlib.import_module("bfcl_eval.model_handler.utils")
        model_table[MODEL] = SimpleNamespace(
            model_name=MODEL, underscore_to_dot=False, is_fc_model=False, model_handler=_handler(decoder)
        )
        return Official(
            importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker"),
            decoder,
            importlib.import_module("bfcl_eval.constants.enums"),
            importlib.import_module("bfcl_eval.eval_checker.eval_runner"),
            _version(root),
        )
    finally:
        sys.path.remove(str(root))


def _handler(decoder: ModuleType) -> type:
    """As OSSHandler decodes, without the client that it opens."""

    class Prompting:
        def __init__(self, **_: Any) -> None: ...

        def decode_ast(self, result: str, language: Any, has_tool_call_tag: bool) -> Any:
            return decoder.default_decode_ast_prompting(result, language, has_tool_call_tag)

    return Prompting


def _stand_in(name: str, **contents: Any) -> None:
    module = ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module


def _version(root: Path) -> str:
    found = sorted(root.glob("bfcl_eval-*.dist-info")) or sorted(root.glob("bfcl_eval-*.whl"))
    return found[-1].name.split("-")[1].removesuffix(".dist") if found else "of unknown version"


def gold_by_id(path: Path) -> Mapping[str, Sequence[Any]]:
    """`ground_truth` of a file of possible answers, as it stands."""
    with path.open(encoding="utf-8") as lines:
        return {row["id"]: row["ground_truth"] for row in map(json.loads, lines)}
