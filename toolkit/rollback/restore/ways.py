"""Which way a restored copy comes in: schemas swapped, databases renamed, or damaged tables reloaded. Pure.

Schemas are swapped where nothing of another schema hangs on them, for that takes milliseconds and leaves every
connection standing. What hangs on them follows when the whole database is renamed, if the source holds the whole
database. Where neither may be, as with a platform's managed parts, the damaged rows are put back in place.
"""

from collections.abc import Collection
from dataclasses import dataclass

from toolkit.rollback.plan import Way
from toolkit.rollback.restore.survey import Survey

# schemas that a platform manages, as Supabase names them: their owner is not ours, and renaming them breaks it
MANAGED = frozenset(
    (
        *("auth", "storage", "realtime", "_realtime", "vault", "extensions", "cron", "net", "pgsodium", "pgbouncer"),
        *("graphql", "graphql_public", "supabase_functions", "supabase_migrations"),
    )
)
_TOLD = 5


@dataclass(frozen=True)
class ChosenWay:
    """`reasons`: why this one and not the ones before it, as sentences. `warnings`: what is told beforehand."""

    way: Way
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def choose_way(
    survey: Survey, covered: Collection[str], *, extensions: Collection[str] = (), wanted: Way | None = None
) -> ChosenWay:
    """The first of 'schemas', 'databases', 'reload' against which nothing speaks; `wanted` says which one it must be.

    `covered` are the schemas that the source holds, `extensions` those without which it cannot be restored. A way that
    is wanted although something speaks against it is chosen all the same where it can work at all, and what speaks
    against it is a warning.
    """
    against: dict[Way, list[str]] = {
        "schemas": against_schemas(survey),
        "databases": against_databases(survey, extensions),
        "reload": [],
    }
    fitting: Way = next(name for name in against if not against[name])
    way = fitting if wanted is None else wanted
    skipped = [] if wanted else [name for name in against if against[name] and _before(name, way)]
    reasons = [f"Not by {_SAID[name]}: {reason}." for name in skipped for reason in against[name]]
    reasons.append(_WHY[way])
    warnings = [f"{reason[0].upper()}{reason[1:]}." for reason in against[way]] if wanted else []
    return ChosenWay(way, tuple(reasons), (*warnings, *_warnings(way, survey, covered)))


def against_schemas(survey: Survey) -> list[str]:
    """Why the schemas cannot be swapped; [] where they can."""
    found = []
    if survey.hanging:
        more = f", and {len(survey.hanging) - _TOLD} more" if len(survey.hanging) > _TOLD else ""
        named = ", ".join(map(str, survey.hanging[:_TOLD]))
        found.append(f"{named}{more} would still point at the damaged data")
    found += [f"{each.name} is a schema that the platform manages" for each in survey.schemas if each.name in MANAGED]
    found += [
        f"{each.foreign_tables} tables of {each.name} are not ours" for each in survey.schemas if each.foreign_tables
    ]
    if not survey.may_create_schema:
        found.append("our role may not create a schema in this database")
    found += [f"publication {name} is not ours to change" for name, ours in survey.publications if not ours]
    return found


def against_databases(survey: Survey, extensions: Collection[str] = ()) -> list[str]:
    """Why the database cannot be replaced by another; [] where it can."""
    found = []
    if not survey.may_create_database:
        found.append("our role may not create a database (CREATEDB)")
    if not survey.owns_database:
        found.append("our role does not own the database")
    if not survey.reaches_maintenance:
        found.append("our role may not connect to the maintenance database")
    needed = {*extensions, *(each.name for each in survey.extensions if each.needed)}
    if beyond := sorted(needed - survey.creatable):
        found.append(f"another database needs what our role may not create: extension {', '.join(beyond[:_TOLD])}")
    if managed := [name for name in survey.others if name in MANAGED]:
        found.append(f"the platform manages {', '.join(managed[:_TOLD])} in it")
    if survey.outside:
        found.append(f"{', '.join(survey.outside[:_TOLD])} would stay with the damaged database")
    if survey.slots:
        found.append(f"{survey.slots} replication slots would stay with the damaged database")
    if survey.superusers:
        found.append("a superuser is connected, whose session we cannot end")
    if survey.publications:
        found.append("a publication would stay with the damaged database")
    return found


def _before(name: Way, way: Way) -> bool:
    order: tuple[Way, ...] = ("schemas", "databases", "reload")
    return order.index(name) < order.index(way)


def _warnings(way: Way, survey: Survey, covered: Collection[str]) -> list[str]:
    copied = [
        f"Publication {name} publishes every table, the copy's beside production too: subscribers that lack those stop."
        for name in survey.everywhere
    ]
    if way == "schemas":
        found = [
            f"Publication {name} follows to the restored tables: its subscribers must be copied anew."
            for name, _ in survey.publications
        ]
        if survey.enum_columns:
            found.append(
                f"{survey.enum_columns} columns have enum types: prepared statements of open connections that name "
                "them fail until the pools are recycled."
            )
        return [*copied, *found]
    if way == "databases":
        found = [
            "Every connection is ended once, and nobody can connect while what changed meanwhile is caught up: each "
            "row is looked at where it lies, and tables without a key are copied whole."
        ]
        if beyond := [each.name for each in survey.extensions if each.name not in survey.creatable]:
            found.append(f"A superuser must create extension {', '.join(beyond)} again afterwards: our role may not.")
        if others := [name for name in survey.others if name not in covered]:
            found.append(f"The source does not hold {', '.join(others[:_TOLD])}: they come from the live database.")
        return found
    return [*copied, "The schema stays as it is: only rows of the damaged tables are put back."]


_SAID: dict[Way, str] = {
    "schemas": "swapping schemas",
    "databases": "renaming databases",
    "reload": "reloading tables",
}
_WHY: dict[Way, str] = {
    "schemas": "The schemas are swapped in one transaction: connections stay, and writes wait for its length only.",
    "databases": "The whole database is replaced by another of the same name, so what hangs on the schemas follows.",
    "reload": "The damaged rows are put back in place, in one transaction, from a copy that stands beside.",
}
