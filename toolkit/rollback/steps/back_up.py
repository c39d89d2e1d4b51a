"""Making the emergency backup as a step of a plan: done when this incident has that whole folder, of this server."""

from toolkit.errors import BackupError
from toolkit.rollback.backup import make_backup, read_backup
from toolkit.rollback.plan import BackUp
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings


class BackingUp(Doing):
    """`BackUp`, carried out. On a copy nothing is made: the copy is one."""

    def __init__(self, action: BackUp, around: Surroundings) -> None:
        super().__init__(around)
        self.folder = around.incident.folder / action.folder
        self._rehearsed = False

    def require(self) -> None:
        assert self.around.plan.server is not None
        self.around.systems.database.require_session()
        self.around.systems.database.require(self.around.plan.server)

    def look(self) -> Standing:
        if self.around.rehearsal:
            return Standing(self._rehearsed, "the copy was made from a backup")
        if not self.folder.exists():
            return Standing(False, f"there is no {self.folder.name} yet")
        backup = read_backup(self.folder, self.around.plan.server)
        return Standing(True, f"{self.folder.name} is whole, {backup.manifest.bytes / 1e6:,.1f} MB")

    def act(self) -> str:
        if self.around.rehearsal:
            self._rehearsed = True
            return "not rehearsed: the copy was made from a backup"
        around = self.around
        made = make_backup(
            around.systems, self.folder, incident=around.incident, actor="runner", advance=around.advance
        )
        return f"{self.folder.name}: {made.manifest.bytes / 1e6:,.1f} MB in {made.manifest.seconds:.1f} s"

    def state(self) -> str:
        try:
            return self.look().evidence
        except BackupError as error:
            return error.what

    def undo(self) -> str | None:
        return f"{self.folder.name} stays: a backup changes nothing" if self.folder.exists() else "nothing was made"
