"""Type 2, and the application's part of Type 1: which deployment production should go back to. Pure.

Owns the choice of a deployment and the step that points production at it. It knows nothing of how that is done.
"""

from toolkit.adapters.vercel import Deployment
from toolkit.errors import RollbackError
from toolkit.rollback.pair.choosing import Pairing
from toolkit.rollback.plan import Plan, PointProduction, Step
from toolkit.rollback.situation import Releases, Situation, can_serve


def plan_application_rollback(
    situation: Situation, *, deployment: str | None = None, pairing: Pairing | None = None
) -> Plan:
    """Point production at a given deployment, or at the newest earlier one.

    The schema stays. `pairing` is what was found out about deployments and this schema; without it, or where that is
    nothing, the recorded schema versions must do. Raises RollbackError when there is no such deployment, when
    production points there already, when its code was built for a newer schema than the live one, and when it only
    fits together with another schema.
    """
    releases = situation.releases
    running = releases.running
    live = situation.state.version if situation.state else None
    if pairing is not None and pairing.widened:
        raise _needs_both(pairing, situation.target)
    known = pairing is not None and pairing.order == "alone"
    named = deployment or (pairing.deployment if pairing and known else None)
    chosen = named_deployment(releases, named) if named else _newest_earlier(releases, live)
    if chosen.id == running.id:
        raise RollbackError(
            f"Production points at {chosen.id} already",
            target=situation.target,
            state="nothing was done",
            next=f"name another deployment: {listed(releases.earlier)}",
        )
    if not known and live is not None and chosen.schema_version is not None and chosen.schema_version > live:
        raise RollbackError(
            f"Deployment {chosen.id} was built for schema {chosen.schema_version}, and the live one is {live}",
            target=situation.target,
            state="nothing was done",
            next="choose a deployment that was built for the live schema or an older one",
        )
    return Plan(
        kind="application",
        service=situation.service,
        target=situation.target,
        server=situation.server,
        summary=f"Application rollback of {situation.service}: {running.id} → {chosen.id}",
        steps=(point_production(chosen, running, "It was live before the one that fails."),),
        warnings=(*(() if known else fit_warnings(chosen, live)), *(pairing.warnings if pairing else ())),
        reasons=pairing.reasons if pairing else (),
    )


def _needs_both(pairing: Pairing, target: str) -> RollbackError:
    return RollbackError(
        f"The application alone cannot go back: {' '.join(pairing.reasons) or pairing.deployment}",
        target=target,
        state="nothing was done",
        next=f"go back with the schema too: --migration-target=N --deployment={pairing.deployment}, or --last-stable",
    )


def named_deployment(releases: Releases, name: str) -> Deployment:
    """A deployment by its id or host. Raises RollbackError when it is unknown or cannot be rolled back to."""
    found = releases.named(name)
    if found is None:
        raise RollbackError(
            f"There is no production deployment {name!r} among the latest {len(releases.deployments)}",
            state="nothing was done",
            next=f"name one of: {listed(releases.earlier)}",
        )
    if found.id != releases.running.id and not can_serve(found):
        raise RollbackError(
            f"Production cannot be rolled back to {found.id}: {_why_not(found)}",
            state="nothing was done",
            next=f"name one of: {listed(releases.earlier)}",
        )
    return found


def _why_not(deployment: Deployment) -> str:
    """Why the platform would refuse, as far as it can be told beforehand."""
    if not deployment.ready:
        return f"it is {deployment.state}"
    if deployment.substate == "PROMOTED":
        return "the platform's plan excludes it (on Hobby only the one immediately before the live one can be chosen)"
    return "it never was live; it can be promoted instead"


def deployment_for(releases: Releases, version: int) -> Deployment:
    """The newest earlier deployment whose code was built for this schema version or an older one.

    One that does not say what it was built for is not chosen unasked. Raises RollbackError when there is none.
    """
    fitting = [d for d in releases.earlier if d.schema_version is not None and d.schema_version <= version]
    if not fitting:
        raise RollbackError(
            f"No earlier deployment is known to run on schema {version}",
            state="nothing was done",
            next=f"name one with --deployment: {listed(releases.earlier)}; or restore from a backup",
        )
    return fitting[0]


def point_production(chosen: Deployment, running: Deployment, why: str) -> Step:
    """The step, with all that the platform does besides."""
    return Step(
        id="point-production",
        action=PointProduction(chosen.id, running.id),
        what=f"Point production at {said(chosen)} instead of {said(running)}",
        why=why,
        expected="Requests in flight end on the old deployment, new ones go to the other. Its old environment and "
        "cron jobs are back, and automatic assignment is off: the next push does not go live",
        verify="Production, asked by its own name, points there, and that deployment answers the health endpoint",
        undo=f"--abort, or `vercel promote {running.id}`, which also turns automatic assignment on again",
    )


def fit_warnings(chosen: Deployment, version: int | None) -> tuple[str, ...]:
    """What is not known about this code on that schema version."""
    needs = chosen.schema_version
    if needs is None:
        return (f"Nobody recorded which schema deployment {chosen.id} was built for: unknown whether it runs here.",)
    if version is None:
        return ("The live schema version could not be read: unknown whether the deployment runs on it.",)
    if needs < version:
        return (f"Deployment {chosen.id} was built for schema {needs}; that it runs on {version} is not proved.",)
    return ()


def said(deployment: Deployment) -> str:
    """`dpl_x (schema 8)`"""
    needs = deployment.schema_version
    return f"{deployment.id} ({'schema unknown' if needs is None else f'schema {needs}'})"


def listed(deployments: list[Deployment]) -> str:
    """For an error's `next`."""
    return ", ".join(said(d) for d in deployments[:5]) or "there is none"


def _newest_earlier(releases: Releases, live: int | None) -> Deployment:
    """The newest that fits the live schema; the newest at all where nothing says what it fits."""
    earlier = releases.earlier
    before = [d for d in earlier if d.created_at < releases.running.created_at] or earlier
    fitting = [d for d in before if live is None or d.schema_version is None or d.schema_version <= live]
    if not fitting:
        raise RollbackError(
            "There is no earlier deployment to go back to",
            state="nothing was done",
            next="deploy a mended build; or go back with the schema too, as a migration rollback",
        )
    return fitting[0]
