"""The registered version as it is served: requests in the Responses form, answered by the loop over base and adapter.

    mlflow models serve -m models:/callwright@champion --env-manager local       POST /invocations

MLflow loads this by the version's `MLmodel` (see `_agent`), with the version's own copy of callwright/ and stages/
first on the path. The base is not in the version: it is the folder that CALLWRIGHT_BASE names, else models/base here,
else, for a base on the hub, its pinned revision there. What is asked is not recorded anywhere.
"""

from __future__ import annotations

import copy
import json
import math
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callwright.agent_answer import ForTheClient, events, response
from callwright.agent_input import BadRequest
from callwright.agent_request import Request, read_request
from callwright.faults import Fault
from callwright.loop import Asked, Conversation, Limits, Model, Spoken, converse
from callwright.outs import to_json
from callwright.pack_backend import PackBackend, changes
from callwright.pack_shape import Pack
from callwright.pack_start import TableRow, read_rows, starting_rows
from callwright.packs import read_packs
from callwright.records import Language, System, User
from stages import _model
from stages._local import LocalModel

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException

BASE_SAYS = "CALLWRIGHT_BASE"
HERE = Path("models/base")
OFFERED = 6
"""So many of a pack's tools are offered where the request names none."""

ModelFor = Callable[[Request], Model]


@dataclass
class Served:
    """Answers requests. `model_for` gives the model as one request wants it: temperature, length."""

    model_for: ModelFor
    packs: Path
    name: str
    _read: dict[tuple[str, ...], list[Pack]] = field(default_factory=dict)

    def answer(self, value: Any) -> dict[str, Any]:
        """The response to a request; `BadRequest` where there is none."""
        request = read_request(value)
        if request.packs:
            return self._run_here(request)
        limits = replace(_limits(request), turns=1, seconds=math.inf)  # then it is the client's turn, in its own time
        conversation = Conversation(_asked(request), ForTheClient(), limits)
        converse(self.model_for(request), [conversation])
        return response(request, conversation, self.name)

    def _run_here(self, request: Request) -> dict[str, Any]:
        packs = self._packs(request.packs)
        request = _over(packs, request)
        now = request.now or datetime.now().astimezone().replace(second=0, microsecond=0)
        rows = _rows(request, packs, now)
        with PackBackend(packs, now) as backend:
            for table, row in rows:
                backend.put(table, row)
            before = backend.state()
            conversation = Conversation(_asked(request), backend, _limits(request))
            converse(self.model_for(request), [conversation])
            done = changes(before, backend.state())
        told = [{"table": one.table, "before": one.before, "after": one.after} for one in done]
        return response(request, conversation, self.name, told)

    def _packs(self, names: tuple[str, ...]) -> list[Pack]:
        known = sorted(path.stem for path in self.packs.glob("*.yaml"))
        if odd := next((name for name in names if name not in known), None):
            raise BadRequest(f"custom_inputs.pack: there is no pack {odd!r}; there are {', '.join(known) or 'none'}")
        try:
            if names not in self._read:
                self._read[names] = read_packs(names, self.packs)
            return self._read[names]
        except Fault as fault:
            told = str(fault).replace(f"{self.packs}{os.sep}", "packs/")
            raise BadRequest(f"custom_inputs.pack: {told}") from None


def _over(packs: Sequence[Pack], request: Request) -> Request:
    """The request with the packs' own tools: those of the names that it gives, else the first few."""
    known = {tool.name: tool for pack in packs for tool in pack.tools}
    names = [tool.name for tool in request.tools] or list(known)[:OFFERED]
    if odd := next((name for name in names if name not in known), None):
        raise BadRequest(
            f"tools has {odd!r}, which no tool of custom_inputs.pack is called; calls run here, so give some of "
            f"{', '.join(known)}, or leave custom_inputs out and run the calls yourself"
        )
    offered = tuple(known[name].offered(request.language) for name in names)
    if request.own_opening:
        return replace(request, tools=offered)
    opening = System(packs[0].system[request.language][0])
    return replace(request, tools=offered, messages=(opening, *request.messages[1:]))


def _rows(request: Request, packs: Sequence[Pack], now: datetime) -> list[TableRow]:
    if request.world is None:
        return starting_rows(packs, [tool.name for tool in request.tools], now)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "world.json"
        file.write_text(to_json(request.world), encoding="utf-8")
        try:
            return read_rows(file, packs, now)
        except Fault as fault:
            raise BadRequest(str(fault).replace(str(file), "custom_inputs.world")) from None


