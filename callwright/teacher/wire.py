"""The way to the address, and to no other host: no redirects, no proxies, bodies up to a size; retries are `client`'s.

async with openai_client(where, timeout=60) as openai:
    await openai.chat.completions.with_raw_response.create(…)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from callwright.teacher.address import Address

if TYPE_CHECKING:  # loaded when something is asked
    from openai import AsyncOpenAI

LARGEST_BODY = 2_000_000
"""Bytes; an answer of 32,000 tokens is far below."""


class TooLong(Exception):
    """The body is longer than any answer that was asked for; it was not read to its end."""


def openai_client(where: Address, timeout: float) -> AsyncOpenAI:
    """The official client; what the environment says of proxies, passwords (.netrc) and retries does not reach it."""
    import ssl

    import certifi
    import httpx2
    from openai import AsyncOpenAI

    class Bounded(httpx2.AsyncByteStream):
        def __init__(self, inner: httpx2.AsyncByteStream) -> None:
            self.inner = inner

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for part in self.inner:
                size += len(part)
                if size > LARGEST_BODY:
                    raise TooLong
                yield part

        async def aclose(self) -> None:
            await self.inner.aclose()

    class Transport(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            if (
                response.headers.get("content-encoding", "identity") != "identity"
            ):  # a small body that unpacks to a large one
                await response.aclose()
                raise TooLong
            assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - what this transport makes
            response.stream = Bounded(response.stream)
            return response

    trusted = ssl.create_default_context()  # the system's, and what SSL_CERT_FILE names
    trusted.load_verify_locations(certifi.where())
    return AsyncOpenAI(
        base_url=where.url,
        api_key=where.key.get_secret_value() or "none",
        max_retries=0,
        timeout=timeout,
        default_headers={"Accept-Encoding": "identity"},
        http_client=httpx2.AsyncClient(
            transport=Transport(verify=trusted, trust_env=False),
            follow_redirects=False,
            trust_env=False,
            timeout=timeout,
        ),
    )
