"""Is production what it should be at its platform? The deployment that it points at, and the variables of its build.

A variable that was changed later does not reach a deployment that is built. Names only; no value is read.
"""

from toolkit.adapters.systems import Systems
from toolkit.adapters.vercel import Deployment
from toolkit.checks import Check, Finding, failed, judge, passed, unknown
from toolkit.errors import PlatformError
from toolkit.verify.expectation import Expectation

AREA = "platform"
SHOWN = 5


def hosting_checks(systems: Systems, expectation: Expectation) -> list[Check]:
    """That the expected deployment serves, and that no variable changed since its build; nothing without a platform."""
    if not systems.hosted:
        return []
    return [
        Check("production points at the expected deployment", AREA, lambda: _production(systems, expectation)),
        Check("production was built after its variables were set", AREA, lambda: _variables(systems, expectation)),
    ]


def stale_variables(systems: Systems, live: Deployment) -> tuple[str, ...]:
    """Production's variables that were changed after `live` was built. Raises PlatformError."""
    changed = (
        variable.key
        for variable in systems.platform.environment()
        if "production" in variable.targets and variable.updated_at and variable.updated_at > live.created_at
    )
    return tuple(sorted(changed))


def stale_at_the_stable_point(systems: Systems, live: Deployment) -> tuple[str, ...] | None:
    """The same, to be kept with a baseline; None where the platform does not tell them to this token."""
    try:
        return stale_variables(systems, live)
    except PlatformError:
        return None


def _production(systems: Systems, expectation: Expectation) -> Finding:
    """By the platform's word, and by the header of an answer where it names the deployment."""
    found = systems.platform.production(systems.production_host)
    answered = systems.service.fetch(systems.playbook.endpoints.health).deployment
    told = f"production points at {found.id}" + (f", {answered} answers" if answered else "")
    if expectation.deployment is None:
        return unknown(f"{told}; nobody said which to expect")
    right = found.id == expectation.deployment and answered in (None, found.id)
    return judge(right and found.ready, f"{told}; expected {expectation.deployment}; it is {found.state}")


def _variables(systems: Systems, expectation: Expectation) -> Finding:
    """What was stale at the stable point may stay so: the service was well with it."""
    live = systems.platform.production(systems.production_host)
    stale, before = stale_variables(systems, live), expectation.baseline.stale_variables
    if not stale:
        return passed(f"none was changed since {live.id} was built")
    if before is None:
        return unknown(f"changed since {live.id} was built: {_named(stale)}; nobody recorded whether they were before")
    if new := tuple(key for key in stale if key not in before):
        return failed(f"changed since {live.id} was built, which does not know it: {_named(new)}; deploy it again")
    return passed(f"{len(stale)} were changed since {live.id} was built, all of them before it was stable")


def _named(keys: tuple[str, ...]) -> str:
    return ", ".join(keys[:SHOWN]) + (f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else "")
