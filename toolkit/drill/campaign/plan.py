"""A campaign's folder: which drills it has, where each lies, and which are done.

    campaign.json                     what was asked for
    drills/<scenario>-<seed>/try-<n>  one try at a drill; the first that came to a score counts, and no other

A try has a folder of its own for good: one that was cut off goes on writing to nothing but that, and is kept.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

import toolkit
from toolkit.clock import iso, utc_now
from toolkit.drill.scenario import load_scenario, scenario_names
from toolkit.drill.score import SCORE_FILE
from toolkit.drill.state import check_seed
from toolkit.errors import UsageError

FILE, DRILLS = "campaign.json", "drills"
EVERY = "all"
INTERRUPTED = "interrupted"


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    scenarios: tuple[str, ...]
    seeds: tuple[int, ...]
    began: str
    toolkit: str


@dataclass(frozen=True)
class Planned:
    """One drill of a campaign. `folder` holds its tries."""

    scenario: str
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.scenario}-{self.seed}"

    def tries(self) -> list[Path]:
        """The folders of all tries so far, oldest first."""
        return sorted(self.folder.glob("try-*"), key=lambda path: int(path.name.removeprefix("try-")))

    def counted(self) -> Path | None:
        """The try that counts: the first that came to a score and was not interrupted; None where none did."""
        return next((path for path in self.tries() if _came_to_a_score(path)), None)

    def next_try(self) -> Path:
        """Where the next try goes. Made, so that nobody else takes it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.name.removeprefix("try-")) for path in self.folder.glob("try-*")), default=0)
        while True:
            place = self.folder / f"try-{number}"
            try:
                place.mkdir()
            except FileExistsError:
                number += 1
            else:
                return place


def _came_to_a_score(folder: Path) -> bool:
    score = read_score(folder)
    return score is not None and score.get("outcome") != INTERRUPTED


def read_score(folder: Path) -> dict[str, Any] | None:
    """The score of a drill that lies in this folder, or in its `drill`; None where there is none, or half of one."""
    for path in (folder / "drill" / SCORE_FILE, folder / SCORE_FILE):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and "scenario" in found and "outcome" in found:
            return found
    return None


class Campaign:
    """One campaign, by its folder."""

    def __init__(self, folder: Path, asked: _Asked) -> None:
        self.folder, self._asked = folder, asked

    @classmethod
    def begin(cls, folder: Path, scenarios: Sequence[str], seeds: Sequence[int]) -> Self:
        """Make its folder. UsageError for an unknown scenario, a number that is no seed, and a folder that exists."""
        for seed in seeds:
            check_seed(seed)
        for name in scenarios:
            load_scenario(name)
        asked = _Asked(
            scenarios=tuple(dict.fromkeys(scenarios)),
            seeds=tuple(dict.fromkeys(seeds)),
            began=iso(utc_now()),
            toolkit=toolkit.__version__,
        )
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise UsageError(
                f"{folder} exists already", state="nothing was done", next=f"toolkit campaign resume {folder}"
            ) from None
        (folder / FILE).write_text(asked.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return cls(folder, asked)

    @classmethod
    def at(cls, folder: Path) -> Self:
        """One that was begun. UsageError where none was, or its file is malformed."""
        try:
            return cls(folder, _Asked.model_validate_json((folder / FILE).read_bytes()))
        except (OSError, ValidationError):
            raise UsageError(
                f"{folder} is no campaign: it has no readable {FILE}",
                state="nothing was done",
                next="toolkit campaign run --scenarios all --seeds 1",
            ) from None

    @property
    def began(self) -> str:
        return self._asked.began

    def drills(self) -> list[Planned]:
        """All of them, seed by seed, so that an interrupted campaign has played most scenarios once."""
        return [
            Planned(name, seed, self.folder / DRILLS / f"{name}-{seed}")
            for seed in self._asked.seeds
            for name in self._asked.scenarios
        ]

    def left(self) -> list[Planned]:
        """Those that have not come to a score."""
        return [each for each in self.drills() if each.counted() is None]


def chosen_scenarios(names: str) -> list[str]:
    """The scenarios of a list with commas, or all. UsageError for a name that is none."""
    if names == EVERY:
        return scenario_names()
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise UsageError("No scenario was named", state="nothing was done", next="use all, or names with commas")
    for name in found:
        load_scenario(name)
    return found
