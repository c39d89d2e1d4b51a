"""Rows that were deleted though nobody may: of the tables of which the playbook says that no row is ever deleted.

Whoever deletes by hand leaves no statement to read and no row to look at. The stable point's sample of rows that stay
tells that some are gone; that they are damage follows from the playbook, and what went along with them too.
"""

from collections.abc import Sequence

from toolkit.adapters.postgres import Connection, StablePoint, sql
from toolkit.adapters.readings import relation, split_name
from toolkit.checks import Outcome
from toolkit.playbook import Playbook
from toolkit.rollback.damage import Damage, Proposal
from toolkit.rollback.restore.dragged import acting_keys
from toolkit.verify.expectation import LastingRows
from toolkit.verify.lasting import rows_are_there

CASCADE = "c"


def propose_lost_rows(conn: Connection, playbook: Playbook, stable: StablePoint | None) -> tuple[Proposal, ...]:
    """For each such table that has fewer rows than when all was verified: its rows, and those of tables that go along.

    Works in proportion to these tables. () where nothing was recorded, or is missing.
    """
    kept = stable.baseline.get("lasting") if stable else None
    found: list[Proposal] = []
    for table in playbook.database.lasting_columns:
        if isinstance(kept, dict) and table in kept:
            found += _of_table(conn, table, LastingRows.model_validate(kept[table]))
    return tuple(found)


def _of_table(conn: Connection, table: str, before: LastingRows) -> list[Proposal]:
    now = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(relation(table))).fetchone()
    finding = rows_are_there(table, before)(conn)
    if now is None or now[0] >= before.rows or finding.outcome is not Outcome.FAIL:
        return []
    said = f"no row of {table} is ever deleted, by the playbook; {now[0]:,} are there, {before.rows:,} were"
    name = split_name(table)
    lost = Proposal(_deleted(name), (said, finding.evidence), before.rows - now[0], True)
    return [lost, *_along(conn, name, table)]


def _along(conn: Connection, name: tuple[str, str], table: str) -> Sequence[Proposal]:
    children = dict.fromkeys(key.child for key in acting_keys(conn, [name]) if key.action == CASCADE)
    said = f"its rows go with those of {table} that they name; one that was deleted by itself comes back as well"
    return [Proposal(_deleted(child), (said,), None, True) for child in children if child != name]


def _deleted(name: tuple[str, str]) -> Damage:
    return Damage(".".join(name), verb="deleted")
