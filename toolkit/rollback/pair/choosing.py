"""From verdicts to a decision: which deployment with which schema, and what goes first. Pure: it tries nothing.

Between two steps an intermediate pair serves: the other deployment on the schema of now, or the running one on the
schema after. The order is chosen so that this pair fits; where none does, writes are frozen meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from toolkit.errors import RollbackError
from toolkit.rollback.pair.findings import Verdict

Order = Literal["alone", "application-first", "migration-first", "frozen", "unknown"]
Wanted = Literal["migration", "application"]

_RANK: dict[Verdict, int] = {"fits": 0, "unknown": 1, "incompatible": 2}
_WHEN = {
    "application-first": "The application goes first: {d} fits schema {now} too, until the migrations are back",
    "migration-first": "The schema goes first: the running {r} fits schema {after} too, until the application follows",
    "frozen": "Writes are frozen while both change: neither {d} on schema {now} nor {r} on schema {after} works",
}


@dataclass(frozen=True)
class Candidate:
    """A deployment with its verdicts: on the schema of now and on the one after. `why_not` are the sentences of what
    is incompatible, for a person; `now_doubt` and `after_doubt` say why a verdict is unknown."""

    deployment: str
    now: Verdict
    after: Verdict
    why_not: tuple[str, ...] = ()
    now_doubt: str = ""
    after_doubt: str = ""


@dataclass(frozen=True)
class Pairing:
    """What should run with what, and in which order.

    `order`: 'alone' changes what was wished and nothing else; 'unknown' means that nothing is known about the pair, so
    that recorded schema versions must do. `deployment` is where production should point in the end, None: where it
    points now. `migrates`: whether the schema goes to the version after.
    """

    order: Order
    deployment: str | None
    migrates: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def widened(self) -> bool:
        """Whether both change."""
        return self.order in ("application-first", "migration-first", "frozen")


def choose_pair(
    running: Candidate,
    others: Sequence[Candidate],
    *,
    now: int,
    after: int | None,
    wanted: Wanted,
) -> Pairing:
    """Decide for a wish. `others` are the deployments to go to, the newest first, or only the one that was named;
    `after` is the schema version to go to, None where the schema must stay.

    Raises RollbackError where no deployment fits in the end.
    """
    if wanted == "migration":
        return _for_migration(running, others, now, after)
    return _for_application(running, others, now, after)


def _for_migration(running: Candidate, others: Sequence[Candidate], now: int, after: int | None) -> Pairing:
    assert after is not None, "a migration rollback leads somewhere"
    if running.after == "fits":
        reason = f"The running {running.deployment} fits schema {after}: it stays."
        return Pairing("alone", None, True, (reason,))
    if running.after == "unknown":
        return Pairing("unknown", None, True, (), (_unknown(running.deployment, after, running.after_doubt),))
    chosen = _best([each for each in others if each.after != "incompatible"], key="after")
    if chosen is None:
        raise RollbackError(
            f"The running {running.deployment} does not work on schema {after}, and no earlier deployment does",
            state="nothing was done",
            next="name another version to go back to; or restore from a backup (Type 3)",
        )
    why = (f"The running {running.deployment} does not work on schema {after}.", *running.why_not)
    return _both(running, chosen, now, after, why)


def _for_application(running: Candidate, others: Sequence[Candidate], now: int, after: int | None) -> Pairing:
    chosen = _best([each for each in others if each.now != "incompatible"], key="now")
    if chosen is not None:
        if chosen.now == "fits":
            return Pairing("alone", chosen.deployment, False, (f"{chosen.deployment} fits schema {now}.",))
        return Pairing("unknown", chosen.deployment, False, (), (_unknown(chosen.deployment, now, chosen.now_doubt),))
    chosen = (
        _best([each for each in others if each.after != "incompatible"], key="after") if after is not None else None
    )
    if chosen is None or after is None:
        named = ", ".join(each.deployment for each in others[:3]) or "none is there"
        raise RollbackError(
            f"No earlier deployment works on schema {now} ({named})",
            state="nothing was done",
            next="go back with the schema too, as a migration rollback; or restore from a backup",
        )
    why = (f"{chosen.deployment} does not work on schema {now}.", *chosen.why_not)
    return _both(running, chosen, now, after, why)


def _both(running: Candidate, chosen: Candidate, now: int, after: int, why: tuple[str, ...]) -> Pairing:
    """Both change; the order by the pair in between."""
    order = _order(chosen.now, running.after)
    between = {"application-first": chosen.now, "migration-first": running.after}.get(order, "fits")
    warnings = [] if chosen.after == "fits" else [_unknown(chosen.deployment, after, chosen.after_doubt)]
    if between == "unknown":
        pair = (
            (chosen.deployment, now, chosen.now_doubt)
            if order == "application-first"
            else (running.deployment, after, running.after_doubt)
        )
        warnings.append(_unknown(*pair, tail=" while the other one follows"))
    else:
        said = _WHEN[order].format(d=chosen.deployment, r=running.deployment, now=now, after=after)
        why = (*why, f"{said}.")
    return Pairing(order, chosen.deployment, True, why, tuple(warnings))


def _order(application_first: Verdict, migration_first: Verdict) -> Order:
    """By the verdicts of the two pairs that could serve in between. What fits beats what is unknown."""
    for verdict in ("fits", "unknown"):
        if application_first == verdict:
            return "application-first"
        if migration_first == verdict:
            return "migration-first"
    return "frozen"


def _best(candidates: Sequence[Candidate], *, key: Literal["now", "after"]) -> Candidate | None:
    """The one with the best verdict at the end, then the best in between; the newest of equals."""
    if not candidates:
        return None
    if key == "now":
        return min(candidates, key=lambda each: _RANK[each.now])
    return min(candidates, key=lambda each: (_RANK[each.after], _RANK[each.now]))


def _unknown(deployment: str, version: int, doubt: str, tail: str = "") -> str:
    why = f": {doubt}" if doubt else ""
    return f"It is not known whether {deployment} works on schema {version}{tail}{why}."
