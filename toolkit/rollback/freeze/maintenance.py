"""Maintenance mode for the users: a flag in the platform's environment that the service shows. Slow, and no freeze.

A changed variable reaches only what is built after it, and a rollback of the application brings the old value back. So
nothing relies on it: it tells people. What stops writes is the database.
"""

from toolkit.adapters.systems import Systems

MAINTENANCE_VARIABLE = "MAINTENANCE_MODE"
BUILD_WITHIN_S = 300.0


def maintenance(systems: Systems, on: bool, *, within: float = BUILD_WITHIN_S) -> str:
    """Set the flag and build what production runs again, so that it is shown; a sentence about what came of it.

    Production points at a new deployment of the same code afterwards. Raises PlatformError.
    """
    platform = systems.platform
    platform.set_environment(MAINTENANCE_VARIABLE, "true" if on else "false")
    live = platform.production(systems.production_host)
    built = platform.redeploy(live.id, within=within)
    return f"maintenance mode is {'on' if on else 'off'} in {built.id}, the same code as {live.id}"
