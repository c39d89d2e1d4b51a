"""What a cell of the crash matrix is held against, from outside: the catalog, rows by key, a witness, the journal.

Nothing here asks the code under test whether it did well.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
from crash_types import UNDISTURBED, Cell

from toolkit.clock import wait_until
from toolkit.drill.ledger import account
from toolkit.drill.sandbox import Sandbox
from toolkit.errors import DeadlineExceeded
from toolkit.incident import Incident
from toolkit.verify.fingerprints import SchemaSignature, difference, schema_signature

ALIVE_WITHIN_S = 20.0
ONLY_LOOKS = ("verify-frozen",)  # done again by each run that comes to it, for it changes nothing
MOST_LISTED = 10  # of a hundred known cases: so many the traffic may have touched meanwhile

# Committed effects that nobody may have twice: rolled back with its transaction, a line is gone too. Copies that stand
# beside production are made again when they were half made, and do not count.
_WITNESS = """
CREATE TABLE toolkit.witness (tag text NOT NULL, object text NOT NULL);
CREATE FUNCTION toolkit.see_change() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $function$
BEGIN
    INSERT INTO toolkit.witness
    SELECT DISTINCT command_tag, object_identity FROM pg_event_trigger_ddl_commands()
    WHERE command_tag IN ('ALTER SCHEMA', 'CREATE TABLE AS') AND object_identity !~ '^(restored_|pg_temp)';
END
$function$;
CREATE FUNCTION toolkit.see_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $function$
BEGIN
    INSERT INTO toolkit.witness
    SELECT 'DROP', object_type || ' ' || object_identity FROM pg_event_trigger_dropped_objects()
    WHERE original AND NOT is_temporary AND schema_name IN ('public', 'pgboss');
