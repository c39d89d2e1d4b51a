"""A scenario: a small file of data that says what breaks, how it shows, what the right answer is and what it teaches.

Owns reading and checking them. What a fault does is code, in `faults`.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit.errors import UsageError
from toolkit.playbook import Severity

FOLDER = Path(__file__).parent / "scenarios"

Seconds = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MigrateAndDeploy(_Part):
    """Apply the migrations up to `migration`, then deploy the build that was written for them, as a release does."""

    kind: Literal["migrate-and-deploy"]
    migration: Annotated[int, Field(ge=1)]
    build: Annotated[int, Field(ge=1)]
    commit: str


class Migrate(_Part):
    """Apply one of the scenario's own migrations, as the migration tool does."""

    kind: Literal["migrate"]
    migration: Annotated[int, Field(ge=1)]
    commit: str


class HalfApply(_Part):
    """Run the first statements of one of the scenario's own migrations, each by itself, as a tool does that died there:
    the state table says that version, dirty."""

    kind: Literal["half-apply"]
    migration: Annotated[int, Field(ge=1)]
    statements: Annotated[int, Field(ge=1)]
    commit: str


class Deploy(_Part):
    """Deploy a build whose code has a defect."""

    kind: Literal["deploy"]
    build: Annotated[int, Field(ge=1)]
    defect: Literal["payments-crash", "everything-crashes"]
    commit: str


Fault = Annotated[MigrateAndDeploy | Migrate | HalfApply | Deploy, Field(discriminator="kind")]


class Response(_Part):
    """One notebook of the response with its parameters. `refused`: what it must refuse with, where it must."""

    notebook: str
    parameters: Mapping[str, str | bool | int] = {}
    refused: str = ""


AS_RECOMMENDED = tuple(Response(notebook=name) for name in ("01_assess", "02_stabilize", "03_rollback", "04_verify"))


class Answer(_Part):
    """What one may do about it, and what comes of it."""

    rollback: Literal["migration", "application", "restore", "emergency", "none"]
    what: str
    comes_of_it: str


class Scenario(_Part):
    """One drill. Times are in seconds, as they usually take."""

    name: str
    title: str
    story: str
    rollback_type: Literal["migration", "application", "restore", "emergency"]
    severity: Severity
    signal: str
    takes_s: Seconds
    steady_s: Seconds = 8
    detect_within_s: Seconds = 60
    faults: Annotated[tuple[Fault, ...], Field(min_length=1)]
    response: Annotated[tuple[Response, ...], Field(min_length=1)] = AS_RECOMMENDED
    right_answers: Annotated[tuple[Answer, ...], Field(min_length=1)]
    wrong_answers: Annotated[tuple[Answer, ...], Field(min_length=1)]
    teaches: str


def migrations_of(scenario: Scenario) -> Path | None:
    """The folder of the scenario's own migrations; None where it uses the service's."""
    folder = FOLDER / scenario.name
    return folder if folder.is_dir() else None


def scenario_names() -> list[str]:
    """All there are, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_scenario(name: str) -> Scenario:
    """Read a scenario. UsageError for an unknown name (with those that are known) or a malformed file."""
    path = FOLDER / f"{name}.toml"
    if name not in scenario_names():
        raise UsageError(f"There is no scenario {name!r}", next=f"use one of: {', '.join(scenario_names())}")
    try:
        return Scenario.model_validate({"name": name} | tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"Scenario {path} is malformed: {error}", next="mend that file") from None
