"""What must hold before a backup is begun: the right server, a direct line, programs that fit, room on the disk.

A backup that cannot be made whole is not begun. It looks and changes nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.systems import Systems
from toolkit.checks import Check, CheckResult, Finding, failed, judge, passed, run_checks, unknown
from toolkit.errors import UsageError
from toolkit.rollback.backup.aside import free_bytes
from toolkit.rollback.backup.database_dump import PACKED, PLAIN, wanted_schemas
from toolkit.rollback.situation import is_same_server

AREA = "before the backup"
ROOM_PLAIN, ROOM_PACKED = 1.2, 0.5  # free disk wanted, as a share of the database's size


def condition_checks(
    systems: Systems, folder: Path, tools: PgTools, assessed: Mapping[str, Any] | None = None
) -> list[CheckResult]:
    """All of them, in order. `assessed` is the server's identity as an assessment kept it."""
    looks = {
        "server": lambda: _server(systems, assessed or {}),
        "direct connection": lambda: _direct(systems),
        "programs": lambda: _programs(systems, tools),
        "room": lambda: _room(systems, folder),
        "schemas": lambda: _schemas(systems),
        "place": lambda: _place(folder),
    }
    return run_checks(Check(name, AREA, look) for name, look in looks.items())


def compression_for(size: int, free: int) -> int | None:
    """Plain where there is room, as that is fastest; packed where there is less; None where there is too little."""
    if free >= ROOM_PLAIN * size:
        return PLAIN
    return PACKED if free >= ROOM_PACKED * size else None


def database_bytes(systems: Systems) -> int:
    """The size of the database on its server. A dump has no indexes and no dead rows, and is mostly smaller."""
    with systems.database.reading() as conn:
        row = conn.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


def _server(systems: Systems, assessed: Mapping[str, Any]) -> Finding:
    found = systems.database.identity()
    told = f"database {found.database} on {found.host}:{found.port}, PostgreSQL {found.version.split()[0]}"
    if assessed and not is_same_server(found, assessed):
        return failed(f"{told}, which is not the one that was assessed")
    return passed(f"{told}{', as it was assessed' if assessed else ''}")


def _direct(systems: Systems) -> Finding:
    try:
        systems.database.require_session()
    except UsageError as error:
        return failed(f"{error.what}; {error.next}")
    return passed("no transaction pooler in between")


def _programs(systems: Systems, tools: PgTools) -> Finding:
    """A pg_dump reads servers of its own version and older ones."""
    version, server = tools.version(), systems.database.identity().version.split()[0]
    return judge(_major(version) >= _major(server), f"pg_dump {version} for PostgreSQL {server}")


def _major(version: str) -> int:
    return int(version.split(".", maxsplit=1)[0])


def _room(systems: Systems, folder: Path) -> Finding:
    size, free = database_bytes(systems), free_bytes(folder)
    chosen = compression_for(size, free)
    how = {PLAIN: "a plain dump fits", PACKED: "a packed dump fits", None: "too little"}[chosen]
    return judge(chosen is not None, f"{free / 1e6:,.0f} MB free for a database of {size / 1e6:,.0f} MB: {how}")


def _schemas(systems: Systems) -> Finding:
    with systems.database.reading() as conn:
        there, missing = wanted_schemas(conn, systems.playbook)
    if missing:
        return unknown(f"{', '.join(missing)} of the playbook is not there, so it will not be in the backup")
    return passed(", ".join(there))


def _place(folder: Path) -> Finding:
    return judge(not folder.exists(), f"{folder.name} {'exists already' if folder.exists() else 'is free'}")
