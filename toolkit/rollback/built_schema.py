"""Is the live schema the one that migrations 1 to N make? Built on a scratch server, compared object by object.

It proves a rollback: what the downs left behind or took too much of shows as drift. Only within one major version, as
catalogs differ between them; what the scratch server could not build is unknown, never passed. It reads the target.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.adapters.systems import Systems
from toolkit.checks import Check, CheckResult, Finding, failed, passed, run_checks, unknown
from toolkit.rollback.groundwork import (
    Groundwork,
    build_alike,
    read_groundwork,
    signature_of,
    unmanaged_schemas,
    without,
)
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.scratch import Scratch
from toolkit.verify.fingerprints import OWN_SCHEMA, SchemaSignature, difference
from toolkit.verify.schema import GROUPS

SHOWN = 20
READ_WITHIN_MS = 10_000


@dataclass(frozen=True)
class Compared:
    """`drift` is what the live schema has otherwise than the built one, an object a line. `problems` could not be
    built. `aside` are schemas in which the migrations make nothing. `counted` is how many objects were compared."""

    version: int | None
    drift: tuple[str, ...]
    problems: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    counted: int = 0
    majors: tuple[int, int] = (0, 0)


def live_against_built(
    systems: Systems, scratch: Scratch, version: int | None, *, leave_out: Sequence[str] = ()
) -> list[CheckResult]:
    """Compare the live schema with what migrations 1 to `version` (None: none) make, a check for each kind of objects.

    `leave_out` are kinds that are not as they should be on purpose (`grant`, while writes are frozen). Raises nothing:
    what could not be looked at is unknown.
    """
    once: list[Compared] = []

    def seen() -> Compared:
        if not once:
            once.append(compare(systems, scratch, version))
        return once[0]

    def judged(kinds: Sequence[str]) -> Callable[[], Finding]:
        wanted = [kind for kind in kinds if kind not in leave_out]
        return lambda: _judge(seen(), wanted, [kind for kind in kinds if kind in leave_out])

    upto = "no migration" if version is None else f"migrations up to {version}"
    checks = [
        Check(f"{name.removesuffix('are as before')}are those of {upto}", area, judged(kinds))
        for area, name, kinds in GROUPS
    ]
    return run_checks(checks)


def compare(systems: Systems, scratch: Scratch, version: int | None) -> Compared:
    """Build and compare. Raises ToolkitError when the folder or the database cannot be read."""
    folder = read_folder(systems.target.migrations)
    schemas = [schema for schema in systems.playbook.database.schemas if schema != OWN_SCHEMA]
    with systems.database.reading(within_ms=READ_WITHIN_MS) as conn:
        ground = read_groundwork(conn, schemas, folder, systems.playbook.database.state_table)
        live = signature_of(conn, ground)
    if live.server != scratch.major:
        return Compared(version, (), majors=(live.server, scratch.major))
    built = build_alike(scratch, ground, folder, version, f"built_{secrets.token_hex(4)}")
    with built.database.reading(within_ms=READ_WITHIN_MS) as conn:
        made = signature_of(conn, ground)
    return compared(made, live, ground, version, built.problems)


def compared(
    made: SchemaSignature, live: SchemaSignature, ground: Groundwork, version: int | None, problems: Sequence[str]
) -> Compared:
    """Hold two signatures of one major version against each other."""
    aside = unmanaged_schemas(made, live, ground)
    made, live = without(made, aside), without(live, aside)
    return Compared(
        version=version,
        drift=tuple(difference(made, live)),
        problems=tuple(problems),
        aside=tuple(sorted(aside)),
        counted=len(made.objects),
        majors=(live.server, made.server),
    )


def _judge(seen: Compared, kinds: Sequence[str], left_out: Sequence[str]) -> Finding:
    live, made = seen.majors
    if live != made:
        return unknown(f"the target is PostgreSQL {live}, the scratch server {made}: catalogs differ between majors")
    drift = [line for line in seen.drift if line.startswith(tuple(f"{kind} " for kind in kinds))]
    if seen.problems:
        found = f"; otherwise: {_shown(drift)}" if drift else ""
        return unknown(f"not all could be built: {_shown(seen.problems)}{found}")
    if drift:
        return failed(_shown(drift))
    besides = f"; the migrations make nothing in {', '.join(seen.aside)}" if seen.aside else ""
    unjudged = f"; not compared: {', '.join(left_out)}" if left_out else ""
    return passed(f"as built, of {seen.counted} objects in all{besides}{unjudged}")


def _shown(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join(lines[:SHOWN]) + more
