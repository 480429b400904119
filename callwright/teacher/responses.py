"""What a server's response means: an answer, or an error that says what to do about it.

    read_body(where, b'{"choices": […], "usage": {…}}')   ->  (Answered(…), True)
    refusal(where, 429, "…", {"retry-after": "7"})        ->  Free(Again("http_429", "…", wait=7.0))

What a server says stands in a sentence shortened, and without the key.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

from callwright.answers import strict_json
from callwright.faults import Fault
from callwright.teacher.address import KEYS, Address
from callwright.teacher.questions import Answered, Lost, printable

LONGEST_WAIT = 300.0
"""Seconds; a server that asks for more is not waited for."""
_FINISHES = ("stop", "length", "content_filter")
_KEY = f"the key in {' or '.join(reversed(KEYS))}"
_WHERE = "see --address, which mostly ends in /v1"


class Again(Exception):
    """It may work the next time, after `wait` seconds where the server says so."""

    def __init__(self, code: str, sentence: str, wait: float | None = None) -> None:
        self.code, self.wait = code, wait
        super().__init__(sentence)


class BadForm(Exception):
    """400 or 422: this form of the request is not taken."""


class Free(Exception):
    """An error that cost nothing, as no answer was begun."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


def refusal(where: Address, status: int, text: str, headers: Mapping[str, str]) -> Exception:
    """What a status other than 200 means."""
    url, said = where.url, _said(where, text)
    if status in (400, 422):
        return BadForm(f"answers {status}{said}")
    if status in (408, 409, 429) or status >= 500:
        wait = _retry_after(headers)
        if wait is not None and wait > LONGEST_WAIT:
            sentence = f"{url} answers {status} and asks to wait {wait:.0f} s; run this again then"
            return Free(Lost(f"http_{status}", sentence))
        return Free(Again(f"http_{status}", f"answers {status}{said}", wait))
    if 300 <= status < 400:
        target = printable(where.scrub(headers.get("location", "elsewhere")))[:200]
        return Free(Lost("redirect", f"{url} redirects to {target}, where nothing is sent; mend --address"))
    if status == 413:
        return Free(Lost("refused_request", f"{url} answers 413{said}: the question is too long for it"))
    model = repr(where.model)
    why = {
        401: f"refuses {_KEY}" if where.key.get_secret_value() else f"wants a key; set {KEYS[-1]}",
        402: "wants to be paid first",
        403: f"does not let {_KEY} use {model}",
        404: f"has no model {model}, or nothing at /chat/completions (see --model, and --address, mostly …/v1)",
    }.get(status, "refuses the request")
    return Fault(f"the address {url} {why}: it answers {status}{said}")


def read_body(where: Address, body: bytes) -> tuple[Answered, bool]:
    """The answer in a body, and whether the server says what it cost."""
    try:
        value = strict_json(body.decode())
    except (ValueError, RecursionError):
        what = "a page of HTML" if body.lstrip()[:1] == b"<" else "what is not JSON"
        raise Again("no_answer_body", f"answers with {what}; {_WHERE}") from None
    if not isinstance(value, dict) or not isinstance(value.get("choices"), list):
        raise Again("no_answer_body", f"answers without choices{_said(where, body.decode())}; {_WHERE}")
    usage = _usage(value.get("usage"))
    choice = _object(next(iter(value["choices"]), None))
    message = _object(choice.get("message"))
    text, refused, reason = message.get("content"), message.get("refusal"), choice.get("finish_reason")
    finish = "refusal" if refused and not text else reason if reason in _FINISHES else "stop"
    return Answered(text if isinstance(text, str) else "", finish, *(usage or (0, 0))), usage is not None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _usage(value: Any) -> tuple[int, int] | None:
    found = _object(value)
    counts = [found.get("prompt_tokens"), found.get("completion_tokens")]
    known = [count for count in counts if isinstance(count, int) and not isinstance(count, bool) and count >= 0]
    return (known[0], known[1]) if len(known) == len(counts) else None


def _said(where: Address, text: str) -> str:
    """What the server says, in brackets."""
    try:
        value = where.scrub(strict_json(text))
        error = value.get("error", value) if isinstance(value, dict) else value
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, RecursionError):
        pass  # it says it as plain text
    words = " ".join(printable(where.scrub(text)).split())
    return f" ({words[:200]})" if words else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for (RFC 9110, 10.2.3: seconds, or a date)."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
