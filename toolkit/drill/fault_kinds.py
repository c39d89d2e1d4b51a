"""The kinds of faults as data: what a scenario's file may say of what breaks. What each does is code, in `faults`.

A person who mends by hand does things of the same kinds, so that a scenario's undoing is such data, too.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: str = Field(description="what it is called by whoever does it: a commit's subject, or a sentence")


class MigrateAndDeploy(_Part):
    """Apply the migrations up to `migration`, then deploy the build that was written for them, as a release does."""

    kind: Literal["migrate-and-deploy"]
    migration: Annotated[int, Field(ge=1)]
    build: Annotated[int, Field(ge=1)]


class Migrate(_Part):
    """Apply one of the scenario's own migrations, as the migration tool does."""

    kind: Literal["migrate"]
    migration: Annotated[int, Field(ge=1)]


class HalfApply(_Part):
    """Run the first statements of one of the scenario's own migrations, each by itself, as a tool does that died there:
    the state table says that version, dirty. The last of them may fail; then that is where it died."""

    kind: Literal["half-apply"]
    migration: Annotated[int, Field(ge=1)]
    statements: Annotated[int, Field(ge=1)]


class Deploy(_Part):
    """Deploy a build: with a defect in its code, or with variables of the project set before it is built. The value
    `$NAME` is that of the sandbox's own variable."""

    kind: Literal["deploy"]
    build: Annotated[int, Field(ge=1)]
    defect: Literal["", "payments-crash", "everything-crashes", "webhooks-refused"] = ""
    environment: Mapping[str, str] = {}


class Sql(_Part):
    """Run statements by hand, in one transaction, as somebody. The scenario's parameters are theirs, by name."""

    kind: Literal["sql"]
    by: Literal["owner", "admin"]
    statements: Annotated[tuple[str, ...], Field(min_length=1)]


class Sessions(_Part):
    """Open sessions that stay, each in a transaction that has run `statement`, or waits in it. They end with the
    sandbox, or when somebody ends them. `program` is the application_name that the server shows."""

    kind: Literal["sessions"]
    by: Literal["owner", "admin"]
    count: Annotated[int, Field(ge=1, le=500)] = 1
    statement: str
    program: str


class Server(_Part):
    """What happens to the database's server. 'does-not-come-back': killed, after somebody saved a setting with which it
    does not start. 'turns-away': it lets nobody in but its superuser. 'set-right' undoes both, as whoever hosts it."""

    kind: Literal["server"]
    does: Literal["does-not-come-back", "turns-away", "set-right"]


class Backups(_Part):
    """What became of the scheduled backups: there are one of the night before and the newest, which is cut off half-way
    ('truncated') or without a byte ('empty')."""

    kind: Literal["backups"]
    newest: Literal["truncated", "empty"]


class Disk(_Part):
    """Move a table, and the owner's new ones, to a disk of its own with so much room, in MB. It needs the right to
    mount one."""

    kind: Literal["disk"]
    table: str
    megabytes: Annotated[int, Field(ge=16, le=1024)]


Fault = Annotated[
    MigrateAndDeploy | Migrate | HalfApply | Deploy | Sql | Sessions | Server | Backups | Disk,
    Field(discriminator="kind"),
]
