"""What a difficulty means: which scenarios are drawn, what is told, what a hint costs. Data, in `levels.toml`."""

import functools
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from toolkit.drill.scenario import scenario_names

Tells = Literal["title", "story", "severity", "signal"]


class Difficulty(StrEnum):
    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


class Level(BaseModel):
    """One difficulty, as `levels.toml` explains it. Spans and costs are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenarios: tuple[str, ...]
    hidden: bool
    tells: tuple[Tells, ...]
    within_s: tuple[float, float]
    injects: int
    inject_after_s: tuple[float, float]
    inject_kinds: tuple[str, ...]
    hint_costs_s: tuple[float, ...]


def level(difficulty: Difficulty) -> Level:
    """What that difficulty means."""
    return Level.model_validate(_file()[difficulty])


def pool(difficulty: Difficulty) -> tuple[str, ...]:
    """The scenarios that are drawn from, sorted. What stands in no level is medium."""
    placed = {name: each for each in Difficulty for name in level(each).scenarios}
    drawn = [name for name in scenario_names() if name not in never_drawn()]
    return tuple(name for name in drawn if placed.get(name, Difficulty.MEDIUM) is difficulty)


def never_drawn() -> frozenset[str]:
    """Those that are played only when they are named."""
    return frozenset(_file()["never_drawn"])


@functools.cache
def _file() -> Mapping[str, Any]:
    text = resources.files("toolkit.drill.gameday").joinpath("levels.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
