"""The service's client without a wire: its configuration, and what a transport tells of time."""

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from toolkit.adapters.service import ServiceClient, ServiceConfig

SECRET, CRON_SECRET = "whsec_hidden_value", "cron_hidden_value"


class Tracing(httpx.BaseTransport):
    """Tells what a connection with TLS tells."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            request.extensions["trace"](name, {})
        return httpx.Response(200)


def test_tls_is_timed_where_there_is_any() -> None:
    with ServiceClient(ServiceConfig(base_url="https://service.example"), Tracing()) as client:
        (timing,) = client.timings("/", 1)
    assert timing.tls_ms is not None
    assert timing.connect_ms is not None
    assert timing.connect_ms <= timing.tls_ms <= timing.total_ms
    assert timing.first_byte_ms is None


# Configuration


def test_secrets_are_not_printed() -> None:
    config = ServiceConfig(
        base_url="https://service.example", webhook_secret=SecretStr(SECRET), cron_secret=SecretStr(CRON_SECRET)
    )
    shown = repr(config) + str(config) + config.model_dump_json()
    assert SECRET not in shown
    assert CRON_SECRET not in shown


@pytest.mark.parametrize(
    "address", ["", "service.example", "ftp://service.example", "https://me:hidden@service.example"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(ValidationError, match="http or https address") as refusal:
        ServiceConfig(base_url=address)
    assert "hidden" not in str(refusal.value)
