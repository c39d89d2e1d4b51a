"""What practice is due, by the playbook's schedule and the history: pure, and in calendar months, UTC.

What did not pass does not count: a drill that failed shows that one more is needed. Never done is overdue.
"""

import calendar
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from toolkit.playbook import DrillSchedule

SOON = 0.1  # of the time between two


class Standing(StrEnum):
    KEPT = "kept"
    SOON = "due soon"
    OVERDUE = "overdue"


@dataclass(frozen=True)
class Practice:
    """Something that was practised: a drill's scenario, or RECOVERY for a recovery test. `at` is UTC."""

    what: str
    at: datetime
    passed: bool
    folder: str


RECOVERY = "recovery-test"


@dataclass(frozen=True)
class Due:
    """How one line of the schedule stands. `last` passed; `failed` is the newest that did not, where it is newer."""

    schedule: DrillSchedule
    last: Practice | None
    failed: Practice | None
    on: date | None
    standing: Standing

    @property
    def command(self) -> str:
        """What does it."""
        names = self.schedule.scenarios
        if names == (RECOVERY,):
            return "toolkit recovery-test"
        return f"toolkit drill run {next((name for name in names if name != RECOVERY), 'breaking-migration')}"

    def row(self) -> dict[str, object]:
        """For a table."""
        last = f"{self.last.at:%Y-%m-%d} ({self.last.what})" if self.last else "never"
        failed = f"; {self.failed.what} of {self.failed.at:%Y-%m-%d} did not pass" if self.failed else ""
        months = self.schedule.every_months
        return {
            "practice": self.schedule.title,
            "every": "month" if months == 1 else "year" if months == 12 else f"{months} months",
            "last passed": last + failed,
            "due on": f"{self.on:%Y-%m-%d}" if self.on else "at once",
            "standing": self.standing.value,
            "command": self.command,
        }


def what_is_due(schedule: Sequence[DrillSchedule], practised: Iterable[Practice], today: date) -> list[Due]:
    """Each line of the schedule, in its order."""
    known = sorted(practised, key=lambda each: each.at)
    return [_due(each, [done for done in known if _counts(each, done)], today) for each in schedule]


def _counts(schedule: DrillSchedule, done: Practice) -> bool:
    return done.what in schedule.scenarios if schedule.scenarios else done.what != RECOVERY


def _due(schedule: DrillSchedule, done: Sequence[Practice], today: date) -> Due:
    last = next((each for each in reversed(done) if each.passed), None)
    later = [each for each in done if not each.passed and (last is None or each.at > last.at)]
    failed = later[-1] if later else None
    if last is None:
        return Due(schedule, None, failed, None, Standing.OVERDUE)
    began = last.at.astimezone(UTC).date()
    on = months_later(began, schedule.every_months)
    if today > on:
        return Due(schedule, last, failed, on, Standing.OVERDUE)
    soon = (on - today).days <= SOON * (on - began).days
    return Due(schedule, last, failed, on, Standing.SOON if soon else Standing.KEPT)


def months_later(day: date, months: int) -> date:
    """The same day so many months later; the last of a month that has none such."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
