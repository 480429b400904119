"""How a stage starts and ends: faults as sentences, exit codes as design and DVC expect them.

0 the outs are whole, 2 a fault that a person can mend, 75 interrupted and can go on.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from types import FrameType

from callwright.faults import Fault
from callwright.outs import REFUSALS

INTERRUPTED = 75  # EX_TEMPFAIL: run it again


class Interrupted(BaseException):
    """SIGTERM or SIGINT came; what was begun is left so that the next run goes on."""


def run(main: Callable[[], None]) -> None:
    """Call `main` and leave the process with the right exit code."""
    # bitsandbytes warns that kernels for inference in 4 bits are missing, which no stage does on a CPU
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        main()
    except Fault as fault:
        print(fault, file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        where = f" at {error.filename}" if error.filename else ""
        print(
            f"the disk refused{where}: {error.strerror}; make room or give yourself write access, then run it again",
            file=sys.stderr,
        )
        sys.exit(2)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        print(
            f"the GPU is out of memory ({str(error).split('.')[0]}); lower rows_at_a_time or batch_size of this stage "
            "in params.yaml, or end what else uses it, then run it again",
            file=sys.stderr,
        )
        sys.exit(2)
    except (Interrupted, KeyboardInterrupt):
        print(f"{sys.argv[0]}: interrupted; the next run goes on from here", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted
