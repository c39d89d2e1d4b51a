"""Mistakes in a deployment's code, which a scenario may have built into it. The code of all others is without."""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

WEBHOOK = "/api/webhooks/whop"
PAYMENTS = (WEBHOOK, "/api/dashboard/cases")


class Defect:
    """ASGI middleware: what the defect touches is answered with an error of the code, before it does anything. A
    webhook whose route the code has lost is answered with 404.
    """

    def __init__(self, app: ASGIApp, defect: str) -> None:
        self._app, self._defect, self._seen = app, defect, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._touches(scope["path"]):
            raise TypeError("undefined is not a function")
        if scope["type"] == "http" and self._defect == "webhooks-refused" and scope["path"] == WEBHOOK:
            await JSONResponse({"error": "not_found"}, status_code=404)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _touches(self, path: str) -> bool:
        """All of it; or every second request that has to do with payments."""
        if self._defect == "everything-crashes":
            return True
        if self._defect == "payments-crash" and path in PAYMENTS:
            self._seen += 1
            return self._seen % 2 == 0
        return False
