"""Collects what is needed to say whether code and schema will fit: copies of both schemas, and what deployments asked.

It reads the target and builds on a scratch server: both schemas without rows, and with rows where this incident has a
backup that is restored soon enough. What could not be tried is unknown, and told in the plan's warnings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from toolkit.adapters.postgres import Database
from toolkit.adapters.systems import Systems
from toolkit.adapters.vercel import Deployment
from toolkit.errors import DatabaseError, ToolkitError, UsageError
from toolkit.incident import Incident
from toolkit.progress import Advance, no_advance
from toolkit.rollback.backup import require_backup
from toolkit.rollback.building import run_script
from toolkit.rollback.groundwork import build_alike, read_groundwork
from toolkit.rollback.migrations import MigrationFolder
from toolkit.rollback.pair import (
    Candidate,
    Evidence,
    Pairing,
    PairResult,
    check_pair,
    choose_pair,
    gather,
    keep_evidence,
    role_of,
    schema_at,
)
from toolkit.rollback.pair.choosing import Wanted
from toolkit.rollback.plan import Plan
from toolkit.rollback.scratch import Scratch, restoring_s, scratch_server
from toolkit.rollback.situation import Situation
from toolkit.rollback.state_tables import read_state
from toolkit.verify.fingerprints import OWN_SCHEMA

EARLIER_TRIED = 3
READ_WITHIN_MS = 10_000
ROWS, ROWS_WITHIN_S = "pair_rows", 60.0  # a plan is waited for
LISTED = 50


@dataclass(frozen=True)
class _Copies:
    """By version, those with rows first. `why_none` says why none has rows, '' where some has."""

    by_version: Mapping[int, tuple[Database, ...]]
    why_none: str


def find_pairing(
    systems: Systems,
    situation: Situation,
    incident: Incident,
    *,
    wanted: Wanted,
    after: int | None,
    named: str | None,
    advance: Advance = no_advance,
) -> Pairing | None:
    """Which deployment with which schema, and in which order; None where database, folder or live code is unknown.

    `after` is the schema version to go to, None where it must stay; `named` the deployment that somebody named. Raises
    RollbackError where no deployment fits in the end. What cannot be tried makes the pairing 'unknown'.
    """
    if situation.server is None or situation.folder is None or situation.state is None or situation.pooled:
        return None
    running = situation.releases.live
    if running is None:
        return None
    now = situation.state.version
    if now is None or situation.state.dirty or situation.state.drift:
        return None
    try:
        advance("starting a scratch server", 0, None)
        with scratch_server(like=situation.server) as scratch:
            asked = [running, *_others(situation, named)]
            known = {each.id: gather(systems, each) for each in asked}
            copies = _copies(
                systems,
                situation,
                incident if any(each.requests for each in known.values()) else None,
                scratch,
                [now, *([after] if after is not None else [])],
                advance,
            )
            candidates = []
            for count, each in enumerate(asked):
                advance("trying deployments on both schemas", count, len(asked))
                candidates.append(_candidate(systems, situation, each, known[each.id], copies, now, after))
    except (DatabaseError, UsageError) as error:
        said = f"Whether code and schema fit was not tried: {error.what}."
        return Pairing("unknown", None, wanted == "migration", (), (said,))
    pairing = choose_pair(candidates[0], candidates[1:], now=now, after=after, wanted=wanted)
    if not (copies.why_none and pairing.warnings):
        return pairing
    said = f"Requests were tried on copies without rows: {copies.why_none}."
    return replace(pairing, warnings=(*pairing.warnings, said))


def running_after(systems: Systems, plan: Plan) -> Deployment | None:
    """The deployment that will run when the plan is done. Raises PlatformError; None where it is not listed."""
    live = systems.platform.production(systems.production_host)
    if plan.deployment in (None, live.id, live.host):
        return live
    listed = systems.platform.deployments(limit=LISTED)
    return next((each for each in listed if plan.deployment in (each.id, each.host)), None)


def pair_on_copy(systems: Systems, deployment: Deployment, copy: Database, version: int | None) -> PairResult:
    """Whether a deployment works on a copy as it stands; `systems` are the target's. Raises ToolkitError."""
    return check_pair(
        copy,
        deployment.id,
        gather(systems, deployment),
        role=role_of(systems.playbook.database, deployment.id, deployment.schema_version),
        schemas=_schemas(systems),
        built_for=schema_at(systems.database.stable_points(), deployment.id),
        version=version,
    )


def remember_queries(systems: Systems) -> str:
    """Keep on the target what the live deployment asks its database, at a moment when all was verified: the server
    forgets it in a crash. In a sentence what came of it; a target that does not answer is no reason to stop."""
    try:
        live = systems.platform.production(systems.production_host)
        count = keep_evidence(systems, live)
    except ToolkitError as error:
        return f"What the live deployment asks was not kept: {error.what}."
    return f"{count} queries of the live deployment are kept, for the day on which it must fit another schema."


