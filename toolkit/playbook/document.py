"""All of a playbook as one value, and how it is read from its file.

Errors name the file, the key, and what is wrong. `check` says more: what is a placeholder, missing or out of date.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from toolkit.errors import UsageError
from toolkit.playbook.environment import PLAYBOOK_VARIABLE, TARGET_VARIABLE
from toolkit.playbook.people import (
    Channels,
    ChecklistsFile,
    Communication,
    Contact,
    DrillSchedule,
    EscalationLevel,
    SeverityRule,
)
from toolkit.playbook.section import Section, Severity
from toolkit.playbook.service import Database, Endpoints, Freeze, Review, Service, Thresholds, Verification
from toolkit.playbook.targets import (
    ChannelAccess,
    PlatformIds,
    Target,
    TargetNames,
    resolve_channels,
    resolve_ids,
    resolve_target,
)

DEFAULT_PATH = Path("playbook.toml")


class Playbook(Section):
    """All of `playbook.toml`, checked. `folder` is where it stands: relative paths start there."""

    folder: Path = Field(exclude=True)
    service: Service
    review: Review
    targets: Mapping[str, TargetNames]
    database: Database
    endpoints: Endpoints
    thresholds: Thresholds
    freeze: Freeze = Freeze()
    verification: Verification = Verification()
    severity: Mapping[Severity, SeverityRule]
    contacts: tuple[Contact, ...] = ()
    escalation: tuple[EscalationLevel, ...] = ()
    channels: Channels = Channels()
    communication: Communication = Communication()
    checklists: ChecklistsFile = ChecklistsFile()
    drills: tuple[DrillSchedule, ...] = ()
    links: Mapping[str, str] = {}

    @field_validator("severity")
    @classmethod
    def _all_four(cls, rules: Mapping[Severity, SeverityRule]) -> Mapping[Severity, SeverityRule]:
        if missing := [severity.value for severity in Severity if severity not in rules]:
            raise ValueError(f"{', '.join(missing)} must be there too")
        return rules

    @model_validator(mode="after")
    def _known_roles(self) -> Self:
        known = {contact.role for contact in self.contacts}
        named = [
            *((f"escalation.{n}.roles", level.roles) for n, level in enumerate(self.escalation)),
            *(
                (f"communication.stakeholders.{n}.roles", s.roles)
                for n, s in enumerate(self.communication.stakeholders)
            ),
        ]
        for key, roles in named:
            if unknown := [role for role in roles if role not in known]:
                raise ValueError(f"{key}: {', '.join(unknown)} is no role of [[contacts]]")
        if (chat := self.channels.slack) and chat.incident_room not in chat.rooms:
            raise ValueError(f"channels.slack.incident_room: {chat.incident_room} is none of channels.slack.rooms")
        return self

    def thresholds_on(self, target: Target) -> Thresholds:
        """The thresholds as they hold on a target: its own `fast_enough_ms` where it has one."""
        own = target.monitoring.fast_enough_ms
        return self.thresholds if own is None else self.thresholds.model_copy(update={"fast_enough_ms": own})

    def contacts_of(self, roles: tuple[str, ...]) -> tuple[Contact, ...]:
        """The contacts that have one of these roles, in the order of the roles."""
        return tuple(contact for role in roles for contact in self.contacts if contact.role == role)

    def target(
        self,
        name: str | None,
        environ: Mapping[str, str] | None = None,
        *,
        database_url_env: str = "",
        database_only: bool = False,
    ) -> Target:
        """Resolve a target's settings from the environment.

        `name` may be None where TOOLKIT_TARGET names one; there is no other default. `database_url_env` names another
        variable for the database's URL than the playbook does. `database_only`: what is to be done needs no more than
        the database; the other variables may be unset, and `Target.unset` names them. Raises UsageError that names
        every variable that is missing; values are never shown.
        """
        given = os.environ if environ is None else environ
        chosen = name or given.get(TARGET_VARIABLE)
        names = self._names(chosen)
        assert chosen is not None
        wanted = dict(names.wanted) | ({"database_url_env": database_url_env} if database_url_env else {})
        needed = {"database_url_env"} if database_only else set(wanted)
        return resolve_target(chosen, names, self.folder, names.known(given), wanted, needed)

    def backups_of(self, name: str | None, environ: Mapping[str, str] | None = None) -> tuple[str, Path | None]:
        """A target's name and its folder of scheduled backups, None where it has none here; no other variable of it
        need be set. UsageError for a target that is not there."""
        given = os.environ if environ is None else environ
        chosen = name or given.get(TARGET_VARIABLE)
        names = self._names(chosen)
        assert chosen is not None
        variable = names.backups_folder
        folder = names.known(given).get(variable, "") if variable else ""
        return chosen, self.folder / folder if folder else None

    def channel_access(self, name: str, environ: Mapping[str, str] | None = None) -> ChannelAccess:
        """What the channels of a target need, as far as it is set. UsageError for a target that is not there."""
        names = self._names(name)
        return resolve_channels(names.channels, names.known(os.environ if environ is None else environ))

    def platform_ids(self, name: str, environ: Mapping[str, str] | None = None) -> PlatformIds:
        """By what the platforms know a target, as far as it is set. UsageError for a target that is not there."""
        names = self._names(name)
        return resolve_ids(names, names.known(os.environ if environ is None else environ))

    def _names(self, name: str | None) -> TargetNames:
        if not name:
            raise UsageError(
                "No target was named", next=f"name one: {', '.join(self.targets)}, or set {TARGET_VARIABLE}"
            )
        if name not in self.targets:
            raise UsageError(f"There is no target {name!r} in the playbook", next=f"use {', '.join(self.targets)}")
        return self.targets[name]


def load_playbook(path: Path | str | None = None) -> Playbook:
    """Read and check a playbook: the given path, TOOLKIT_PLAYBOOK, or `playbook.toml` here or in a folder above.

    Raises UsageError that names the file and every key that is wrong, unknown or missing.
    """
    file = find_playbook(path)
    content = read_content(file)[1]
    try:
        return Playbook.model_validate(content | {"folder": file.resolve().parent})
    except ValidationError as error:
        wrong = "; ".join(
            ": ".join([*filter(None, [".".join(map(str, e["loc"]))]), f"{e['msg'][:1].lower()}{e['msg'][1:]}"])
            for e in error.errors()
        )
        raise UsageError(
            f"{file} has keys that are wrong: {wrong}",
            next="mend them, then repeat the command; toolkit playbook check says where they stand",
        ) from None


def read_content(file: Path) -> tuple[str, dict[str, Any]]:
    """A playbook's text, and what it says as TOML. UsageError when it cannot be read."""
    try:
        text = file.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{file} is not TOML: {error}", next="mend that line, then repeat the command") from None
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}", next=f"name another: {PLAYBOOK_VARIABLE}=PATH"
        ) from None


def find_playbook(path: Path | str | None = None) -> Path:
    """Which file it is. UsageError when there is none here or in a folder above."""
    named = path or os.environ.get(PLAYBOOK_VARIABLE)
    if named:
        return Path(named)
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / DEFAULT_PATH).exists():
            return folder / DEFAULT_PATH
    raise UsageError(
        f"There is no {DEFAULT_PATH} here or in a folder above",
        next=f"name one: {PLAYBOOK_VARIABLE}=PATH",
    )
