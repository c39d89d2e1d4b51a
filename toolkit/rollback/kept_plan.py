"""The plan that is being carried out, kept on the target: what another machine goes on with when this one is lost.

Owns one table in the schema `toolkit`. The journal in the incident's folder tells more; this tells enough to go on.
"""

import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from toolkit.adapters.postgres import Connection, Database
from toolkit.errors import DatabaseError, RollbackError
from toolkit.rollback.freeze import frozen
from toolkit.rollback.plan import Plan

_TABLE = """
CREATE SCHEMA IF NOT EXISTS toolkit;
CREATE TABLE IF NOT EXISTS toolkit.rollback_plan (
    plan      text PRIMARY KEY,
    incident  text NOT NULL,
    host      text NOT NULL DEFAULT '',
    folder    text NOT NULL DEFAULT '',
    body      jsonb NOT NULL,
    begun_at  timestamptz NOT NULL DEFAULT now(),
    ended_at  timestamptz,
    outcome   text
);
"""
PREPARE_LOCK = 7_021_001


@dataclass(frozen=True)
class KeptPlan:
    """A plan that was begun on this target. `outcome` is 'done', 'aborted' or 'superseded', None while it is none.

    `host` and `folder` are where its incident's journal lies, '' where that was not said. Times are UTC."""

    plan: Plan
    incident: str
    host: str
    folder: str
    begun_at: datetime
    outcome: str | None


def keep_plan(
    database: Database,
    plan: Plan,
    incident: str,
    *,
    folder: Path | None = None,
    guard: Callable[[Connection], None] | None = None,
) -> None:
    """Keep it as begun; begun again when it had ended. `guard` asks in the same transaction whether we may.

    What a run left behind carries its incident's id: RollbackError when the same plan was begun under another one and
    has not ended. DatabaseError.
    """
    said = {"plan": plan.id, "incident": incident, "body": json.dumps(plan.to_json())}
    said |= {"host": socket.gethostname() if folder else "", "folder": str(folder.resolve()) if folder else ""}
    with database.keeping() as conn:
        conn.execute("SELECT pg_advisory_xact_lock(%(key)s)", {"key": PREPARE_LOCK})
        conn.execute(_TABLE)
        if guard is not None:
            guard(conn)
        kept = conn.execute(
            """
            INSERT INTO toolkit.rollback_plan AS kept (plan, incident, host, folder, body)
            VALUES (%(plan)s, %(incident)s, %(host)s, %(folder)s, %(body)s::jsonb)
            ON CONFLICT (plan) DO UPDATE
            SET begun_at = CASE WHEN kept.ended_at IS NULL THEN kept.begun_at ELSE now() END,
                incident = excluded.incident, host = excluded.host, folder = excluded.folder,
                ended_at = NULL, outcome = NULL
            WHERE kept.ended_at IS NOT NULL OR kept.incident = excluded.incident
            """,
            said,
        ).rowcount
    if not kept:
        raise _of_another_incident(unfinished_plans(database), incident, database.target)


def end_plan(database: Database, plan: Plan, outcome: str) -> None:
    """Say that it is 'done' or 'aborted'. Raises DatabaseError."""
    with database.keeping() as conn:
        if _there(conn):
            conn.execute(
                "UPDATE toolkit.rollback_plan SET ended_at = now(), outcome = %(outcome)s WHERE plan = %(plan)s",
                {"plan": plan.id, "outcome": outcome},
            )


def unfinished_plans(database: Database) -> list[KeptPlan]:
    """Those that were begun and have not ended, the newest first. DatabaseError; JournalError for a changed one."""
    with database.reading() as conn:
        if not _there(conn):
            return []
        rows: list[tuple[Any, ...]] = conn.execute(
            """
            SELECT body, incident, host, folder, begun_at, outcome
            FROM toolkit.rollback_plan
            WHERE ended_at IS NULL
            ORDER BY begun_at DESC
            """
        ).fetchall()
    return [KeptPlan(Plan.from_json(body), *others) for body, *others in rows]