def _others(situation: Situation, named: str | None) -> Sequence[Deployment]:
    if named is not None:
        found = situation.releases.named(named)
        return [found] if found is not None else []
    return situation.releases.earlier[:EARLIER_TRIED]


def _schemas(systems: Systems) -> list[str]:
    return [schema for schema in systems.playbook.database.schemas if schema != OWN_SCHEMA]


def _copies(
    systems: Systems,
    situation: Situation,
    incident: Incident | None,
    scratch: Scratch,
    versions: Sequence[int],
    advance: Advance,
) -> _Copies:
    """A copy of the schema at each version, and before it one with rows, from a backup of the incident. None: nothing
    that would ask rows is recorded."""
    assert situation.folder is not None
    names = systems.playbook.database
    with systems.database.reading(within_ms=READ_WITHIN_MS) as conn:
        ground = read_groundwork(conn, _schemas(systems), situation.folder, names.state_table)
    built = {
        version: build_alike(scratch, ground, situation.folder, version, f"pair_{version}", advance=advance)
        for version in set(versions)
    }
    if problems := [problem for each in built.values() for problem in each.problems]:
        raise DatabaseError(f"the schemas could not be built whole: {problems[0]}")
    rows, why = dict[int, Database](), ""
    if incident is not None:
        try:
            rows = _with_rows(systems, situation, incident, scratch, versions, ground.owner, advance)
        except ToolkitError as error:
            why = error.what
    found = {version: (*([rows[version]] if version in rows else []), each.database) for version, each in built.items()}
    return _Copies(found, why)


def _with_rows(
    systems: Systems,
    situation: Situation,
    incident: Incident,
    scratch: Scratch,
    versions: Sequence[int],
    owner: str,
    advance: Advance,
) -> dict[int, Database]:
    """This incident's backup, restored, at the version of now, which comes first, and after the downs. ToolkitError
    says why there is none; a version to which no down leads is left out."""
    assert situation.server is not None and situation.folder is not None
    backup = require_backup(incident, situation.server)
    if (seconds := restoring_s(backup.manifest.bytes)) > ROWS_WITHIN_S:
        raise DatabaseError(f"restoring the backup would take about {seconds:.0f} s")
    now, *others = versions
    built = scratch.restored(backup.folder, name=ROWS, advance=advance)
    state = read_state(built.database, situation.folder, systems.playbook.database.state_table)
    if built.problems or state.version != now or state.dirty:
        raise DatabaseError(built.problems[0] if built.problems else f"the backup is of version {state.version}")
    found = {now: built.database}
    for version in others:
        copy = scratch.copied(ROWS, f"{ROWS}_{version}")
        if version == now or _taken_back(copy, situation.folder, version, now, owner):
            found[version] = copy
    return found


def _taken_back(copy: Database, folder: MigrationFolder, to: int, now: int, owner: str) -> bool:
    """Run the downs; False where one is missing or fails, which the plan and its rehearsal tell."""
    for migration in folder.between(to, now):
        if migration.down is None or migration.down.problem:
            return False
        try:
            run_script(copy, owner, migration.down)
        except DatabaseError:
            return False
    return True


def _candidate(
    systems: Systems,
    situation: Situation,
    deployment: Deployment,
    evidence: Evidence,
    copies: _Copies,
    now: int,
    after: int | None,
) -> Candidate:
    found = {v: _check(systems, situation, deployment, evidence, copies, v) for v in copies.by_version}
    here, there = found[now], found[now] if after is None else found[after]
    wrong = [each.sentence for each in found.values() if each.verdict == "incompatible"]
    doubts = [each.doubt if each.verdict == "unknown" else "" for each in (here, there)]
    return Candidate(deployment.id, here.verdict, there.verdict, tuple(wrong), *doubts)


def _check(
    systems: Systems, situation: Situation, deployment: Deployment, evidence: Evidence, copies: _Copies, version: int
) -> PairResult:
    """On the copy with rows; where that leaves it open, because rows are in the way, on the one without too."""
    right = copies.by_version.get(deployment.schema_version) if deployment.schema_version is not None else None
    results = []
    for copy in copies.by_version[version]:
        try:
            result = check_pair(
                copy,
                deployment.id,
                evidence,
                role=role_of(systems.playbook.database, deployment.id, deployment.schema_version),
                schemas=_schemas(systems),
                built_for=schema_at(situation.stable, deployment.id),
                version=version,
                right=right[-1] if right else None,
            )
        except ToolkitError as error:
            result = PairResult("unknown", deployment.id, version, missing=(f"{error.what}.",))
        if result.verdict != "unknown":
            return result
        results.append(result)
    return results[0]
