"""tracking: MLflow as a view of the files, which are the truth; it can be made again from them at any time

    with Mirror(key, name) as mirror:            # train: the curve while it runs; never stops or slows the training
        mirror.log(step, {"loss": 0.71, "learning_rate": 0.0009})

One MLflow run is one training, found by its tag `callwright.key`. The address is MLFLOW_TRACKING_URI, or
mlruns/mlflow.db here. `_completion` logs everything else, after the fact.

Not covered: two processes that open the same run at the same moment (DVC runs one stage at a time).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from callwright.outs import ASIDE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

EXPERIMENT = "callwright"
HOME = Path("mlruns")

CLOSE_SECONDS = 1.5  # the longest that a training waits for MLflow at its end
RETRY_SECONDS = 30.0
BATCH = 500  # MLflow takes 1,000 metrics at once

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # MLflow's own 120 s and 7 retries make an outage cost four minutes a call.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
_FOREIGN = {"mlflow", "sqlalchemy", "alembic", "sqlite3", "requests", "urllib3", "botocore", "boto3", "google", "azure"}

Point = tuple[str, float, float, int]  # name, value, time, step


class Unreachable(Exception):
    """MLflow did not answer, or refused; the text says where and why. A view is late, nothing is lost."""


def address() -> str:
    """Where MLflow is: always said, or it silently takes any file store that it finds in mlruns/."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(HOME / 'mlflow.db').absolute()}"


def shown_address() -> str:
    """The address for people: without a password in it."""
    return _without_password(address())


@contextlib.contextmanager
def told_unreachable() -> Iterator[None]:
    """Turn what MLflow and the stores behind it throw into `Unreachable`; a bug of ours still shows as one."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError | ImportError) and type(error).__module__.split(".")[0] not in _FOREIGN:
            raise
        raise Unreachable(f"MLflow at {shown_address()} refused: {_one_line(error)}") from error


@dataclass(frozen=True)
class Store:
    """An open MLflow: runs of one experiment, their artifacts, and the registry."""

    client: MlflowClient
    experiment_id: str

    def find(self, **tags: str) -> Run | None:
        """The oldest run with these `callwright.` tags."""
        query = " and ".join(f"tags.`callwright.{key}` = '{value}'" for key, value in tags.items())
        found = self.client.search_runs(
            [self.experiment_id], query, max_results=1, order_by=["attributes.start_time ASC"]
        )
        return found[0] if found else None

    def find_or_create(self, name: str, started: float | None = None, parent: str = "", **tags: str) -> Run:
        found = self.find(**tags)
        if found:
            return found
        all_tags = {f"callwright.{key}": value for key, value in tags.items()}
        if parent:
            all_tags["mlflow.parentRunId"] = parent
        start_time = int((started or time.time()) * 1000)
        return self.client.create_run(self.experiment_id, start_time=start_time, tags=all_tags, run_name=name)

    def put(self, folder: Path, uri: str, below: str = "") -> None:
        """Copy a folder's files to the artifacts under `uri`."""
        _artifacts(uri).log_artifacts(str(folder), below or None)  # type: ignore[no-untyped-call]

    def fetch(self, uri: str, folder: Path) -> None:
        """Copy the artifacts under `uri` into a folder that exists."""
        _artifacts(uri).download_artifacts("", str(folder))  # type: ignore[no-untyped-call]


def _artifacts(uri: str) -> ArtifactRepository:
    """The store of the artifacts under `uri`.

    A run that was made through a local server says `mlflow-artifacts:/…`, which only that server can read. Straight on
    the database the same files lie in mlruns/artifacts, where the server keeps them.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    proxied = "mlflow-artifacts:/"
    if uri.startswith(proxied) and not address().startswith("http"):
        uri = (HOME.absolute() / "artifacts" / uri.removeprefix(proxied).lstrip("/")).as_uri()
    return get_artifact_repository(uri, tracking_uri=address())


def open_store() -> Store:
    """Open MLflow at `address()`; make the database and the experiment where they are missing."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic", "urllib3.connectionpool"):  # after the import, which sets them up
        logging.getLogger(name).setLevel(logging.ERROR)
    uri = address()
    if uri.startswith("sqlite:///"):
        _make_database(Path(uri.removeprefix("sqlite:///")))
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment:
        return Store(client, experiment.experiment_id)
    # A server knows itself where it keeps artifacts; the database alone would put them into the working folder.
    place = None if uri.startswith("http") else (HOME / "artifacts").absolute().as_uri()
    from mlflow.exceptions import MlflowException

    try:
        return Store(client, client.create_experiment(EXPERIMENT, artifact_location=place))
    except MlflowException:
        made = client.get_experiment_by_name(EXPERIMENT)  # another process was quicker
        if made is None:
            raise
        return Store(client, made.experiment_id)


