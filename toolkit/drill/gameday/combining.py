"""Which fault can be put in on top of which: two that touch the same part would undo or forbid each other.

It looks at the kinds of faults alone and runs nothing. What it admits may still be refused when it comes to it, because
people have changed the sandbox meanwhile.
"""

from collections.abc import Mapping, Sequence

from toolkit.drill.scenario import Scenario, load_scenario, scenario_names

SCHEMA, CODE, SERVER = "the schema", "the deployment", "the database's server"
_TOUCHES: Mapping[str, frozenset[str]] = {
    "migrate": frozenset({SCHEMA}),
    "half-apply": frozenset({SCHEMA}),
    "migrate-and-deploy": frozenset({SCHEMA, CODE}),
    "deploy": frozenset({CODE}),
    "sql": frozenset({"the data"}),
    "sessions": frozenset({"the database's sessions"}),
    "server": frozenset({SERVER}),
    "backups": frozenset({"the backups"}),
    "disk": frozenset({"the disk"}),
}


def touched(scenario: Scenario) -> frozenset[str]:
    """The parts of the service that its faults change, in words."""
    return frozenset().union(*(_TOUCHES.get(fault.kind, frozenset({fault.kind})) for fault in scenario.faults))


def why_not(put_in: Sequence[Scenario], other: Scenario) -> str:
    """Why `other` cannot come on top of what was put in, in a sentence without a name of it; '' where it can."""
    taken = frozenset[str]().union(*(touched(each) for each in put_in))
    if both := sorted(taken & touched(other)):
        return f"{' and '.join(both)} is broken already"
    if SERVER in taken:
        return "the database's server does not take a fault any more"
    if put_in and other.sandbox not in (type(other.sandbox)(), put_in[0].sandbox):
        return "it needs a sandbox of another size"
    return ""


def on_top(put_in: Sequence[Scenario], kinds: Sequence[str] = ()) -> list[str]:
    """The names of all that can come on top, sorted; with `kinds`, of those that want such an answer."""
    every = [load_scenario(name) for name in scenario_names()]
    return [each.name for each in every if (not kinds or each.rollback_type in kinds) and not why_not(put_in, each)]
