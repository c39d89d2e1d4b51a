"""From facts to hypotheses, and from hypotheses to a recommendation. Pure: it asks nothing and changes nothing.

Each hypothesis carries what speaks for it and what speaks against it. Where the evidence carries no rollback, none is
recommended: 'nothing recent explains it' is an answer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from toolkit.assess import quiet
from toolkit.assess.facts import AppliedMigration, Facts, Failure
from toolkit.detect.seen import Signal

EVERYTHING = 0.9  # so large a share of failing requests
LONG_BLOCKED_S = 5.0  # a lock that is waited for so long is more than traffic
BLOCKED_WITH_ERRORS_S = 1.0  # where requests are ended by timeouts or locks, too
CLOCKS_APART = timedelta(seconds=30)  # the platform's clock and ours


class Confidence(StrEnum):
    STRONG = "strong"
    SOME = "some"
    WEAK = "weak"


class Cause(StrEnum):
    MIGRATION = "migration"
    DEPLOYMENT = "deployment"
    DATABASE = "database"
    LOCKS = "locks"
    CONNECTIONS = "connections"
    PLATFORM = "platform"
    DATA = "data"
    QUEUE = "queue"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Hypothesis:
    """One possible cause. `subject` is a migration's version or a deployment's id."""

    cause: Cause
    subject: str
    confidence: Confidence
    supporting: tuple[str, ...]
    against: tuple[str, ...]

    @property
    def title(self) -> str:
        return {
            Cause.MIGRATION: f"Migration {self.subject} broke it",
            Cause.DEPLOYMENT: f"Deployment {self.subject} broke it",
            Cause.DATABASE: "The database does not work",
            Cause.LOCKS: "Sessions wait for a lock",
            Cause.CONNECTIONS: "The database has no connection left",
            Cause.PLATFORM: "The platform does not work",
            Cause.DATA: "Rows were removed, and no migration did it",
            Cause.QUEUE: "Jobs are stuck",
            Cause.UNKNOWN: "Something else",
        }[self.cause]


@dataclass(frozen=True)
class Recommendation:
    """What to do: a rollback type of the playbook, or 'none'. Targets are None where they do not apply."""

    kind: str
    migration_target: int | None
    reasons: tuple[str, ...]
    against: tuple[str, ...]


_INSTEAD = {  # what helps where no rollback does
    Cause.DATABASE: ("A rollback needs the database too: get it back first, with whoever hosts it.",),
    Cause.LOCKS: ("Whoever is in the way is named above: let it end, or end that session.",),
    Cause.CONNECTIONS: ("Connections must come free first: toolkit diagnose tells who holds them.",),
    Cause.QUEUE: ("Nobody works on these jobs: put them back or cancel them, and start the worker.",),
    Cause.PLATFORM: ("Open a ticket with the platform; a rollback needs its API.",),
}


def hypotheses(facts: Facts) -> list[Hypothesis]:
    """All that the facts suggest, the best supported first; never empty."""
    found = [*_of_migrations(facts), *_of_deployment(facts), *_of_database(facts)]
    found += [*_of_locks(facts), *_of_connections(facts), *_of_platform(facts), *_of_data(facts), *_of_queue(facts)]
    order = list(Confidence)
    return sorted(found, key=lambda each: order.index(each.confidence)) or [_something_else(facts)]


def recommend(facts: Facts, ranked: Sequence[Hypothesis]) -> Recommendation:
    """The rollback that the best hypothesis calls for, if its evidence carries one."""
    best = ranked[0]
    if facts.breach:
        against = ("Writes stop while it runs, and every other session is ended.",)
        return Recommendation("emergency", facts.stable_version, (f"Declared: {facts.breach}.",), against)
    if facts.dirty and facts.stable_version is not None:
        return Recommendation(
            "migration",
            facts.stable_version,
            (f"Migration {facts.version} is marked dirty: it may be un-, partly or fully applied.",),
            ("Its down assumes a complete up. The plan compares the schema first and undoes what is there.",),
        )
    if (everything := _everything_fails(facts)) is not None:
        return everything
    if best.cause is Cause.MIGRATION and best.confidence is not Confidence.WEAK and facts.stable_version is not None:
        return _restore(facts, best) or _migration_rollback(facts, best)
    if best.cause is Cause.DATA:
        against = ("It needs a backup from before it, and carries over what was acknowledged since.",)
        return Recommendation("restore", facts.stable_version, best.supporting, against)
    if best.cause is Cause.DEPLOYMENT and best.confidence is not Confidence.WEAK:
        against = ("The old deployment comes back with its old environment and cron jobs.",)
        return Recommendation("application", None, best.supporting, against)
    reasons = (*_INSTEAD.get(best.cause, ()), "The evidence carries no rollback.")
    return Recommendation("none", None, reasons, ("Waiting has its cost: see the error rate above.",))


def _everything_fails(facts: Facts) -> Recommendation | None:
    """Where nothing works and more than one thing is new, one does not guess which."""
    new_code = facts.production is not None and facts.stable_deployment not in (None, facts.production.id)
    new_schema = bool(_unverified(facts))
    if (facts.error_rate or 0) < EVERYTHING or not (new_code and new_schema):
        return None
    reasons = (
        f"{facts.error_rate:.0%} of the requests fail.",
        "Both the deployment and the schema are newer than what was last verified.",
    )
    return Recommendation("emergency", facts.stable_version, reasons, ("Writes stop while it runs.",))


def _restore(facts: Facts, best: Hypothesis) -> Recommendation | None:
    """What no down brings back is in a backup: overwritten rows, and whatever a migration without a down took."""
    recent = _unverified(facts)
    reasons = [f"Migration {m.version} cannot go down: {m.down_problem}." for m in recent if m.down_problem]
    reasons += [
        f"Migration {m.version} drops {', '.join(m.destroys)}: no down brings rows back." for m in recent if m.destroys
    ]
    reasons += [f"{share:.0%} of the values of {name} are others than before." for name, share in _rewritten(facts)]
    if not reasons:
        return None
    against = ("It needs a backup from before the damage, and carries over what was acknowledged since.",)
    return Recommendation("restore", facts.stable_version, (*best.supporting, *reasons), against)


def _unverified(facts: Facts) -> list[AppliedMigration]:
    """The migrations above the newest version at which all was verified."""
    if facts.version is None or facts.stable_version is None:
        return []
    return [m for m in facts.migrations if facts.stable_version < m.version <= facts.version]


def _rewritten(facts: Facts) -> list[tuple[str, float]]:
    """Watched columns that have changed, of tables whose rows an unverified migration changes."""
    tables = {table.split(".")[-1] for m in _unverified(facts) for table in m.rewrites}
    return [(name, share) for name, share in facts.shifted.items() if name.split(".")[-2] in tables]


def _migration_rollback(facts: Facts, best: Hypothesis) -> Recommendation:
    reasons = list(best.supporting)
    needs = facts.production.schema_version if facts.production else None
    if needs is None:
        reasons.append(
            "Nobody recorded which schema the live deployment needs: unknown whether it runs on the older one."
        )
    elif facts.stable_version is not None and needs > facts.stable_version:
        reasons.append(f"The live deployment needs schema {needs}: the application must go back too, and first.")
    against = ("What was written into columns and tables that the down removes is lost to the live schema.",)
    return Recommendation("migration", facts.stable_version, tuple(reasons), against)


def _of_migrations(facts: Facts) -> list[Hypothesis]:
    older = "\n".join(m.sql for m in facts.migrations if m.version <= (facts.stable_version or 0))
    return [_of_migration(migration, older, facts) for migration in _unverified(facts)]


def _of_migration(migration: AppliedMigration, older: str, facts: Facts) -> Hypothesis:
    """Strong when an error names what this migration brought or took away; some when it names what it touches."""
    supporting = [f"It came after version {facts.stable_version}, the newest at which all was verified."]
    brought, touched = _named(migration.sql, older, facts.errors)
    supporting += [f"{sum(e.count for e in errors)} errors name {name}, which it brought." for name, errors in brought]
    tables = {table.split(".")[-1] for table in migration.rewrites}
    rewritten = [(name, share) for name, share in facts.shifted.items() if name.split(".")[-2] in tables]
    supporting += [f"It rewrites {name}, of which {share:.0%} has other values now." for name, share in rewritten]
    supporting += [f"{sum(e.count for e in errors)} errors name {name}, which it touches." for name, errors in touched]
    taken = _taken(migration.sql, facts.gone)
    supporting += [f"It names {name}, which was there when all was verified and is not any more." for name in taken]
    missed = any(name in column.split(".")[-2:] for column in taken for name, _ in touched)
    slower = quiet.slower_without_index(migration, facts)
    supporting += [slower] if slower else []
    if brought or rewritten or missed or slower:
        return Hypothesis(Cause.MIGRATION, str(migration.version), Confidence.STRONG, tuple(supporting), ())
    against = ("No error was seen that names anything it brought.",)
    confidence = Confidence.SOME if touched or taken else Confidence.WEAK
    return Hypothesis(Cause.MIGRATION, str(migration.version), confidence, tuple(supporting), against)


def _taken(sql: str, gone: Sequence[str]) -> list[str]:
    """The columns that are gone and that this SQL mentions, by their own name or by their table's."""
    return [column for column in gone if any(_mentions(sql, name) for name in column.split(".")[-2:])]


