"""Restoring beside production: done when the target itself says that a whole, verified copy stands there."""

from pathlib import Path

from toolkit.errors import RollbackError, ToolkitError
from toolkit.rollback.plan import RestoreBeside
from toolkit.rollback.restore.beside import Beside, clear_copy
from toolkit.rollback.restore.catalog import schemas_named
from toolkit.rollback.restore.names import mark_of, restored_name
from toolkit.rollback.restore.other_database import maintenance, states_of
from toolkit.rollback.restore.records import Restored, forget, read_restored, read_swap
from toolkit.rollback.restore.source_reading import require_same
from toolkit.rollback.restore.swap_databases import reopen
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings


class RestoringBeside(Doing):
    """`RestoreBeside`, carried out."""

    def __init__(self, action: RestoreBeside, around: Surroundings) -> None:
        super().__init__(around)
        self.action, self._database = action, around.systems.database
        self._mark = mark_of(around.incident.id, action.source, around.plan.turn)

    def require(self) -> None:
        self._database.require_session()
        if self.action.way == "databases":
            reopen(self._database)  # a run that died in the middle of a swap has left production closed
        if self.around.plan.server is not None and not self.around.rehearsal:
            self._database.require(self.around.plan.server)
        if not self._is_done():
            require_same(Path(self.action.source), self.action.sha256)

    def look(self) -> Standing:
        restored = self._kept()
        with self._database.reading() as conn:
            swapped = read_swap(conn, self._mark)
        if swapped is not None and swapped.state == "done":
            return Standing(True, "the copy was swapped in")
        if restored is None or restored.sha256 != self.action.sha256 or restored.way != self.action.way:
            return Standing(False, "no copy of it stands beside production")
        if restored.state != "whole":
            return Standing(False, "a copy was begun and is not whole")
        if not self._stands(restored):
            return Standing(False, "the copy that stood there is gone")
        return Standing(True, f"a whole copy stands beside production: {restored.evidence}")

    def act(self) -> str:
        source = require_same(Path(self.action.source), self.action.sha256)
        restored = Beside(self.around, source, self.action.way).restore()
        return f"{source} stands beside production as {restored_name(self._mark)}; {restored.evidence}"

    def state(self) -> str:
        try:
            return f"{self.look().evidence}; production was not touched"
        except ToolkitError as error:
            return f"whether a copy stands beside production is unknown: {error.what}; production was not touched"

    def undo(self) -> str | None:
        with self._database.reading() as conn:
            swapped = read_swap(conn, self._mark)
        if swapped is not None and swapped.state == "done":
            return None
        if self._kept() is None:
            return None
        clear_copy(self.around, self._mark, self.action.way)
        with self._database.writing() as conn:
            self.around.fence.guard(conn)
            forget(conn, self._mark)
        return "the copy beside production was dropped"

    def _is_done(self) -> bool:
        try:
            return self.look().done
        except RollbackError:
            return False

    def _kept(self) -> Restored | None:
        with self._database.reading() as conn:
            return read_restored(conn, self._mark)

    def _stands(self, restored: Restored) -> bool:
        if restored.way == "databases":
            name = restored_name(self._mark)
            with maintenance(self._database).reading() as conn:
                return name in states_of(conn, [name])
        with self._database.reading() as conn:
            there = schemas_named(conn, restored_name(self._mark))
        return {restored_name(self._mark, schema) for schema in restored.schemas} <= set(there)
