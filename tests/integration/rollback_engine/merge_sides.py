"""Two sides of one small schema in one database, `live` and `old`, as they stand during a swap."""

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from toolkit.adapters.conflicts import Conflict, undecided
from toolkit.rollback.damage import Damage
from toolkit.rollback.merge import MergeConfig, Merged, merge, prepare_merge

SIDES = {"public": "live"}, {"public": "old"}
MARK = "drill-7"


class Sides:
    """A connection, in autocommit, to a database whose schemas `live` and `old` hold the same tables."""

    def __init__(self, url: str, tables: LiteralString) -> None:
        self._url = url
        self.conn = psycopg.connect(url, autocommit=True)
        for side in ("live", "old"):
            self.conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(side)))
            self.run(side, tables)

    def run(self, side: str, statements: LiteralString) -> str:
        """Run statements on one side, in a transaction; its xid, as xmin shows it."""
        with self.conn.transaction():
            self.conn.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(side)))
            self.conn.execute(statements)
            row = self.conn.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
        assert row is not None
        return str(row[0])

    def both(self, statements: LiteralString) -> None:
        """The same on both sides: what the backup holds."""
        for side in ("live", "old"):
            self.run(side, statements)

    def other(self) -> psycopg.Connection[Any]:
        """A second session, in a transaction of its own."""
        return psycopg.connect(self._url)

    def rows(self, query: LiteralString, side: str = "old") -> list[tuple[Any, ...]]:
        with self.conn.transaction():
            self.conn.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(side)))
            return self.conn.execute(query).fetchall()

    def merge(self, *damage: Damage, config: MergeConfig | None = None) -> Merged:
        with self.conn.transaction():
            return merge(
                self.conn,
                damaged=SIDES[0],
                restored=SIDES[1],
                damage=damage,
                config=(config or MergeConfig()).marked(MARK),
            )

    def prepare(self, *damage: Damage) -> Merged:
        """The merge before the swap, from one snapshot."""
        with self.conn.transaction():
            self.conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            return prepare_merge(
                self.conn, damaged=SIDES[0], restored=SIDES[1], damage=damage, config=MergeConfig().marked(MARK)
            )

    def conflicts(self) -> Sequence[Conflict]:
        return undecided(self.conn, MARK)

    def listed(self) -> set[tuple[Any, str, str]]:
        """Key (the only column's value), column, reason."""
        return {(next(iter(each.key.values())), each.column, each.reason) for each in self.conflicts()}
