"""Replays of several names at once in one process, as `fallback replay` runs one: `replays.py CONFIG REASON NAME…`.

The more transactions there are, the likelier it is that a broker that is killed has just decided one of them.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bisupervised.schemas.errors import BiSupervisedError
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.tools.replay import ReplayOptions
from bisupervised.streams.tools.replay_run import run_replay


async def replay_all(config: Path, reason: str, names: list[str]) -> None:
    """Each is run again and again, until it comes to its end: by a supervisor, say, that restarts what fails."""
    settings = load_settings(config)
    options = ReplayOptions(settings.topics.requests, (reason,))
    await asyncio.gather(*(replay_to_the_end(settings, name, options) for name in names))


async def replay_to_the_end(settings: Settings, name: str, options: ReplayOptions) -> None:
    while True:
        try:
            ended = await run_replay(settings, name, options, dry_run=False)
        except BiSupervisedError as error:
            print(name, repr(error), flush=True)
            await asyncio.sleep(0.2)
        else:
            print(name, "done", ended.counts, flush=True)
            return


if __name__ == "__main__":
    asyncio.run(replay_all(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
