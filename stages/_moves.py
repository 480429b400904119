"""moves: the aliases of the registered model, moved together or not at all, with who moved them and why

    put_into_service(registry, "4", "it answers in half the time")      champion 4, previous what was champion
    roll_back(registry, "4 invents cities")                             champion and previous change places

MLflow sets one alias at a time. So what is meant is written down first, as one tag of the registered model (`MOVE`),
and the aliases follow; the tag `SETTLED` names the last move that was done. Whoever comes after a crash (`mend`) ends
what was meant, or, where the version is gone by then, goes back to what was before. Each move is also a tag of its own
(`HISTORY`), which nothing changes later.

Of two moves at once the one that was written later stands: each process, when it is done, looks which that is.
Not covered: two at once on a server, and one of them killed in the midst; and a hand that moves aliases meanwhile.
"""

from __future__ import annotations

import getpass
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from callwright.faults import Fault
from callwright.outs import to_json
from stages._registry import Registry, alone
from stages._standing import MOVE, SETTLED

HISTORY = "callwright.history."
PROMOTED, WITHDRAWN = "callwright.promoted", "callwright.withdrawn"
"""Tags of a version: the move that put it into service, and the one by hand that took it out."""

ORDER = ("previous", "champion", "challenger")
"""Between two of them the champion is the old or the new one, never none."""

LONGEST = 1500
"""Characters of a reason; on PostgreSQL a tag holds 5,000, and the move has more in it."""


@dataclass(frozen=True, slots=True)
class Move:
    id: str
    """Sorts by time."""
    action: str
    """register, promote or rollback."""
    version: str
    who: str
    when: str
    why: str
    before: Mapping[str, str]
    after: Mapping[str, str]
    by_hand: bool

    @property
    def told(self) -> str:
        """`ann, 2026-03-04 15:00 UTC, rollback: 4 invents cities`"""
        return f"{self.who}, {self.when[:16].replace('T', ' ')} UTC, {self.action}: {self.why}"


def move(registry: Registry, action: str, version: str, why: str, *, alias: str = "champion") -> Move:
    """Put a version under an alias and settle what follows for the others; what an earlier move left is ended first."""
    mend(registry)
    before = registry.aliases()
    after = dict(before) | {alias: version}
    if alias == "champion" and before.get("champion", version) != version:
        after["previous"] = before["champion"]
    if alias == "champion" and before.get("challenger") == version:
        del after["challenger"]
    now = datetime.now(UTC)
    made = Move(
        id=f"{now:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(3)}",
        action=action,
        version=version,
        who=_user(),
        when=now.isoformat(timespec="seconds"),
        why=_cut(why),
        before=before,
        after=after,
        by_hand=action != "register",
    )
    registry.tag_model(MOVE, to_json(asdict(made)))
    _settle(registry, made)
    return made


def mend(registry: Registry) -> Move | None:
    """End a move that a crash left in the middle; None where there is none."""
    model = registry.model()
    meant = _read(model.tags.get(MOVE)) if model else None
    if model is None or meant is None or model.tags.get(SETTLED) == meant.id:
        return None
    return _settle(registry, meant)


def put_into_service(registry: Registry, version: str, why: str) -> Move | None:
    """Make a version the champion by hand; None where it is the champion already. `Fault` where there is no such."""
    with alone():
        mend(registry)
        known = [str(one.version) for one in registry.versions()]
        if version not in known:
            raise Fault(f"{registry.name} has no version {version}; callwright models lists those that it has")
        if registry.aliases().get("champion") == version:
            return None
        return move(registry, "promote", version, why)


def roll_back(registry: Registry, why: str) -> Move:
    """Champion and previous change places. `Fault` where there is no previous."""
    with alone():
        mend(registry)
        standing = registry.aliases()
        version = standing.get("previous")
        if version is None or version == standing.get("champion"):
            raise Fault(
                f"{registry.name} has nothing to roll back to: no version is its `previous`; "
                "callwright promote VERSION --why … puts another one into service"
            )
        return move(registry, "rollback", version, why)


def history(registry: Registry) -> list[Move]:
    """Every move, the oldest first."""
    model = registry.model()
    tags = model.tags if model else {}
    moves = (_read(value) for name, value in sorted(tags.items()) if name.startswith(HISTORY))
    return [one for one in moves if one]


def withdrawn(tags: Mapping[str, str]) -> Move | None:
    """The move by hand that took the version of these tags out of service, if one did and none has put it back."""
    return _read(tags.get(WITHDRAWN))


def _settle(registry: Registry, meant: Move) -> Move:
    """Do what is meant, and once more if another was meant meanwhile; the last one that was done."""
    while True:
        registry.tag_model(HISTORY + meant.id, to_json(asdict(meant)))
        versions = {str(one.version) for one in registry.versions()}
        _set_aliases(registry, _possible(meant, versions))
        _tag_versions(registry, meant, versions)
        registry.tag_model(SETTLED, meant.id)
        model = registry.model()
        last = _read(model.tags.get(MOVE)) if model else None
        if last is None or last.id == meant.id:
            return meant
        meant = last


def _possible(meant: Move, versions: set[str]) -> dict[str, str]:
    """Where the aliases go; back to where they were if the version to be champion was deleted meanwhile."""
    goal = meant.after if meant.after.get("champion") in (versions | {None}) else meant.before
    return {alias: version for alias, version in goal.items() if version in versions}


def _set_aliases(registry: Registry, goal: Mapping[str, str]) -> None:
    standing = registry.aliases()
    for alias in ORDER:
        if standing.get(alias) != goal.get(alias):
            registry.set_alias(alias, goal.get(alias))


def _tag_versions(registry: Registry, meant: Move, versions: set[str]) -> None:
    """On the version that came into service, and on the one that a hand took out of it."""
    came, went = meant.after.get("champion"), meant.before.get("champion")
    if came == went or came not in versions:
        return
    registry.tag(came, PROMOTED, to_json(asdict(meant)))
    registry.untag(came, WITHDRAWN)
    if meant.by_hand and went in versions:
        registry.tag(went, WITHDRAWN, to_json(asdict(meant)))


def _read(text: str | None) -> Move | None:
    """None where a hand changed the tag so that it is no move any more."""
    try:
        value: dict[str, Any] = json.loads(text or "")
        made = Move(**value)
        return made if isinstance(made.before, dict) and isinstance(made.after, dict) else None
    except (ValueError, TypeError):
        return None


def _cut(why: str) -> str:
    line = " ".join(why.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return "unknown"