def _asked(request: Request) -> Asked:
    return Asked(request.language, request.tools, request.messages)


def _limits(request: Request) -> Limits:
    """The usual ones, well within the time after which MLflow's server gives up on a request."""
    seconds = 0.8 * float(os.environ.get("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT") or 60)
    limits = Limits(seconds=seconds)
    return replace(limits, calls_a_turn=1) if request.one_call else limits


# The model


@dataclass
class _AsWanted:
    """A loaded model as one request wants it."""

    model: LocalModel
    request: Request
    turn: int = 0

    def answer(self, asked: Sequence[Asked]) -> list[Spoken]:
        one = copy.copy(self.model)  # weights and lock are the same; others are answered at other lengths meanwhile
        one.max_new_tokens = self.request.max_tokens
        seed = self.request.seed if self.request.seed is not None else random.getrandbits(32)
        self.turn += 1
        return one.answer(asked, temperature=self.request.temperature, seed=seed + self.turn)


def open_model(adapter: Path, kept: Path | None) -> ModelFor:
    """Load the adapter on its base and ask it once, so that a server that is up can answer."""
    model = LocalModel(find_base(adapter, kept), adapter, max_new_tokens=1, batch_size=1)
    model.answer([Asked(Language.EN, (), (System("You are a professional assistant."), User("Hello")))])
    return lambda request: _AsWanted(model, request)


def find_base(adapter: Path, kept: Path | None) -> Path:
    """The folder of the base that the adapter was trained on; `kept` is what the version holds of one on the hub."""
    if named := os.environ.get(BASE_SAYS):
        return _checked(Path(named), adapter, f"{BASE_SAYS} names {named}, and ")
    fault = ""
    if HERE.is_dir():
        try:
            return _checked(HERE, adapter, "")
        except Fault as wrong:
            fault = f"{wrong}; "
    if kept is not None:
        return kept
    raise Fault(
        f"the base of this version is not here: {fault}set {BASE_SAYS} to the folder of {_trained_on(adapter)}, or "
        "serve from a project whose models/base it is (dvc repro base makes it)"
    )


def _checked(folder: Path, adapter: Path, why: str) -> Path:
    try:
        _model.location(folder)
        _model.about(folder)
        _model.check_adapter(folder, adapter)
    except Fault as fault:
        wanted = f"this version stands on {_trained_on(adapter)}"
        raise Fault(f"{why}{str(fault).partition('; dvc repro')[0]}; {wanted}") from None
    return folder


def _trained_on(adapter: Path) -> str:
    base = json.loads((adapter / "callwright.json").read_text(encoding="utf-8"))["base"]
    return f"{base.get('preset')} ({base['source']} at {base['revision']})"


# What MLflow loads


@dataclass
class _Wrapper:
    """What MLflow asks: its own wrapper of a `ResponsesAgent` would answer a wrong request with a traceback."""

    python_model: Any
    """The agent, under the name by which MLflow's `unwrap_python_model` finds it."""

    def get_raw_model(self) -> Any:
        return self.python_model

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with told():
            if isinstance(model_input, dict) and model_input.get("stream"):
                raise BadRequest("stream is true, and this address answers as a whole; leave it out")
            whole: dict[str, Any] = self.python_model.served.answer(model_input)
            return whole

    def predict_stream(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        with told():
            yield from events(self.python_model.served.answer(model_input))


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> _Wrapper:
    """MLflow's entrance: `path` is the version's folder, whose agent.py makes the agent."""
    from mlflow.pyfunc.loaders import code_model

    return _Wrapper(code_model._load_pyfunc(path, model_config).get_raw_model())  # noqa: SLF001 - MLflow's protocol


@contextmanager
def told() -> Iterator[None]:
    """Turn a bad request into MLflow's exception for one, which its server answers with 400."""
    try:
        yield
    except BadRequest as error:
        raise _refused(str(error)) from None


def _refused(sentence: str) -> MlflowException:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    class Refused(MlflowException):
        """Keeps its sentence: MLflow's server would put the whole request before it, which may be a megabyte."""

        @property
        def message(self) -> str:
            return sentence

        @message.setter
        def message(self, value: str) -> None:
            pass

    return Refused(sentence, error_code=INVALID_PARAMETER_VALUE)
