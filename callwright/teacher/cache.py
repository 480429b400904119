"""Answers that were paid for, on the disk: the same question is never paid for twice.

    cache = Cache(Path("data/teacher/answers.db"))
    cache.get(key)   ->  the answer as it was put, or None

A key is a hash of model, address, messages, options and the number of the try; neither it nor an answer holds the key
of the API. A table of text in SQLite, which several processes may use at a time and which a kill leaves whole; nothing
is unpickled.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Any, Self

from callwright.answers import strict_json
from callwright.faults import Fault
from callwright.outs import to_json


class Cache:
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")  # only a power cut can lose the last answers
            self._db.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
        except (sqlite3.Error, OSError) as error:
            raise Fault(
                f"{path} cannot be used to keep answers ({error}); move it away or name another with --cache"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._db.close()

    def get(self, key: str) -> dict[str, Any] | None:
        """What was put under `key`. What is not as it was written counts as nothing."""
        try:
            found = self._db.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            value = strict_json(found[0]) if found else None
        except (ValueError, TypeError, RecursionError):
            return None
        except sqlite3.Error as error:
            raise Fault(f"{self.path} cannot be read ({error}); move it away and run this again") from None
        return value if isinstance(value, dict) else None

    def put(self, key: str, answer: dict[str, Any]) -> None:
        try:
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, to_json(answer)))
        except sqlite3.Error as error:
            raise Fault(f"{self.path} cannot be written ({error}); make room, or name another with --cache") from None


def key_of(question: Any) -> str:
    """The hash that a question, as JSON, is kept under."""
    import json

    text = json.dumps(question, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
