"""The database's server, its disk and its backups: what goes wrong where only its host can help.

It writes into the data folder of the sandbox's own server and into the folder of its scheduled backups. Of a server
that was given by its URL it has neither.
"""

import os
import pwd
import shutil
import signal
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from toolkit.clock import wait_until
from toolkit.drill.fault_kinds import Backups, Disk
from toolkit.drill.small_disk import mount
from toolkit.drill.state import SandboxState
from toolkit.errors import UsageError
from toolkit.places import sandbox_home

BACK_WITHIN_S = 30.0
BAD_SETTING = "shared_preload_libraries = 'pg_stat_statements,pg_qualstat'\n"  # there is no such library
TURNED_AWAY = "host all postgres 127.0.0.1/32 scram-sha-256\nhost all all all reject\n"


def expect_own_server(state: SandboxState) -> None:
    """UsageError where the sandbox uses somebody's server."""
    if state.options.database_url_env:
        raise UsageError(
            "Such a fault needs the sandbox's own server; this one was given by its URL",
            state="nothing was done",
            next="toolkit sandbox start, without --database-url-env",
        )


def _data(state: SandboxState) -> Path:
    return sandbox_home(state.name) / "postgres" / "pgdata"


def _kill(state: SandboxState) -> dict[str, object]:
    """Save a setting that no server starts with, as `ALTER SYSTEM` would, and kill the server."""
    data = _data(state)
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(BAD_SETTING)
    pid = int((data / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)
    return {"killed": pid}


def _turn_away(state: SandboxState) -> dict[str, object]:
    """Put a rule before all others that lets nobody in, and end the sessions that are in."""
    rules = _data(state) / "pg_hba.conf"
    rules.write_text(TURNED_AWAY + rules.read_text())
    with psycopg.connect(state.admin_url, autocommit=True) as conn:
        conn.execute("SELECT pg_reload_conf()")
        ended = conn.execute(
            """
            SELECT count(pg_terminate_backend(pid))
            FROM pg_stat_activity
            WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
            """
        ).fetchone()
    return {"ended": ended[0] if ended else 0}


def _set_right(state: SandboxState) -> dict[str, object]:
    """Undo both. Whoever keeps the server starts it again."""
    data = _data(state)
    settings, rules = data / "postgresql.auto.conf", data / "pg_hba.conf"
    settings.write_text(settings.read_text().replace(BAD_SETTING, ""))
    rules.write_text(rules.read_text().replace(TURNED_AWAY, ""))

    def answers() -> bool:
        try:
            with psycopg.connect(state.admin_url, connect_timeout=2, autocommit=True) as conn:
                conn.execute("SELECT pg_reload_conf()")
        except psycopg.OperationalError:
            return False
        return True

    wait_until(answers, within=BACK_WITHIN_S, what="the server to be back")
    return {"answers": True}


SERVER: Mapping[str, Callable[[SandboxState], dict[str, object]]] = {
    "does-not-come-back": _kill,
    "turns-away": _turn_away,
    "set-right": _set_right,
}


def spoil_backups(fault: Backups, state: SandboxState) -> dict[str, object]:
    """Keep the newest as that of the night before, and spoil what bears its name."""
    newest = max(state.backups.glob("*.dump"))
    at = datetime.strptime(newest.stem, "%Y-%m-%dT%H%M%S%z") - timedelta(days=1)
    older = newest.with_name(f"{at:%Y-%m-%dT%H%M%SZ}.dump")
    shutil.copy2(newest, older)
    with newest.open("r+b") as file:
        file.truncate(newest.stat().st_size // 2 if fault.newest == "truncated" else 0)
    return {"spoiled": newest.name, "whole": older.name}


def move_to_small_disk(fault: Disk, state: SandboxState) -> dict[str, object]:
    """Mount a file system of that size in the sandbox's folder, and move the table there; the owner's new ones go there
    too."""
    place = mount(sandbox_home(state.name), fault.megabytes)
    folder = place / "data"
    folder.mkdir(mode=0o700)
    owner = pwd.getpwuid((_data(state)).stat().st_uid)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    with psycopg.connect(state.admin_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE TABLESPACE small OWNER churn_owner LOCATION {}").format(str(folder)))
        schema, _, table = fault.table.rpartition(".")
        named = sql.Identifier(schema or "public", table)
        conn.execute(sql.SQL("ALTER TABLE {} SET TABLESPACE small").format(named))
        conn.execute("ALTER ROLE churn_owner SET default_tablespace = small")
    return {"megabytes": fault.megabytes}
