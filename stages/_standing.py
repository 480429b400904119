"""standing: where the aliases of the registered model stand, without the two seconds that mlflow takes to import

    standing("callwright")       ->  Standing({"champion": "3", "previous": "1"}, settled=True)

A repro that changed nothing asks only this, and a command asks it first, so that an MLflow that is away costs three
seconds and not MLflow's own minutes.
"""

from __future__ import annotations

import json
import sqlite3
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from stages._tracking import Unreachable, address, open_store, shown_address, told_unreachable

PROBE_SECONDS = 3.0
MOVE, SETTLED = "callwright.move", "callwright.settled"
"""Tags of the registered model: the last move of its aliases that was meant, and the id of the last that was done."""


@dataclass(frozen=True, slots=True)
class Standing:
    aliases: Mapping[str, str] = field(default_factory=dict)
    settled: bool = True
    """False where a move was begun and not ended: the aliases may stand half here, half there."""

    @classmethod
    def of(cls, aliases: Mapping[str, str], tags: Mapping[str, str]) -> Standing:
        try:
            meant = json.loads(tags[MOVE])["id"] if MOVE in tags else None
        except (ValueError, KeyError, TypeError):
            meant = None  # a hand changed it: there is no move that one could end
        return cls(dict(aliases), meant is None or tags.get(SETTLED) == meant)


def standing(name: str) -> Standing:
    """`Unreachable` if nothing answers within some three seconds."""
    uri = address()
    if uri.startswith("sqlite:///"):
        return _in_database(Path(uri.removeprefix("sqlite:///")), name)
    if uri.startswith(("http://", "https://")):
        found = _over_http(uri, name)
        if found is not None:
            return found
    with told_unreachable():
        models = open_store().client.search_registered_models(f"name='{name}'")
        return next((Standing.of(_texts(model.aliases), model.tags) for model in models), Standing())


def _in_database(path: Path, name: str) -> Standing:
    if not path.exists():
        return Standing()
    try:
        opened = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PROBE_SECONDS)
        with closing(opened) as database:
            aliases = database.execute("SELECT alias, version FROM registered_model_aliases WHERE name = ?", (name,))
            tags = database.execute("SELECT key, value FROM registered_model_tags WHERE name = ?", (name,))
            return Standing.of(_texts(dict(aliases)), dict(tags))
    except sqlite3.Error:
        return Standing()  # not MLflow's, or another layout: then the slow way says what is wrong


def _over_http(uri: str, name: str) -> Standing | None:
    """None where the server answers, but not to us: it may want a login, which the MLflow client knows to give."""
    query = urllib.parse.urlencode({"name": name})
    request = urllib.request.Request(f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/get?{query}")  # noqa: S310 - the caller saw http
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS) as answer:  # noqa: S310
            model = json.load(answer)["registered_model"]
        aliases = {one["alias"]: str(one["version"]) for one in model.get("aliases", [])}
        return Standing.of(aliases, {one["key"]: one.get("value", "") for one in model.get("tags", [])})
    except urllib.error.HTTPError as error:
        with error:
            return Standing() if error.code == 404 and b"RESOURCE_DOES_NOT_EXIST" in error.read() else None
    except (urllib.error.URLError, OSError) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
            raise Unreachable(f"MLflow at {shown_address()} does not answer ({cause})") from None
        return None
    except (ValueError, KeyError, TypeError):
        return None


def _texts(aliases: Mapping[str, object]) -> dict[str, str]:
    return {alias: str(version) for alias, version in aliases.items()}
