"""NeMo Data Designer's samplers on our tools: a request and its call for each row; no model, nothing checked.

    .bench/data-designer/bin/python benchmarks/peers/samplers.py TOOLS.json FOLDER

benchmarks.samplers starts it with the Python of a venv that has the package `data-designer`, and writes TOOLS.json:
{"book_room/en": {"texts": ["Book {0} at {1}.", …], "call": "{{\"tool\": …}}", "values": [["Sky", …], …]}, …}.
It prints a line when it is ready; for a number of rows on a line of stdin it makes them and prints {"seconds", "rows"}.
At the end the calls of the last round are in FOLDER/calls.jsonl.

Timed is `create` alone, as a user calls it. Each choice is the fastest of those tried: `format` and not a chain of
`replace`, its native Jinja and not the secure one. Rendering is all but a hundredth of its time.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any


def columns(tools: dict[str, Any]) -> Any:
    """The tool, a phrasing, the form of its call and values for its places; from them the request and the call."""
    from data_designer.config.column_configs import ExpressionColumnConfig, SamplerColumnConfig  # type: ignore[import-not-found]
    from data_designer.config.config_builder import DataDesignerConfigBuilder  # type: ignore[import-not-found]
    from data_designer.config.sampler_params import CategorySamplerParams, SubcategorySamplerParams  # type: ignore[import-not-found]

    places = range(max(len(tool["values"]) for tool in tools.values()))
    by_tool = {
        "phrasing": {name: tool["texts"] for name, tool in tools.items()},
        "form": {name: [tool["call"]] for name, tool in tools.items()},
        **{f"value_{i}": {name: [*tool["values"], *[["-"]] * 9][i] for name, tool in tools.items()} for i in places},
    }
    builder = DataDesignerConfigBuilder(model_configs=[])
    kinds = CategorySamplerParams(values=list(tools))
    builder.add_column(SamplerColumnConfig(name="tool", sampler_type="category", params=kinds))
    for name, values in by_tool.items():
        params = SubcategorySamplerParams(category="tool", values=values)
        builder.add_column(SamplerColumnConfig(name=name, sampler_type="subcategory", params=params))
    filled = f"format({', '.join(f'value_{i}' for i in places)})"
    builder.add_column(ExpressionColumnConfig(name="request", expr=f"{{{{ phrasing.{filled} }}}}"))
    builder.add_column(ExpressionColumnConfig(name="call", expr=f"{{{{ form.{filled} }}}}"))
    return builder


def main() -> None:
    tools, folder = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # it prints tables
    os.environ.update(NEMO_TELEMETRY_ENABLED="false", DATA_DESIGNER_HOME=str(folder / "home"))
    from data_designer.config.run_config import JinjaRenderingEngine, RunConfig  # type: ignore[import-not-found]
    from data_designer.interface import DataDesigner  # type: ignore[import-not-found]

    logging.disable(logging.WARNING)
    designer = DataDesigner(artifact_path=folder, auto_configure_logging=False)
    designer.set_run_config(RunConfig(jinja_rendering_engine=JinjaRenderingEngine.NATIVE, otel_metrics_port=None))
    designer.create(columns(tools), num_records=100, dataset_name="warm")
    print("ready", file=told, flush=True)
    made = None
    for i, line in enumerate(sys.stdin):
        began = time.perf_counter()
        made = designer.create(columns(tools), num_records=int(line), dataset_name=f"rows-{i}")
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "rows": made.count_records()}), file=told, flush=True)
    if made is not None:
        lines = "".join(f"{call}\n" for call in made.load_dataset()["call"])
        (folder / "calls.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
