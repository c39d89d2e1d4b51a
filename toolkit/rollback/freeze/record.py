"""What is frozen, by whom and since when, on the target: it outlives a crash, a lost laptop, a swap and a restore.

The row is written in the transaction that takes the privileges away, with those privileges, so there is never one
without the other. At most one freeze is in force. What was lifted stays as history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from toolkit.adapters.postgres import Connection, Database
from toolkit.clock import iso
from toolkit.errors import DatabaseError
from toolkit.rollback.freeze.privileges import PUBLIC, Privilege
from toolkit.rollback.freeze.scope import Scope
from toolkit.rollback.freeze.stages import STAGES, Stages, reached
from toolkit.rollback.lease import prepare_tables
from toolkit.rollback.plan import Stage

State = Literal["frozen", "webhooks", "reminders", "everything", "undone"]

TABLES = ("toolkit.freeze", "toolkit.frozen_privilege")

_TABLES = """
CREATE SCHEMA IF NOT EXISTS toolkit;
CREATE TABLE IF NOT EXISTS toolkit.freeze (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    incident          text NOT NULL,
    plan              text NOT NULL,
    actor             text NOT NULL,
    frozen_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at        timestamptz,
    settled_xid       xid,
    proved_at         timestamptz,
    state             text NOT NULL DEFAULT 'frozen',
    changed_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    lifted_at         timestamptz,
    schemas           text[] NOT NULL,
    application_roles text[] NOT NULL,
    exempt_roles      text[] NOT NULL,
    closed_roles      text[] NOT NULL DEFAULT '{}',
    stages            text[] NOT NULL,
    things            text[] NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX IF NOT EXISTS freeze_in_force ON toolkit.freeze ((lifted_at IS NULL)) WHERE lifted_at IS NULL;
CREATE TABLE IF NOT EXISTS toolkit.frozen_privilege (
    freeze_id   uuid NOT NULL REFERENCES toolkit.freeze,
    kind        text NOT NULL,
    schema      text NOT NULL,
    name        text NOT NULL,
    column_name text NOT NULL,
    grantee     text NOT NULL,
    privilege   text NOT NULL,
    grantor     text NOT NULL,
    grantable   boolean NOT NULL,
    stage       text NOT NULL,
    released_at timestamptz,
    PRIMARY KEY (freeze_id, kind, schema, name, column_name, grantee, privilege, grantor)
);
"""

_FROZEN = """
SELECT id::text, incident, plan, actor, frozen_at, settled_at, proved_at, state, lifted_at,
       schemas, application_roles, exempt_roles, closed_roles, stages
FROM toolkit.freeze
"""


@dataclass(frozen=True)
class Frozen:
    """A freeze. Times are the server's, UTC. `settled_at`: when nobody was left who could still write; None: unknown.
    `proved_at`: when it was last seen that nothing writes.

    `stage` is how far it is released, None: not at all. `lifted_at` None: it is in force. `closed_roles` may not log
    in.
    """

    id: str
    incident: str
    plan: str
    by: str
    since: datetime
    settled_at: datetime | None
    proved_at: datetime | None
    state: State
    lifted_at: datetime | None
    scope: Scope
    closed_roles: tuple[str, ...]

    @property
    def stage(self) -> Stage | None:
        return None if self.state == "frozen" or self.state == "undone" else self.state

    def released(self, stage: Stage) -> bool:
        """Whether it is released as far as that stage."""
        return self.stage is not None and stage in reached(self.stage)

    def __str__(self) -> str:
        how = "" if self.stage is None else f", released as far as {self.stage}"
        return f"frozen since {iso(self.since)} by {self.by}, incident {self.incident}{how}"

    def to_json(self) -> dict[str, Any]:
        """For a status and the journal."""
        return {
            "incident": self.incident,
            "plan": self.plan,
            "by": self.by,
            "since": iso(self.since),
            "settled_at": iso(self.settled_at) if self.settled_at else None,
            "proved_at": iso(self.proved_at) if self.proved_at else None,
            "state": self.state,
            "lifted_at": iso(self.lifted_at) if self.lifted_at else None,
        }


def prepare(conn: Connection) -> None:
    """Make the tables where they are missing. Safe to repeat, and by many at once."""
    prepare_tables(conn, _TABLES, TABLES)


def frozen(database: Database) -> Frozen | None:
    """The freeze that is in force; None where there is none. It changes nothing. Raises DatabaseError."""
    with database.reading() as conn:
        return frozen_in(conn)


def state_of_writes(database: Database) -> str:
    """Whether writes are stopped, for an error. Never raises."""
    try:
        there = frozen(database)
    except DatabaseError as error:
        return f"whether writes are frozen is unknown: {error.what}"
    return f"writes are {there}" if there else "writes are not frozen"


def freeze_of(database: Database, plan: str) -> Frozen | None:
    """The latest freeze that a plan made, in force or lifted; None when it made none. Raises DatabaseError."""
    with database.reading() as conn:
        if not _there(conn):
            return None
        row = conn.execute(_FROZEN + "WHERE plan = %(plan)s ORDER BY frozen_at DESC LIMIT 1", {"plan": plan}).fetchone()
    return _frozen(row) if row else None


def frozen_in(conn: Connection) -> Frozen | None:
    """The same as `frozen`, in a transaction of the caller's."""
    if not _there(conn):
        return None
    row = conn.execute(_FROZEN + "WHERE lifted_at IS NULL").fetchone()
    return _frozen(row) if row else None


def lock(conn: Connection) -> Frozen | None:
    """Keep everybody else from freezing and releasing until this transaction ends; the freeze that is in force."""
    prepare(conn)
    conn.execute("LOCK TABLE toolkit.freeze IN SHARE ROW EXCLUSIVE MODE")
    return frozen_in(conn)


def write_down(conn: Connection, scope: Scope, *, incident: str, plan: str, by: str, known: Sequence[str]) -> str:
    """A new freeze; its id. `known`: the things that are there, as 'schema.name'."""
    row = conn.execute(
        """
        INSERT INTO toolkit.freeze
            (incident, plan, actor, schemas, application_roles, exempt_roles, stages, things)
        VALUES (%(incident)s, %(plan)s, %(by)s, %(schemas)s, %(application)s, %(exempt)s, %(stages)s, %(known)s)
        RETURNING id::text
        """,
        {
            "incident": incident,
            "plan": plan,
            "by": by,
            "schemas": list(scope.schemas),
            "application": list(scope.application_roles),
            "exempt": list(scope.exempt_roles),
            "stages": _stages_to_text(scope.stages),
            "known": list(known),
        },
    ).fetchone()
    assert row is not None
    return str(row[0])


def save(conn: Connection, freeze: str, privileges: Sequence[tuple[Privilege, Stage]]) -> None:
    """Keep what was taken away, to be given back; a privilege that was released before is frozen again."""
    if not privileges:
        return
    rows = [[p.kind, p.schema, p.name, p.column, p.grantee, p.privilege, p.grantor, stage] for p, stage in privileges]
    names = ("kinds", "schemas", "names", "columns", "grantees", "privileges", "grantors", "stages")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    conn.execute(
        """
        INSERT INTO toolkit.frozen_privilege
            (freeze_id, kind, schema, name, column_name, grantee, privilege, grantor, stage, grantable)
        SELECT %(freeze)s::uuid, taken.*
        FROM unnest(%(kinds)s::text[], %(schemas)s::text[], %(names)s::text[], %(columns)s::text[],
                    %(grantees)s::text[], %(privileges)s::text[], %(grantors)s::text[], %(stages)s::text[],
                    %(grantable)s::boolean[]) AS taken
        ON CONFLICT (freeze_id, kind, schema, name, column_name, grantee, privilege, grantor) DO UPDATE
        SET grantable = excluded.grantable, stage = excluded.stage, released_at = NULL
        """,
        {"freeze": freeze, "grantable": [p.grantable for p, _ in privileges], **columns},
    )


def saved(conn: Connection, freeze: str, stages: Sequence[Stage], *, released: bool) -> list[Privilege]:
    """What these stages hold, already given back or not yet."""
    rows = conn.execute(
        """
        SELECT kind, schema, name, column_name, grantee, privilege, grantor, grantable
        FROM toolkit.frozen_privilege
        WHERE freeze_id = %(freeze)s AND stage = ANY (%(stages)s) AND (released_at IS NOT NULL) = %(released)s
        ORDER BY 1, 2, 3, 4, 5, 6, 7
        """,
        {"freeze": freeze, "stages": list(stages), "released": released},
    ).fetchall()
    return [Privilege(*row) for row in rows]


def saved_all(conn: Connection, freeze: str) -> list[Privilege]:
    """All that was kept, given back or not."""
    return [each for released in (False, True) for each in saved(conn, freeze, STAGES, released=released)]


def frozen_roles(conn: Connection, freeze: Frozen) -> list[str]:
    """As whom the application writes: as the playbook says, or whose privileges were taken away."""
    if freeze.scope.application_roles:
        return list(freeze.scope.application_roles)
    return sorted({each.grantee for each in saved_all(conn, freeze.id)} - {PUBLIC})


def mark_released(conn: Connection, freeze: str, stages: Sequence[Stage], state: State) -> None:
    """Say that these stages were given back. At the last one the freeze is lifted."""
    conn.execute(
        """
        UPDATE toolkit.frozen_privilege
        SET released_at = clock_timestamp()
        WHERE freeze_id = %(freeze)s AND stage = ANY (%(stages)s) AND released_at IS NULL
        """,
        {"freeze": freeze, "stages": list(stages)},
    )
    conn.execute(
        """
        UPDATE toolkit.freeze
        SET state = %(state)s, changed_at = clock_timestamp(), closed_roles = '{}',
            lifted_at = CASE WHEN %(state)s IN ('everything', 'undone') THEN clock_timestamp() END
        WHERE id = %(freeze)s
        """,
        {"freeze": freeze, "state": state},
    )


def mark_frozen(conn: Connection, freeze: str, *, incident: str, plan: str, settled: bool) -> None:
    """Say that it is in force as a whole, and for whom; unless `settled`, who is left has to be found out again."""
    conn.execute(
        """
        UPDATE toolkit.freeze
        SET state = 'frozen', changed_at = clock_timestamp(), incident = %(incident)s, plan = %(plan)s,
            settled_at = CASE WHEN %(settled)s THEN settled_at END, proved_at = NULL
        WHERE id = %(freeze)s
        """,
        {"freeze": freeze, "incident": incident, "plan": plan, "settled": settled},
    )


def mark_closed(conn: Connection, freeze: str, closed: Sequence[str]) -> None:
    """Say which roles may not log in."""
    conn.execute(
        "UPDATE toolkit.freeze SET closed_roles = %(closed)s, settled_at = NULL WHERE id = %(freeze)s",
        {"freeze": freeze, "closed": list(closed)},
    )


def mark_settled(conn: Connection, freeze: str) -> None:
    """Say that nobody is left who can still write. The transaction's number tells later rows from earlier ones, whose
    times may lie in the future."""
    conn.execute(
        """
        UPDATE toolkit.freeze
        SET settled_at = clock_timestamp(), settled_xid = pg_current_xact_id()::xid
        WHERE id = %(id)s
        """,
        {"id": freeze},
    )


def mark_proved(conn: Connection, freeze: str) -> None:
    """Say that it was seen that nothing writes."""
    conn.execute("UPDATE toolkit.freeze SET proved_at = clock_timestamp() WHERE id = %(id)s", {"id": freeze})


def known_things(conn: Connection, freeze: str) -> frozenset[str]:
    """What was there when it was frozen, as 'schema.name'."""
    row = conn.execute("SELECT things FROM toolkit.freeze WHERE id = %(id)s", {"id": freeze}).fetchone()
    return frozenset(row[0]) if row else frozenset()


def _there(conn: Connection) -> bool:
    return conn.execute("SELECT to_regclass('toolkit.freeze') IS NOT NULL").fetchone() == (True,)


def _frozen(row: Sequence[Any]) -> Frozen:
    schemas, application, exempt, closed, stages = row[9:]
    scope = Scope(tuple(schemas), tuple(application), tuple(exempt), _stages_from_text(stages))
    id, incident, plan, by, since, settled_at, proved_at, state, lifted_at = row[:9]
    return Frozen(id, incident, plan, by, since, settled_at, proved_at, state, lifted_at, scope, tuple(closed))


def _stages_to_text(stages: Stages) -> list[str]:
    """`stage schema.table`, one for each table."""
    return sorted(
        f"{stage} {schema}.{table}" for stage in ("webhooks", "reminders") for schema, table in getattr(stages, stage)
    )


def _stages_from_text(lines: Sequence[str]) -> Stages:
    found: dict[str, set[tuple[str, str]]] = {"webhooks": set(), "reminders": set()}
    for line in lines:
        stage, _, name = line.partition(" ")
        schema, _, table = name.partition(".")
        found[stage].add((schema, table))
    return Stages(frozenset(found["webhooks"]), frozenset(found["reminders"]))
