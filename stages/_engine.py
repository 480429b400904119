"""What makes an evaluation's answers, from token ids to token ids: transformers in this process, or vLLM's server.

    with engine(Path("models/base"), Path("models/adapter"), params.evaluate) as complete:
        complete(prompts, stops)        ->  the likeliest next tokens of each, up to a stop

The adapter is merged into the base first, as it is served.
"""

from __future__ import annotations

import contextlib
import gc
import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from callwright.faults import Fault
from callwright.params import Engine, Evaluate
from stages import _model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from stages._decode import Constraint
    from stages._vllm import Server


class Complete(Protocol):
    def __call__(
        self,
        prompts: Sequence[list[int]],
        stops: Collection[int],
        watch: Callable[[int], None] = ...,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        constraint: Constraint | None = None,
    ) -> list[list[int]]:
        """The answer to each prompt, its stop token left out; the arguments are those of `_decode.greedy`."""
        ...


@contextlib.contextmanager
def engine(base: Path, adapter: Path | None, params: Evaluate) -> Iterator[Complete]:
    """The base, or with its adapter what is served, until the end of the `with`."""
    if params.engine is Engine.TRANSFORMERS:
        dtype = _model.number_format()
        here = _Here(
            _model.load_with_adapter(base, adapter, dtype) if adapter else _model.load_to_answer(base, dtype), params
        )
        try:
            yield here
        finally:
            del here.model
            gc.collect()  # before the next one is loaded
        return
    from stages import _vllm

    executable = _vllm.find()
    with tempfile.TemporaryDirectory(prefix=".merged-", dir=".") as aside:
        folder = _merged(base, adapter, Path(aside)) if adapter else _plain(base)
        with _vllm.Server(folder, executable) as server:
            yield _Served(server, params)


@dataclass
class _Here:
    model: PreTrainedModel
    params: Evaluate

    def __call__(
        self,
        prompts: Sequence[list[int]],
        stops: Collection[int],
        watch: Callable[[int], None] = lambda _: None,
        **how: Any,
    ) -> list[list[int]]:
        from stages import _decode

        most, at_once = self.params.max_new_tokens, self.params.batch_size
        return _decode.greedy(self.model, prompts, stops, most, at_once, watch, **how)


@dataclass
class _Served:
    server: Server
    params: Evaluate

    def __call__(
        self,
        prompts: Sequence[list[int]],
        stops: Collection[int],
        watch: Callable[[int], None] = lambda _: None,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        constraint: Constraint | None = None,
    ) -> list[list[int]]:
        if constraint is not None:
            raise ValueError("vLLM's server is not asked for constrained answers")
        watch(0)
        made = self.server.complete(prompts, stops, self.params.max_new_tokens, temperature=temperature, seed=seed)
        watch(len(made))
        return made


def _merged(base: Path, adapter: Path, folder: Path) -> Path:
    from stages import _export

    said = _model.check_adapter(base, adapter)
    model = _export.merge(base, adapter, _export.Onto.AS_TRAINED)
    _export.write(model, base, said, _export.Onto.AS_TRAINED, folder)
    del model
    gc.collect()
    return folder


def _plain(base: Path) -> Path:
    """The base's own folder; of a hub's model the one that the hub's cache holds."""
    reference = base / _model.REFERENCE
    if not reference.is_file():
        return base.absolute()
    from huggingface_hub import snapshot_download

    named = json.loads(reference.read_text(encoding="utf-8"))
    try:
        return Path(snapshot_download(named["hub"], revision=named["revision"]))
    except OSError as error:
        raise Fault(
            f"{named['hub']} at {named['revision']} cannot be had ({error}); dvc repro base fetches it"
        ) from None
