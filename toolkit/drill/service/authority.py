"""Who may call what the platform's cron calls. It never says what was wrong with a secret."""

import hmac

from starlette.requests import Request

from toolkit.drill.service.environment import Environment


def from_cron(request: Request, environment: Environment) -> bool:
    """Whether the request carries `Authorization: Bearer <CRON_SECRET>`."""
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {environment.cron_secret}".encode())
