"""The plan that is being carried out, kept on the target: what another machine goes on with when this one is lost.

Owns one table in the schema `toolkit`. The journal in the incident's folder tells more; this tells enough to go on.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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

    Times are UTC."""

    plan: Plan
    incident: str
    begun_at: datetime
    outcome: str | None


def keep_plan(database: Database, plan: Plan, incident: str) -> None:
    """Keep it as begun; begun again when it had ended. Raises DatabaseError."""
    with database.writing() as conn:
        conn.execute("SELECT pg_advisory_xact_lock(%(key)s)", {"key": PREPARE_LOCK})
        conn.execute(_TABLE)
        conn.execute(
            """
            INSERT INTO toolkit.rollback_plan AS kept (plan, incident, body)
            VALUES (%(plan)s, %(incident)s, %(body)s::jsonb)
            ON CONFLICT (plan) DO UPDATE
            SET begun_at = CASE WHEN kept.ended_at IS NULL THEN kept.begun_at ELSE now() END,
                incident = excluded.incident, ended_at = NULL, outcome = NULL
            """,
            {"plan": plan.id, "incident": incident, "body": json.dumps(plan.to_json())},
        )


def end_plan(database: Database, plan: Plan, outcome: str) -> None:
    """Say that it is 'done' or 'aborted'. Raises DatabaseError."""
    with database.writing() as conn:
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
            SELECT body, incident, begun_at, outcome
            FROM toolkit.rollback_plan
            WHERE ended_at IS NULL
            ORDER BY begun_at DESC
            """
        ).fetchall()
    return [KeptPlan(Plan.from_json(body), incident, begun_at, outcome) for body, incident, begun_at, outcome in rows]


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


def plan_to_resume(database: Database) -> KeptPlan:
    """The one to go on with. RollbackError when there is none, and when there are several."""
    found = unfinished_plans(database)
    if not found:
        raise RollbackError(
            "No rollback was begun here that has not ended",
            target=database.target,
            state="nothing was done",
            next="see --status-only",
        )
    if len(found) > 1:
        listed = ", ".join(
            f"{each.plan.id} ({each.plan.summary}, begun {each.begun_at:%H:%M:%S} UTC)" for each in found
        )
        raise RollbackError(
            f"Several rollbacks were begun here and have not ended: {listed}",
            target=database.target,
            state="nothing was done",
            next="name one: --plan ID",
        )
    return found[0]


def require_nothing_unfinished(database: Database, plan: Plan, incident: str) -> None:
    """RollbackError when another plan was begun here that has not ended: two half-done plans are worse than one.

    One of the same incident that holds no freeze is superseded: this plan was made from what is there now. A database
    that does not answer is no reason to refuse.
    """
    try:
        others = [each for each in unfinished_plans(database) if each.plan.id != plan.id]
        held = frozen(database) if others else None
    except DatabaseError:
        return
    for other in others:
        if other.incident == incident and (held is None or held.plan != other.plan.id):
            end_plan(database, other.plan, "superseded")
            continue
        raise RollbackError(
            f"Another rollback was begun here and has not ended: {other.plan.summary} (plan {other.plan.id}, incident "
            f"{other.incident}, begun {other.begun_at:%Y-%m-%d %H:%M:%S} UTC)",
            target=plan.target,
            state="nothing was done",
            next="go on with it (--resume) or give it up (--abort) first",
        )


def _there(conn: Connection) -> bool:
    return conn.execute("SELECT to_regclass('toolkit.rollback_plan') IS NOT NULL").fetchone() == (True,)
