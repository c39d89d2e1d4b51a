"""Where a version is only a place among files, the tool's own word decides which one is meant."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolkit.adapters.postgres import StablePoint
from toolkit.adapters.readings import MigrationState as Live
from toolkit.adapters.state_tables import Found, same_version
from toolkit.adapters.state_tables.failing import Flyway
from toolkit.adapters.state_tables.recorded import listed
from toolkit.checks import Outcome
from toolkit.clock import utc_now
from toolkit.errors import UsageError
from toolkit.rollback.migrations import MigrationFolder, read_folder
from toolkit.rollback.state_tables import against
from toolkit.rollback.target_version import last_stable, named_version
from toolkit.verify.expectation import Expectation
from toolkit.verify.schema import _version

TABLE = Found("Flyway", "public", "flyway_schema_history", Flyway())


def flyway(path: Path, *versions: str) -> MigrationFolder:
    for version in versions:
        (path / f"V{version}__m.sql").write_text("CREATE TABLE t (i int);")
        (path / f"U{version}__m.sql").write_text("DROP TABLE t;")
    return read_folder(path)


def recorded(applied: Sequence[str]) -> StablePoint:
    """As a verification records it, which sees the table and no folder."""
    seen = listed(applied)
    assert seen.version is not None
    return StablePoint(seen.version, "dpl", utc_now(), {"migration_label": seen.label})


def test_the_last_stable_version_is_the_one_that_was_verified_whatever_was_put_in_between(tmp_path: Path) -> None:
    points = [recorded(["1.0", "3.0", "5.0"]), recorded(["1.0"])]
    folder = flyway(tmp_path, "1.0", "2.0", "3.0", "5.0", "7.0")
    state = against(TABLE, listed(["1.0", "2.0", "3.0", "5.0", "7.0"]), folder)
    assert folder.written(last_stable(points, state, folder).version) == "5.0"


def test_a_version_that_is_named_is_the_tools_and_no_place(tmp_path: Path) -> None:
    folder = flyway(tmp_path, "1", "1.1", "2", "3")
    assert [named_version(text, folder) for text in ("1", "1.1", "2", "3")] == [1, 2, 3, 4]
    with pytest.raises(UsageError, match="'4' is no version to go back to"):
        named_version("4", folder)  # the place of 3
    with pytest.raises(UsageError, match="'m' is the name of 4 versions"):
        named_version("m", folder)


def test_numbers_may_be_written_with_or_without_their_zeros(tmp_path: Path) -> None:
    (tmp_path / "008_m.up.sql").write_text("SELECT 1")
    assert named_version("8", read_folder(tmp_path)) == named_version("008", read_folder(tmp_path)) == 8


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((9, "9"), (9, None), True),
        ((9, "9"), (8, "8"), False),
        ((3, "5.0"), (4, "5.0"), True),
        ((3, "5.0"), (3, "3.0"), False),
        ((2, "2"), (3, "2"), True),
        ((1, "1.0"), (1, "1"), True),
        ((None, None), (1, "1"), False),
    ],
)
def test_two_versions_are_the_same(one: tuple[int, str], other: tuple[int, str], same: bool) -> None:
    assert same_version(one, other) is same


@pytest.mark.parametrize(("label", "outcome"), [("5.0", Outcome.PASS), ("3.0", Outcome.FAIL)])
def test_verification_holds_the_tools_words_against_each_other(label: str, outcome: Outcome) -> None:
    expected = Expectation(4, None, None, None, migration_label="5.0")
    live = SimpleNamespace(seen=lambda: Live(3, False, "Flyway", label=label))
    assert _version(live, expected).outcome is outcome  # type: ignore[arg-type]
