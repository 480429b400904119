"""registry: versions and aliases of the registered model, as register needs them

    aliases("callwright")                        # {"champion": "3", "previous": "1"}, quickly, without importing mlflow

One version per adapter hash, found by its tag. Aliases: `champion` is in service, `previous` was before it,
`challenger` is the newest that is not better.
"""

from __future__ import annotations

import json
import sqlite3
import ssl
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages._tracking import Store, Unreachable, address, open_store, shown_address, told_unreachable

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class Registry:
    """The registered model of one name."""

    store: Store
    name: str

    def version_of(self, adapter_hash: str) -> str | None:
        query = f"name='{self.name}' and tag.`callwright.adapter_hash`='{adapter_hash}'"
        found = self.store.client.search_model_versions(query)
        return min((str(one.version) for one in found), key=int, default=None)

    def add(self, adapter_uri: str, run_id: str, tags: Mapping[str, str], card: str) -> str:
        """Make a version of the adapter at this address; the card is its description and lies beside the run."""
        if not self.store.client.search_registered_models(f"name='{self.name}'"):
            self.store.client.create_registered_model(self.name)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "MODEL_CARD.md").write_text(card, encoding="utf-8")
            self.store.put(Path(folder), self.store.client.get_run(run_id).info.artifact_uri)
        made = self.store.client.create_model_version(
            self.name, source=adapter_uri, run_id=run_id, tags=dict(tags), description=card
        )
        return str(made.version)

    def version(self, version: str) -> ModelVersion:
        return self.store.client.get_model_version(self.name, version)

    def tag(self, version: str, name: str, value: str) -> None:
        self.store.client.set_model_version_tag(self.name, version, name, value)

    def note_accuracy(self, version: str, test_hash: str, accuracy: float | None) -> None:
        """Keep what the version scored on these rows, so that a later one can be compared without answering again."""
        if accuracy is not None:
            self.tag(version, _accuracy_tag(test_hash), repr(accuracy))

    def accuracy(self, version: str, test_hash: str) -> float | None:
        noted = self.version(version).tags.get(_accuracy_tag(test_hash))
        return float(noted) if noted else None

    def aliases(self) -> dict[str, str]:
        models = self.store.client.search_registered_models(f"name='{self.name}'")
        return {alias: str(version) for model in models for alias, version in model.aliases.items()}

    def promote(self, version: str) -> str:
        """Make it the champion; the one before it becomes `previous`."""
        standing = self.aliases()
        before = standing.get("champion", version)
        if before != version:
            self.store.client.set_registered_model_alias(self.name, "previous", before)
        self.store.client.set_registered_model_alias(self.name, "champion", version)
        if standing.get("challenger") == version:
            self.store.client.delete_registered_model_alias(self.name, "challenger")
        return "champion"

    def challenge(self, version: str) -> str:
        """Make it the challenger; if it was the champion, it no longer holds what that alias promises."""
        if self.aliases().get("champion") == version:
            self.store.client.delete_registered_model_alias(self.name, "champion")
        self.store.client.set_registered_model_alias(self.name, "challenger", version)
        return "challenger"


def aliases(name: str) -> dict[str, str]:
    """Which version each alias stands on; `Unreachable` if nothing answers within some three seconds.

    A repro that changed nothing asks only this, so it goes without the two seconds that mlflow takes to import.
    """
    uri = address()
    if uri.startswith("sqlite:///"):
        return _aliases_in_database(Path(uri.removeprefix("sqlite:///")), name)
    if uri.startswith(("http://", "https://")):
        found = _aliases_over_http(uri, name)
        if found is not None:
            return found
    with told_unreachable():
        return Registry(open_store(), name).aliases()


def _aliases_in_database(path: Path, name: str) -> dict[str, str]:
    query = "SELECT alias, version FROM registered_model_aliases WHERE name = ?"
    if not path.exists():
        return {}
    try:
        opened = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PROBE_SECONDS)
        with closing(opened) as database:
            return {alias: str(version) for alias, version in database.execute(query, (name,))}
    except sqlite3.Error:
        return {}  # not MLflow's, or another layout: then the slow way says what is wrong


def _aliases_over_http(uri: str, name: str) -> dict[str, str] | None:
    """None where the server answers, but not to us: it may want a login, which the MLflow client knows to give."""
    query = urllib.parse.urlencode({"name": name})
    request = urllib.request.Request(f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/get?{query}")  # noqa: S310 - the caller saw http
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS) as answer:  # noqa: S310
            model = json.load(answer)["registered_model"]
        return {one["alias"]: str(one["version"]) for one in model.get("aliases", [])}
    except urllib.error.HTTPError as error:
        with error:
            return {} if error.code == 404 and b"RESOURCE_DOES_NOT_EXIST" in error.read() else None
    except (urllib.error.URLError, OSError) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
            raise Unreachable(f"MLflow at {shown_address()} does not answer ({cause})") from None
        return None
    except (ValueError, KeyError, TypeError):
        return None


def _accuracy_tag(test_hash: str) -> str:
    return f"callwright.accuracy_on.{test_hash[:16]}"
