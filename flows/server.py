"""A Prefect server of our own: for one run on a free port, or in `make up` on its usual one.

Prefect can start a temporary server itself, but that one is up in 8 s instead of 4, gets the terminal's Ctrl-C together
with us, so that the run's end cannot be recorded, and stays behind after kill -9.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from callwright.faults import Fault
from flows.supervisor import Child

HOST = "127.0.0.1"
UP_WITHIN = 120.0
"""Seconds. The first start makes the database, which took 9 s where later ones take 4."""


def quiet() -> None:
    """Settings for a run that a person watches. To be called before Prefect is imported; what is set already stays."""
    for name, value in {
        "PREFECT_HOME": str(Path(".prefect").absolute()),
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        # The flow itself prints for people; Prefect's own words go to its server only.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }.items():
        os.environ.setdefault(name, value)


def api_url(port: int) -> str:
    return f"http://{HOST}:{port}/api"


def temporary() -> Callable[[], None]:
    """Have a server until this process ends, unless PREFECT_API_URL names one; call what it gives before using Prefect.

    To be called before Prefect is imported, in both meanings: Prefect then finds the address, and what it still sends
    when the process ends comes before the server's own end. (Sent to a server that is gone, it costs a minute.)
    """
    if os.environ.get("PREFECT_API_URL"):
        return lambda: None
    port = free_port()
    log = log_file("temporary-server")
    server = start(port, log, scheduling=False)
    atexit.register(server.end)
    os.environ["PREFECT_API_URL"] = api_url(port)
    return lambda: wait_until_up(server, f"{api_url(port)}/health", "the Prefect server", Path(log.name))


def start(port: int, log: IO[bytes], *, scheduling: bool) -> Child:
    """Start a server. One that lives for one run plans no runs of deployments: nothing would be there to run them."""
    own = () if scheduling else ("--no-ui", "--no-scheduler", "--no-late-runs")
    command = (sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port), *own)
    return Child(command, env={"PREFECT_SERVER_LOGGING_LEVEL": "WARNING"}, output=log, grace=10)


def log_file(name: str) -> IO[bytes]:
    folder = Path(os.environ["PREFECT_HOME"]) / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / f"{name}.log").open("wb")
    except OSError as error:
        raise Fault(f"{folder} cannot be written: {error.strerror}; give yourself write access there") from error


def wait_until_up(child: Child, url: str, name: str, log: Path) -> None:
    """Return when `url` answers; `Fault` when the child ends before or takes too long."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + UP_WITHIN
    while time.monotonic() < until:
        if (code := child.exit_code()) is not None:
            raise Fault(f"{name} ended with exit code {code} instead of starting; {log} says: {last_words(log)}")
        with contextlib.suppress(OSError), opener.open(url, timeout=2):
            return
        time.sleep(0.1)
    raise Fault(f"{name} did not answer at {url} within {UP_WITHIN:g} s; {log} says: {last_words(log)}")


def last_words(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "nothing"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
