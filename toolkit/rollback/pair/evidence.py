"""What is known of how a deployment uses the database: its recorded queries, its latest requests, the schema it was
built for.

Collected from the target by bounded reads; nothing is judged here. It holds parameters of real requests and so must
never be written anywhere.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from toolkit.adapters.postgres import ServerIdentity, StablePoint
from toolkit.adapters.systems import Systems
from toolkit.adapters.vercel import Deployment
from toolkit.errors import DatabaseError, UsageError
from toolkit.playbook import Database as DatabaseNames
from toolkit.rollback.pair.queries import RecordedQuery, keep_queries, recorded_queries
from toolkit.rollback.pair.standing_in import Application, read_application
from toolkit.rollback.pair.statement_log import LoggedTransaction, read_log
from toolkit.verify.fingerprints import SchemaSignature


@dataclass(frozen=True)
class Evidence:
    """Of one deployment. `server` is where it was recorded, where nothing may be tried. `missing` says what there is
    not, and why, in sentences."""

    queries: tuple[RecordedQuery, ...] = ()
    requests: tuple[LoggedTransaction, ...] = field(default=(), repr=False)
    application: Application | None = None
    server: ServerIdentity | None = None
    missing: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.queries or self.requests)


def role_of(names: DatabaseNames, deployment: str, schema_version: int | None) -> str | None:
    """As whom a deployment asks the database, by the playbook; None where that cannot be told.

    Raises UsageError for a template with other names in it than {schema_version} and {deployment}.
    """
    template = names.deployment_role
    if template is None or ("{schema_version}" in template and schema_version is None):
        return None
    try:
        return template.format(schema_version=schema_version, deployment=deployment)
    except (KeyError, IndexError, ValueError):
        raise UsageError(
            f"[database] deployment_role is {template!r}: only {{schema_version}} and {{deployment}} are filled in",
            next="mend that line of the playbook",
        ) from None


def gather(systems: Systems, deployment: Deployment) -> Evidence:
    """What the target tells of a deployment. Never raises for what is not there: that is said in `missing`."""
    role = role_of(systems.playbook.database, deployment.id, deployment.schema_version)
    missing: list[str] = []
    queries: Sequence[RecordedQuery] = ()
    application, server = None, None
    try:
        server = systems.database.identity()
        if role is None:
            missing.append(
                f"Nothing says as which role {deployment.id} asks the database, so its queries are not known."
            )
        else:
            queries = recorded_queries(systems.database, deployment.id, role)
            with systems.database.reading() as conn:
                application = read_application(conn, role)
            missing += [] if queries else [f"No query of role {role} is recorded."]
    except DatabaseError as error:
        missing.append(f"Recorded queries could not be read: {error.what}.")
    requests, why = _requests(systems, deployment.id)
    return Evidence(tuple(queries), tuple(requests), application, server, (*missing, *why))


def _requests(systems: Systems, deployment: str) -> tuple[list[LoggedTransaction], list[str]]:
    log = systems.target.statement_log
    if log is None:
        return [], ["No statement log is named for this target, so no real request can be tried."]
    try:
        found = read_log(log, deployment)
    except UsageError as error:
        return [], [f"{error.what}; it was not read."]
    except OSError as error:
        return [], [f"The statement log could not be read: {error.strerror}."]
    return found, [] if found else [f"The statement log holds no request of {deployment}."]


def keep_evidence(systems: Systems, deployment: Deployment) -> int:
    """Keep the deployment's recorded queries on the target, at a verified moment. How many; 0 where its role is not
    known. Raises DatabaseError where they cannot be read or kept."""
    role = role_of(systems.playbook.database, deployment.id, deployment.schema_version)
    return 0 if role is None else keep_queries(systems.database, deployment.id, role)


def schema_at(points: Sequence[StablePoint], deployment: str) -> SchemaSignature | None:
    """The schema on which this deployment was last verified, as the stable points (newest first) kept it; None where
    they do not tell."""
    for point in points:
        if point.deployment != deployment:
            continue
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return SchemaSignature.from_json(point.baseline["signature"])
    return None
