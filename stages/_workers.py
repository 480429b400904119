"""Work in several processes, its results in the order of its tasks, so that they are the same however many there are.

for rows in in_order(write, tasks, processes=4): ...
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from callwright.faults import Fault

Task = TypeVar("Task")
Result = TypeVar("Result")

_AHEAD = 3
"""Tasks a process that are begun before their results are taken: a slow reader does not fill the memory."""
_PARENT_DIES = 1  # PR_SET_PDEATHSIG of prctl(2)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def in_order(work: Callable[[Task], Result], tasks: Iterable[Task], processes: int | None = None) -> Iterator[Result]:
    """Yield `work(task)` for each task; all cores unless `processes` is given. `work` is inherited, not pickled."""
    processes = processes or cores()
    if processes == 1:
        yield from map(work, tasks)
        return
    global _WORK  # noqa: PLW0603 - what a forked process inherits need not be pickled
    _WORK = work
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(os.getpid(),))
    begun: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            begun.append(pool.submit(_call, task))
            if len(begun) >= processes * _AHEAD:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    except BrokenProcessPool:
        raise Fault("a process was killed, most likely for want of memory; make room and run it again") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_WORK: Callable[..., Any] | None = None


def _call(task: Any) -> Any:
    assert _WORK is not None  # noqa: S101 - set before the process was forked
    return _WORK(task)


def _begin(parent: int) -> None:
    """The parent decides when to stop; a process ends with it, also when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PARENT_DIES, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before that was said
        os._exit(1)
