"""From what was seen, and from what the journal keeps, to the facts that are reasoned about. It asks nothing."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from toolkit.adapters.systems import Systems
from toolkit.analysis import fields
from toolkit.assess.facts import AppliedMigration, Facts, Failure, Release
from toolkit.assess.quiet import declared_breach
from toolkit.assess.views import Views
from toolkit.errors import ToolkitError
from toolkit.incident import OPENED, Incident
from toolkit.playbook import Playbook
from toolkit.rollback.down_sql import LossKind, hidden_code, losses
from toolkit.rollback.migrations import Migration, Script, read_folder
from toolkit.rollback.sql_lexer import SqlError


def facts_of(views: Views, systems: Systems, incident: Incident) -> Facts:
    """All that can be said. Raises JournalError only."""
    platform, traffic = views.platform.value, views.traffic.value
    migration = views.of_database(lambda view: view.migration).value
    stable = views.of_database(lambda view: view.stable).value
    activity = views.of_database(lambda view: view.activity).value
    waiting = views.of_database(lambda view: view.waiting).value or ()
    version = migration.version if migration else None
    live = platform.production if platform else None
    health = views.health.value
    return Facts(
        database_up=views.database.value is not None,
        dirty=migration.dirty if migration else None,
        version=version,
        stable_version=stable.version if stable else None,
        stable_deployment=stable.deployment if stable else None,
        production=Release(live.id, live.schema_version, live.created_at) if live else None,
        migrations=_applied(systems, version),
        errors=_failures(views, incident),
        error_rate=traffic.error_rate if traffic else None,
        shifted=_shifted(views, systems.playbook),
        gone=tuple(views.gone()),
        onset=onset_of(incident),
        migrated_at=views.of_database(lambda view: view.migrated_at).value,
        blocked=activity.blocked if activity else None,
        blocked_s=activity.longest_blocked_s if activity else 0.0,
        in_the_way=tuple(dict.fromkeys(str(blocker) for each in waiting for blocker in each.blockers)),
        service_up=any(each.status_code is not None for _, each in health) if health else None,
        platform_up=platform is not None if systems.hosted else None,
        signals=_raised(incident),
        events_in=_events_in(views, systems.playbook),
        breach=declared_breach(incident.reasons),
    )


def _raised(incident: Incident) -> dict[str, str]:
    """The signals that are up, with their evidence as it was when they were raised."""
    up: dict[str, str] = {}
    for entry in incident.journal.entries():
        if entry.kind == "signal.raised":
            up[str(entry.data.get("signal"))] = str(entry.data.get("evidence") or "")
        elif entry.kind == "signal.cleared":
            up.pop(str(entry.data.get("signal")), None)
    return up


def _events_in(views: Views, playbook: Playbook) -> tuple[int, int] | None:
    traffic, path = views.traffic.value, playbook.endpoints.webhook
    if traffic is None or not path:
        return None
    return sum(each.requests for each in traffic.paths if each.path == path), traffic.succeeded_at(path)


def failing_since(incident: Incident) -> dict[str, datetime]:
    """Since when the monitor has seen a path fail at every look, up to its latest one."""
    since: dict[str, datetime] = {}
    for entry in incident.journal.entries():
        if entry.kind == "monitor.observed":
            failing = {str(error["path"]) for error in entry.data.get("errors", [])}
            since = {path: since.get(path, entry.at) for path in failing}
    return since


def onset_of(incident: Incident) -> datetime | None:
    """When it was first seen: by requests that fail still, else by signals that are up still, else by its opening.

    What was seen before and had passed is another matter.
    """
    entries = incident.journal.entries()
    if failing := failing_since(incident):
        return min(failing.values())
    raised: dict[str, datetime] = {}
    for entry in entries:
        signal = str(entry.data.get("signal"))
        if entry.kind == "signal.raised":
            raised.setdefault(signal, entry.at)
        elif entry.kind == "signal.cleared":
            raised.pop(signal, None)
    return min(raised.values(), default=next((entry.at for entry in entries if entry.kind == OPENED), None))


def _applied(systems: Systems, version: int | None) -> list[AppliedMigration]:
    """What is live, with its SQL; nothing where the folder of migrations cannot be read."""
    if version is None:
        return []
    try:
        found = read_folder(systems.target.migrations).between(None, version)
    except ToolkitError:
        return []
    return [_read(m, m.up) for m in reversed(found) if m.up]


def _read(migration: Migration, up: Script) -> AppliedMigration:
    text = up.content.decode()
    return AppliedMigration(
        migration.version,
        migration.name,
        text,
        migration.down_problem,
        _rewrites(up),
        _takes(migration.down),
        _destroys(up),
    )


def _destroys(up: Script) -> tuple[str, ...]:
    """What an up removes that held data. A table that it made itself, or replaces, is none of it."""
    try:
        found = losses(up.statements)
    except SqlError:
        return ()
    kinds = (LossKind.TABLE, LossKind.COLUMN, LossKind.SCHEMA)
    return tuple(dict.fromkeys(loss.what for loss in found if loss.kind in kinds))


def _rewrites(up: Script) -> tuple[str, ...]:
    """The tables of which the text says that rows are changed or removed."""
    try:
        found = losses(up.statements)
    except SqlError:
        return ()
    return tuple(dict.fromkeys(".".join(loss.name) for loss in found if loss.kind is LossKind.ROWS))


def _takes(down: Script | None) -> tuple[str, ...] | None:
    """What a down removes that holds data. None where its text does not tell."""
    if down is None:
        return None
    try:
        found = down.statements
    except SqlError:
        return None
    return None if hidden_code(found) else tuple(dict.fromkeys(loss.what for loss in losses(found)))


def _shifted(views: Views, playbook: Playbook) -> Mapping[str, float]:
    """The watched columns whose values are others than when all was verified, by the share that changed."""
    apart = {column: views.apart(column) for column in playbook.database.watched_columns}
    return {column: share for column, share in apart.items() if share and share > playbook.thresholds.value_shift}


def _failures(views: Views, incident: Incident) -> list[Failure]:
    """What was just seen; where nothing failed meanwhile, what the monitor saw last."""
    live = views.platform.value.production.id if views.platform.value else None
    if views.traffic.value and views.traffic.value.errors:
        return [Failure(count=count, **asdict(error), deployment=live) for error, count in views.traffic.value.errors]
    observed = incident.latest("monitor.observed")
    if observed is None:
        return []
    return [
        Failure(**error, deployment=fields.text(observed.data, "deployment"))
        for error in observed.data.get("errors", [])
    ]
