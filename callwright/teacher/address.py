"""Where the teacher is: address, model, key.

    read_address("http://localhost:8000/v1", "qwen3", os.environ)   ->  Address(url=…, model=…, key=SecretStr('***'))

The key comes from the environment and from nowhere else, and goes to the address and nowhere else: `Address.scrub`
takes it out of whatever a server says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from callwright.faults import Fault

KEYS = ("CALLWRIGHT_TEACHER_KEY", "OPENAI_API_KEY")
"""Environment variables that hold the key; the first that is set counts."""
_SECRET_FROM = 8
"""Shorter keys ("none", "EMPTY") are what servers without keys are given; taking them out would spoil words."""


@dataclass(frozen=True, slots=True)
class Address:
    url: str
    model: str
    key: SecretStr
    """Empty where none is set."""

    def holds_key(self, text: str) -> bool:
        return any(form in text for form in self._forms())

    def scrub(self, value: Any) -> Any:
        """Text, or parsed JSON, without the key."""
        if isinstance(value, str):
            for form in self._forms():
                value = value.replace(form, "[key]")
            return value
        if isinstance(value, list):
            return [self.scrub(item) for item in value]
        if isinstance(value, Mapping):
            return {self.scrub(name): self.scrub(item) for name, item in value.items()}
        return value

    def _forms(self) -> set[str]:
        """As it is, and as it stands inside JSON."""
        key = self.key.get_secret_value()
        return {key, json.dumps(key)[1:-1]} if len(key) >= _SECRET_FROM else set()


def read_address(given: str | None, model: str, environment: Mapping[str, str]) -> Address:
    """The address from `given` or OPENAI_BASE_URL; `Fault` where it is none, or where it holds a password."""
    url = (given or environment.get("OPENAI_BASE_URL", "")).strip()
    if not url:
        raise Fault(
            "there is no address to ask; give --address or set OPENAI_BASE_URL, such as http://localhost:8000/v1"
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise Fault(f"--address is no address ({error}); it looks like http://localhost:8000/v1") from None
    if parts.username is not None or parts.password is not None:
        raise Fault(f"--address holds a name or password for {host}; take it out, and set the key as OPENAI_API_KEY")
    if parts.scheme not in ("http", "https") or not host:
        raise Fault(f"--address is {url!r}; it should begin with http:// or https:// and name a host")
    if parts.query or parts.fragment:
        raise Fault(f"--address for {host} holds more than host and path; take off what follows ? or #")
    if not model.strip():
        raise Fault("--model is empty; name the model as the address knows it")
    key = next((environment[name].strip() for name in KEYS if environment.get(name, "").strip()), "")
    if not (key.isascii() and key.isprintable()):
        raise Fault("the key in the environment holds characters that no HTTP header can hold; set it anew")
    return Address(url.rstrip("/"), model, SecretStr(key))
