"""`python -m flows.pipeline`: checks the params, has a Prefect server while it runs, answers with an exit code.

0 done, 2 a fault that a person can mend (nothing was started, or a stage said so), 75 what was begun can go on, 130
interrupted by Ctrl-C or SIGTERM, 1 anything else. At the end, whatever it is, no process is left.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

from callwright.faults import Fault
from callwright.params import read_params
from flows import dvc, graph, server


class Stopped(BaseException):
    """SIGTERM or SIGHUP came."""


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell starts with it ignored
    try:
        read_params()
        stages = graph.read_stages()
        print(f"Callwright: {', '.join(stage.name for stage in stages)}", flush=True)
        _run()
    except Fault as fault:
        print(fault, file=sys.stderr)
        return 2
    except dvc.StageFailed as failed:
        print(failed, file=sys.stderr)
        return failed.code
    except (KeyboardInterrupt, Stopped):
        print("\nInterrupted; make run or dvc repro goes on from here", file=sys.stderr)
        return 130
    return 0


def _run() -> None:
    server.quiet()
    until_up = server.temporary()
    from flows.pipeline import callwright  # Prefect's import takes a second, in which the server starts

    until_up()
    callwright()


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped
