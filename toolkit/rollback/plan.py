"""A plan: what would be done, step by step, before anything is done. Values only; nothing here acts or asks.

Planners return it, people read it, the journal keeps it, the runner carries it out. Its `id` is a digest of what it
would do and where, so what is carried out is what was shown.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from toolkit.adapters.postgres import ServerIdentity
from toolkit.errors import JournalError
from toolkit.rollback.damage import Damage, Proposal

Kind = Literal["migration", "application", "restore", "emergency"]
Way = Literal["schemas", "databases", "reload"]
Stage = Literal["webhooks", "reminders", "everything"]
NEWEST = "newest"
PLATFORM = "platform"  # or platform:TIME, the platform's own recovery


@dataclass(frozen=True)
class RestoreWish:
    """How somebody wants a restore. `damage` None: what a migration's evidence proposes; () is none at all.

    `damaged_at` (UTC) None: as the deployments tell. `way` None: the first that fits. `freeze`: writes stay stopped
    from the first step to the last. `wanted_version` None: the last stable one. `file`: where all of it was read.
    """

    damage: tuple[Damage, ...] | None = None
    damaged_at: datetime | None = None
    way: Way | None = None
    freeze: bool = False
    wanted_version: int | None = None
    file: str = field(default="", compare=False)


AS_PROPOSED = RestoreWish()


@dataclass(frozen=True)
class Wish:
    """What somebody wants. `to` None: the last stable version. `deployment` None: the one that fits.

    `source` is a backup to restore: a path, or NEWEST; '' in a full emergency: none, unless there is no other way back.
    `restore` is how. `breach` is why all other sessions are to be ended; '' is none. `rows_stay` is why rows that a
    half-applied migration changed may stay so; '' where they may not.
    """

    kind: Kind
    to: int | None
    deployment: str | None
    reasons: tuple[str, ...] = ()
    source: str = ""
    breach: str = ""
    restore: RestoreWish = AS_PROPOSED
    rows_stay: str = ""

    @property
    def bare(self) -> "Wish":
        """What was asked for, without its reasons, and with the one spelling of the source's path."""
        source = self.source or (NEWEST if self.kind == "restore" else "")
        named = source if source in ("", NEWEST) or is_platform(source) else str(Path(source).resolve())
        return replace(self, reasons=(), source=named)


def is_platform(source: str) -> bool:
    """Whether a restore is to be the platform's own."""
    return source == PLATFORM or source.startswith(f"{PLATFORM}:")


@dataclass(frozen=True)
class RunDown:
    """Run one migration's down and say so in the state table, in one transaction.

    `to_version` is the version that the schema has afterwards, None below the first, `to_label` what the tool calls it.
    `file` is a name in the target's
    folder of migrations, `sha256` that of its bytes.
    """

    version: int
    to_version: int | None
    file: str
    sha256: str
    to_label: str | None = None
    kind: Literal["run-down"] = "run-down"


@dataclass(frozen=True)
class MigrateUp:
    """Apply one migration and say so in the state table. Fields as in `RunDown`."""

    version: int
    file: str
    sha256: str
    kind: Literal["migrate-up"] = "migrate-up"


@dataclass(frozen=True)
class Mend:
    """Undo what a half-applied migration left, by the statements that its diagnosis found, and set the state table to
    `to_version`, clean. `file` is what messages call them, `sha256` that of their text."""

    version: int
    to_version: int | None
    statements: tuple[str, ...]
    file: str
    sha256: str
    to_label: str | None = None
    kind: Literal["mend"] = "mend"

    @property
    def text(self) -> str:
        """All of them as one script."""
        return mending_text(self.statements)


def mending_text(statements: Sequence[str]) -> str:
    """Statements as one script, as `Mend` runs them."""
    return "".join(f"{each.rstrip().rstrip(';')};\n" for each in statements)


@dataclass(frozen=True)
class PointProduction:
    """Point production at a deployment that served it before. `instead_of` is where it points now."""

    deployment: str
    instead_of: str
    kind: Literal["point-production"] = "point-production"


@dataclass(frozen=True)
class BackUp:
    """Make the emergency backup, in a folder of the incident."""

    folder: str
    kind: Literal["back-up"] = "back-up"


@dataclass(frozen=True)
class FreezeWrites:
    """Take the write privileges of the application's roles away, keep them to be given back, end their transactions."""

    kind: Literal["freeze-writes"] = "freeze-writes"


@dataclass(frozen=True)
class VerifyFrozen:
    """Look at the data, the state table and what is live while nothing is written; what fails keeps writes frozen."""

    kind: Literal["verify-frozen"] = "verify-frozen"


@dataclass(frozen=True)
class ReleaseWrites:
    """Give them back, as far as the stage says: webhooks, then reminders too, then everything."""

    stage: Stage
    kind: Literal["release-writes"] = "release-writes"


@dataclass(frozen=True)
class EndSessions:
    """End every session but ours on the database, as a security breach wants it."""

    reason: str
    kind: Literal["end-sessions"] = "end-sessions"


@dataclass(frozen=True)
class RestoreBeside:
    """Restore `source` (a backup's folder, or a dump's file, with the SHA-256 of its manifest or of itself) beside
    production, under names that start with `restored_` and the incident's mark, and verify it there."""

    source: str
    sha256: str
    way: Way
    kind: Literal["restore-beside"] = "restore-beside"


