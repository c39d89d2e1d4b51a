"""Which backups there are, and which of them may go: list and prune.

It reads manifests and the records beside them, and no data. What a policy would remove stays all the same when it is
the newest verified backup of its target, or when an incident that is not resolved refers to it. Only `remove` changes
anything.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from toolkit.errors import BackupError, ToolkitError
from toolkit.incident import JOURNAL_FILE, Incident, State
from toolkit.rollback.backup.emergency import MADE
from toolkit.rollback.backup.manifest import (
    DATABASE_FOLDER,
    MANIFEST_FILE,
    MIGRATION_FILE,
    Manifest,
    read_manifest,
    sizes_differ,
)
from toolkit.rollback.backup.verified import Level, Verified, read_verified


@dataclass(frozen=True)
class Kept:
    """One backup on the disk. `version` is the migration that it held, None where that is unknown. `damage` says what a
    look at the sizes found wrong."""

    folder: Path
    manifest: Manifest
    manifest_sha256: str
    version: int | str | None
    verified: Verified | None
    damage: str

    @property
    def created_at(self) -> datetime:
        return self.manifest.created_at

    @property
    def level(self) -> Level:
        """How far it was verified, as long as it looks whole."""
        return Level.NONE if self.damage or self.verified is None else self.verified.level

    @property
    def source(self) -> tuple[str, str | None, str]:
        """Of what it is one: the target, the server, the database."""
        server = self.manifest.server
        return self.manifest.target, server.system_identifier, server.database


@dataclass(frozen=True)
class Policy:
    """How many to keep of one target: the last ones, and the newest of each of so many days and weeks (UTC) that have
    one at all."""

    last: int = 5
    daily: int = 7
    weekly: int = 4


@dataclass(frozen=True)
class Decision:
    """Whether a backup stays, and why."""

    kept: Kept
    stays: bool
    reasons: tuple[str, ...]


def find_backups(folders: Iterable[Path]) -> tuple[list[Kept], list[str]]:
    """Every backup in these folders and below, the newest first, and what looks like one and cannot be read.

    A folder that is not there is told as well.
    """
    found: dict[Path, Kept] = {}
    problems: list[str] = []
    seen: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            problems.append(f"{folder} is no folder")
        for path in sorted(folder.rglob(MANIFEST_FILE)):
            place = path.parent.resolve()
            if place in seen or place.name.startswith("."):  # written aside: not whole yet
                continue
            seen.add(place)
            try:
                found[place] = _read(place)
            except BackupError as error:
                if (place / DATABASE_FOLDER).exists():  # others write files of that name too
                    problems.append(error.what)
    return sorted(found.values(), key=lambda each: (each.created_at, each.folder), reverse=True), problems


def decide(backups: Sequence[Kept], policy: Policy, referred: Callable[[Kept], str | None]) -> list[Decision]:
    """What of them stays by the policy and by what is never removed. Pure; in the order given.

    `referred` says by what a backup is still needed, None where by nothing.
    """
    reasons: dict[Path, list[str]] = {each.folder: [] for each in backups}
    for source in {each.source for each in backups}:
        newest_first = sorted(
            (each for each in backups if each.source == source), key=lambda each: each.created_at, reverse=True
        )
        for each, reason in [*_by_policy(newest_first, policy), *_protected(newest_first)]:
            reasons[each.folder].append(reason)
    for each in backups:
        if needed := referred(each):
            reasons[each.folder].append(needed)
    return [Decision(each, bool(reasons[each.folder]), tuple(reasons[each.folder])) for each in backups]


def remove(decisions: Iterable[Decision]) -> list[Path]:
    """Remove what does not stay; which folders that were. OSError when one cannot be removed: it is no backup then,
    as its manifest goes first."""
    gone = []
    for decision in decisions:
        if not decision.stays:
            (decision.kept.folder / MANIFEST_FILE).unlink()
            shutil.rmtree(decision.kept.folder)
            gone.append(decision.kept.folder)
    return gone


class OpenIncidents:
    """The incidents in some folders, and around the backups themselves, that are not resolved yet."""

    def __init__(self, folders: Iterable[Path], backups: Iterable[Kept]) -> None:
        journals = {path.resolve() for folder in folders for path in folder.rglob(JOURNAL_FILE)}
        journals |= {above / JOURNAL_FILE for each in backups for above in each.folder.parents}
        self._unreadable: list[Path] = []
        self._told: list[tuple[Incident, str]] = []
        for path in sorted(journals):
            if path.exists():
                self._add(Incident(path.parent))

    def _add(self, incident: Incident) -> None:
        try:
            if incident.state is not State.RESOLVED:
                entries = [dict(entry.data) | {"kind": entry.kind} for entry in incident.journal.entries()]
                self._told.append((incident, json.dumps(entries, default=str)))
        except (ToolkitError, OSError, ValueError):
            self._unreadable.append(incident.folder)

    def refers_to(self, kept: Kept) -> str | None:
        """Which of them speaks of that backup: made it, or names its manifest or its folder. A journal that cannot be
        read keeps all that lies in its incident's folder."""
        for incident, told in self._told:
            own = incident.id == kept.manifest.incident and f'"{MADE}"' in told
            if own or kept.manifest_sha256 in told or json.dumps(str(kept.folder))[1:-1] in told:
                return f"incident {incident.id} is not resolved"
        for folder in self._unreadable:
            if kept.folder.is_relative_to(folder):
                return f"the journal of {folder.name} cannot be read"
        return None


def _read(folder: Path) -> Kept:
    manifest, digest = read_manifest(folder)
    damage = "files are missing or have another size" if sizes_differ(folder, manifest) else ""
    return Kept(folder, manifest, digest, _version(folder), read_verified(folder, digest), damage)


def _version(folder: Path) -> int | str | None:
    try:
        told = json.loads((folder / MIGRATION_FILE).read_text())
        version = told.get("version")
        return version if isinstance(version, int | str) else None
    except (OSError, ValueError, AttributeError):
        return None


def _by_policy(newest_first: Sequence[Kept], policy: Policy) -> list[tuple[Kept, str]]:
    """Damaged ones are kept by no policy, and keep no place of a good one."""
    whole = [each for each in newest_first if not each.damage]
    stays = [(each, f"one of the last {policy.last}") for each in whole[: policy.last]]
    for form, word, at_most in (("%Y-%m-%d", "day", policy.daily), ("%G-W%V", "week", policy.weekly)):
        first_of: dict[str, Kept] = {}
        for each in whole:
            first_of.setdefault(each.created_at.strftime(form), each)
        stays += [(each, f"the newest of {word} {name}") for name, each in list(first_of.items())[:at_most]]
    return stays


def _protected(newest_first: Sequence[Kept]) -> list[tuple[Kept, str]]:
    """Of each level the newest: a proved one is not given up for one that is only readable."""
    found = []
    for level in (Level.PROVED, Level.RESTORED, Level.READABLE):
        newest = next((each for each in newest_first if each.level >= level), None)
        if newest is not None:
            found.append((newest, f"the newest that is {level.title}"))
    return found
