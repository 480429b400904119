"""registry: the versions of the registered model, with what is kept of each

    Registry(open_store(), "callwright").version_of(adapter_hash)     ->  "3", or None

One version per adapter hash, found by its tag. Aliases: `champion` is in service, `previous` was before it,
`challenger` is the newest that may be as good; `_moves` moves them.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from callwright.faults import Fault
from callwright.outs import read_lines, write_lines
from stages._completion import folder_hash
from stages._standing import Standing, standing
from stages._tracking import Store, Unreachable, address, told_unreachable

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

T = TypeVar("T")

ADAPTER_HASH = "callwright.adapter_hash"
LOCK_SECONDS = 300.0
DESCRIPTION = 5000
"""Characters: what MLflow's tables hold on PostgreSQL, of a description and of a tag."""


@contextmanager
def alone() -> Iterator[None]:
    """Be the only one who changes the registry, where it is a database file. Not for a block within a block.

    A server has no such lock. There, what is done at once meets again: of two versions of one adapter the lower one
    stays, of two moves of the aliases the later one.
    """
    if not address().startswith("sqlite:///"):
        yield
        return
    from filelock import FileLock, Timeout

    path = Path(f"{address().removeprefix('sqlite:///')}.lock")
    lock = FileLock(path, timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise Fault(
            f"{path} is held by another process that registers or promotes, for over {LOCK_SECONDS:g} s; "
            "wait for it, or end it, then run this again"
        ) from None
    try:
        yield
    finally:
        lock.release()


def written(write: Callable[[], T]) -> T:
    """Write once more what another process wrote at the same moment: MLflow looks first, then inserts, and the tables
    take one of the two.
    """
    from mlflow.exceptions import MlflowException

    for left in (2, 1, 0):
        try:
            return write()
        except MlflowException as error:
            if not left or "IntegrityError" not in str(error):
                raise
    raise AssertionError("the last attempt returns or raises")


@dataclass(frozen=True)
class Registry:
    """The registered model of one name."""

    store: Store
    name: str

    # The model

    def model(self) -> RegisteredModel | None:
        found = self.store.client.search_registered_models(f"name='{self.name}'")
        return next(iter(found), None)

    def standing(self) -> Standing:
        model = self.model()
        return Standing.of({k: str(v) for k, v in model.aliases.items()}, model.tags) if model else Standing()

    def aliases(self) -> Mapping[str, str]:
        return self.standing().aliases

    def tag_model(self, name: str, value: str) -> None:
        written(lambda: self.store.client.set_registered_model_tag(self.name, name, value))

    def set_alias(self, alias: str, version: str | None) -> None:
        """None takes it away."""
        if version is None:
            self.store.client.delete_registered_model_alias(self.name, alias)
        else:
            written(lambda: self.store.client.set_registered_model_alias(self.name, alias, version))

    # Versions

    def versions(self) -> list[ModelVersion]:
        """The newest first."""
        found: list[ModelVersion] = []
        page = None
        while page is None or page.token:
            page = self.store.client.search_model_versions(
                f"name='{self.name}'", max_results=1000, page_token=page.token if page else None
            )
            found += page
        return sorted(found, key=lambda one: int(one.version), reverse=True)

    def version_of(self, adapter_hash: str) -> str | None:
        return min(self._versions_of(adapter_hash), key=int, default=None)

    def add(self, source: str, run_id: str, tags: Mapping[str, str]) -> str:
        """Make a version of the files at this address, unless the adapter of these tags has one already."""
        if self.model() is None:
            self._create_model()
        if self.version_of(tags[ADAPTER_HASH]) is None:
            self.store.client.create_model_version(self.name, source=source, run_id=run_id, tags=dict(tags))
        return self._only_version_of(tags[ADAPTER_HASH])

    def _only_version_of(self, adapter_hash: str) -> str:
        """The lowest stands, whoever made it; one that another process made as quickly goes."""
        from mlflow.exceptions import MlflowException

        first, *others = sorted(self._versions_of(adapter_hash), key=int)
        in_use = set(self.aliases().values())
        for version in others:
            try:
                if version not in in_use:
                    self.store.client.delete_model_version(self.name, version)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # that process was quicker here too
                    raise
        return first

    def version(self, version: str) -> ModelVersion:
        return self.store.client.get_model_version(self.name, version)

    def tag(self, version: str, name: str, value: str) -> None:
        written(lambda: self.store.client.set_model_version_tag(self.name, version, name, value))

    def untag(self, version: str, name: str) -> None:
        if name in self.version(version).tags:
            self.store.client.delete_model_version_tag(self.name, version, name)

    def describe(self, version: str, tags: Mapping[str, str], card: str) -> None:
        """Set the tags that are other ones by now; the card is the description and lies beside the version's run."""
        its = self.version(version)
        for name, value in tags.items():
            if its.tags.get(name) != value:
                self.tag(version, name, value)
        more = "\n…\n\nThe whole card is MODEL_CARD.md among the run's artifacts.\n"
        shown = card if len(card) <= DESCRIPTION else card[: DESCRIPTION - len(more)] + more
        if its.description != shown:
            self.store.client.update_model_version(self.name, version, description=shown)
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "MODEL_CARD.md").write_text(card, encoding="utf-8")
                self.store.put(Path(folder), self._run_uri(its))

    def fetch_adapter(self, version: str, folder: Path) -> Path:
        """Copy a version's files into an empty folder; where the adapter lies in it.

        `Unreachable` where they cannot be had, `Fault` where they are not those that were registered.
        """
        with told_unreachable():
            its = self.version(version)
            self.store.fetch(its.source or "", folder)
        wanted = its.tags.get(ADAPTER_HASH)
        for config in sorted(folder.rglob("adapter_config.json")):  # the version may hold more than its adapter
            if folder_hash(config.parent) == wanted:
                return config.parent
        raise Fault(
            f"version {version} of {self.name} holds no adapter with the hash that was registered: its files at "
            f"{its.source} have changed or are gone; put them back, or promote another version"
        )

    # What a version answered

    def keep_answers(self, version: str, test_hash: str, judged_by: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep rows of answers.jsonl beside the version's run, so that a later adapter is compared on the same rows.

        `judged_by` names the code that gave the verdicts: other code may give others.
        """
        its = self.version(version)
        place = f"answers/{its.tags[ADAPTER_HASH][:16]}-{test_hash[:16]}-{judged_by[:8]}"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "answers.jsonl"
            write_lines(file, rows)
            told = {"at": place, "sha256": _sha256(file)}
            if its.tags.get(_answers_tag(test_hash, judged_by)) == json.dumps(told):
                return
            self.store.put(Path(folder), self._run_uri(its), place)
        self.tag(version, _answers_tag(test_hash, judged_by), json.dumps(told))

    def answers(self, version: str, test_hash: str, judged_by: str) -> list[dict[str, Any]] | None:
        """What was kept, or None: nothing was, or it is gone, or changed."""
        its = self.version(version)
        told = its.tags.get(_answers_tag(test_hash, judged_by))
        if told is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            try:
                kept = json.loads(told)
                with told_unreachable():
                    self.store.fetch(f"{self._run_uri(its)}/{kept['at']}", Path(folder))
                file = Path(folder) / "answers.jsonl"
                return list(read_lines(file)) if _sha256(file) == kept["sha256"] else None
            except (Unreachable, Fault, OSError, ValueError, KeyError, TypeError):
                return None

    def _run_uri(self, version: ModelVersion) -> str:
        return str(self.store.client.get_run(version.run_id or "").info.artifact_uri)

    def _versions_of(self, adapter_hash: str) -> list[str]:
        query = f"name='{self.name}' and tag.`{ADAPTER_HASH}`='{adapter_hash}'"
        return [str(one.version) for one in self.store.client.search_model_versions(query)]

    def _create_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.store.client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was quicker
                raise


def aliases(name: str) -> Mapping[str, str]:
    """Which version each alias stands on, quickly; `Unreachable` if nothing answers within some three seconds."""
    return standing(name).aliases


def _answers_tag(test_hash: str, judged_by: str) -> str:
    return f"callwright.answers.{test_hash[:16]}.{judged_by[:8]}"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
