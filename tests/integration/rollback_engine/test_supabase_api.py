"""Supabase's management API over a real socket: what is asked, what the answers mean, and what is never repeated."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from toolkit.adapters.supabase import SupabaseClient
from toolkit.errors import DeadlineExceeded, PlatformError

TOKEN = "sbp_token-of-the-test"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
BACKUPS: dict[str, Any] = {
    "region": "eu-central-1",
    "walg_enabled": True,
    "pitr_enabled": True,
    "backups": [
        {"status": "COMPLETED", "inserted_at": "2026-11-24T02:00:00Z", "is_physical_backup": True},
        {"status": "COMPLETED", "inserted_at": "2026-11-25T02:00:00Z", "is_physical_backup": True},
        {"status": "FAILED", "inserted_at": "2026-11-25T03:00:00Z", "is_physical_backup": True},
    ],
    "physical_backup_data": {
        "earliest_physical_backup_date_unix": int((NOON - timedelta(days=7)).timestamp()),
        "latest_physical_backup_date_unix": int(NOON.timestamp()),
    },
}


class Api:
    """Answers in turn: (status, body), or None to hang up without one. The last is repeated."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any] | None] = []
        self.asked: list[tuple[str, str, str | None, Any]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                api.asked.append((self.command, self.path, self.headers.get("Authorization"), body))
                answer = api.answers.pop(0) if len(api.answers) > 1 else api.answers[0]
                if answer is None:
                    self.close_connection = True
                    return
                content = json.dumps(answer[1]).encode()
                self.send_response(answer[0])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _answer

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture
def api() -> Iterator[Api]:
    running = Api()
    yield running
    running.stop()


@pytest.fixture
def client(api: Api) -> Iterator[SupabaseClient]:
    address = f"http://127.0.0.1:{api.server.server_address[1]}"
    made = SupabaseClient(SecretStr(TOKEN), "abcdefghijklmnop", api_url=address)
    yield made
    made.close()


def test_what_it_can_go_back_to(api: Api, client: SupabaseClient) -> None:
    api.answers = [(200, BACKUPS)]
    found = client.backups()
    assert [f"{each:%d %H}" for each in found.daily] == ["25 02", "24 02"]
    assert found.covers(NOON - timedelta(days=1)) and not found.covers(NOON - timedelta(days=8))
    assert api.asked == [("GET", "/v1/projects/abcdefghijklmnop/database/backups", f"Bearer {TOKEN}", None)]


def test_without_point_in_time_recovery_there_are_the_daily_ones_only(api: Api, client: SupabaseClient) -> None:
    api.answers = [(200, BACKUPS | {"pitr_enabled": False})]
    found = client.backups()
    assert (found.to_any_moment, len(found.daily)) == (False, 2)


def test_recovery_names_the_moment(api: Api, client: SupabaseClient) -> None:
    api.answers = [(201, None)]
    client.recover_to(NOON)
    method, path, _, body = api.asked[0]
    assert (method, path.rpartition("/")[2], body) == (
        "POST",
        "restore-pitr",
        {"recovery_time_target_unix": int(NOON.timestamp())},
    )


@pytest.mark.parametrize("answer", [None, (500, {}), (403, {"message": "no"})])
def test_a_recovery_is_asked_for_once(api: Api, client: SupabaseClient, answer: tuple[int, Any] | None) -> None:
    api.answers = [answer]
    with pytest.raises(PlatformError) as refused:
        client.recover_to(NOON)
    assert len(api.asked) == 1
    assert TOKEN not in str(refused.value)
    known = "nothing was done" if answer and answer[0] == 403 else "not known"
    assert known in str(refused.value.state)


def test_reading_is_tried_again(api: Api, client: SupabaseClient) -> None:
    api.answers = [(429, {}), None, (200, BACKUPS)]
    assert client.backups().to_any_moment
    assert len(api.asked) == 3


def test_until_it_is_healthy_again(api: Api, client: SupabaseClient) -> None:
    sick, well = [{"name": "db", "status": "COMING_UP"}], [{"name": "db", "status": "ACTIVE_HEALTHY"}]
    api.answers = [(200, sick), (404, {}), (200, sick), (200, well)]
    client.wait_until_healthy(within_s=20, every_s=0.01)
    assert len(api.asked) == 4


def test_what_stays_sick_ends_in_a_deadline(api: Api, client: SupabaseClient) -> None:
    api.answers = [(200, [{"name": "db", "status": "UNHEALTHY"}])]
    with pytest.raises(DeadlineExceeded, match="not healthy"):
        client.wait_until_healthy(within_s=0.05, every_s=0.01)


@pytest.mark.parametrize("answer", [{"backups": "none"}, []])
def test_another_answer_is_told(api: Api, client: SupabaseClient, answer: Any) -> None:
    api.answers = [(200, answer)]
    with pytest.raises(PlatformError, match="something else"):
        client.backups()
