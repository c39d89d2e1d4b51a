"""What a sandbox is made with, and what one must know to use it: a file of its folder that only its owner can read.

Holds secrets: passwords and tokens that live as long as the sandbox does, and reach nothing else.
"""

import os
from pathlib import Path
from typing import Any, Self

import psutil
from pydantic import BaseModel, ConfigDict, Field

from toolkit.errors import UsageError

STATE_FILE = "sandbox.json"
EDGE_CONFIG = "ecfg_churn_saver"  # the platform's store that the service reads its notice from
LARGEST_SEED = 2**31 - 1


class SandboxOptions(BaseModel):
    """How large, how busy, and where the evidence goes. Rates are per second. `cloned`: from a data folder that is kept
    filled; the server is then not told apart from others of that folder. `database_url_env` names the variable that
    holds the URL of a server to use; without it the sandbox has its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    evidence: Path
    seed: int = Field(1, ge=0, le=LARGEST_SEED)
    events: int = 20_000
    cases: int = 5_000
    cloned: bool = False
    traffic: bool = True
    monitor: bool = True
    webhooks_per_s: float = 20
    reads_per_s: float = 4
    cron_every_s: float = 5
    database_url_env: str = ""


class SandboxState(BaseModel):
    """A running sandbox: who keeps it, where its parts answer, and the secrets to talk to them.

    `trouble` tells which part ended that should run, and its last words; None while all do.
    """

    name: str
    options: SandboxOptions
    keeper_pid: int
    keeper_started: float
    senders_pid: int | None = None
    monitor_pid: int | None = None
    database_url: str
    owner_url: str
    admin_url: str
    service_url: str
    vercel_api_url: str
    vercel_token: str
    vercel_project: str
    vercel_team: str
    webhook_secret: str
    cron_secret: str
    postgres_log: str
    migrations: Path
    backups: Path
    statement_log: Path | None = None
    trouble: str | None = None

    @classmethod
    def of_keeper(cls, name: str, options: SandboxOptions, **parts: Any) -> Self:
        """The state as the keeper, which is this process, first writes it."""
        me = psutil.Process()
        return cls(name=name, options=options, keeper_pid=me.pid, keeper_started=me.create_time(), **parts)

    @classmethod
    def read(cls, home: Path) -> Self | None:
        """None where there is no sandbox, or one that never came up."""
        try:
            return cls.model_validate_json((home / STATE_FILE).read_text())
        except (OSError, ValueError):
            return None

    def write(self, home: Path) -> None:
        write_private(home / STATE_FILE, self.model_dump_json(indent=1))

    def alive(self) -> bool:
        """Whether its keeper runs, and is that very process."""
        return is_running(self.keeper_pid, self.keeper_started)

    def environment(self) -> dict[str, str]:
        """The variables of the playbook's target `sandbox`."""
        log = {"STATEMENT_LOG": str(self.statement_log)} if self.statement_log else {}
        return log | {
            "DATABASE_URL": self.database_url,
            "SERVICE_URL": self.service_url,
            "VERCEL_API_URL": self.vercel_api_url,
            "VERCEL_TOKEN": self.vercel_token,
            "VERCEL_PROJECT_ID": self.vercel_project,
            "VERCEL_TEAM_ID": self.vercel_team,
            "EDGE_CONFIG_ID": EDGE_CONFIG,
            "WHOP_WEBHOOK_SECRET": self.webhook_secret,
            "CRON_SECRET": self.cron_secret,
            "MIGRATIONS_FOLDER": str(self.migrations),
            "BACKUPS_FOLDER": str(self.backups),
        }


def check_seed(seed: int) -> None:
    """UsageError for a number that is no seed."""
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"{seed} is no seed", state="nothing was done", next=f"use a number from 0 to {LARGEST_SEED}")


def is_running(pid: int, started: float) -> bool:
    """Whether the process of that id runs and is the one that started then (ids are used again)."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < 1
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def last_words(log: Path) -> str:
    """The last line of a log that says something."""
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        lines = []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner only."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)
