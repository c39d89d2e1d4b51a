"""Tools that keep the latest version, and mean by it all that lead to it: golang-migrate, Alembic."""

from collections.abc import Sequence

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.state_tables.locks import golang_migrate_keys
from toolkit.adapters.state_tables.recorded import Reader, Recorded
from toolkit.errors import RollbackError


class GolangMigrate(Reader):
    """One row: the version, and whether it is dirty. No row: nothing is applied."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL("SELECT version, dirty FROM {}").format(sql.Identifier(schema, table))
        rows = conn.execute(query).fetchall()
        if len(rows) > 1:
            raise RollbackError(
                f"{schema}.{table} holds {len(rows)} rows where golang-migrate keeps one",
                state="nothing was done",
                next="find out which version is live, and leave that row only",
            )
        if not rows:
            return Recorded(None, False)
        version, dirty = int(rows[0][0]), bool(rows[0][1])
        if version < 0:  # NilVersion: going down from the first one failed
            return Recorded(None, dirty, failed=("the first migration",) if dirty else ())
        label = str(version)
        return Recorded(version, dirty, up_to=label, failed=(label,) if dirty else ())

    def lock_keys(self, database: str, schema: str, table: str) -> Sequence[int]:
        return golang_migrate_keys(database, schema, table)


class Alembic(Reader):
    """A row for each head. Its revisions are hashes: they order only by the files, so there is no number to tell."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL("SELECT version_num FROM {} ORDER BY version_num").format(sql.Identifier(schema, table))
        heads = tuple(str(head) for (head,) in conn.execute(query))
        if len(heads) > 1:
            problem = f"{len(heads)} heads are live: {', '.join(heads)}"
            return Recorded(None, False, applied=heads, problems=(problem,))
        if not heads:
            return Recorded(None, False)
        number = int(heads[0]) if heads[0].isdecimal() else None
        return Recorded(number, False, up_to=heads[0])