Named = list[tuple[str, list[Failure]]]


def _named(sql: str, older: str, errors: Sequence[Failure]) -> tuple[Named, Named]:
    """The objects that errors name and this SQL mentions: those that older SQL does not mention, and the others."""
    brought: dict[str, list[Failure]] = {}
    touched: dict[str, list[Failure]] = {}
    for error in errors:
        for name in error.objects:
            if _mentions(sql, name):
                (touched if _mentions(older, name) else brought).setdefault(name, []).append(error)
    return list(brought.items()), list(touched.items())


def _mentions(sql: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE) is not None


def _of_deployment(facts: Facts) -> list[Hypothesis]:
    if facts.production is None or facts.stable_deployment in (None, facts.production.id):
        return []
    supporting = ["It went live after the newest verification, which another deployment passed."]
    ahead, refused = quiet.ahead_of_schema(facts), quiet.refused_events(facts)
    supporting += [each for each in (ahead, refused) if each]
    against = [
        f"{error.count} errors come from the database and name {error.objects[0]}."
        for error in facts.errors
        if error.objects and not ahead
    ]
    late: list[str] = []
    built = facts.production.created_at
    if built and facts.onset and built > facts.onset + CLOCKS_APART:
        late.append(f"It was built {_apart(built, facts.onset)} after the failures were first seen.")
    elif built and facts.onset:
        supporting.append(f"It was built {_apart(facts.onset, built)} before the failures were first seen.")
    failing = [error for error in facts.errors if (error.status or 0) >= 500 and not error.sqlstate]
    if failing:
        supporting.append(f"{sum(e.count for e in failing)} of its answers are server errors without a database error.")
    confidence = (
        Confidence.STRONG
        if (failing or ahead or refused) and not against and not late
        else Confidence.WEAK
        if against
        else Confidence.SOME
    )
    if not facts.errors and not refused:
        confidence = Confidence.WEAK
    return [Hypothesis(Cause.DEPLOYMENT, facts.production.id, confidence, tuple(supporting), (*against, *late))]