def times_ended(database: Database, incident: str, kinds: Sequence[str]) -> int:
    """How many plans of these kinds an incident has finished or given up here. Raises DatabaseError."""
    with database.reading() as conn:
        if not _there(conn):
            return 0
        row = conn.execute(
            """
            SELECT count(*)
            FROM toolkit.rollback_plan
            WHERE incident = %(incident)s AND outcome IN ('done', 'aborted') AND body ->> 'kind' = ANY (%(kinds)s)
            """,
            {"incident": incident, "kinds": list(kinds)},
        ).fetchone()
    return int(row[0]) if row else 0


def plan_to_resume(database: Database, incident: str | None = None) -> KeptPlan:
    """The one to go on with. RollbackError when there is none, when it is another incident's, and when there are
    several."""
    begun = unfinished_plans(database)
    found = [each for each in begun if incident in (None, each.incident)]
    if not begun:
        raise RollbackError(
            "No rollback was begun here that has not ended",
            target=database.target,
            state="nothing was done",
            next="see --status-only",
        )
    if not found:
        raise _of_another_incident(begun, str(incident), database.target)
    if len(found) > 1:
        raise RollbackError(
            f"Several rollbacks were begun here and have not ended: {', '.join(map(_told, found))}",
            target=database.target,
            state="nothing was done",
            next="name the folder of the incident that is meant: --incident FOLDER",
        )
    return found[0]


def require_nothing_unfinished(database: Database, plan: Plan, incident: str) -> None:
    """RollbackError when another plan was begun here that has not ended: two half-done plans are worse than one.

    One of the same incident that holds no freeze is no obstacle (`supersede`). A database that does not answer is no
    reason to refuse. It changes nothing: another operator may be carrying that plan out.
    """
    try:
        others = [each for each in unfinished_plans(database) if each.plan.id != plan.id]
        held = frozen(database) if others else None
    except DatabaseError:
        return
    for other in others:
        if other.incident == incident and (held is None or held.plan != other.plan.id):
            continue
        raise RollbackError(
            f"Another rollback was begun here and has not ended: {other.plan.summary} (plan {other.plan.id}, incident "
            f"{other.incident}, begun {other.begun_at:%Y-%m-%d %H:%M:%S} UTC)",
            target=plan.target,
            state="nothing was done",
            next="go on with it (--resume) or give it up (--abort) first",
        )


def supersede(database: Database, plan: Plan, incident: str, guard: Callable[[Connection], None]) -> None:
    """Say of the incident's other plans that this one was made after them, from what is there now.

    Only for whoever holds the lease. DatabaseError; RollbackError when it is not ours any more.
    """
    with database.keeping() as conn:
        if not _there(conn):
            return
        guard(conn)
        conn.execute(
            """
            UPDATE toolkit.rollback_plan
            SET ended_at = now(), outcome = 'superseded'
            WHERE ended_at IS NULL AND incident = %(incident)s AND plan <> %(plan)s
            """,
            {"incident": incident, "plan": plan.id},
        )


def _told(kept: KeptPlan) -> str:
    where = f" on {kept.host} in {kept.folder}" if kept.folder else ""
    begun = f"begun {kept.begun_at:%H:%M:%S} UTC"
    return f"{kept.plan.id} ({kept.plan.summary}, {begun}, incident {kept.incident}{where})"


def _of_another_incident(begun: list[KeptPlan], incident: str, target: str) -> RollbackError:
    return RollbackError(
        f"The rollback that was begun here is not incident {incident}'s: {', '.join(map(_told, begun))}",
        target=target,
        state="nothing was done: what it left there is found only under its own incident",
        next="name that incident's folder, or leave --incident away: it is then found, or made here",
    )


def _there(conn: Connection) -> bool:
    return conn.execute("SELECT to_regclass('toolkit.rollback_plan') IS NOT NULL").fetchone() == (True,)
