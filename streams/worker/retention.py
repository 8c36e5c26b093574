"""What the topics' retention is, asked again while a worker runs: somebody may change it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from ..kafka.errors import BrokerUnreachable
from ..settings.file import Configuration
from ..topics.admin import admin_client
from ..topics.keeping import FOR_EVER_MS, Keeping, keeping, own_times, untimely

log = logging.getLogger(__name__)

#: seconds between two questions
_AGAIN_S = 600.0


class Retention:
    """How the topics of a worker keep their records, as the broker said last."""

    def __init__(self, configuration: Configuration, kept: Mapping[str, Keeping]) -> None:
        self._configuration = configuration
        self.kept = dict(kept)  #: by topic
        self.own_ms = own_times(configuration.settings, kept)  #: by topic, what senders go by; changes in place

    def tell(self) -> None:
        """Name the topics that keep records by what their producers say."""
        for name, text in untimely(self._configuration.settings, self.kept).items():
            log.warning("%s", text, extra={"action": "topic_timestamps", "topic": name})

    def kept_ms(self, topic: str) -> int | None:
        """For how long a topic keeps records, milliseconds; None for ever."""
        kept = self.kept.get(topic)
        return None if kept is None or kept.retention_ms >= FOR_EVER_MS else kept.retention_ms

    async def run(self) -> None:
        """Ask again and again. A broker that does not answer leaves what is known."""
        while True:
            await asyncio.sleep(_AGAIN_S)
            try:
                await self.ask()
            except BrokerUnreachable as error:
                log.debug("%s", error, extra={"action": "retention_unknown"})

    async def ask(self) -> None:
        """Ask once. Raises `BrokerUnreachable`."""
        settings = self._configuration.settings
        async with admin_client(self._configuration.connection, settings.kafka.request_timeout_s) as admin:
            self.kept.update(await keeping(admin, settings, list(self.kept)))
        self.own_ms.update(own_times(settings, self.kept))
