"""Undoing a swap: the damaged data goes live again, and the restored data stands aside, as before.

What was written since the swap is only in the restored data. So nothing is put back where something was written: then a
restore of the emergency backup, which carries it over, is the way.
"""

from toolkit.adapters.postgres import Database
from toolkit.errors import RollbackError, UsageError
from toolkit.rollback.blocking import hold_nothing_for_the_dead
from toolkit.rollback.restore.names import damaged_name, restored_name
from toolkit.rollback.restore.records import Swapped, read_swaps
from toolkit.rollback.restore.swap_databases import swap_back as rename_back
from toolkit.rollback.restore.swap_schemas import swap_back, written_since
from toolkit.rollback.steps.doing import Surroundings

LOCK_WITHIN_MS = 2_000


def swap_to_undo(database: Database, mark: str) -> Swapped:
    """The swap of that mark that is in force. UsageError where there is none, or none that can be exchanged again."""
    with database.reading() as conn:
        done = [each for each in read_swaps(conn) if each.state == "done"]
    found = next((each for each in done if each.mark == mark), None)
    if found is None:
        marks = ", ".join(each.mark for each in done) or "there is none"
        raise UsageError(
            f"No swap of mark {mark!r} is in force", target=database.target, next=f"name one that is: {marks}"
        )
    if found.way == "reload":
        raise UsageError(
            f"Swap {mark} put rows back in place: there is nothing to exchange",
            target=database.target,
            state="nothing was changed",
            next=f"take what is wanted by its key from the schemas {damaged_name(mark)}_…",
        )
    return found


def put_back(around: Surroundings, swapped: Swapped) -> str:
    """Undo a swap; in a sentence what came of it.

    Raises RollbackError where something was written since, and DatabaseError.
    """
    database = around.systems.database
    if swapped.way == "databases":
        undone = rename_back(around, swapped)
    else:
        with database.writing(lock_within_ms=LOCK_WITHIN_MS, hang_up_after_s=around.patience.hang_up_after_s) as conn:
            hold_nothing_for_the_dead(conn)
            around.fence.guard(conn)
            undone = swap_back(conn, swapped)
    if undone:
        return f"the damaged data is live again; the restored data stands beside as {restored_name(swapped.mark)}"
    with database.reading() as conn:
        where = ", ".join(written_since(conn, swapped)) or "rows are gone, or the damaged data is"
    raise RollbackError(
        f"Something was written since the swap ({where}): it is in the restored data only",
        target=database.target,
        state="nothing was changed",
        next="restore the emergency backup instead (--backup-restore=FOLDER), which carries it over",
    )
