"""Fixtures of several files: a teacher on loopback, and runs that ask it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_teacher import FakeTeacher, Runner, library


@pytest.fixture
def teacher() -> Iterator[FakeTeacher]:
    with FakeTeacher() as started:
        yield started


@pytest.fixture
def runner(teacher: FakeTeacher, tmp_path: Path) -> Runner:
    return Runner(teacher, tmp_path, library(tmp_path))
