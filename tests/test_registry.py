"""The registry: one version an adapter, aliases that move together or not at all, whoever is killed or quicker."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callwright.faults import Fault
from stages import _moves, _registry
from stages._moves import Move, history, mend, move, put_into_service, roll_back, withdrawn
from stages._registry import Registry, aliases, alone
from stages._standing import Standing, standing
from stages._tracking import address, open_store
from tests.tracked_project import ROOT

pytest_plugins = ["tests.tracked_project"]

WRITES = (
    *("set_registered_model_alias", "delete_registered_model_alias", "set_registered_model_tag"),
    *("set_model_version_tag", "delete_model_version_tag"),
)
OLD, NEW = {"champion": "1", "challenger": "2"}, {"champion": "2", "previous": "1"}


class Killed(BaseException):
    """As SIGKILL: nothing that catches exceptions sees it."""


def registry() -> Registry:
    return Registry(open_store(), "callwright")


def register(*hashes: str) -> Registry:
    """A version for each adapter hash, on one run."""
    made = registry()
    run = made.store.find_or_create("run", key="k")
    for one in hashes:
        made.add(f"{run.info.artifact_uri}/{one}", run.info.run_id, {"callwright.adapter_hash": one})
    return made


@pytest.fixture
def two(project: Path) -> Registry:
    """Version 1 is champion and 2 is challenger."""
    made = register("aaaa", "bbbb")
    move(made, "register", "1", "the first")
    move(made, "register", "2", "nearly as good", alias="challenger")
    assert aliases("callwright") == OLD
    return made


def before_each_write(monkeypatch: pytest.MonkeyPatch, made: Registry, act: Callable[[int], None]) -> None:
    """Call `act` with the number of the write, from 0, before each write of this client."""
    count = iter(range(10_000))
    for name in WRITES:
        real = getattr(made.store.client, name)

        def write(*given: Any, _real: Any = real, **named: Any) -> Any:
            act(next(count))
            return _real(*given, **named)

        monkeypatch.setattr(made.store.client, name, write)


class TestMoves:
    def test_champion_and_previous_move_together(self, two: Registry) -> None:
        moved = put_into_service(two, "2", "half the time")
        assert moved is not None
        assert (moved.before, moved.after) == (OLD, NEW)
        assert aliases("callwright") == NEW

    def test_the_champion_is_put_into_service_once(self, two: Registry) -> None:
        assert put_into_service(two, "1", "again") is None
        assert aliases("callwright") == OLD

    def test_rolling_back_changes_their_places_and_twice_is_as_before(self, two: Registry) -> None:
        put_into_service(two, "2", "better")
        roll_back(two, "worse after all")
        assert aliases("callwright") == {"champion": "1", "previous": "2"}
        roll_back(two, "no, better")
        assert aliases("callwright") == NEW

    def test_with_nothing_to_roll_back_to_it_says_so(self, two: Registry) -> None:
        with pytest.raises(Fault, match=r"^callwright has nothing to roll back to: no version is its `previous`; "):
            roll_back(two, "worse")
        two.store.client.set_registered_model_alias("callwright", "previous", "1")
        with pytest.raises(Fault, match="nothing to roll back to"):
            roll_back(two, "worse")

    def test_a_version_that_is_not_there_is_not_put_into_service(self, two: Registry) -> None:
        with pytest.raises(Fault, match=r"^callwright has no version 9; callwright models lists those that it has$"):
            put_into_service(two, "9", "lucky")
        assert aliases("callwright") == OLD

    def test_an_alias_of_somebody_else_stays(self, two: Registry) -> None:
        two.store.client.set_registered_model_alias("callwright", "staging", "1")
        put_into_service(two, "2", "better")
        assert aliases("callwright") == {**NEW, "staging": "1"}

    def test_who_when_and_why_stand_on_the_versions_and_in_the_history(self, two: Registry) -> None:
        put_into_service(two, "2", "  快一倍,\n答案一樣 ")
        came = json.loads(two.version("2").tags["callwright.promoted"])
        assert (came["action"], came["why"]) == ("promote", "快一倍, 答案一樣")
        assert came["who"]
        out = withdrawn(two.version("1").tags)
        assert out is not None
        assert out.told.endswith(" UTC, promote: 快一倍, 答案一樣")
        roll_back(two, "慢")
        assert withdrawn(two.version("1").tags) is None
        assert withdrawn(two.version("2").tags) is not None
        assert [(one.action, one.version) for one in history(two)] == [
            *(("register", "1"), ("register", "2")),
            *(("promote", "2"), ("rollback", "1")),
        ]

    def test_what_register_replaces_was_not_taken_out_by_hand(self, two: Registry) -> None:
        move(two, "register", "2", "better")
        assert withdrawn(two.version("1").tags) is None

    def test_a_long_reason_fits_the_tables_of_every_database(self, two: Registry) -> None:
        put_into_service(two, "2", "理" * 9_000)
        model = two.model()
        assert model is not None
        assert max(len(value) for value in model.tags.values()) < 5000
        assert history(two)[-1].why.endswith("理…")

    def test_a_user_without_a_name_can_promote(self, two: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
        def nobody() -> str:
            raise KeyError("uid not found")

        monkeypatch.setattr("getpass.getuser", nobody)
        moved = put_into_service(two, "2", "better")
        assert moved is not None
        assert moved.who == "unknown"


class TestCrash:
    def test_wherever_it_is_killed_the_next_one_makes_it_whole(
        self, two: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before the first write nothing was meant; after it, what was meant is done."""
        left = []
        for stop in range(20):

            def die(number: int, stop: int = stop) -> None:
                if number == stop:
                    raise Killed

            with monkeypatch.context() as patch:
                before_each_write(patch, two, die)
                try:
                    move(two, "promote", "2", "better")
                    ended = True
                except Killed:
                    ended = False
            if ended:
                break
            assert standing("callwright").settled == (stop == 0)
            left.append(dict(two.aliases()))
            assert two.aliases()["champion"] in {"1", "2"}
            mend(two)
            assert aliases("callwright") == (OLD if stop == 0 else NEW)
            assert standing("callwright").settled
            assert mend(two) is None
            if stop:
                assert "callwright.withdrawn" in two.version("1").tags
                assert history(two)[-1].version == "2"
            move(two, "register", "1", "back")
            two.store.client.delete_registered_model_alias("callwright", "previous")
            two.store.client.set_registered_model_alias("callwright", "challenger", "2")
        assert ended
        assert {"champion": "1", "previous": "1", "challenger": "2"} in left, "a half state was among those mended"
        assert stop > 6

    def test_the_next_move_ends_the_one_before_first(self, two: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
        def die(number: int) -> None:
            if number == 2:
                raise Killed

        with monkeypatch.context() as patch:
            before_each_write(patch, two, die)
            with pytest.raises(Killed):
                put_into_service(two, "2", "better")
        roll_back(two, "worse")
        assert aliases("callwright") == {"champion": "1", "previous": "2"}

    def test_a_move_to_a_version_that_is_gone_by_now_is_undone(
        self, two: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(number: int) -> None:
            if number == 3:
                raise Killed

        with monkeypatch.context() as patch:
            before_each_write(patch, two, die)
            with pytest.raises(Killed):
                put_into_service(two, "2", "better")
        two.store.client.delete_model_version("callwright", "2")
        mend(two)
        assert aliases("callwright") == {"champion": "1"}
        assert withdrawn(two.version("1").tags) is None

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "x"}', '{"id": 1, "after": null}'])
    def test_a_tag_that_a_hand_broke_stops_nobody(self, two: Registry, text: str) -> None:
        two.tag_model("callwright.move", text)
        assert mend(two) is None
        put_into_service(two, "2", "better")
        assert aliases("callwright") == NEW
        assert standing("callwright").settled


class TestAtOnce:
    @pytest.fixture
    def on_a_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the lock that only a database file has."""
        monkeypatch.setattr(_registry, "address", lambda: "http://server")

    def test_two_moves_at_once_never_leave_half_of_each(
        self, two: Registry, on_a_server: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While one is at any of its writes, another does its whole move."""
        register("cccc")
        for when in range(20):
            move(two, "register", "1", "as it was")
            acted: list[Move] = []

            def cut_in(number: int, when: int = when, acted: list[Move] = acted) -> None:
                if number == when and not acted:
                    acted.append(move(registry(), "register", "3", "quicker"))

            with monkeypatch.context() as patch:
                before_each_write(patch, two, cut_in)
                move(two, "register", "2", "slower")
            stands = {name: two.aliases()[name] for name in ("champion", "previous")}
            whole = [{key: one.after[key] for key in stands} for one in history(two)[-2:]]
            assert stands in whole, f"at write {when}"
            assert standing("callwright").settled
            if not acted:
                break
            # the first write says what is meant: who comes after it is the later one, who came before it is not
            assert stands["champion"] == ("2" if when == 0 else "3")
        assert not acted
        assert when > 5

    def test_two_versions_of_one_adapter_become_the_lower_one(
        self, two: Registry, on_a_server: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create = two.store.client.create_model_version

        def after_another(*given: Any, **named: Any) -> Any:
            monkeypatch.undo()
            register("cccc")
            return create(*given, **named)

        monkeypatch.setattr(two.store.client, "create_model_version", after_another)
        run = two.store.find_or_create("run", key="k")
        version = two.add("file:///x", run.info.run_id, {"callwright.adapter_hash": "cccc"})
        assert version == "3"
        assert [str(one.version) for one in two.versions()] == ["3", "2", "1"]

    def test_a_second_version_that_a_crash_left_goes_when_it_is_registered_again(self, two: Registry) -> None:
        run = two.store.find_or_create("run", key="k")
        two.store.client.create_model_version(
            "callwright", source="file:///x", run_id=run.info.run_id, tags={"callwright.adapter_hash": "bbbb"}
        )
        assert len(two.versions()) == 3
        assert two.add("file:///x", run.info.run_id, {"callwright.adapter_hash": "bbbb"}) == "2"
        assert [str(one.version) for one in two.versions()] == ["2", "1"]

    def test_what_another_wrote_at_the_same_moment_is_written_once_more(
        self, two: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mlflow.exceptions import MlflowException

        real, fails = two.store.client.set_registered_model_tag, ["(sqlite3.IntegrityError) UNIQUE constraint failed"]

        def write(*given: Any) -> None:
            if fails:
                raise MlflowException(fails.pop())
            real(*given)

        monkeypatch.setattr(two.store.client, "set_registered_model_tag", write)
        two.tag_model("name", "value")
        assert not fails
        fails.append("the disk is full")
        with pytest.raises(MlflowException, match="the disk is full"):
            two.tag_model("name", "value")

    def test_who_waits_too_long_for_the_lock_is_told_where_it_is(
        self, two: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_registry, "LOCK_SECONDS", 0.05)
        with alone(), pytest.raises(Fault, match=r"mlflow.db.lock is held by another process that registers or"):
            put_into_service(registry(), "2", "better")

    def test_two_processes_that_register_at_once_leave_one_version(self, evaluated: Path) -> None:
        assert_one_of_two(evaluated, f"sqlite:///{evaluated}/mlruns/mlflow.db")


@pytest.mark.slow
class TestServer:
    @pytest.fixture
    def server(self, evaluated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        stores = ("--backend-store-uri", f"sqlite:///{evaluated}/mlruns/mlflow.db")
        places = ("--artifacts-destination", f"{evaluated}/mlruns/artifacts", "--workers", "1", "--port", str(port))
        command = (sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", *stores, *places)
        quiet = subprocess.DEVNULL
        started = subprocess.Popen(command, start_new_session=True, stdout=quiet, stderr=quiet, env=environment(""))
        uri = f"http://127.0.0.1:{port}"
        try:
            answers(f"{uri}/health", started)
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
            open_store()
            yield uri
        finally:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait(10)

    def test_two_processes_that_register_at_once_leave_one_version(self, evaluated: Path, server: str) -> None:
        assert_one_of_two(evaluated, server)
        made = registry()
        register("bbbb")
        (second,) = {str(one.version) for one in made.versions()} - {"1"}  # 3 where the two had made 1 and 2
        put_into_service(made, second, "快")
        assert standing("callwright") == Standing({"champion": second, "previous": "1"}, settled=True)
        made.tag_model("callwright.settled", "another")
        assert not standing("callwright").settled
        roll_back(made, "慢")
        assert aliases("callwright") == {"champion": "1", "previous": second}


def environment(uri: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}


def answers(url: str, started: subprocess.Popen[bytes]) -> None:
    """Wait until it does."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and started.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own address
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not come up")


def assert_one_of_two(project: Path, uri: str) -> None:
    """The same adapter from two workspaces, into one registry, by two processes that start together."""
    import shutil

    other = project.parent / f"{project.name}-other"
    shutil.copytree(project, other, symlinks=True, ignore=shutil.ignore_patterns("mlruns"))
    (other / "mlruns").mkdir()
    code = "import sys; sys.stdin.readline(); from stages import register; register.main()"
    command, pipe = (sys.executable, "-c", code), subprocess.PIPE
    started = [
        subprocess.Popen(command, cwd=folder, env=environment(uri), stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for folder in (project, other)
    ]
    for one in started:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    told = [one.communicate(timeout=120) for one in started]
    assert [one.returncode for one in started] == [0, 0], told
    made = [json.loads((folder / "reports/register/decision.json").read_text()) for folder in (project, other)]
    assert [one["version"] for one in made] == ["1", "1"], told
    assert [one["decision"] for one in made] == ["promote", "promote"]
    assert [str(one.version) for one in registry().versions()] == ["1"]
    assert aliases("callwright") == {"champion": "1"}
    assert address()


def test_a_registry_of_a_thousand_versions_is_read_in_pages(two: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    search = two.store.client.search_model_versions
    monkeypatch.setattr(
        two.store.client,
        "search_model_versions",
        lambda query, max_results, page_token: search(query, 1, None, page_token),
    )
    assert [str(one.version) for one in two.versions()] == ["2", "1"]


def test_the_order_of_the_aliases_leaves_a_champion_at_any_time() -> None:
    assert _moves.ORDER.index("previous") < _moves.ORDER.index("champion")
