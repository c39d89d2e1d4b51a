"""Collects what is needed to say whether code and schema will fit: copies of both schemas, and what deployments asked.

It reads the target and builds on a scratch server. What could not be tried is unknown, and told in the plan's warnings.
"""

from collections.abc import Mapping, Sequence

from toolkit.adapters.postgres import Database
from toolkit.adapters.systems import Systems
from toolkit.adapters.vercel import Deployment
from toolkit.errors import DatabaseError, ToolkitError, UsageError
from toolkit.rollback.groundwork import build_alike, read_groundwork
from toolkit.rollback.pair import (
    Candidate,
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
from toolkit.rollback.scratch import Scratch, scratch_server
from toolkit.rollback.situation import Situation
from toolkit.verify.fingerprints import OWN_SCHEMA

EARLIER_TRIED = 3
READ_WITHIN_MS = 10_000


def find_pairing(
    systems: Systems, situation: Situation, *, wanted: Wanted, after: int | None, named: str | None
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
        with scratch_server(like=situation.server) as scratch:
            copies = _copies(systems, situation, scratch, [now, *([after] if after is not None else [])])
            current = _candidate(systems, situation, running, copies, now, after)
            others = [_candidate(systems, situation, each, copies, now, after) for each in _others(situation, named)]
    except (DatabaseError, UsageError) as error:
        said = f"Whether code and schema fit was not tried: {error.what}."
        return Pairing("unknown", None, wanted == "migration", (), (said,))
    return choose_pair(current, others, now=now, after=after, wanted=wanted)


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


def _copies(
    systems: Systems, situation: Situation, scratch: Scratch, versions: Sequence[int]
) -> Mapping[int, Database]:
    """A copy of the schema at each version, empty of rows."""
    assert situation.folder is not None
    names = systems.playbook.database
    schemas = [schema for schema in names.schemas if schema != OWN_SCHEMA]
    with systems.database.reading(within_ms=READ_WITHIN_MS) as conn:
        ground = read_groundwork(conn, schemas, situation.folder, names.state_table)
    built = {
        version: build_alike(scratch, ground, situation.folder, version, f"pair_{version}") for version in set(versions)
    }
    if problems := [problem for each in built.values() for problem in each.problems]:
        raise DatabaseError(f"the schemas could not be built whole: {problems[0]}")
    return {version: each.database for version, each in built.items()}


def _candidate(
    systems: Systems,
    situation: Situation,
    deployment: Deployment,
    copies: Mapping[int, Database],
    now: int,
    after: int | None,
) -> Candidate:
    found = {version: _check(systems, situation, deployment, copies, version) for version in copies}
    there = found[now] if after is None else found[after]
    wrong = [each.sentence for each in found.values() if each.verdict == "incompatible"]
    return Candidate(deployment.id, found[now].verdict, there.verdict, tuple(wrong))


def _check(
    systems: Systems, situation: Situation, deployment: Deployment, copies: Mapping[int, Database], version: int
) -> PairResult:
    names = systems.playbook.database
    try:
        return check_pair(
            copies[version],
            deployment.id,
            gather(systems, deployment),
            role=role_of(names, deployment.id, deployment.schema_version),
            schemas=[schema for schema in names.schemas if schema != OWN_SCHEMA],
            built_for=schema_at(situation.stable, deployment.id),
            version=version,
            right=copies.get(deployment.schema_version) if deployment.schema_version is not None else None,
        )
    except ToolkitError as error:
        return PairResult("unknown", deployment.id, version, missing=(f"{error.what}.",))