END
$function$;
ALTER TABLE toolkit.witness OWNER TO toolkit;
ALTER FUNCTION toolkit.see_change OWNER TO toolkit;
ALTER FUNCTION toolkit.see_drop OWNER TO toolkit;
"""
_WATCHING = """
CREATE EVENT TRIGGER witness_change ON ddl_command_end EXECUTE FUNCTION toolkit.see_change();
CREATE EVENT TRIGGER witness_drop ON sql_drop EXECUTE FUNCTION toolkit.see_drop();
"""

# What the senders of this run never touch: it was there before, and must be as it was.
_KNOWN = (
    """
    SELECT id::text, company_id, membership_id, user_id, failure_reason, first_failure_at, incentive_days
    FROM recovery_cases
    WHERE membership_id NOT LIKE 'mem\\_d\\_%'
    """,
    "SELECT company_id, enable_push, enable_dm, incentive_days, reminder_offsets_days FROM creator_settings",
    """
    SELECT whop_event_id, type, membership_id, company_id, payload::text, created_at
    FROM events
    WHERE whop_event_id LIKE 'evt\\_seed\\_%'
    """,
)


def put_witness(cell: Cell, sandbox: Sandbox) -> None:
    """Not where databases change names: triggers on events would stay behind, and the planner takes another way."""
    with psycopg.connect(sandbox.state.admin_url) as conn:
        conn.execute(_WITNESS)
        if "swap-in by databases" not in cell.type.steps.values():
            conn.execute(_WATCHING)


@dataclass(frozen=True)
class Known:
    """How it was when all was well: the schemas with their rights, rows by their key, who may log in."""

    schemas: SchemaSignature
    rows: tuple[dict[str, tuple[Any, ...]] | str, ...]
    logins: list[tuple[Any, ...]]

    @classmethod
    def of(cls, sandbox: Sandbox) -> "Known":
        with psycopg.connect(sandbox.state.admin_url, autocommit=True) as conn:
            logins = conn.execute("SELECT rolname, rolcanlogin FROM pg_roles ORDER BY 1").fetchall()
            return cls(schema_signature(conn, ["public", "pgboss"]), tuple(_rows(conn)), logins)

    def wrong_values(self, now: "Known", listed: Collection[str] = ()) -> list[str]:
        """How many of the known rows are not as they were. Those that are listed as conflicts, by their key, were told:
        the traffic had written them again, and nobody can say who was right."""
        found = []
        for was, found_now in zip(self.rows, now.rows, strict=True):
            if isinstance(was, str) or isinstance(found_now, str):
                found += [f"known rows cannot be read: {found_now}"] if was != found_now else []
                continue
            differing = {key for key in was.keys() | found_now.keys() if found_now.get(key) != was.get(key)}
            if silent := differing - set(listed):
                found.append(f"{len(silent)} of {len(was)} known rows have wrong values")
            elif len(differing) > MOST_LISTED:
                found.append(f"{len(differing)} of {len(was)} known rows are left as conflicts")
        return found


def _rows(conn: "psycopg.Connection[tuple[Any, ...]]") -> Iterator[dict[str, tuple[Any, ...]] | str]:
    for query in _KNOWN:
        try:
            yield {row[0]: row for row in conn.execute(query.encode()).fetchall()}
        except psycopg.errors.UndefinedColumn as error:  # it was dropped
            yield str(error.diag.message_primary)


# The journal and the trace ------------------------------------------------------------------------------------------


def look_at_strike(cell: Cell, trace: Path, code: int, said: str) -> list[str]:
    """Whether the crash happened, where it was to happen; without one, whether every point was passed."""
    lines = [json.loads(line) for line in trace.read_text().splitlines()] if trace.exists() else []
    if cell.at == UNDISTURBED:
        passed = [tuple(line["passed"]) for line in lines if "passed" in line]
        missing = [(s, p.name) for s in cell.type.steps for p in cell.type.points(s) if (s, p.name) not in passed]
        return [f"{step} never passed its point '{name}'" for step, name in missing] + _not_well(code, said)
    if [line["struck"] for line in lines if "struck" in line] != [[cell.step, cell.at, cell.by]]:
        return ["the crash did not happen", *_not_well(code, said)]
    if cell.by == "runner":
        return [] if code == -9 else [f"the runner was killed and ended with {code}"]
    return _tidy(code, said)


def _not_well(code: int, said: str) -> list[str]:
    return [] if code in (0, 3) else [f"nothing was hit, and yet it ended with {code}: {said[-600:]}"]


def _tidy(code: int, said: str) -> list[str]:
    """A runner whose server or line fails ends in order, in a paragraph, or has got over it."""
    return [] if code in (0, 1, 3) and "Traceback" not in said else [f"it ended with {code}: {said[-600:]}"]


def look_at_journal(cell: Cell, incident: Incident) -> list[str]:
    """One plan, of the steps that the matrix names; each begun once, or again where it was hit inside; done once."""
    entries = incident.journal.entries()
    plans = [entry.data for entry in entries if entry.kind == "plan.made" and entry.data.get("execute")]
    if len({plan["plan"] for plan in plans}) != 1:
        return [f"{len(plans)} plans were carried out"]
    steps = {step["id"]: _kind_of(step["action"]) for step in plans[0]["steps"]}
    if list(steps.items()) != [(step, kind.removesuffix(" in parts")) for step, kind in cell.type.steps.items()]:
        return [f"the plan has the steps {', '.join(steps.values())}; because {' '.join(plans[0]['reasons'])}"]
    count = Counter((entry.kind, entry.data.get("step")) for entry in entries)
    found = []
    for step in steps:
        if cell.type.steps[step] in ONLY_LOOKS and count["step.done", step]:
            continue
        begun, done, skipped = (count[f"step.{kind}", step] for kind in ("begun", "done", "skipped"))
        most = 2 if step == cell.step and cell.at not in ("before", "after") else 1
        if not 1 <= begun <= most:
            found.append(f"{step} was begun {begun} times")
        if done + skipped != 1:
            found.append(f"{step} was done {done} times and found done {skipped} times")
        if step == cell.step and cell.at == "after" and done:
            found.append(f"{step} had been done, and was done again")
    return found


def _is_of_new_deployment(login: tuple[Any, ...], before: Known) -> bool:
    """The one that the fault brought has a role of its own, which may log in."""
    role, may_log_in = login
    return may_log_in and role.startswith("app_b") and role not in dict(before.logins)


def _kind_of(action: Mapping[str, Any]) -> str:
    """As the points are listed: the action's kind, with its way."""
    return f"{action['kind']} by {action['way']}" if "way" in action else str(action["kind"])


# The end state ------------------------------------------------------------------------------------------------------


