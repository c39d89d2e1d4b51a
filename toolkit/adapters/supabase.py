"""Supabase's management API, as far as a restore needs it: which backups it has, recovery to a moment, its health.

The token is a header and nothing else: no address, error or log holds it. A recovery in place makes the project
unreachable while it runs; it is asked for once and never repeated by itself.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from toolkit.errors import DeadlineExceeded, PlatformError

API_URL = "https://api.supabase.com"
TIMEOUT_S = 20.0
ATTEMPTS = 3
FIRST_PAUSE_S = 0.2
LOOK_EVERY_S = 2.0
RECOVER_WITHIN_S = 3600.0
SERVICES = ("db", "pooler", "auth", "rest")
WORST_LOSS = timedelta(minutes=2)  # of point-in-time recovery, as documented
_HEALTHY = "ACTIVE_HEALTHY"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Window(_Answer):
    earliest_physical_backup_date_unix: int | None = None
    latest_physical_backup_date_unix: int | None = None


class _Backup(_Answer):
    status: str
    inserted_at: datetime
    is_physical_backup: bool = False


class _Backups(_Answer):
    pitr_enabled: bool = False
    walg_enabled: bool = False
    backups: tuple[_Backup, ...] = ()
    physical_backup_data: _Window | None = None


class _Health(_Answer):
    name: str
    status: str


@dataclass(frozen=True)
class PlatformBackups:
    """What the platform could go back to. `daily` are moments, newest first; `earliest`, `latest` those between which
    any moment will do, both None without point-in-time recovery. All UTC."""

    daily: tuple[datetime, ...]
    earliest: datetime | None = None
    latest: datetime | None = None

    @property
    def to_any_moment(self) -> bool:
        return self.earliest is not None and self.latest is not None

    def covers(self, moment: datetime) -> bool:
        """Whether point-in-time recovery reaches that moment."""
        return self.earliest is not None and self.latest is not None and self.earliest <= moment <= self.latest


class SupabaseClient:
    """One project."""

    def __init__(
        self, token: SecretStr, project: str, *, api_url: str = API_URL, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.project = project
        self._target = f"Supabase project {project}"
        self._client = httpx.Client(
            base_url=f"{api_url}/v1/projects/{project}",
            headers={"Authorization": f"Bearer {token.get_secret_value()}", "User-Agent": "rollback-drills"},
            timeout=TIMEOUT_S,
            transport=transport,
            follow_redirects=False,
        )

    def close(self) -> None:
        self._client.close()

    def backups(self) -> PlatformBackups:
        """What there is. PlatformError when the API does not answer or refuses."""
        told = self._parsed(_Backups, self._call("GET", "/database/backups"))
        daily = sorted((_utc(each.inserted_at) for each in told.backups if each.status == "COMPLETED"), reverse=True)
        window = told.physical_backup_data if told.pitr_enabled else None
        return PlatformBackups(
            daily=tuple(daily),
            earliest=_moment(window.earliest_physical_backup_date_unix) if window else None,
            latest=_moment(window.latest_physical_backup_date_unix) if window else None,
        )

    def recover_to(self, moment: datetime) -> None:
        """Begin to put the whole project back to a moment. Asked for once: a lost answer is not asked again.

        PlatformError when it is refused, or when whether it began is not known.
        """
        unix = int(moment.astimezone(UTC).timestamp())
        self._call("POST", "/database/backups/restore-pitr", {"recovery_time_target_unix": unix}, once=True)

    def healthy(self) -> bool:
        """Whether the database and what is before it answer, as the platform sees it."""
        told = self._call("GET", f"/health?services={','.join(SERVICES)}")
        if not isinstance(told, list):
            raise PlatformError("GET /health answered something else than a list", target=self._target)
        return all(self._parsed(_Health, each).status == _HEALTHY for each in told)

    def wait_until_healthy(self, *, within_s: float = RECOVER_WITHIN_S, every_s: float = LOOK_EVERY_S) -> float:
        """Until everything is healthy again, in seconds. A refused or lost answer is what a recovery looks like.

        Raises DeadlineExceeded.
        """
        began = time.monotonic()
        while True:
            try:
                if self.healthy():
                    return time.monotonic() - began
            except PlatformError as error:
                if time.monotonic() - began > within_s:
                    raise DeadlineExceeded(
                        f"{self._target} is not healthy after {within_s:g} s: {error.what}"
                    ) from None
            if time.monotonic() - began > within_s:
                raise DeadlineExceeded(f"{self._target} is not healthy after {within_s:g} s")
            time.sleep(every_s)

    def _call(self, method: str, path: str, body: object = None, *, once: bool = False) -> Any:
        """The answer's JSON; None for none. Tries again after a 429 and, unless `once`, after what was lost."""
        said = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                answer = self._client.request(method, path, json=body)
            except httpx.HTTPError as error:
                said = type(error).__name__
                if once and not isinstance(error, httpx.ConnectError):
                    break
                continue
            if 200 <= answer.status_code < 300:
                return _json(answer)
            said = f"HTTP {answer.status_code}"
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS and (once or answer.status_code < 500):
                break
        told = path.partition("?")[0]
        raise PlatformError(
            f"{method} {told} failed: {said}",
            target=self._target,
            state="whether it was begun is not known" if once and not said.startswith("HTTP 4") else "nothing was done",
            next="look at the project's page",
        )

    def _parsed(self, model: type[Any], told: object) -> Any:
        try:
            return model.model_validate(told)
        except ValidationError:
            raise PlatformError(
                f"The API answered something else than {model.__name__[1:]}", target=self._target
            ) from None


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json() if answer.content else None
    except ValueError:
        raise PlatformError("The API answered something else than JSON") from None


def _moment(unix: int | None) -> datetime | None:
    return datetime.fromtimestamp(unix, UTC) if unix else None


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
