"""The emergency backup: database, migration state, deployments, in one folder that exists only when it is whole.

It is written aside, verified, and renamed. A dump that failed or was killed half-way leaves nothing that looks like a
backup. It is readable by its owner alone, for it holds production data; it holds no value of any environment variable.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.postgres import ServerIdentity
from toolkit.adapters.systems import Systems
from toolkit.checks import CheckResult, Outcome
from toolkit.clock import utc_now
from toolkit.errors import BackupError, ToolkitError, UnverifiedError
from toolkit.incident import Incident
from toolkit.playbook import pg_bindir
from toolkit.progress import Advance
from toolkit.rollback.backup.aside import free_bytes, keep_private, written_aside
from toolkit.rollback.backup.conditions import compression_for, condition_checks, database_bytes
from toolkit.rollback.backup.database_dump import PACKED, DatabaseDump
from toolkit.rollback.backup.inspection import NEEDED, inspect_folder
from toolkit.rollback.backup.manifest import (
    DATABASE_FOLDER,
    Manifest,
    checksums,
    read_manifest,
    sizes_differ,
    write_manifest,
)
from toolkit.rollback.backup.states import write_states
from toolkit.rollback.backup.verified import Level, record_verified
from toolkit.rollback.blocking import Patience

MADE, BEGUN, FAILED = "backup.made", "backup.begun", "backup.failed"
FOLDER = "backup"


def _silent(_what: str, _done: float, _of: float | None) -> None:
    pass


@dataclass(frozen=True)
class Backup:
    """A folder that was found to be a whole backup. `manifest_sha256` is what the journal keeps of it."""

    folder: Path
    manifest: Manifest
    manifest_sha256: str


def make_backup(
    systems: Systems,
    folder: Path,
    *,
    incident: Incident,
    actor: str,
    patience: Patience | None = None,
    proofs_within_s: float | None = None,
    advance: Advance = _silent,
) -> Backup:
    """Back the target up into `folder`, which must not exist, and journal it.

    `proofs_within_s` bounds the fingerprints of tables that are not critical: those whose turn comes later are named in
    the manifest as unproved. `advance` is told how many bytes are written, of how many.

    Raises BackupError when a condition is not met, when it cannot be made whole or cannot be read afterwards, and
    DatabaseError when the database does not answer. `folder` does not exist then.
    """
    tools = PgTools.found(pg_bindir())
    conditions = condition_checks(systems, folder, tools, _assessed_server(incident))
    if unmet := [each for each in conditions if each.outcome is Outcome.FAIL]:
        raise BackupError(
            f"No backup was begun: {_named(unmet)}",
            target=systems.target.name,
            state="nothing was written",
            next="put that right, then repeat the command",
        )
    told = _told_folder(folder, incident)
    incident.record(BEGUN, {"folder": told}, actor=actor)
    try:
        dump = DatabaseDump(
            systems.database,
            systems.playbook,
            tools,
            patience or Patience(),
            proofs_within_s=proofs_within_s,
            advance=advance,
        )
        backup = _make(systems, folder, incident, actor, tools, dump)
    except (ToolkitError, OSError, KeyboardInterrupt) as error:
        said = error.what if isinstance(error, ToolkitError) else str(error) or "it was interrupted"
        incident.record(FAILED, {"folder": told, "error": said}, actor=actor)
        if isinstance(error, OSError):
            raise BackupError(f"The backup failed: {said}", state="none was left", next="make room, repeat") from error
        raise
    incident.record(MADE, {"folder": told} | _told_backup(backup), actor=actor)
    return backup


def inspect_backup(folder: Path, server: ServerIdentity | None = None) -> list[CheckResult]:
    """Is it a backup, whole, readable, and of this server (None: of any)? Reads all of it. Never raises."""
    return inspect_folder(folder, PgTools.found(pg_bindir()), server)


def read_backup(folder: Path, server: ServerIdentity | None = None) -> Backup:
    """A backup that was looked at whole. BackupError for one that is truncated, altered, empty, foreign, or none."""
    _require_whole(folder, inspect_backup(folder, server))
    return Backup(folder, *read_manifest(folder))


def require_backup(incident: Incident, server: ServerIdentity) -> Backup:
    """The latest backup that this incident made, of this server, by a quick look at its manifest and its sizes.

    Raises BackupError when there is none, or when it is not what it was. That it could be read was seen when it was
    made.
    """
    entry = incident.latest(MADE)
    following = "make one first: 02_stabilize with execute"
    if entry is None:
        raise BackupError("This incident has no backup yet", state="nothing was rolled back", next=following)
    folder = incident.folder / str(entry.data["folder"])
    manifest, digest = read_manifest(folder)
    made = manifest.server
    same = (made.system_identifier, made.database) == (server.system_identifier, server.database)
    if digest != entry.data.get("manifest_sha256") or sizes_differ(folder, manifest) or not same:
        what = "is not what it was when it was made" if same else "is of another server"
        raise BackupError(f"The backup in {folder} {what}", state="nothing was rolled back", next=following)
    return Backup(folder, manifest, digest)


class EmergencyBackup:
    """The backup of one incident, step by step: conditions, making it, looking at it."""

    def __init__(self, systems: Systems, incident: Incident, actor: str) -> None:
        self._systems, self._incident, self._actor = systems, incident, actor
        self.folder = _free_folder(incident.folder)

    def preconditions(self) -> list[CheckResult]:
        """Whether it can be begun. Changes nothing."""
        tools = PgTools.found(pg_bindir())
        return condition_checks(self._systems, self.folder, tools, _assessed_server(self._incident))

    def make(self, *, execute: bool, advance: Advance = _silent) -> "MadeBackup":
        """Make it; without `execute` nothing is made. Raises as `make_backup`."""
        if not execute:
            return MadeBackup(None, self._incident, self._actor)
        made = make_backup(self._systems, self.folder, incident=self._incident, actor=self._actor, advance=advance)
        return MadeBackup(made, self._incident, self._actor)


@dataclass(frozen=True)
class MadeBackup:
    """What came of it, for people. `backup` None: it was a dry run."""

    backup: Backup | None
    incident: Incident
    actor: str

    def rows(self) -> list[dict[str, str]]:
        """What is in it, a line each."""
        if self.backup is None:
            return [{"what": "nothing was made", "how much": "this was a dry run: repeat it with execute = True"}]
        manifest = self.backup.manifest
        how = "packed" if manifest.compression == PACKED else "plain"
        lines = {
            "folder": str(self.backup.folder),
            "size": f"{manifest.bytes / 1e6:,.1f} MB, {how}, in {len(manifest.files)} files",
            "took": f"{manifest.seconds:.1f} s",
            "schemas": ", ".join(manifest.schemas),
            **{f"table {name}": f"{table.rows:,} rows" for name, table in manifest.tables.items()},
            "other tables": f"{len(manifest.others)}, {sum(each.rows for each in manifest.others.values()):,} rows",
            **({"not fingerprinted": ", ".join(manifest.unproved)} if manifest.unproved else {}),
            **{name: f"not in it: {why}" for name, why in manifest.unread.items()},
            **({"left out": ", ".join(manifest.left_out)} if manifest.left_out else {}),
            **({"was not there": ", ".join(manifest.missing)} if manifest.missing else {}),
        }
        return [{"what": what, "how much": text} for what, text in lines.items()]

    def inspect(self) -> list[CheckResult]:
        """Look at it again, as it lies on the disk: every file is read, once. [] after a dry run."""
        return self._results

    @cached_property
    def _results(self) -> list[CheckResult]:
        return inspect_backup(self.backup.folder, self.backup.manifest.server) if self.backup else []

    @property
    def whole(self) -> bool:
        """Whether it was made and nothing speaks against it."""
        return self.backup is not None and not self._wrong

    @property
    def usable(self) -> bool:
        """Whether it was made and can be restored, complete or not."""
        return self.backup is not None and not any(each.name in NEEDED for each in self._wrong)

    @property
    def _wrong(self) -> list[CheckResult]:
        return [each for each in self._results if each.outcome is not Outcome.PASS]

    @property
    def verdict(self) -> str:
        """One sentence. Without it nothing should be rolled back."""
        if self.backup is None:
            return "No backup was made: this was a dry run."
        if not self._wrong:
            return "The backup is readable and complete."
        return f"The backup is {'readable, but not complete' if self.usable else 'NOT usable'}: {_named(self._wrong)}."

    def require_complete(self, accept: str = "") -> None:
        """Stop here unless it is readable and complete; after a dry run there is nothing to require.

        `accept`: why somebody goes on although something beside the database's rows is missing; it is journaled as
        their decision. Raises BackupError where a check failed, UnverifiedError where one is unknown.
        """
        if not self._wrong:
            return
        if self.usable and accept:
            what = f"go on with an incomplete backup: {_named(self._wrong)}"
            self.incident.record("decision.made", {"what": what, "why": accept, "by": self.actor}, actor=self.actor)
            return
        failed = any(each.outcome is Outcome.FAIL for each in self._wrong)
        raise (BackupError if failed else UnverifiedError)(
            self.verdict,
            state="it is kept as it is; nothing was rolled back",
            next="mend what is missing and make another"
            + ("; or, where that cannot be, give the reason for going on without it (accept_incomplete)" * self.usable),
        )


def _named(results: Sequence[CheckResult]) -> str:
    return "; ".join(f"{each.name}: {each.evidence}" for each in results)


def emergency_backup(systems: Systems, incident: Incident, *, actor: str) -> EmergencyBackup:
    """A backup in the incident's folder, `backup`, or `backup-2`, … where there is one already. Nothing is made yet."""
    return EmergencyBackup(systems, incident, actor)


