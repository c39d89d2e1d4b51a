"""What could be done, side by side: each type of rollback, fixing forward, waiting; by what it costs. Pure.

Figures come from what was seen: how many requests fail, how large the database is, what the downs remove. Where
nothing was seen, it is said that the cost is unknown; no figure is made up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from toolkit.assess.facts import AppliedMigration, Facts
from toolkit.assess.reasoning import Cause, Confidence, Hypothesis, Recommendation
from toolkit.rollback.scratch import restoring_s

DUMPED_BYTES_PER_S = 40e6  # a cautious figure, as the one for restoring
FIX_FORWARD, WAIT = "fix-forward", "wait"
KINDS = ("migration", "application", "restore", "emergency", FIX_FORWARD, WAIT)


@dataclass(frozen=True)
class Costs:
    """What the costs are reckoned with; None where it was not seen. `rate_per_s` are requests, `bytes` the database's.

    `backup_at`: when the newest backup of this target was made; `backup` how far that one was verified.
    """

    rate_per_s: float | None
    bytes: int | None
    backup_at: datetime | None
    backup: str
    now: datetime


@dataclass(frozen=True)
class Option:
    """One way. `possible` False: it cannot be done as things stand. `command` carries it out, or shows its plan."""

    kind: str
    target: str
    downtime: str
    loss: str
    speaks_for: tuple[str, ...]
    against: tuple[str, ...]
    command: str
    possible: bool = True
    recommended: bool = False

    def row(self) -> dict[str, object]:
        """For a table."""
        sign = "▶ " if self.recommended else ""
        return {
            "option": f"{sign}{self.kind.replace('-', ' ')}{f' to {self.target}' if self.target else ''}",
            "downtime": self.downtime if self.possible else "cannot be done",
            "loss": self.loss,
            "for": " ".join(self.speaks_for) or "nothing",
            "against": " ".join(self.against) or "nothing",
        }


def compare(
    facts: Facts, ranked: Sequence[Hypothesis], advice: Recommendation, costs: Costs, *, where: str
) -> list[Option]:
    """All six, the recommended one first. `where` are the words that name target and incident in a command."""
    made = [
        _migration(facts, where),
        _application(facts, where),
        _restore(facts, costs, where),
        _emergency(facts, costs, where),
        _fix_forward(facts, ranked),
        _wait(facts, costs),
    ]
    named = advice.kind if advice.kind != "none" else _without_rollback(ranked[0])
    found = [_marked(each, advice) if each.kind == named else each for each in made]
    return sorted(found, key=lambda each: (not each.recommended, not each.possible))


def _without_rollback(best: Hypothesis) -> str:
    """Where the cause is known and no rollback mends it, mend it; where it is not known, look on."""
    return FIX_FORWARD if best.cause is not Cause.UNKNOWN and best.confidence is not Confidence.WEAK else WAIT


def _marked(option: Option, advice: Recommendation) -> Option:
    """The recommended one, with its reasons. What is half applied is mended, though no down can run."""
    return replace(
        option,
        recommended=True,
        possible=option.possible or option.kind == "migration",
        speaks_for=advice.reasons,
        against=tuple(dict.fromkeys([*advice.against, *option.against])),
    )


def _unverified(facts: Facts) -> list[AppliedMigration]:
    if facts.version is None or facts.stable_version is None:
        return []
    return [m for m in facts.migrations if facts.stable_version < m.version <= facts.version]


def _migration(facts: Facts, where: str) -> Option:
    recent = _unverified(facts)
    stuck = [f"Migration {m.version}: {m.down_problem}." for m in recent if m.down_problem]
    against = [*stuck]
    if not recent:
        against.append(
            "No version was recorded as verified." if facts.stable_version is None else "No migration is newer than it."
        )
    if facts.production and facts.stable_version is not None:
        needs = facts.production.schema_version
        if needs is None:
            against.append("It is unknown whether the live deployment runs on the older schema.")
        elif needs > facts.stable_version:
            against.append("The live deployment needs the newer schema: it goes back first.")
    return Option(
        "migration",
        "" if facts.stable_version is None else f"version {facts.stable_version}",
        f"none to seconds: {_downs(len(recent))}, behind a lock",
        _removed(recent),
        ("It undoes the change and keeps every row that the downs do not remove.",) if recent else (),
        tuple(against),
        f"emergency-rollback --last-stable {where}",
        possible=bool(recent) and not stuck and facts.database_up is not False,
    )


def _downs(count: int) -> str:
    return "one down, in a transaction" if count == 1 else f"{count} downs, each in a transaction of its own"


def _removed(recent: Sequence[AppliedMigration]) -> str:
    """What the downs take with them."""
    taken = [what for m in recent for what in m.takes or ()]
    silent = [str(m.version) for m in recent if m.takes is None and not m.down_problem]
    loss = f"{', '.join(taken)} (salvaged first)" if taken else "nothing, by the downs' text" if recent else "nothing"
    return loss + (f"; what the downs of {', '.join(silent)} remove, their text does not tell" if silent else "")


def _application(facts: Facts, where: str) -> Option:
    newer = facts.production is not None and facts.stable_deployment not in (None, facts.production.id)
    against = ["The old deployment comes back with its old environment and cron jobs."]
    if _unverified(facts):
        against.append("The schema stays as it is: the older code must run on it.")
    if not newer:
        against.append(
            "Where production points is unknown."
            if facts.production is None
            else "Nothing newer is live, as far as is known."
        )
    return Option(
        "application",
        facts.stable_deployment or "",
        "none to seconds: production is pointed elsewhere, nothing is built",
        "nothing in the database",
        ("It is quick, and undone as quickly.",),
        tuple(against),
        f"emergency-rollback --app-rollback {where}",
        possible=newer and facts.platform_up is not False,
    )


def _restore(facts: Facts, costs: Costs, where: str) -> Option:
    if costs.bytes is None:
        beside = "its copy is made beside production, in a time that is unknown (the size was not seen)"
    else:
        beside = f"its copy is ready after about {_span(2 * restoring_s(costs.bytes))}"
    age = "" if costs.backup_at is None else _span((costs.now - costs.backup_at).total_seconds())
    found = f"The newest backup is {age} old, {costs.backup}." if age else "No backup of this target was found here."
    return Option(
        "restore",
        f"the backup of {costs.backup_at:%Y-%m-%d %H:%M}Z" if costs.backup_at else "",
        f"under a second while it is swapped in; {beside}",
        "what cannot be merged of the writes since the backup; the rest is carried over",
        ("It brings back what was overwritten or dropped.",),
        (found,),
        f"emergency-rollback --backup-restore=newest {where}",
        possible=costs.backup_at is not None and facts.database_up is not False,
    )


def _emergency(facts: Facts, costs: Costs, where: str) -> Option:
    size = costs.bytes
    spent = "a time that is unknown" if size is None else _span(size / DUMPED_BYTES_PER_S + restoring_s(size) + 30)
    removed = _removed(_unverified(facts))
    return Option(
        "emergency",
        "" if facts.stable_version is None else f"version {facts.stable_version}",
        f"writes stand still for {spent}: backup, rehearsal, rollback, a look, return in stages",
        f"{removed}; writes are refused meanwhile, and senders must come again",
        ("It takes code and schema back together, and nobody has to guess which.",),
        ("Writes stop for all, though a part may work.",),
        f"emergency-rollback --full-emergency {where}",
        possible=facts.database_up is not False,
    )


def _fix_forward(facts: Facts, ranked: Sequence[Hypothesis]) -> Option:
    known = ranked[0].confidence is Confidence.STRONG
    return Option(
        FIX_FORWARD,
        "",
        "unknown: until a fix is written, reviewed, built and deployed",
        _meanwhile(facts),
        (f"The cause is known by strong evidence: {ranked[0].title.lower()}.",) if known else (),
        ("A fix made in a hurry was not tried; the failures go on until it is live.",)
        + (() if known else ("The cause is not known for sure.",)),
        "",
    )


def _wait(facts: Facts, costs: Costs) -> Option:
    rate = facts.error_rate
    each_minute = None if rate is None or costs.rate_per_s is None else rate * costs.rate_per_s * 60
    cost = "what fails was not seen" if each_minute is None else f"{each_minute:,.0f} requests fail a minute"
    nothing = rate == 0 and not facts.errors
    return Option(
        WAIT,
        "",
        "none is seen just now" if nothing else f"as long as it lasts; {cost}",
        _meanwhile(facts),
        ("Nothing fails just now.",) if nothing else (),
        () if nothing else ("Nothing was found that would end it by itself.",),
        f"toolkit assess{'' if nothing else ', again in a minute'}",
    )


def _meanwhile(facts: Facts) -> str:
    if facts.shifted:
        return f"values of {', '.join(facts.shifted)} stay changed, and more may follow"
    if facts.error_rate is None:
        return "unknown: the requests were not seen"
    return "what fails meanwhile, unless its sender comes again" if facts.error_rate else "nothing is seen to be lost"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * 3600:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h" if seconds < 48 * 3600 else f"{round(seconds / 86400)} days"
