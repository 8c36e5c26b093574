"""A remote model for the chaos runs: Open Inference Protocol, random latency with a long tail, some 429 and 503.

Run as a program: `remote.py PORT`.
"""

from __future__ import annotations

import asyncio
import random
import sys

from aiohttp import web


async def infer(request: web.Request) -> web.Response:
    """Answer after a random time; two in a hundred calls are refused, one in fifty takes a second or more."""
    document = await request.json()
    await asyncio.sleep(random.lognormvariate(-3.5, 0.6) + (random.random() < 0.02) * random.uniform(1, 3))
    luck = random.random()
    if luck < 0.01:
        return web.json_response({"error": "slow down"}, status=429, headers={"retry-after": "0.2"})
    if luck < 0.02:
        return web.json_response({"error": "overloaded"}, status=503)
    rows = document["inputs"][0]["shape"][0]
    sure = [random.uniform(0.5, 1.0) for _ in range(rows)]
    data = [probability for value in sure for probability in (value, 1 - value)]
    tensor = {"name": "probabilities", "shape": [rows, 2], "datatype": "FP32", "data": data}
    return web.json_response({"model_name": "large", "model_version": "1", "outputs": [tensor]})


def main() -> None:
    """Serve on loopback until SIGTERM."""
    app = web.Application()
    app.router.add_post("/v2/models/large/infer", infer)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)


if __name__ == "__main__":
    main()