def _make(systems: Systems, folder: Path, incident: Incident, actor: str, tools: PgTools, dump: DatabaseDump) -> Backup:
    began, created_at = time.monotonic(), utc_now()
    server = systems.database.identity()
    compression = compression_for(database_bytes(systems), free_bytes(folder))
    with written_aside(folder) as aside:
        dumped = dump.into(aside / DATABASE_FOLDER, compression=PACKED if compression is None else compression)
        unread, names = write_states(systems, aside)
        manifest = Manifest(
            created_at=created_at,
            incident=incident.id,
            actor=actor,
            target=systems.target.name,
            server=server,
            pg_dump=tools.version(),
            compression=PACKED if compression is None else compression,
            unread=unread,
            environment_names=names,
            files=checksums(aside, dump.measured),
            seconds=round(time.monotonic() - began, 3),
            **{name: getattr(dumped, name) for name in dumped.__dataclass_fields__},
        )
        digest = write_manifest(aside, manifest)
        seen = inspect_folder(aside, tools, server, known=manifest.files)
        _require_whole(aside, seen)
        record_verified(aside, digest, Level.READABLE, seen)
        keep_private(aside)
    return Backup(folder, manifest, digest)


def _require_whole(folder: Path, results: Sequence[CheckResult]) -> None:
    wrong = [each for each in results if each.name in NEEDED and each.outcome is not Outcome.PASS]
    if wrong:
        raise BackupError(
            f"{folder} is no usable backup: {_named(wrong)}",
            state="nothing was changed",
            next="use another backup, or make a new one",
        )


def _told_backup(backup: Backup) -> dict[str, Any]:
    """What the journal keeps of it."""
    manifest = backup.manifest
    return {
        "bytes": manifest.bytes,
        "tables": {name: table.rows for name, table in manifest.tables.items()},
        "seconds": manifest.seconds,
        "archive": "readable",
        "manifest_sha256": backup.manifest_sha256,
        "missing": list(manifest.missing),
        "left_out": list(manifest.left_out),
    }


def _assessed_server(incident: Incident) -> Mapping[str, Any]:
    made = incident.latest("assessment.made")
    return (made.data.get("server") or {}) if made else {}


def _free_folder(home: Path) -> Path:
    number = 1
    while (folder := home / (FOLDER if number == 1 else f"{FOLDER}-{number}")).exists():
        number += 1
    return folder


def _told_folder(folder: Path, incident: Incident) -> str:
    """Relative to the incident's folder where it lies in it."""
    here, home = folder.resolve(), incident.folder.resolve()
    return str(here.relative_to(home)) if here.is_relative_to(home) else str(here)
