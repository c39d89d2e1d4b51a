"""What the crash matrix is made of: each type of rollback with what breaks, the words that heal it, and its steps.

The steps are those of the plan that the planner makes there: each cell holds its own plan against them, and
`test_crash_matrix` sees that no action, way, order or stage that a plan can have is missing.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from crash_points import POINTS, Point

from toolkit.adapters.systems import connect
from toolkit.adapters.vercel import VercelClient, VercelConfig
from toolkit.clock import wait_until
from toolkit.drill.faults import inject
from toolkit.drill.scenario import load_scenario
from toolkit.drill.schema import migrate_up, release_migrations
from toolkit.drill.state import SandboxState
from toolkit.incident import Incident
from toolkit.playbook import load_playbook, pg_bindir
from toolkit.rollback.backup import make_backup
from toolkit.server import find_binaries

OWN = Path(__file__).with_name("migrations")
BY = ("runner", "server", "line")
UNDISTURBED = "undisturbed"

Act = Callable[[SandboxState], object]


@dataclass(frozen=True, eq=False)
class Type:
    """`steps`: the plan's, by id, each with what it is in `POINTS`. `ready` is done before all is well, `fault` breaks
    it: a drill's scenario by its name, or an act of the matrix's own. `damages`: the fault overwrites or drops values
    that must be right again. `ends_at`: the schema's version then.
    """

    name: str
    words: tuple[str, ...]
    steps: Mapping[str, str]
    fault: str | Act
    ready: Act = lambda _state: None
    damages: bool = False
    ends_at: int = 8

    @property
    def scenario(self) -> str | None:
        """The drill's, where its fault is one."""
        return self.fault if isinstance(self.fault, str) else None

    def break_it(self, state: SandboxState) -> None:
        if isinstance(self.fault, str):
            inject(load_scenario(self.fault), state)
        else:
            self.fault(state)

    def points(self, step: str) -> tuple[Point, ...]:
        return POINTS[self.steps[step]]


@dataclass(frozen=True)
class Cell:
    """`at` is 'before' or 'after' the step, or one of its points, `by` who is hit; UNDISTURBED has neither."""

    type: Type
    step: str
    at: str
    by: str

    def __str__(self) -> str:
        return ", ".join(part for part in (self.type.name, self.step, self.at, self.by) if part)


def cells(types: Sequence[Type]) -> Iterator[Cell]:
    """For each type one run without a crash, and each step × (the runner before, inside and after it, the server and
    the line inside it). Where the matrix meets a kind of step first, inside is each of its points, later the last."""
    met = set[str]()
    for each in types:
        yield Cell(each, "", UNDISTURBED, "")
        for step, kind in each.steps.items():
            points = each.points(step)
            yield Cell(each, step, "before", "runner")
            for point in points if kind not in met else points[-1:]:
                yield from (Cell(each, step, point.name, by) for by in BY)
            yield Cell(each, step, "after", "runner")
            met.add(kind)


# What breaks, and what is there before -------------------------------------------------------------------------------


def own_migrations(folder: str, to: int) -> Act:
    """Release migrations of the matrix's own and apply them."""

    def act(state: SandboxState) -> None:
        release_migrations(state.migrations, OWN / folder)
        with psycopg.connect(state.owner_url) as conn:
            migrate_up(conn, to, state.migrations)

    return act


def release_of_build_9(folder: str) -> Act:
    """Migrate, deploy the code that was written for it, and let it open cases: how it asks is evidence for the plan."""

    def act(state: SandboxState) -> None:
        own_migrations(folder, 9)(state)
        target = load_playbook().target("sandbox", state.environment())
        config = VercelConfig(
            api_url=target.vercel_api_url,
            token=target.vercel_token,
            project_id=target.vercel_project,
            team_id=target.vercel_team,
        )
        with VercelClient(config) as platform:
            platform.create_deployment(name="churn-saver", meta={"schemaVersion": "9"}, within=30)
        opened = "SELECT count(*) FROM recovery_cases WHERE failure_category IS NOT NULL AND membership_id ~ '^mem_d'"
        with psycopg.connect(state.admin_url, autocommit=True) as conn:
            before = conn.execute(opened).fetchone()
            wait_until(lambda: conn.execute(opened).fetchone() != before, within=30, what="build 9 to open a case")

    return act


