"""The service as the playbook knows it: whose it is, what is critical, where it answers, what is normal.

Nothing here is of one service: another one is another file, and what it lacks is left out.
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from toolkit.playbook.section import Minutes, Section, Share


class Service(Section):
    """`name` is what production's confirmation asks for, and part of folders' names."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    title: str
    owner: str
    approved_by: str


class Review(Section):
    """When somebody last read the playbook, and when somebody will. `contacts_checked`: when every contact was last
    called or written to; it holds for `contacts_good_for_days`."""

    version: str
    last_updated: date
    next_review: date
    contacts_checked: date | None = None
    contacts_good_for_days: Annotated[int, Field(ge=1)] = 31


class Database(Section):
    """Tables are `table` (in public) or `schema.table`; columns of them follow after a dot.

    `state_table` is the migration tool's; without it the only one that is found, and several are an error.

    `references`: column by the column in which each of its values must be found, foreign key or not. `quiet_tables`:
    small tables that change now and then, by the column that then changes with them. `watched_columns`: whose values
    are spread much alike from one day to the next (`table.column`). `lasting_columns`: tables of which the service
    deletes no row, with columns that never change in them. `queue_schema`: pg-boss's.
    `application_roles`: as whom the application writes, itself or as a member; () where the grants tell. A freeze takes
    everybody's write privileges away but those of `freeze_exempt_roles`. `deployment_role`: as whom a deployment asks
    the database, its `{schema_version}` or `{deployment}` filled in; those that share a role cannot be told apart.
    """

    critical_tables: Annotated[tuple[str, ...], Field(min_length=1)]
    schemas: tuple[str, ...] = ("public",)
    state_table: str = ""
    events_table: str
    events_key: str
    events_time: str
    references: Mapping[str, str] = {}
    quiet_tables: Mapping[str, str] = {}
    watched_columns: tuple[str, ...] = ()
    lasting_columns: Mapping[str, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    queue_schema: str | None = None
    application_roles: tuple[str, ...] = ()
    freeze_exempt_roles: tuple[str, ...] = ()
    deployment_role: str | None = None

    @model_validator(mode="after")
    def _in_the_schemas(self) -> Self:
        """What lies in no schema of `schemas` is in no backup, and not on the copy that a plan is tried on."""
        named = {
            "critical_tables": self.critical_tables,
            "events_table": (self.events_table,),
            "state_table": (self.state_table,) if self.state_table else (),
            "quiet_tables": tuple(self.quiet_tables),
        }
        for key, tables in named.items():
            outside = [each for each in tables if _schema_of(each) not in self.schemas]
            if outside:
                raise ValueError(f"{key}: {', '.join(outside)} lies in none of the schemas {', '.join(self.schemas)}")
        return self


def _schema_of(table: str) -> str:
    return table.rpartition(".")[0] or "public"


class Freeze(Section):
    """In which order frozen writes are released: tables (`table`, `schema.table` or `schema.*`) by stage.

    Without a line for a stage: `webhooks` is the events' table, what an event leaves traces in, and what references
    these; `reminders` the job queue's schema; `everything` always the rest.
    """

    stages: Mapping[Literal["webhooks", "reminders"], tuple[str, ...]] = {}


class Endpoints(Section):
    """Paths on the service. `health` answers first when one asks whether it is up at all.

    `healthy_word`: what the field `status` of a health endpoint's JSON says when all is well; '' where the status code
    200 says it alone. What is left out (`webhook`, `scheduler`) the service has not, and it is not asked for.
    `scheduler_last_run`: the field in which the scheduler's answer says when it ran last; '' where it says so nowhere,
    and then verification does not claim that it runs.
    """

    health: str
    health_checks: tuple[str, ...]
    healthy_word: str = "healthy"
    webhook: str = ""
    pages: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    scheduler: str = ""
    scheduler_last_run: str = ""


class Thresholds(Section):
    """The playbook's 'Incident Classification', in figures. Below `fast_enough_ms` nothing counts as slow.

    `value_shift`: so large a share of a watched column's values must not change at once. `queue_waits_minutes`: so long
    may a job wait that could run. `connections_share`: of the sessions that the server admits. `kpi_jump`: by so large
    a part may a figure that the service shows not change at once."""

    error_rate: Share
    degradation: Annotated[float, Field(gt=0)]
    fast_enough_ms: Annotated[float, Field(ge=0)] = 200
    active_connections: Annotated[int, Field(ge=1)]
    queue_failed_jobs: Annotated[int, Field(ge=0)]
    value_shift: Share = 0.3
    queue_waits_minutes: Minutes = 15
    connections_share: Share = 0.9
    replication_lag_s: Annotated[float, Field(gt=0)] = 60
    kpi_jump: Annotated[float, Field(gt=0)] = 0.5


class SyntheticEvent(Section):
    """A webhook that verification signs, sends twice, and removes again."""

    type: Literal["payment_failed", "payment_succeeded", "membership_activated", "membership_deactivated"]
    failure_reason: str | None = None


class Figure(Section):
    """A number that the service shows (`field` of the JSON at `path`, or without one the lines of a CSV below its
    header) and the rows that it counts: of the last `days` days by `time`, at most `at_most`."""

    path: str
    table: str
    field: str | None = None
    time: str | None = None
    days: Annotated[int, Field(ge=1)] | None = None
    at_most: Annotated[int, Field(ge=1)] | None = None


class ManualAction(Section):
    """What a person does with a row that a synthetic event opened: POST to `path`, with a column of that row in braces.
    Afterwards `changes` (`table.column`) is another value, and `records` (`table.column`) names the row once more."""

    path: Annotated[str, Field(pattern=r"^/[^{}]*\{[a-z_]+\}[^{}]*$")]
    changes: str
    records: str | None = None


class Notifications(Section):
    """The rows of `table` that say a notification was sent, by their `time` and by what they hold (`where`). On a quiet
    day the manual action `by` sends one."""

    table: str
    time: str
    where: Mapping[str, str] = {}
    by: str | None = None


class BrowserLook(Section):
    """A page to be seen in a real browser, and words that a person must find on it. Without `required` a machine that
    has no browser says so, and that stands in the way of nothing."""

    path: Annotated[str, Field(pattern=r"^/")]
    shows: tuple[str, ...] = ()
    required: bool = False
    within_s: Annotated[float, Field(gt=0)] = 15


class Verification(Section):
    """What another service may lack is left out, and then not checked. `traces`: tables in which a synthetic event
    leaves rows beside its own, by the column that names its membership."""

    events: tuple[SyntheticEvent, ...] = ()
    traces: Mapping[str, str] = {}
    figures: tuple[Figure, ...] = ()
    actions: tuple[ManualAction, ...] = ()
    notifications: Notifications | None = None
    browser: tuple[BrowserLook, ...] = ()

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        for n, action in enumerate(self.actions):
            if (table := action.changes.rpartition(".")[0]) not in self.traces:
                raise ValueError(f"actions.{n}.changes: {table or action.changes} is no table of traces")
        by = self.notifications.by if self.notifications else None
        if by and by not in {action.path for action in self.actions}:
            raise ValueError(f"notifications.by: {by} is no path of actions")
        return self
