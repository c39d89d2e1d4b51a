"""The private folder of the one game day that runs: what its director needs, what commands need, what broke.

One for each user, below the runtime folder, readable by its owner only. Until the end the facilitator's journal lies
here and not beside the incident, where whoever plays would come upon it.
"""

from datetime import datetime
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ValidationError

from toolkit.clock import utc_now
from toolkit.drill.gameday.levels import Difficulty
from toolkit.drill.gameday.planning import Plan
from toolkit.drill.state import is_running, write_private
from toolkit.errors import UsageError
from toolkit.incident import FACILITATOR_FILE
from toolkit.places import runtime_home

_STATE, _PLAN = "state.json", "plan.json"


class GameDayState(BaseModel):
    """What anybody who plays may know, and how its director is reached. It never names what breaks.

    `told`: what was announced of the fault. `since` is UTC. `ended`: the score is written. `trouble`: what stopped it.
    `over`: when it ended, UTC. `key` is hexadecimal, and a secret that lives as long as the director.
    """

    pid: int
    started: float
    port: int
    key: str
    folder: Path
    sandbox: str
    sheets: Path | None = None
    since: datetime
    difficulty: Difficulty
    hidden: bool
    told: dict[str, str] = {}
    hints: int = 0
    hints_cost_s: float = 0.0
    answer_seen: bool = False
    trouble: str | None = None
    ended: bool = False
    over: datetime | None = None

    @classmethod
    def read(cls) -> Self | None:
        """That of the latest game day; None where there was none."""
        try:
            return cls.model_validate_json((home() / _STATE).read_text())
        except (OSError, ValidationError):
            return None

    def write(self) -> None:
        write_private(home() / _STATE, self.model_dump_json(indent=1))

    def end(self) -> None:
        """Write that it has ended, and forget the plan."""
        self.ended, self.over = True, utc_now()
        self.write()
        (home() / _PLAN).unlink(missing_ok=True)

    @property
    def alive(self) -> bool:
        """Whether its director runs."""
        return is_running(self.pid, self.started)


def home() -> Path:
    """The private folder, made where it is missing."""
    folder = runtime_home() / "gameday"
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    return folder


def keep_plan(plan: Plan) -> None:
    write_private(home() / _PLAN, plan.model_dump_json())


def kept_plan() -> Plan:
    """UsageError where there is none."""
    try:
        return Plan.model_validate_json((home() / _PLAN).read_text())
    except (OSError, ValidationError):
        raise no_game_day() from None


def sealed_journal() -> Path:
    """Where the facilitator's journal lies until the end."""
    return home() / FACILITATOR_FILE


def no_game_day() -> UsageError:
    return UsageError("No game day is running", next="toolkit gameday start")
