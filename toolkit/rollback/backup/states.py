"""What a backup holds beside the database: the state of the migrations, and where production points.

Names of environment variables only, never a value. What cannot be read is told, and stops nothing: a platform that is
down must not keep the database from being backed up.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolkit.adapters.systems import Systems
from toolkit.clock import iso, utc_now
from toolkit.errors import ToolkitError
from toolkit.rollback.backup.manifest import DEPLOYMENTS_FILE, MIGRATION_FILE
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.state_tables import read_state

LISTED_DEPLOYMENTS = 50


def write_states(systems: Systems, folder: Path) -> tuple[dict[str, str], tuple[str, ...] | None]:
    """The two files beside the dump. What cannot be read does not stop a backup: it is named, by file."""
    unread: dict[str, str] = {}
    parts: tuple[tuple[str, Callable[[Systems], dict[str, Any]]], ...] = (
        (MIGRATION_FILE, _migration_state),
        (DEPLOYMENTS_FILE, _deployments),
    )
    names = None
    for name, ask in parts:
        try:
            content = ask(systems)
        except ToolkitError as error:
            unread[name] = error.what
            content = {"unknown": error.what}
        (folder / name).write_text(json.dumps(content, indent=2, default=str) + "\n")
        names = tuple(content["environment_names"]) if "environment_names" in content else names
    return unread, names


def _migration_state(systems: Systems) -> dict[str, Any]:
    folder = read_folder(systems.target.migrations)
    state = read_state(systems.database, folder, systems.playbook.database.state_table)
    names = {str(version): migration.name for version, migration in folder.migrations.items()}
    return {"at": iso(utc_now()), **asdict(state), "names": names}


def _deployments(systems: Systems) -> dict[str, Any]:
    if not systems.hosted:
        return {"at": iso(utc_now()), "platform": systems.target.platform}
    live = systems.platform.production(systems.production_host)
    listed = systems.platform.deployments(limit=LISTED_DEPLOYMENTS)
    return {
        "at": iso(utc_now()),
        "production": live.id,
        "automatic_assignment": systems.platform.project().automatic_assignment,
        "deployments": [
            {
                "id": each.id,
                "host": each.host,
                "state": each.state,
                "created_at": iso(each.created_at),
                "schema_version": each.schema_version,
                "commit": each.commit,
                "is_rollback_candidate": each.is_rollback_candidate,
            }
            for each in listed
        ],
        "environment_names": sorted({variable.key for variable in systems.platform.environment()}),
    }
