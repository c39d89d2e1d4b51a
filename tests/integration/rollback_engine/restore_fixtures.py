"""Databases to restore, cloned from one that was seeded and backed up once for a module."""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from restore_rig import RestoreRig, environment_of, set_up, systems_of

from toolkit.drill.database import ServiceDatabase, create_database
from toolkit.incident import Incident
from toolkit.playbook import Severity
from toolkit.rollback.backup import make_backup
from toolkit.server import PostgresServer

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Origin:
    """A database that nobody writes to, and its backup."""

    database: ServiceDatabase
    backup: Path


def opened(folder: Path) -> Incident:
    folder.mkdir(parents=True)
    incident = Incident(folder)
    incident.open(Severity.P0, ["rows are wrong"], actor="monitor")
    return incident


def make_origin(
    cluster: PostgresServer, passwords: dict[str, str], home: Path, *, version: int, more: str = ""
) -> Origin:
    """Seeded, with what `more` creates as the owner, and backed up."""
    database = create_database(cluster, passwords, f"origin_{version}_{next(_numbers)}")
    set_up(database, version=version)
    if more:
        with psycopg.connect(database.owner_url) as conn:
            conn.execute(more.encode())
    systems = systems_of(environment_of(database.toolkit_url))
    systems.database.prepare()
    incident = opened(home / "origin")
    make_backup(systems, home / "backup", incident=incident, actor="tester")
    return Origin(database, home / "backup")


def clone(origin: Origin, folder: Path) -> Iterator[RestoreRig]:
    """A rig on a copy of the database, with its backup; gone afterwards, with whatever a restore has made."""
    name = f"live_{next(_numbers)}"
    server = origin.database.server
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {origin.database.name} OWNER churn_owner")
    before = _databases(server)
    incident = opened(folder / "incident")
    rig = RestoreRig(ServiceDatabase(server, name, origin.database.passwords), incident)
    shutil.copytree(origin.backup, rig.backup)
    yield rig
    with psycopg.connect(server.url(), autocommit=True) as conn:
        for other in {name, *(set(_databases(server)) - set(before))}:
            if other == name or other.startswith((f"restored_{rig.mark}", f"damaged_{rig.mark}")):
                conn.execute(f"DROP DATABASE IF EXISTS {other} WITH (FORCE)")


def _databases(server: PostgresServer) -> list[str]:
    with psycopg.connect(server.url(), autocommit=True) as conn:
        return [row[0] for row in conn.execute("SELECT datname FROM pg_database").fetchall()]