def _of_database(facts: Facts) -> list[Hypothesis]:
    if facts.database_up is not False:
        return []
    supporting = ("It does not answer.",)
    return [Hypothesis(Cause.DATABASE, "", Confidence.STRONG, supporting, ("A cut line to us looks the same.",))]


def _of_locks(facts: Facts) -> list[Hypothesis]:
    """A session that holds what others wait for: the change may be fine, and what runs it in the way."""
    refused = sum(e.count for e in facts.errors if e.sqlstate in ("55P03", "57014", "40P01"))
    if not facts.blocked or facts.blocked_s < (BLOCKED_WITH_ERRORS_S if refused else LONG_BLOCKED_S):
        return []
    supporting = [f"{facts.blocked} sessions wait, the longest for {facts.blocked_s:.0f} s."]
    supporting += [f"In the way: {each}." for each in facts.in_the_way]
    supporting += [f"{refused} errors tell of a lock or of a timeout."] if refused else []
    against = () if refused else ("No error was seen that tells of a lock or of a timeout.",)
    failing = (facts.error_rate or 0) > 0 or Signal.PERFORMANCE.value in facts.signals
    confidence = Confidence.STRONG if refused else Confidence.SOME if failing else Confidence.WEAK
    return [Hypothesis(Cause.LOCKS, "", confidence, tuple(supporting), against)]


def _of_connections(facts: Facts) -> list[Hypothesis]:
    refused = sum(e.count for e in facts.errors if (e.sqlstate or "") in ("53300", "53400"))
    if not refused:
        return []
    supporting = (f"{refused} errors say that there are too many connections.",)
    return [Hypothesis(Cause.CONNECTIONS, "", Confidence.STRONG, supporting, ())]


def _of_platform(facts: Facts) -> list[Hypothesis]:
    """Where neither the service nor its platform answers and the database does, it is hardly the last change."""
    if facts.platform_up is not False or facts.service_up is not False or not facts.database_up:
        return []
    supporting = ("Neither the service nor the platform's own API answers.", "The database does.")
    against = ("A cut line to us looks the same: look at the platform's status page.",)
    return [Hypothesis(Cause.PLATFORM, "", Confidence.SOME, supporting, against)]


def _of_data(facts: Facts) -> list[Hypothesis]:
    """Rows that are gone where no migration since the last verification removes any."""
    lost = quiet.lost_rows(facts)
    if not lost or any(m.rewrites or m.destroys for m in _unverified(facts)):
        return []
    against = ("A clean-up that was meant looks the same: ask before anything is brought back.",)
    return [Hypothesis(Cause.DATA, "", Confidence.STRONG, (lost,), against)]


def _of_queue(facts: Facts) -> list[Hypothesis]:
    stuck = quiet.stuck_queue(facts)
    return [Hypothesis(Cause.QUEUE, "", Confidence.SOME, (stuck,), ())] if stuck else []


def _apart(later: datetime, earlier: datetime) -> str:
    minutes, seconds = divmod(round((later - earlier).total_seconds()), 60)
    if minutes >= 120:
        return f"{minutes // 60} h"
    return f"{minutes} min" if minutes else f"{max(seconds, 0)} s"


def _something_else(facts: Facts) -> Hypothesis:
    seen = tuple(str(error) for error in facts.errors)
    against = (
        "Nothing recent was found that explains it: no migration and no deployment since the last verification.",
    )
    return Hypothesis(Cause.UNKNOWN, "", Confidence.WEAK, seen, against)