def _make_database(path: Path) -> None:
    """Migrate a new database aside, then rename it.

    The migrations are no transaction: a process killed in the middle leaves a file that no MLflow opens again.
    """
    if path.is_dir():
        raise Unreachable(f"MLflow at {shown_address()} is a folder; name the database in it, as mlruns/mlflow.db")
    if path.exists():
        return
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f"{ASIDE}*-{path.name}*"):
        if time.time() - stale.stat().st_mtime > 600:
            stale.unlink(missing_ok=True)
    aside = path.absolute().parent / f"{ASIDE}{os.getpid()}-{threading.get_ident()}-{path.name}"
    try:
        MlflowClient(tracking_uri=f"sqlite:///{aside}").search_experiments()
        if not path.exists():  # a server that started meanwhile was first
            aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)


class Mirror:
    """The training's curve in MLflow while it runs.

    A daemon thread does all the work, import included, so `log` costs nothing and cannot fail. Whatever goes wrong is
    one line on stderr; the thread tries again while the training lasts, and `register` completes what is missing.
    Enter it after the heavy imports: two threads that import at once get into each other's way.
    """

    def __init__(self, key: str, name: str) -> None:
        self._key, self._name = key, name
        self._points: queue.SimpleQueue[tuple[int, float, Mapping[str, Any]] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._done = threading.Event()
        self._telling = threading.Lock()
        self._told = False
        self._status = "FINISHED"
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Show these numbers at this step; ones that are not finite numbers are left out."""
        self._points.put((step, time.time(), dict(values)))

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None:
            self._status = "FAILED" if issubclass(kind, Exception) else "KILLED"
        self._closing.set()
        self._points.put(None)
        if not self._done.wait(CLOSE_SECONDS):
            self._tell(f"it has not taken the whole curve within {CLOSE_SECONDS:g} s of the end")
        with self._telling:
            self._told = True  # the thread may outlive us for a moment; it prints nothing more

    def _work(self) -> None:
        waiting: list[tuple[int, float, Mapping[str, Any]]] = []
        store: Store | None = None
        run_id = ""
        seen: set[tuple[str, int]] = set()
        while True:
            ended = self._take(waiting)
            try:
                if store is None or not run_id:
                    store = open_store()
                    run = store.find_or_create(self._name, key=self._key)
                    seen = logged(store, run)
                    run_id = run.info.run_id
                    store.client.update_run(run_id, status="RUNNING")
                points = new_points(waiting, seen)
                log_points(store, run_id, points)
                seen.update((name, step) for name, _, _, step in points)
                waiting.clear()
                if ended:
                    store.client.set_terminated(run_id, self._status)
                    self._done.set()
                    return
            except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
                self._tell(_one_line(error))
                if ended:
                    self._done.set()
                    return
                self._closing.wait(RETRY_SECONDS)

    def _take(self, waiting: list[tuple[int, float, Mapping[str, Any]]]) -> bool:
        """Wait for a point, move all that are there into `waiting`; True when no more will come."""
        point = self._points.get()
        while point is not None:
            waiting.append(point)
            try:
                point = self._points.get_nowait()
            except queue.Empty:
                return False
        return True

    def _tell(self, reason: str) -> None:
        with self._telling:
            if self._told:
                return
            self._told = True
            print(
                f"warning: MLflow at {shown_address()} does not show the curve of this training: {reason}. "
                "The training goes on; register completes the curve from its files, or later callwright sync",
                file=sys.stderr,
                flush=True,
            )


def finite(value: Any) -> float | None:
    """The number, if it is one that can be compared."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def logged(store: Store, run: Run) -> set[tuple[str, int]]:
    """Every (metric, step) that the run holds."""
    run_id = run.info.run_id
    return {(name, point.step) for name in run.data.metrics for point in store.client.get_metric_history(run_id, name)}


def new_points(rows: Iterable[tuple[int, float, Mapping[str, Any]]], seen: set[tuple[str, int]]) -> list[Point]:
    """The finite numbers of the rows (step, time, values) that were not seen; each (name, step) once."""
    points: dict[tuple[str, int], Point] = {}
    for step, when, values in rows:
        for name, value in values.items():
            number = finite(value)
            if number is not None and (name, step) not in seen:
                points.setdefault((name, step), (name, number, when, step))
    return list(points.values())


def log_points(store: Store, run_id: str, points: Iterable[Point]) -> None:
    """Sent twice after a lost answer, the same points are one: MLflow's key holds time and value too."""
    from mlflow.entities import Metric

    metrics = [Metric(name, value, int(when * 1000), step) for name, value, when, step in points]
    for start in range(0, len(metrics), BATCH):
        store.client.log_batch(run_id, metrics=metrics[start : start + BATCH])


def _one_line(error: BaseException) -> str:
    return _without_password(" ".join(str(error).split())[:240]) or type(error).__name__


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)
