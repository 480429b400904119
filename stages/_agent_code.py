"""The model from code of a registered version: MLflow runs this file to get the agent.

    mlflow.pyfunc.load_model("models:/callwright@champion").predict({"input": "幫我查一下預算表", "tools": […]})

It lies in the version as agent.py. All that it does stands in `_agent_served`.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import ResponsesAgent
from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse, ResponsesAgentStreamEvent

from callwright.agent_answer import events
from stages import _agent_served


class Agent(ResponsesAgent):
    """Answers a request with tools: with calls for the client to run, or, over a pack, with what came of them."""

    served: _agent_served.Served

    def load_context(self, context: Any) -> None:
        at = {name: Path(path) for name, path in context.artifacts.items()}
        model_for = _agent_served.open_model(at["adapter"], at.get("base"))
        self.served = _agent_served.Served(model_for, at["packs"], context.model_config["name"])

    def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:  # type: ignore[override]
        with _agent_served.told():
            return ResponsesAgentResponse(**self.served.answer(request.model_dump(exclude_none=True)))

    def predict_stream(  # type: ignore[override]
        self, request: ResponsesAgentRequest
    ) -> Generator[ResponsesAgentStreamEvent, None, None]:
        with _agent_served.told():
            for event in events(self.served.answer(request.model_dump(exclude_none=True))):
                yield ResponsesAgentStreamEvent(**event)


set_model(Agent())
