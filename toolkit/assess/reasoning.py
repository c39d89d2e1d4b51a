"""From facts to hypotheses, and from hypotheses to a recommendation. Pure: it asks nothing and changes nothing.

Each hypothesis carries what speaks for it and what speaks against it. Where the evidence carries no rollback, none is
recommended: 'nothing recent explains it' is an answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

EVERYTHING = 0.9  # so large a share of failing requests
_UNDEFINED = re.compile(r'"([^"]+)"|column (?:\w+\.)+(\w+) does not exist')


class Confidence(StrEnum):
    STRONG = "strong"
    SOME = "some"
    WEAK = "weak"


class Cause(StrEnum):
    MIGRATION = "migration"
    DEPLOYMENT = "deployment"
    DATABASE = "database"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Failure:
    """Requests that failed alike: how many, where, and what the database said. No rows, no values."""

    count: int
    status: int | None
    path: str
    sqlstate: str | None = None
    constraint: str | None = None
    relation: str | None = None
    column: str | None = None
    message: str | None = None

    @property
    def objects(self) -> tuple[str, ...]:
        """The database objects that the error names, the most specific first.

        Of an object that is not there (class 42) only the message tells the name: in quotation marks, or a column's
        after its table's.
        """
        told = tuple(name for name in (self.constraint, self.column, self.relation) if name)
        undefined = (self.sqlstate or "").startswith("42") and not told
        return tuple(quoted or bare for quoted, bare in _UNDEFINED.findall(self.message or "")) if undefined else told

    def __str__(self) -> str:
        said = f": {self.message}" if self.message else ""
        return f"{self.count} × {self.status or 'no answer'} {self.path}{said}"


@dataclass(frozen=True)
class AppliedMigration:
    """A migration that is live, with the SQL of its up file.

    `down_problem`: why it cannot go down by its file; None when it can. `rewrites`: tables whose rows it changes or
    removes, as they are named there.
    """

    version: int
    name: str
    sql: str
    down_problem: str | None = None
    rewrites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Release:
    """A deployment, as far as the reasoning needs it. `schema_version` is None where nobody recorded it."""

    id: str
    schema_version: int | None


@dataclass(frozen=True)
class Facts:
    """What was found. None means that it could not be seen."""

    database_up: bool | None
    dirty: bool | None
    version: int | None
    stable_version: int | None
    stable_deployment: str | None
    production: Release | None
    migrations: Sequence[AppliedMigration]
    errors: Sequence[Failure]
    error_rate: float | None
    shifted: Mapping[str, float] = field(default_factory=dict)  # watched columns by the share of values that changed
    gone: Sequence[str] = ()  # watched columns that were there when all was verified, and are not any more


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
            Cause.UNKNOWN: "Something else",
        }[self.cause]


@dataclass(frozen=True)
class Recommendation:
    """What to do: a rollback type of the playbook, or 'none'. Targets are None where they do not apply."""

    kind: str
    migration_target: int | None
    reasons: tuple[str, ...]
    against: tuple[str, ...]


def hypotheses(facts: Facts) -> list[Hypothesis]:
    """All that the facts suggest, the best supported first; never empty."""
    found = [*_of_migrations(facts), *_of_deployment(facts), *_of_database(facts)]
    order = list(Confidence)
    return sorted(found, key=lambda each: order.index(each.confidence)) or [_something_else(facts)]


def recommend(facts: Facts, ranked: Sequence[Hypothesis]) -> Recommendation:
    """The rollback that the best hypothesis calls for, if its evidence carries one."""
    best = ranked[0]
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
    if best.cause is Cause.DEPLOYMENT and best.confidence is not Confidence.WEAK:
        against = ("The old deployment comes back with its old environment and cron jobs.",)
        return Recommendation("application", None, best.supporting, against)
    return Recommendation(
        "none", None, ("The evidence carries no rollback.",), ("Waiting has its cost: see the error rate above.",)
    )


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
    if brought or rewritten or missed:
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
    against = [
        f"{error.count} errors come from the database and name {error.objects[0]}."
        for error in facts.errors
        if error.objects
    ]
    failing = [error for error in facts.errors if (error.status or 0) >= 500 and not error.sqlstate]
    if failing:
        supporting.append(f"{sum(e.count for e in failing)} of its answers are server errors without a database error.")
    confidence = Confidence.STRONG if failing and not against else Confidence.WEAK if against else Confidence.SOME
    if not facts.errors:
        confidence = Confidence.WEAK
    return [Hypothesis(Cause.DEPLOYMENT, facts.production.id, confidence, tuple(supporting), tuple(against))]


def _of_database(facts: Facts) -> list[Hypothesis]:
    if facts.database_up is not False:
        return []
    supporting = ("It does not answer.",)
    return [Hypothesis(Cause.DATABASE, "", Confidence.STRONG, supporting, ("A cut line to us looks the same.",))]


def _something_else(facts: Facts) -> Hypothesis:
    seen = tuple(str(error) for error in facts.errors)
    against = (
        "Nothing recent was found that explains it: no migration and no deployment since the last verification.",
    )
    return Hypothesis(Cause.UNKNOWN, "", Confidence.WEAK, seen, against)
