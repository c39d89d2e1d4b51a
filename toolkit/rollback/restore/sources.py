"""Which backups there are, and which one a restore takes: the newest that is verified and from before the damage.

An incident's own emergency backup is made after the damage and holds it: it is listed, and never taken by itself. A
file or folder that somebody names is taken as named, if it is what it says; when it was taken is then for them to know.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.postgres import ServerIdentity, StablePoint
from toolkit.checks import Outcome
from toolkit.errors import BackupError, RollbackError, ToolkitError
from toolkit.incident import Incident
from toolkit.playbook import pg_bindir
from toolkit.progress import Advance, no_advance
from toolkit.rollback.backup import inspect_backup
from toolkit.rollback.backup.foreign import describe_dump, require_usable
from toolkit.rollback.backup.inspection import NEEDED
from toolkit.rollback.backup.manifest import MANIFEST_FILE
from toolkit.rollback.backup.verified import Level, read_verified
from toolkit.rollback.restore.source_reading import Source, read_source
from toolkit.rollback.scratch import major_of
from toolkit.rollback.situation import Releases


@dataclass(frozen=True)
class Damaged:
    """When the damage began, as well as it is known. `at` is UTC; None where nothing tells. `why`: what tells it."""

    at: datetime | None
    why: str


@dataclass(frozen=True)
class Candidate:
    """A backup that is there. `refused` says why it is not taken; '' where it may be. `level`: how far it was seen."""

    source: Source
    level: Level
    refused: str = ""

    def row(self) -> dict[str, str]:
        """For a table."""
        when = self.source.taken_at
        return {
            "backup": self.source.name,
            "taken": f"{when:%Y-%m-%d %H:%M:%S} UTC" if when else "unknown",
            "version": "" if self.source.version is None else str(self.source.version),
            "verified": self.level.title,
            "not taken because": self.refused,
        }


def damage_moment(
    given: datetime | None, releases: Releases, stable: Sequence[StablePoint], *, now: datetime | None = None
) -> Damaged:
    """When the damage began: as somebody says; else when the deployment came that brought a newer schema than the last
    stable one; else just after everything was last verified. Pure."""
    if given is not None:
        return Damaged(given.astimezone(UTC), "it was given")
    newest = max(stable, key=lambda each: each.verified_at, default=None)
    if newest is None:
        return Damaged(now, "nothing tells when it began: no stable version was recorded, and none was given")
    later = sorted(
        (
            each
            for each in [*([releases.live] if releases.live else []), *releases.deployments]
            if each.schema_version is not None
            and each.schema_version > newest.version
            and each.created_at >= newest.verified_at
        ),
        key=lambda each: each.created_at,
    )
    if later:
        return Damaged(later[0].created_at, f"deployment {later[0].id} brought schema {later[0].schema_version} then")
    return Damaged(newest.verified_at, f"version {newest.version} was verified then, and nothing since")


def find_sources(incident: Incident, folder: Path | None = None) -> list[Source]:
    """Backups of the incident and in a folder of scheduled ones, where dumps of others count too; the newest first.

    What is there and is none is left out. When a dump of others was taken only its file tells: at the latest when that
    was last written.
    """
    homes = [incident.folder, *([folder] if folder else [])]
    places = [place for home in homes if home.is_dir() for place in sorted(home.iterdir())]
    found: dict[Path, Source] = {}
    for place in places:
        foreign = place.parent == folder and not place.name.startswith(".")
        if foreign or (place / MANIFEST_FILE).exists():
            source = _readable(place)
            if source is not None:
                found[place.resolve()] = _dated(source)
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(found.values(), key=lambda each: each.taken_at or oldest, reverse=True)


def candidates(
    sources: Iterable[Source],
    damaged: Damaged,
    server: ServerIdentity | None,
    *,
    inspect: Callable[[Source, ServerIdentity | None], str] | None = None,
    advance: Advance = no_advance,
) -> list[Candidate]:
    """Each with the reason why it is not taken. `inspect` looks at one that nothing else speaks against."""
    look = inspect or partial(_wrong_with, advance=advance)
    judged: list[Candidate] = []
    for source in sources:
        verified = read_verified(source.path, source.sha256)
        level = verified.level if verified else Level.NONE
        refused = _too_late(source, damaged)
        if not refused and not any(not each.refused for each in judged):
            refused = look(source, server)
        judged.append(Candidate(source, level, refused))
    return judged


def choose(found: Sequence[Candidate], damaged: Damaged, *, target: str) -> Source:
    """The newest that may be taken. RollbackError that lists what there is, and why each is not taken."""
    usable = next((each for each in found if not each.refused), None)
    if usable is not None:
        return usable.source
    listed = "; ".join(f"{each.source}: {each.refused}" for each in found) or "there is none at all"
    raise RollbackError(
        f"No verified backup from before the damage: {listed}",
        target=target,
        state="nothing was done",
        next="name one: --backup-restore=FILE, or say when the damage began: --damaged-at TIME",
    )


def named_source(path: Path, server: ServerIdentity | None, *, advance: Advance = no_advance) -> Source:
    """The one that somebody names. One of ours must be whole, and of this server; a dump of others must be whole and
    fit the server's version. BackupError otherwise."""
    source = read_source(path)
    if source.kind != "ours":
        tools = PgTools.found(pg_bindir())
        major = None if server is None else major_of(server.version)
        dump = describe_dump(path, tools, server_major=major, advance=advance)
        require_usable(dump)
        return replace(source, taken_at=dump.made_at, schemas=dump.schemas, extensions=dump.extensions)
    if wrong := _wrong_with(source, server):
        raise BackupError(f"{source} cannot be used: {wrong}", state="nothing was done", next="name another")
    return source


def _too_late(source: Source, damaged: Damaged) -> str:
    if source.taken_at is None:
        return "when it was taken is unknown"
    if damaged.at is None:
        return "when the damage began is unknown"
    if source.taken_at > damaged.at:
        return f"it was taken after the damage began ({damaged.at:%Y-%m-%d %H:%M:%S} UTC)"
    return ""


def _wrong_with(source: Source, server: ServerIdentity | None, *, advance: Advance = no_advance) -> str:
    """What an inspection of all its files finds; '' where it is whole."""
    if source.kind != "ours":
        dump = describe_dump(source.path, PgTools.found(pg_bindir()), advance=advance)
        return "; ".join(dump.reasons)
    results = inspect_backup(source.path, server)
    wrong = [each for each in results if each.name in NEEDED and each.outcome is not Outcome.PASS]
    return "; ".join(f"{each.name}: {each.evidence}" for each in wrong)


def _dated(source: Source) -> Source:
    if source.taken_at is not None or source.path.is_dir():
        return source
    return replace(source, taken_at=datetime.fromtimestamp(source.path.stat().st_mtime, UTC))


def _readable(place: Path) -> Source | None:
    try:
        return read_source(place)
    except ToolkitError:
        return None
