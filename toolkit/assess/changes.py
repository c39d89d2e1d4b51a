"""What changed and when it began: deployments, migrations, verification and onset on one line of time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from toolkit.assess.facts import Facts
from toolkit.assess.views import Views

SHOWN = 8  # deployments
NEVER = datetime.min.replace(tzinfo=UTC)
ONSET = "▶ the failures were first seen"


@dataclass(frozen=True)
class Change:
    """`at` is UTC; None where nobody kept it, `when` then says between what it was. `now`: how it stands."""

    what: str
    at: datetime | None
    now: str
    when: str = ""

    def row(self, onset: datetime | None) -> dict[str, object]:
        return {
            "when": f"{self.at:%Y-%m-%d %H:%M:%S}Z" if self.at else self.when,
            "what": self.what,
            "now": self.now,
            "to the onset": _distance(self.at, onset) if self.at and onset and self.what != ONSET else "",
        }


def changes(views: Views, facts: Facts) -> list[Change]:
    """Newest first. A migration of which nobody kept the time stands right above the verification that came before."""
    found = [*_deployments(views), *_verification(views)]
    if facts.onset:
        found.append(Change(ONSET, facts.onset, "or before"))
    timed = sorted(found, key=lambda each: each.at or NEVER, reverse=True)
    stable = next((at for at, each in enumerate(timed) if each.what.startswith("verified")), len(timed))
    for migration in _migrations(views, facts):
        place = stable if migration.at is None else _place(timed, migration.at)
        timed.insert(place, migration)
        stable += 1 if migration.at is not None and place <= stable else 0
    return timed


def _place(timed: list[Change], at: datetime) -> int:
    return next((n for n, each in enumerate(timed) if each.at is not None and each.at < at), len(timed))


def _deployments(views: Views) -> list[Change]:
    platform = views.platform.value
    if platform is None:
        return []
    return [
        Change(
            f"deployment {each.id}: {each.commit_message or 'no message'}",
            each.created_at,
            "live" if each.id == platform.production.id else each.state.lower(),
        )
        for each in platform.deployments[:SHOWN]
    ]


def _verification(views: Views) -> list[Change]:
    stable = views.of_database(lambda view: view.stable).value
    if stable is None:
        return []
    what = f"verified: version {stable.version} with {stable.deployment}"
    return [Change(what, stable.verified_at, "the last stable")]


def _migrations(views: Views, facts: Facts) -> list[Change]:
    """The live ones that were never verified; the newest first. Only the newest one's time is kept anywhere."""
    stable = facts.stable_version
    recent = [m for m in facts.migrations if stable is not None and stable < m.version]
    newest = max((m.version for m in recent), default=None)
    return [
        Change(
            f"migration {m.version} {m.name}",
            facts.migrated_at if m.version == newest else None,
            "dirty" if facts.dirty and m.version == facts.version else "applied",
            "after the verification below; the time was not kept",
        )
        for m in sorted(recent, key=lambda each: each.version)
    ]


def _distance(at: datetime, onset: datetime) -> str:
    apart = abs(at - onset)
    side = "before" if at <= onset else "after"
    if apart < timedelta(minutes=2):
        return f"{apart.total_seconds():.0f} s {side}"
    if apart < timedelta(hours=2):
        return f"{apart.total_seconds() / 60:.0f} min {side}"
    hours = apart.total_seconds() / 3600
    return f"{hours:.0f} h {side}" if hours < 48 else f"{hours / 24:.0f} days {side}"
