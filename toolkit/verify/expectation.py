"""What should be so: the measure that verification holds against what is.

An expectation is made by whoever acted: the version and deployment that were aimed at, the stable point whose normal
is to be reached again, the rows that a backup counted. What is not known stays None, and cannot be passed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from toolkit.adapters.postgres import ServerIdentity, StablePoint
from toolkit.adapters.readings import split_name
from toolkit.adapters.state_tables import same_version
from toolkit.verify.fingerprints import SchemaSignature

STEADY_WINDOW_S = 5.0


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SteadyState(_Part):
    """The service's requests over a window, in normal times."""

    window_s: float
    requests: int
    failed: int
    error_rate: float | None
    p50_ms: float | None
    p95_ms: float | None
    rate_per_s: float


class EventSlice(_Part):
    """The events of a closed span of time, by the columns that an event has from the start and never changes."""

    columns: tuple[str, ...]
    since: datetime
    until: datetime
    rows: int
    digest: str


class QuietRows(_Part):
    """Every row of a small table by its hash, and the moment, by the database's clock, at which they were taken."""

    columns: tuple[str, ...]
    at: datetime
    hashes: tuple[str, ...]


class LastingRows(_Part):
    """Rows that stay, by the hash of columns that never change in them: all `rows`, or those with the least hashes."""

    columns: tuple[str, ...]
    rows: int
    hashes: tuple[int, ...]


class Baseline(_Part):
    """What a stable point keeps of normal times. Each part may be missing; what is missing cannot be compared.

    `xid` is the next transaction's, as `xmin` shows it: a row that was written since has it or a newer one.
    `stale_variables` were changed at the platform after the deployment was built, and it was well without them."""

    measured_at: datetime | None = None
    migration_version: int | None = None
    migration_label: str | None = None
    deployment: str | None = None
    server: Mapping[str, str | None] = {}
    steady_state: SteadyState | None = None
    latencies: Mapping[str, float] = {}
    latency_parts: Mapping[str, Mapping[str, float]] = {}
    signature: Mapping[str, Any] | None = None
    rows: Mapping[str, int] = {}
    events: EventSlice | None = None
    quiet: Mapping[str, QuietRows] = {}
    lasting: Mapping[str, LastingRows] = {}
    shares: Mapping[str, Mapping[str, float]] = {}
    xid: str | None = None
    stale_variables: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Expectation:
    """What should be so. `backup_rows` are counts by table, as the backup's manifest has them;
    `migration_label` is what the tool calls the version.

    Where nothing was `rolled_back` there need not be a backup to compare with.
    """

    migration_version: int | None
    deployment: str | None
    stable: StablePoint | None
    backup_rows: Mapping[str, int] | None
    server: ServerIdentity | None = None
    rolled_back: bool = True
    steady_window_s: float = STEADY_WINDOW_S
    migration_label: str | None = None

    @cached_property
    def baseline(self) -> Baseline:
        """What was normal at the stable point; empty without one, or with one of another form."""
        try:
            return Baseline.model_validate(dict(self.stable.baseline) if self.stable else {})
        except ValidationError:
            return Baseline()

    @cached_property
    def signature(self) -> SchemaSignature | None:
        """The schema at the stable point, if that is of the version that is expected now."""
        kept = self.baseline.signature
        if kept is None or self.stable is None or not self.is_of(self.stable):
            return None
        return SchemaSignature.from_json(kept)

    def is_of(self, point: StablePoint) -> bool:
        """Whether a stable point is of the version that is expected."""
        return same_version((point.version, point.label), (self.migration_version, self.migration_label))

    def backed_up(self, table: str) -> int | None:
        """The rows of a table that the backup holds; None when it is not known."""
        counts = {split_name(name): rows for name, rows in (self.backup_rows or {}).items()}
        return counts.get(split_name(table))