def _audited(state: SandboxState) -> None:
    """A view of another schema hangs on the damaged table: the schemas cannot be swapped."""
    with psycopg.connect(state.admin_url) as conn:
        conn.execute("CREATE SCHEMA audit AUTHORIZATION churn_owner")
        conn.execute("CREATE VIEW audit.reasons AS SELECT id, failure_reason FROM public.recovery_cases")
        conn.execute("ALTER VIEW audit.reasons OWNER TO churn_owner")


def _audited_and_backed_up(state: SandboxState) -> None:
    """And the nightly backup holds it; no extension is there that our role may not create in another database."""
    _audited(state)
    with psycopg.connect(state.admin_url) as conn:
        conn.execute("DROP EXTENSION pg_stat_statements")
    (nightly,) = state.backups.iterdir()
    words = [find_binaries(pg_bindir()).program("pg_dump"), "-Fc", "-Z1", "-f", nightly, state.admin_url]
    subprocess.run(words, check=True)


def _backed_up_then_migrated(state: SandboxState) -> None:
    """The only backup is older than the schema that was verified."""
    book = load_playbook()
    systems = connect(book, book.target("sandbox", state.environment()))
    systems.database.prepare()
    for nightly in state.backups.iterdir():
        nightly.unlink()
    nights = Incident(state.backups.with_name("nights"))
    nights.folder.mkdir()
    make_backup(systems, state.backups / "ours", incident=nights, actor="cron")
    own_migrations("up_again", 9)(state)


_EFFECTS = {"release-effects": "release-effects"}
_BY_SCHEMAS = {"restore-beside": "restore-beside by schemas", "swap-in": "swap-in by schemas"}
_STAGES = {"verify-frozen": "verify-frozen"} | {
    f"release-{stage}": "release-writes" for stage in ("webhooks", "reminders", "everything")
}
_POINT = {"point-production": "point-production"}
_CORRUPTING = "corrupting-migration"
_RESTORE = ("--backup-restore=newest",)

TYPES = (
    Type(
        "1 migration",
        ("--migration-target=8",),
        _POINT | {"run-down-9": "run-down"},
        release_of_build_9("application_first"),
    ),
    Type(
        "1 frozen",
        ("--migration-target=8",),
        {"freeze-writes": "freeze-writes"}
        | _POINT
        | {"run-down-9": "run-down", "release-everything": "release-writes"},
        release_of_build_9("frozen"),
    ),
    Type(
        "1 in parts",
        ("--last-stable",),
        {"run-down-10": "run-down", "run-down-9": "run-down in parts"},
        own_migrations("in_parts", 10),
    ),
    Type("1 mending", ("--migration-target=8",), {"mend-9": "mend"}, "half-applied-migration"),
    Type("2 application", ("--app-rollback=previous",), _POINT, "bad-deployment"),
    Type("3 schemas", _RESTORE, _BY_SCHEMAS | _EFFECTS, _CORRUPTING, damages=True),
    Type(
        "3 databases",
        _RESTORE,
        {"restore-beside": "restore-beside by databases", "swap-in": "swap-in by databases"} | _EFFECTS,
        _CORRUPTING,
        ready=_audited_and_backed_up,
        damages=True,
    ),
    Type(
        "3 reload",
        _RESTORE,
        {"restore-beside": "restore-beside by reload", "swap-in": "swap-in by reload"} | _EFFECTS,
        # The state table is the migration tool's own, and the schema did not change: it still says 9.
        _CORRUPTING,
        ready=_audited,
        damages=True,
        ends_at=9,
    ),
    Type(
        "3 and up again",
        _RESTORE,
        _BY_SCHEMAS | {"migrate-up-9": "migrate-up"} | _EFFECTS,
        own_migrations("up_again", 10),
        ready=_backed_up_then_migrated,
        damages=True,
        ends_at=9,
    ),
    Type("3 irreversible", _RESTORE, _BY_SCHEMAS | _EFFECTS, "irreversible-migration", damages=True),
    Type(
        "4 breach",
        ("--full-emergency", "--breach=somebody had the owner's password"),
        {"freeze-writes": "freeze-writes", "end-sessions": "end-sessions", "back-up": "back-up"}
        | _POINT
        | {"run-down-9": "run-down"}
        | _STAGES,
        "full-outage",
    ),
    Type(
        "4 with a restore",
        ("--full-emergency",),
        {"freeze-writes": "freeze-writes", "back-up": "back-up"} | _BY_SCHEMAS | _EFFECTS | _STAGES,
        "irreversible-migration",
        damages=True,
    ),
)
CELLS = tuple(cells(TYPES))