@dataclass(frozen=True)
class SwapIn:
    """Put what was restored in the live one's place, and carry over inside the swap what was acknowledged since.

    `damage` is what is not carried over. The damaged data is kept under names that start with `damaged_`.
    """

    source: str
    way: Way
    damage: tuple[Damage, ...]
    kind: Literal["swap-in"] = "swap-in"


@dataclass(frozen=True)
class ReleaseEffects:
    """Let the queue in the schema `queue` hand out its jobs again, which the swap of `source` holds."""

    source: str
    queue: str
    kind: Literal["release-effects"] = "release-effects"


@dataclass(frozen=True)
class RecoverByPlatform:
    """Let the platform put its project back to `moment` (UTC), in place."""

    project: str
    moment: datetime
    kind: Literal["recover-by-platform"] = "recover-by-platform"


Action = Annotated[
    RunDown
    | Mend
    | MigrateUp
    | PointProduction
    | BackUp
    | FreezeWrites
    | VerifyFrozen
    | ReleaseWrites
    | EndSessions
    | RestoreBeside
    | SwapIn
    | ReleaseEffects
    | RecoverByPlatform,
    Field(discriminator="kind"),
]


@dataclass(frozen=True)
class Step:
    """One action with what a person must know before saying yes. `id` is unique in its plan."""

    id: str
    action: Action
    what: str
    why: str
    expected: str
    verify: str
    undo: str


@dataclass(frozen=True)
class Plan:
    """`target` is a target's name, `server` the database server that it was made for; None where none is touched.

    `destroys` tells what is lost to the live schema, `warnings` what is unknown, `reasons` why. All are sentences.
    `turn`: the how manieth restore or emergency plan of its incident it is, so that what an earlier one did does not
    count as done by this one. `wish`: what was asked for. `proposed`: what looks like damage, taken for it or not.
    """

    kind: Kind
    service: str
    target: str
    server: ServerIdentity | None
    summary: str
    steps: tuple[Step, ...]
    destroys: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    turn: int = 1
    wish: Wish | None = None
    proposed: tuple[Proposal, ...] = ()

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits: a digest of where and of the steps. Losses, whose counts change, are not in."""
        said = _PLAN.dump_python(self, mode="json", include={"kind", "service", "target", "server", "steps", "turn"})
        canonical = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def downs(self) -> list[RunDown]:
        """The migrations that it takes back, in order."""
        return [step.action for step in self.steps if isinstance(step.action, RunDown)]

    @property
    def ends_at(self) -> RunDown | Mend | None:
        """The last migration that it takes back; None when it takes none back."""
        taken = [step.action for step in self.steps if isinstance(step.action, RunDown | Mend)]
        return taken[-1] if taken else None

    @property
    def deployment(self) -> str | None:
        """Where production points in the end; None when the plan leaves that alone."""
        pointed = [step.action.deployment for step in self.steps if isinstance(step.action, PointProduction)]
        return pointed[-1] if pointed else None

    @property
    def restores(self) -> RestoreBeside | None:
        """The restore in it; None without one."""
        return next((step.action for step in self.steps if isinstance(step.action, RestoreBeside)), None)

    @property
    def held_queue(self) -> str | None:
        """The schema of the queue that its swap holds, since a later step releases it; None when it holds none."""
        return next((step.action.queue for step in self.steps if isinstance(step.action, ReleaseEffects)), None)

    @property
    def recovers(self) -> RecoverByPlatform | None:
        """The platform's recovery in it; None without one."""
        return next((step.action for step in self.steps if isinstance(step.action, RecoverByPlatform)), None)

    @property
    def backs_up(self) -> bool:
        """Whether it makes its own backup before it changes the database."""
        return any(isinstance(step.action, BackUp) for step in self.steps)

    @property
    def changes_database(self) -> bool:
        """Whether it changes the service's schema or rows, but for what the platform does by itself."""
        return any(isinstance(step.action, RunDown | Mend | MigrateUp | RestoreBeside | SwapIn) for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it, with its id under `plan`."""
        return {"plan": self.id, **_PLAN.dump_python(self, mode="json")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """The inverse. Raises JournalError when it is no plan, or not the one that its id says."""
        try:
            said = data["plan"]
            fields = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
            plan = _PLAN.validate_python(fields)
        except (KeyError, ValidationError):
            raise JournalError("The journal holds something else where a plan should be", next="plan again") from None
        if plan.id != said:
            raise JournalError(f"Plan {said} is not what it was when it was shown", next="plan again")
        return plan

    def heading(self) -> str:
        """What a person reads first, as Markdown: where, what, what is lost, what is unknown."""
        server = self.server and f", database {self.server.database} on {self.server.host}:{self.server.port}"
        parts = [f"### {self.summary}", f"Target **{self.target}**{server or ''}. Plan `{self.id}`."]
        for title, lines in (
            ("Why", self.reasons),
            ("Lost to the live schema", self.destroys),
            ("Not known", self.warnings),
        ):
            if lines:
                parts.append("\n".join([f"**{title}**", "", *(f"- {line}" for line in lines)]))
        return "\n\n".join(parts)

    def rows(self) -> list[dict[str, str]]:
        """The steps as a table, one row each, in the order in which they are done."""
        return [
            {
                "step": f"{number}. {step.id}",
                "what": step.what,
                "why": step.why,
                "one should see": step.expected,
                "checked by": step.verify,
                "undone by": step.undo,
            }
            for number, step in enumerate(self.steps, start=1)
        ]


_PLAN = TypeAdapter(Plan)
