"""What a deployment asks the database, as normalised texts: from pg_stat_statements, and kept where no crash reaches.

Owns which texts may be kept: single statements on data whose constants are placeholders. Utility statements, which may
hold passwords, and texts that the server failed to normalise are dropped, and comments are taken out, since they may
name people. Failed statements are never recorded by the server, and a crash of it empties its record.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.errors import DatabaseError
from toolkit.rollback.sql_lexer import Kind, SqlError, Statement, Token, statements

MOST_KEPT = 1000
DATA_WORDS = ("select", "insert", "update", "delete", "merge", "with", "values")
LARGEST_ORDINAL = 3  # digits: a column's place in ORDER BY, a varchar's length; longer numbers may name somebody
PREPARE_LOCK = 7_021_001

_RECORDED_QUERY = """
CREATE SCHEMA IF NOT EXISTS toolkit;
CREATE TABLE IF NOT EXISTS toolkit.recorded_query (
    deployment    text NOT NULL,
    role          text NOT NULL,
    query_digest  text NOT NULL,
    query         text NOT NULL,
    calls         bigint NOT NULL,
    last_seen     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deployment, role, query_digest)
);
"""


@dataclass(frozen=True)
class RecordedQuery:
    """A normalised text ($1 for a constant), and how often it ran."""

    text: str
    calls: int

    @property
    def digest(self) -> str:
        """Thirty-two hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]


def prepare(conn: Connection) -> None:
    """Create the table that keeps queries on the target, where it is missing. Safe to repeat, and at once."""
    if conn.execute("SELECT to_regclass('toolkit.recorded_query')").fetchone() == (None,):
        conn.execute("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": PREPARE_LOCK})
        conn.execute(_RECORDED_QUERY)


def running_queries(conn: Connection, role: str) -> list[RecordedQuery]:
    """What pg_stat_statements holds of a role in this database, the most frequent first.

    [] where there is nothing. DatabaseError where the extension is missing or the texts are not shown to us.
    """
    found = conn.execute(
        """
        SELECT nspname
        FROM pg_extension
        JOIN pg_namespace ON pg_namespace.oid = extnamespace
        WHERE extname = 'pg_stat_statements'
        """
    ).fetchone()
    if found is None:
        raise DatabaseError("The extension pg_stat_statements is not there", next="create it in this database")
    rows = conn.execute(
        sql.SQL(
            """
            SELECT query, sum(calls)::bigint AS calls
            FROM {view}
            WHERE userid = (SELECT oid FROM pg_roles WHERE rolname = %(role)s)
              AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND query IS NOT NULL
            GROUP BY query
            ORDER BY calls DESC, query
            LIMIT %(most)s
            """
        ).format(view=sql.Identifier(found[0], "pg_stat_statements")),
        {"role": role, "most": MOST_KEPT},
    ).fetchall()
    if rows and all(query == "<insufficient privilege>" for query, _ in rows):
        raise DatabaseError("The texts of pg_stat_statements are not shown to this role", next="grant it pg_monitor")
    return keepable(rows)


def keep_queries(database: Database, deployment: str, role: str) -> int:
    """Keep on the target what this deployment asks now, for when its record is gone. How many texts were kept.

    Meant for a verified moment. Raises DatabaseError where they cannot be read.
    """
    with database.writing() as conn:
        prepare(conn)
        found = running_queries(conn, role)
        for each in found:
            conn.execute(
                """
                INSERT INTO toolkit.recorded_query AS kept (deployment, role, query_digest, query, calls)
                VALUES (%(deployment)s, %(role)s, %(digest)s, %(query)s, %(calls)s)
                ON CONFLICT (deployment, role, query_digest) DO UPDATE
                SET calls = greatest(kept.calls, excluded.calls), last_seen = now()
                """,
                {
                    "deployment": deployment,
                    "role": role,
                    "digest": each.digest,
                    "query": each.text,
                    "calls": each.calls,
                },
            )
    return len(found)


def kept_queries(conn: Connection, deployment: str, role: str) -> list[RecordedQuery]:
    """What `keep_queries` kept of this deployment, the most frequent first; [] where nothing was."""
    if conn.execute("SELECT to_regclass('toolkit.recorded_query')").fetchone() == (None,):
        return []
    rows = conn.execute(
        """
        SELECT query, calls
        FROM toolkit.recorded_query
        WHERE deployment = %(deployment)s AND role = %(role)s
        ORDER BY calls DESC, query
        LIMIT %(most)s
        """,
        {"deployment": deployment, "role": role, "most": MOST_KEPT},
    ).fetchall()
    return keepable(rows)


def recorded_queries(database: Database, deployment: str, role: str) -> list[RecordedQuery]:
    """What is known of a deployment's queries: the server's own record of its role, and what was kept."""
    with database.reading() as conn:
        kept = kept_queries(conn, deployment, role)
    try:
        with database.reading() as conn:
            running = running_queries(conn, role)
    except DatabaseError:
        if not kept:
            raise
        running = []
    seen = {each.digest: each for each in (*kept, *running)}
    return sorted(seen.values(), key=lambda each: (-each.calls, each.text))


def keepable(rows: Iterable[tuple[str, int]]) -> list[RecordedQuery]:
    """Of these texts with their calls, those that may be kept, comments taken out; each once."""
    found: dict[str, RecordedQuery] = {}
    for text, calls in rows:
        bare = bare_text(text)
        if bare is not None:
            earlier = found[bare].calls if bare in found else 0
            found[bare] = RecordedQuery(bare, int(calls) + earlier)
    return list(found.values())


def bare_text(text: str) -> str | None:
    """A single statement on data, without comments; None for anything else and for what holds a constant."""
    statement = single(text)
    if statement is None or any(map(_is_constant, statement.tokens)):
        return None
    return without_comments(text, statement)


def single(text: str) -> Statement | None:
    """The one statement on data that a text is; None for several, for none, and for utility statements."""
    try:
        found = statements(text)
    except SqlError:
        return None
    return found[0] if len(found) == 1 and found[0].tokens[0].is_word(*DATA_WORDS) else None


def without_comments(text: str, statement: Statement) -> str:
    """The statement's own text, a space where white space or a comment stood."""
    parts: list[str] = []
    end = statement.tokens[0].at
    for token in statement.tokens:
        parts += [" "] if token.at > end else []
        parts.append(text[token.at : token.end])
        end = token.end
    return "".join(parts)


def _is_constant(token: Token) -> bool:
    if token.kind is Kind.NUMBER:
        return not (token.text.isdecimal() and len(token.text) <= LARGEST_ORDINAL)
    return token.kind is Kind.STRING and token.text != ""
