"""Which backups stay: by the policy, and against it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from toolkit.adapters.postgres import ServerIdentity
from toolkit.rollback.backup.keeping import Decision, Kept, Policy, decide
from toolkit.rollback.backup.manifest import Manifest
from toolkit.rollback.backup.verified import Level, Verified

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday
NOTHING = Policy(0, 0, 0)


def kept(
    hours_ago: float, level: Level = Level.NONE, *, target: str = "production", damage: str = "", name: str = ""
) -> Kept:
    server = ServerIdentity("7", "churn", "db", 5432, "18.6")
    manifest = Manifest.model_construct(created_at=NOON - timedelta(hours=hours_ago), target=target, server=server)
    record = Verified(manifest_sha256="d", level=level, at=NOON, checks=()) if level else None
    return Kept(Path(name or f"{target}-{hours_ago:g}"), manifest, "d", 8, record, damage)


def decided(backups: list[Kept], policy: Policy, needed: str = "") -> list[Decision]:
    return decide(backups, policy, lambda each: "needed" if each.folder.name == needed else None)


def staying(backups: list[Kept], policy: Policy, needed: str = "") -> set[str]:
    return {each.kept.folder.name for each in decided(backups, policy, needed) if each.stays}


def test_the_last_ones() -> None:
    assert staying([kept(h) for h in (1, 2, 3, 4)], Policy(2, 0, 0)) == {"production-1", "production-2"}


def test_the_newest_of_each_day_and_week() -> None:
    backups = [kept(h) for h in (1, 2, 13, 14, 37, 24 * 6, 24 * 8, 24 * 15)]
    assert staying(backups, Policy(0, 2, 0)) == {"production-1", "production-13"}
    assert staying(backups, Policy(0, 0, 3)) == {"production-1", "production-144", "production-360"}


def test_each_target_and_database_by_itself() -> None:
    backups = [kept(1), kept(2), kept(50, target="staging"), kept(60, target="staging")]
    assert staying(backups, Policy(1, 0, 0)) == {"production-1", "staging-50"}


def test_the_newest_verified_of_each_level_always_stays() -> None:
    backups = [kept(1), kept(2, Level.READABLE), kept(3, Level.PROVED), kept(4, Level.PROVED), kept(5, Level.READABLE)]
    assert staying(backups, NOTHING) == {"production-2", "production-3"}


def test_what_is_needed_stays() -> None:
    assert staying([kept(1), kept(2)], NOTHING, needed="production-2") == {"production-2"}


def test_a_damaged_one_takes_no_place_of_a_good_one() -> None:
    backups = [kept(1, Level.PROVED, damage="files are missing"), kept(2, Level.READABLE), kept(3)]
    assert staying(backups, Policy(1, 0, 0)) == {"production-2"}


def test_the_reasons_are_told() -> None:
    (decision,) = decided([kept(1, Level.READABLE)], Policy(1, 1, 1), needed="production-1")
    assert decision.reasons == (
        "one of the last 1",
        "the newest of day 2026-11-25",
        "the newest of week 2026-W48",
        "the newest that is readable",
        "needed",
    )


@given(
    ages=st.lists(st.tuples(st.integers(0, 2000), st.sampled_from(list(Level))), max_size=30),
    last=st.integers(0, 5),
    daily=st.integers(0, 5),
    weekly=st.integers(0, 5),
)
def test_whatever_the_policy_the_newest_verified_stays(
    ages: list[tuple[int, Level]], last: int, daily: int, weekly: int
) -> None:
    backups = [kept(age, level, name=str(number)) for number, (age, level) in enumerate(ages)]
    names = staying(backups, Policy(last, daily, weekly))
    verified = sorted((each for each in backups if each.level), key=lambda each: each.created_at)
    assert not verified or verified[-1].created_at in {each.created_at for each in backups if each.folder.name in names}
    assert len(names) >= min(last, len(backups))
    assert len(names) <= last + daily + weekly + 3
