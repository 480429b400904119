"""make up: Prefect server, MLflow server and one worker in one terminal, on this machine only

    python -m flows.up              PREFECT_PORT=4200 MLFLOW_PORT=5000

Ctrl-C ends them all; so does the end of any one of them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import IO

from callwright.faults import Fault
from flows import deployments, server
from flows.supervisor import Child

WORKER = "the worker"
_LOOK_EVERY = 0.5


class Stopped(BaseException):
    """SIGTERM or SIGHUP came."""


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    server.quiet()
    running: dict[str, tuple[Child, Path | None]] = {}
    try:
        _up(running)
        _watch(running)
    except Fault as fault:
        print(fault, file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Stopped):
        print("\nStopping", flush=True)
        return 0
    finally:
        _down(running)
    return 1


def _up(running: dict[str, tuple[Child, Path | None]]) -> None:
    prefect_port, mlflow_port = _port("PREFECT_PORT", 4200), _port("MLFLOW_PORT", 5000)
    ui, mlflow_ui = f"http://{server.HOST}:{prefect_port}", f"http://{server.HOST}:{mlflow_port}"
    os.environ["PREFECT_API_URL"] = server.api_url(prefect_port)
    os.environ["MLFLOW_TRACKING_URI"] = mlflow_ui
    print("Starting", flush=True)

    log = server.log_file("prefect-server")
    running["the Prefect server"] = server.start(prefect_port, log, scheduling=True), Path(log.name)
    log = server.log_file("mlflow-server")
    running["the MLflow server"] = _start_mlflow(mlflow_port, log), Path(log.name)
    for name, url in (("the Prefect server", f"{ui}/api/health"), ("the MLflow server", f"{mlflow_ui}/health")):
        child, file = running[name]
        server.wait_until_up(child, url, name, file or Path())
    deployments.deploy()
    running[WORKER] = _start_worker(), None
    print(
        f"Prefect  {ui}\nMLflow   {mlflow_ui}\n"
        f"Elsewhere in this folder: export PREFECT_API_URL={server.api_url(prefect_port)}\n"
        "                          .venv/bin/prefect deployment run callwright/on-demand\n"
        "Ctrl-C stops all three.",
        flush=True,
    )


def _start_mlflow(port: int, log: IO[bytes]) -> Child:
    home = Path("mlruns").absolute()
    home.mkdir(exist_ok=True)
    command = (sys.executable, "-m", "mlflow", "server", "--host", server.HOST, "--port", str(port), "--workers", "1")
    stores = ("--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", f"{home}/artifacts")
    # Its job runner judges traces with LLMs, which nothing here asks for, and takes 8 processes of 200 MB.
    return Child([*command, *stores], env={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, output=log, grace=10)


def _start_worker() -> Child:
    env = {
        "CALLWRIGHT_HOME": str(Path.cwd()),  # prefect.yaml: where a run works
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(deployments.HEARTBEAT),
        "PREFECT_RUNNER_PROCESS_LIMIT": "1",
    }
    command = (sys.executable, "-m", "prefect", "worker", "start", "--pool", deployments.POOL, "--type", "process")
    return Child(command, env=env, output=sys.stdout.buffer)


def _watch(running: dict[str, tuple[Child, Path | None]]) -> None:
    """Return when one of them has ended, having said which."""
    while True:
        for name, (child, log) in running.items():
            if (code := child.exit_code()) is not None:
                says = f"; {log} says: {server.last_words(log)}" if log else ""
                print(f"{name} ended with exit code {code}, so the others are stopped{says}", file=sys.stderr)
                return
        time.sleep(_LOOK_EVERY)


def _down(running: dict[str, tuple[Child, Path | None]]) -> None:
    """The worker first, and what became of its run, while the server still takes it."""
    for name, (child, _) in reversed(running.items()):
        child.end()
        if name == WORKER:
            with contextlib.suppress(Exception):  # the server may be what ended
                deployments.end_dead_runs()


def _port(name: str, usual: int) -> int:
    value = os.environ.get(name) or str(usual)
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise Fault(f"{name} is {value!r}; give a number from 1 to 65535")
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: a port just left is free
        try:
            probe.bind((server.HOST, int(value)))
        except OSError as error:
            raise Fault(
                f"port {value} cannot be taken ({error.strerror}): another make up may be running. "
                f"Stop that, or choose another port: make up {name}={int(value) + 1}"
            ) from None
    return int(value)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


if __name__ == "__main__":
    sys.exit(main())
