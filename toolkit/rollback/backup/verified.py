"""How far a backup was verified, kept beside it in `verified.json`, which is no part of what the checksums cover.

The record is bound to the manifest by its digest, and to itself by one of its own: a record of another backup, or one
that was edited, counts for nothing. It says what was found; it proves nothing to somebody who could write both.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from toolkit.checks import CheckResult, Outcome
from toolkit.clock import utc_now
from toolkit.rollback.backup.manifest import VERIFIED_FILE


class Level(IntEnum):
    """What was seen of a backup. Each level has those below it."""

    NONE = 0
    READABLE = 1
    RESTORED = 2
    PROVED = 3

    @property
    def title(self) -> str:
        return ("not verified", "readable", "restored", "restored, with its fingerprints")[self]


class Told(BaseModel):
    """One check of a verification."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    outcome: Outcome
    evidence: str


class Verified(BaseModel):
    """The latest verification. `at` is UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest_sha256: str
    level: Level
    at: datetime
    checks: tuple[Told, ...]

    @property
    def seal(self) -> str:
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def record_verified(
    folder: Path, manifest_sha256: str, level: Level, results: Sequence[CheckResult], kept: Sequence[Told] = ()
) -> Verified:
    """Write what was found, and what is `kept` of earlier checks, instead of what stood there before.

    Readable by the owner alone. OSError when it cannot be written.
    """
    told = (*(Told(name=each.name, outcome=each.outcome, evidence=each.evidence) for each in results), *kept)
    verified = Verified(manifest_sha256=manifest_sha256, level=level, at=utc_now(), checks=told)
    content: dict[str, Any] = {"verified": verified.model_dump(mode="json"), "seal": verified.seal}
    fresh = folder / f".{VERIFIED_FILE}"
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(content, indent=2) + "\n")
    fresh.replace(folder / VERIFIED_FILE)
    return verified


def read_verified(folder: Path, manifest_sha256: str) -> Verified | None:
    """The record beside a backup; None when there is none that is of this manifest and as it was written."""
    with suppress(OSError, ValueError, KeyError, TypeError, ValidationError):
        content = json.loads((folder / VERIFIED_FILE).read_text())
        verified = Verified.model_validate(content["verified"])
        if verified.seal == content["seal"] and verified.manifest_sha256 == manifest_sha256:
            return verified
    return None
