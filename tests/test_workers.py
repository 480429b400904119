"""Several processes: the same results in the same order, and none of them left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from callwright.faults import Fault
from stages._workers import cores, in_order
from tests.rows import ROOT


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_results_come_in_the_order_of_the_tasks(processes: int) -> None:
    def work(number: int) -> tuple[int, int]:
        time.sleep(0.01 * (number % 3))
        return number, number * number

    assert list(in_order(work, range(20), processes)) == [(i, i * i) for i in range(20)]


def test_work_is_done_in_other_processes() -> None:
    found = set(in_order(lambda _: os.getpid(), range(40), 2))
    assert os.getpid() not in found
    assert cores() >= 1


def test_a_fault_in_a_process_is_told_here() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise Fault("data/x.jsonl:3: broken; mend it")
        return number

    with pytest.raises(Fault, match=r"data/x\.jsonl:3: broken; mend it"):
        list(in_order(work, range(9), 2))


def test_a_process_that_is_killed_is_a_sentence() -> None:
    def work(number: int) -> int:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(Fault, match="a process was killed, most likely for want of memory"):
        list(in_order(work, range(9), 2))


def test_only_a_few_tasks_are_begun_ahead() -> None:
    begun = []

    def tasks() -> Iterator[int]:
        for number in range(100):
            begun.append(number)
            yield number

    results = in_order(abs, tasks(), 2)
    next(results)
    assert len(begun) < 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_its_parent(number: signal.Signals) -> None:
    code = (
        "import time\nfrom stages._workers import in_order\n"
        "def work(n):\n    time.sleep(60)\n"
        "print('begun', flush=True)\nlist(in_order(work, range(8), 2))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout
        assert parent.stdout.readline() == "begun\n"
        children: list[psutil.Process] = []
        until = time.monotonic() + 20
        while len(children) < 2 and time.monotonic() < until:
            children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) == 2
        parent.send_signal(number)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive
    finally:
        parent.kill()
        parent.wait()
