"""A cap on tokens and on money that is never passed: the most an answer can cost is set aside before it is asked for.

    budget = Budget(Caps(tokens=100_000))
    held = await budget.reserve(most_in=3_000, most_out=2_048)
    budget.settle(held, 900, 310)

A request that does not fit waits for those under way, which mostly cost less than was set aside for them; where none is
left to wait for, the cap is reached.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal

_MILLION = 1_000_000


class CapReached(Exception):
    """The next request might pass a cap; the text says which, and what is spent."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Prices are in USD for a million tokens; without them money is not counted."""

    tokens: int | None = None
    cost: Decimal | None = None
    price_in: Decimal | None = None
    price_out: Decimal | None = None

    def price(self, tokens_in: int, tokens_out: int) -> Decimal:
        return (tokens_in * (self.price_in or 0) + tokens_out * (self.price_out or 0)) / Decimal(_MILLION)


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What is set aside for one request."""

    most_in: int
    most_out: int


class Budget:
    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self.tokens_in = self.tokens_out = 0
        self._under_way: set[Held] = set()
        self._changed = asyncio.Event()

    @property
    def cost(self) -> Decimal:
        return self.caps.price(self.tokens_in, self.tokens_out)

    async def reserve(self, most_in: int, most_out: int) -> Held:
        """Set aside what a request can cost at most; `CapReached` where that may pass a cap."""
        wanted = Held(most_in, most_out)
        while reason := self._over(wanted):
            if not self._under_way:
                raise CapReached(reason)
            self._changed.clear()
            await self._changed.wait()
        self._under_way.add(wanted)
        return wanted

    def settle(self, held: Held, tokens_in: int, tokens_out: int) -> None:
        """The request is over and has cost so much: nothing where it was refused, all of it where nobody can say."""
        self._under_way.discard(held)
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self._changed.set()

    def _over(self, wanted: Held) -> str | None:
        most_in = self.tokens_in + sum(held.most_in for held in self._under_way) + wanted.most_in
        most_out = self.tokens_out + sum(held.most_out for held in self._under_way) + wanted.most_out
        caps, spent = self.caps, self.tokens_in + self.tokens_out
        if caps.tokens is not None and most_in + most_out > caps.tokens:
            return f"--max-tokens is {caps.tokens}, {spent} are spent, and the next request might pass it"
        if caps.cost is not None and caps.price(most_in, most_out) > caps.cost:
            return f"--max-cost is {caps.cost} USD, {self.cost:.4f} are spent, and the next request might pass it"
        return None
