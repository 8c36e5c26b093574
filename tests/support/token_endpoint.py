"""A token endpoint as programs see it: RFC 6749's grant of client credentials, errors when asked for."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field

from aiohttp import web
from support.secured import unsigned_token

CLIENT, SECRET = "worker/1", "canary of the+client"


@dataclass
class TokenEndpoint:
    """Gives tokens that live for so long, to the one client that it knows."""

    life_s: float = 3600.0
    failing: int = 0  #: status of everything, while it is not well
    asked: list[dict[str, str]] = field(default_factory=list)
    given: list[str] = field(default_factory=list)

    @property
    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/token", self._token)
        return app

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(form)
        if self.failing:
            return web.Response(status=self.failing, text="<html>bad gateway</html>")
        known = b64encode(b"worker%2F1:canary+of+the%2Bclient").decode()
        if request.headers.get("authorization") != f"Basic {known}":
            return web.json_response({"error": "invalid_client", "error_description": SECRET}, status=401)
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        self.given.append(unsigned_token(self.life_s))
        return web.json_response(
            {"access_token": self.given[-1], "token_type": "Bearer", "expires_in": self.life_s, "scope": "kafka"}
        )