def look_at_end(cell: Cell, sandbox: Sandbox, incident: Incident, before: Known) -> list[str]:
    """The end state, with traffic, and then what the senders know to be acknowledged."""
    now = Known.of(sandbox)
    wrong = [f"schema: {line}" for line in difference(before.schemas, now.schemas)[:5]]
    wrong += before.wrong_values(now, _conflicts(sandbox))
    changed = set(before.logins) ^ {each for each in now.logins if not _is_of_new_deployment(each, before)}
    wrong += [f"role {role} may log in otherwise than before" for role, _ in sorted(changed)]
    with psycopg.connect(sandbox.state.admin_url) as conn:
        wrong += [*_at_rest(cell, conn), *_left_over(conn), *_twice(conn)]
    wrong += [f"{path.name} was left" for path in incident.folder.glob(".*") if path.is_dir()]
    if (health := httpx.get(f"{sandbox.state.service_url}/api/health/db", timeout=10)).status_code != 200:
        wrong.append(f"the service answers {health.status_code}")
    return [*wrong, *_traffic(sandbox)]


def _conflicts(sandbox: Sandbox) -> set[str]:
    """The keys of the rows that the merge has listed."""
    with psycopg.connect(sandbox.state.admin_url) as conn:
        if conn.execute("SELECT to_regclass('toolkit.conflict')").fetchone() == (None,):
            return set()
        rows = conn.execute("SELECT value FROM toolkit.conflict, jsonb_each_text(key)").fetchall()
    return {row[0] for row in rows}


def _at_rest(cell: Cell, conn: "psycopg.Connection[tuple[Any, ...]]") -> Iterator[str]:
    state = conn.execute("SELECT version, dirty FROM schema_migrations").fetchall()
    if state != [(cell.type.ends_at, False)]:
        yield f"the state table says {state}"
    for query, said in (
        ("SELECT holder FROM toolkit.lease WHERE released_at IS NULL", "the lease is held by"),
        ("SELECT plan FROM toolkit.rollback_plan WHERE ended_at IS NULL", "unfinished is plan"),
        ("SELECT plan FROM toolkit.freeze WHERE lifted_at IS NULL", "still frozen by plan"),
    ):
        table = query.split()[3]
        if conn.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,):
            yield from (f"{said} {row[0]}" for row in conn.execute(query.encode()).fetchall())


def _left_over(conn: "psycopg.Connection[tuple[Any, ...]]") -> Iterator[str]:
    """Of copies, and of what was held or closed meanwhile."""
    rows = conn.execute(
        """
        SELECT nspname || ' is left' FROM pg_namespace WHERE nspname LIKE 'restored\\_%'
        UNION ALL
        SELECT datname || ' is left' FROM pg_database WHERE datname LIKE 'restored\\_%'
        UNION ALL
        SELECT nspname || '.job is held' FROM pg_trigger
        JOIN pg_class ON pg_class.oid = tgrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = 'pgboss' AND tgname = 'toolkit_holds_job'
        UNION ALL
        SELECT datname || ' is closed' FROM pg_database WHERE NOT datallowconn AND datname <> 'template0'
        """
    ).fetchall()
    yield from (str(row[0]) for row in rows)


def _twice(conn: "psycopg.Connection[tuple[Any, ...]]") -> Iterator[str]:
    rows: Sequence[tuple[Any, ...]] = conn.execute(
        "SELECT tag, object, count(*) FROM toolkit.witness GROUP BY tag, object HAVING count(*) > 1"
    ).fetchall()
    yield from (f"{tag} {what} was committed {count} times" for tag, what, count in rows)


def answered(sandbox: Sandbox) -> int:
    """How many events of the senders are there."""
    with psycopg.connect(sandbox.state.admin_url) as conn:
        row = conn.execute("SELECT count(*) FROM events WHERE whop_event_id LIKE 'evt\\_d%'").fetchone()
    return int(row[0]) if row else 0


def _traffic(sandbox: Sandbox) -> Iterator[str]:
    """New events come in; then, with the senders done, each acknowledged one is there once."""
    there = answered(sandbox)
    try:
        wait_until(lambda: answered(sandbox) != there, within=ALIVE_WITHIN_S, what="a new event", every=0.2)
    except DeadlineExceeded:
        yield "nothing new is accepted"
    sandbox.stop_traffic()
    with psycopg.connect(sandbox.state.admin_url) as conn:
        accounting = account(sandbox.evidence / "ledger.sqlite", conn)
    yield from (f"{name}: {count}" for name, count in accounting.faults.items())
    if not accounting.acknowledged.count:
        yield "nothing was acknowledged: there was no traffic to lose"
