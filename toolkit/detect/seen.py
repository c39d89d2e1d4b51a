"""What a poll sees and what a signal says, as values: the words that watching, judging and classifying share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from toolkit.adapters.capacity import Capacity
from toolkit.adapters.readings import Activity, Flow, MigrationState, QueueState
from toolkit.adapters.sampled import Orphans, Remaining
from toolkit.adapters.traffic import Traffic
from toolkit.adapters.value_shares import Shares
from toolkit.playbook import Playbook, Target

OK = "ok"


class Signal(StrEnum):
    ERROR_RATE = "error_rate"
    PERFORMANCE = "performance"
    HEALTH = "health"
    FEATURE = "feature"
    DATABASE = "database"
    SILENCE = "webhook_silence"
    MIGRATION_FAILURE = "migration_failure"
    MIGRATION_DIRTY = "migration_dirty"
    QUEUE = "job_queue"
    CONNECTIONS = "connections"
    DATA_INTEGRITY = "data_integrity"
    ORPHANS = "orphans"
    ROWS = "rows_lost"
    FIGURES = "kpi_jump"
    STORAGE = "storage"
    ROLLBACK_FAILURE = "rollback_failure"
    VALIDATION_FAILURE = "validation_failure"


@dataclass(frozen=True)
class Limits:
    """The playbook's thresholds, in one place. Rates from 0 to 1, times in seconds or milliseconds as named."""

    error_rate: float
    degradation: float
    fast_enough_ms: float
    min_requests: int
    silence_s: float
    active_connections: int
    queue_failed_jobs: int
    value_shift: float = 0.3
    queue_waits_s: float = 900
    connections_share: float = 0.9
    replication_lag_s: float = 60
    kpi_jump: float = 0.5

    @classmethod
    def of(cls, playbook: Playbook, target: Target) -> Self:
        limits, monitoring = playbook.thresholds_on(target), target.monitoring
        return cls(
            error_rate=limits.error_rate,
            degradation=limits.degradation,
            fast_enough_ms=limits.fast_enough_ms,
            min_requests=monitoring.min_requests,
            silence_s=monitoring.silence_s,
            active_connections=limits.active_connections,
            queue_failed_jobs=limits.queue_failed_jobs,
            value_shift=limits.value_shift,
            queue_waits_s=limits.queue_waits_minutes * monitoring.minute_s,
            connections_share=limits.connections_share,
            replication_lag_s=limits.replication_lag_s,
            kpi_jump=limits.kpi_jump,
        )


@dataclass(frozen=True)
class DatabaseReading:
    """What the database told; `error` when it could not be reached. Each other part is None where it was not told."""

    error: str | None = None
    flow: Flow | None = None
    migration: MigrationState | None = None
    activity: Activity | None = None
    queue: QueueState | None = None
    shares: Mapping[str, Shares] | None = None
    capacity: Capacity | None = None


@dataclass(frozen=True)
class DataReading:
    """What samples of the data told: orphans by reference, rows by table. Asked less often than the rest."""

    orphans: Mapping[str, Orphans] = field(default_factory=dict)
    rows: Mapping[str, Remaining] = field(default_factory=dict)


@dataclass(frozen=True)
class Jump:
    """A figure that the service shows, and what it was before; both as the service says."""

    name: str
    now: float
    before: float

    @property
    def share(self) -> float:
        """How far it is from before, as a part of that."""
        return abs(self.now - self.before) / abs(self.before) if self.before else 0.0


@dataclass(frozen=True)
class Outcomes:
    """What the journal tells of our own doing: '' when it went well, else what failed; None when nothing was done."""

    rollback: str | None = None
    validation: str | None = None


@dataclass(frozen=True)
class Probes:
    """The latest word of each path that is probed: `ok`, or what was wrong. `fresh` are those of this poll."""

    words: Mapping[str, str] = field(default_factory=dict)
    fresh: frozenset[str] = frozenset()

    @property
    def wrong(self) -> dict[str, str]:
        return {path: word for path, word in self.words.items() if word != OK}

    def breached(self) -> bool | None:
        """True when a fresh word is bad; None when there is none, or an older bad one stands; else False."""
        if any(path in self.fresh for path in self.wrong):
            return True
        return None if self.wrong or not self.fresh else False


@dataclass(frozen=True)
class Observation:
    """What one poll saw. None, and words that are not fresh: not seen by this poll.

    `migration` is the latest that is known. `normal_p95_ms`, `normal_probe_ms` and `stable_version` are what to compare
    with. `probed` are our own requests of the last window, which tell where users' are too few or nobody tells them.
    """

    traffic: Traffic | None = None
    health: Probes = Probes()
    pages: Probes = Probes()
    database: DatabaseReading | None = None
    migration: MigrationState | None = None
    normal_p95_ms: float | None = None
    stable_version: int | None = None
    normal_shares: Mapping[str, Shares] | None = None
    normal_rows: Mapping[str, int] | None = None
    probed: Traffic | None = None
    normal_probe_ms: float | None = None
    data: DataReading | None = None
    jumps: Sequence[Jump] | None = None
    outcomes: Outcomes = Outcomes()


@dataclass(frozen=True)
class Reading:
    """One signal at one poll. `breached` None: not known. `value` and `threshold` are in the signal's own unit."""

    breached: bool | None
    value: float | None
    threshold: float | None
    evidence: str


NOT_SEEN = Reading(None, None, None, "not seen")
