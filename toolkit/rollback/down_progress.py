"""How far a script has come that cannot run in one transaction: a row on the target, written with what it tells of.

The row goes in the transaction that ends the script. While it is there, the schema stands between two versions. It is
keyed by the script itself, so a run from another machine goes on with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection

PREPARING = 7_021_001  # the advisory lock under which the toolkit's own tables are made

_TABLE = """
CREATE SCHEMA IF NOT EXISTS toolkit;
CREATE TABLE IF NOT EXISTS toolkit.down_progress (
    direction text NOT NULL,
    version   bigint NOT NULL,
    sha256    text NOT NULL,
    following integer NOT NULL,
    trying    boolean NOT NULL DEFAULT false,
    alone     integer[] NOT NULL DEFAULT '{}',
    begun_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (direction, version, sha256)
);
"""


@dataclass(frozen=True)
class Key:
    """One script in one direction, 'down' or 'up'."""

    direction: str
    version: int
    sha256: str


@dataclass(frozen=True)
class Come:
    """`following` is the number of the next statement, from 0. `trying`: that one, which runs alone, was begun, and its
    outcome is not written yet. `alone` are the statements of which the server said that they run in no transaction."""

    following: int = 0
    trying: bool = False
    alone: frozenset[int] = frozenset()


def prepare(conn: Connection) -> None:
    """Make the table where it is missing. Safe to repeat, and beside others who do the same."""
    if not _there(conn):
        conn.execute("SELECT pg_advisory_xact_lock(%(key)s)", {"key": PREPARING})
        conn.execute(_TABLE)


def how_far(conn: Connection, key: Key) -> Come | None:
    """How far that script has come; None when it was not begun, or is finished."""
    if not _there(conn):
        return None
    row = conn.execute(
        """
        SELECT following, trying, alone
        FROM toolkit.down_progress
        WHERE direction = %(direction)s AND version = %(version)s AND sha256 = %(sha256)s
        """,
        vars(key),
    ).fetchone()
    return Come(row[0], row[1], frozenset(row[2])) if row else None


def come_to(conn: Connection, key: Key, following: int, *, trying: bool = False, alone: Iterable[int] = ()) -> None:
    """Say how far it has come, in the transaction that brought it there."""
    conn.execute(
        """
        INSERT INTO toolkit.down_progress AS kept (direction, version, sha256, following, trying, alone)
        VALUES (%(direction)s, %(version)s, %(sha256)s, %(following)s, %(trying)s, %(alone)s)
        ON CONFLICT (direction, version, sha256) DO UPDATE
        SET following = excluded.following, trying = excluded.trying, alone = excluded.alone, at = clock_timestamp()
        """,
        {**vars(key), "following": following, "trying": trying, "alone": sorted(alone)},
    )


def finished(conn: Connection, key: Key) -> None:
    """It is done, in the transaction that ends it."""
    if _there(conn):
        conn.execute(
            """
            DELETE FROM toolkit.down_progress
            WHERE direction = %(direction)s AND version = %(version)s AND sha256 = %(sha256)s
            """,
            vars(key),
        )


def _there(conn: Connection) -> bool:
    return conn.execute("SELECT to_regclass('toolkit.down_progress')").fetchone() != (None,)
