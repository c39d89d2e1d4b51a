"""The options that say how a restore is wanted: the damage, when it began, which way, how far."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from toolkit.rollback.plan import RestoreWish, Way


@dataclass(frozen=True)
class Restoring:
    """The words that say how a restore is wanted."""

    damage: Path | None = None
    damaged_at: str = ""
    way: "Way | None" = None
    freeze: bool = False
    wanted_version: int | None = None

    def wish(self) -> "RestoreWish":
        """What the file says, where there is one, and what the words say besides. UsageError for neither's form."""
        from toolkit.rollback.plan import RestoreWish
        from toolkit.rollback.restore_file import read_restore_file

        there = self.damage is not None and self.damage.exists()
        said = read_restore_file(self.damage).wish(self.damage) if self.damage and there else RestoreWish()
        return replace(
            said,
            damaged_at=_moment(self.damaged_at) or said.damaged_at,
            way=self.way or said.way,
            freeze=self.freeze or said.freeze,
            wanted_version=said.wanted_version if self.wanted_version is None else self.wanted_version,
        )

    def words(self) -> dict[str, object]:
        """As they were typed."""
        return {
            "--damage": self.damage,
            "--damaged-at": self.damaged_at,
            "--way": self.way,
            "--freeze": self.freeze,
            "--wanted-version": self.wanted_version,
        }

    def given(self) -> dict[str, bool]:
        """Which of them were typed."""
        return {name: value not in (None, "", False) for name, value in self.words().items()}


def _moment(text: str) -> "datetime | None":
    """A moment in UTC, unless it says another offset."""
    from datetime import UTC, datetime

    from toolkit.errors import UsageError

    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no moment", next="write it as 2026-11-25T12:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


AS_PROPOSED = Restoring()
