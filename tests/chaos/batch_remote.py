"""A provider of batches for the chaos runs: slow, forgetful, and honest about what it has been paid for.

Run as a program: `batch_remote.py PORT`. `GET /told` says how many inputs were answered, and which more than once.
"""

from __future__ import annotations

import json
import logging
import random
import sys
from collections import Counter
from typing import Any

from aiohttp import web
from support.bulk_server import Faults, LyingBulkServer

#: seconds that a batch takes, at most
_TAKES_S = 4.0


class Provider(LyingBulkServer):
    """Counts what it answers by what was asked: an input that goes into another batch has another name there."""

    def __init__(self) -> None:
        faults = Faults(errored=0.01, expired=0.05, missing=0.01, duplicated=0.02, foreign=1, shuffled=True)
        super().__init__(faults=faults)
        self.answered: Counter[str] = Counter()

    def _answered(self, body: dict[str, Any]) -> tuple[int, Any]:
        """No provider bills a request that it refuses."""
        status, document = super()._answered(body)
        self.answered[str(body["messages"][-1]["content"])] += status < 400
        return status, document

    async def before(self, request: web.Request) -> None:
        """Now and then a connection is lost, before or after what was asked is done."""
        self.takes_s = random.uniform(0.5, _TAKES_S)
        self.faults.lose_before["create"] = random.random() < 0.05
        self.faults.lose_after["create"] = random.random() < 0.05
        self.faults.lose_after["get"] = random.random() < 0.02
        self.faults.cut_results = random.random() < 0.05
        await super().before(request)

    async def told(self, _request: web.Request) -> web.Response:
        """The bill."""
        twice = sum(times - 1 for times in self.answered.values() if times)
        figures = {"answered": self.answered.total(), "twice": twice, "created": self.created}
        return web.Response(text=json.dumps(figures), content_type="application/json")


def main() -> None:
    """Serve on loopback until SIGTERM."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it tells each connection that is lost on purpose
    app, provider = web.Application(), Provider()
    provider.add_routes(app)
    app.router.add_get("/told", provider.told)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)


if __name__ == "__main__":
    main()
