"""For how long topics keep their records, and by which of two times: the producer's, or that of the broker's log.

A topic deletes what is older than its retention by the timestamps of its records. A record that bears the time of an
old request would be deleted before anybody reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient

from ..flow import APPEND_TIME, topic_configs
from ..settings.tables import Settings
from .admin import configured

#: longer than any record is old, milliseconds
FOR_EVER_MS = 2**62
#: ages of the oldest timestamp that a topic takes: since Kafka 3.6, and before
_TAKES = ("message.timestamp.before.max.ms", "message.timestamp.difference.max.ms")
_ASKED = ("retention.ms", APPEND_TIME, *_TAKES)


@dataclass(frozen=True, slots=True)
class Keeping:
    """How one topic keeps its records."""

    retention_ms: int  #: age at which a record may be deleted; `FOR_EVER_MS` where none is
    append_time: bool = False  #: records bear the time at which the broker wrote them, whatever their producer says
    takes_ms: int = FOR_EVER_MS  #: age of the oldest timestamp that it takes from a producer

    @property
    def own_ms(self) -> int:
        """Age up to which a record may bear the time of its request: then half of the retention is left to read it."""
        return min(self.retention_ms // 2, self.takes_ms)


async def keeping(admin: AIOKafkaAdminClient, settings: Settings, names: Collection[str]) -> dict[str, Keeping]:
    """How each of these topics keeps its records; where we may not ask, as the settings say."""
    said = topic_configs(settings)
    return {name: read_keeping(said.get(name, {}) | await configured(admin, name, *_ASKED)) for name in names}


def read_keeping(configs: Mapping[str, str]) -> Keeping:
    """How a topic keeps its records, from its configuration."""
    kept_ms = int(configs.get("retention.ms", -1))
    takes_ms = min(int(configs.get(name, FOR_EVER_MS)) for name in _TAKES)
    return Keeping(kept_ms if kept_ms >= 0 else FOR_EVER_MS, configs.get(APPEND_TIME) == "LogAppendTime", takes_ms)


def own_times(settings: Settings, kept: Mapping[str, Keeping]) -> dict[str, int]:
    """For how many milliseconds a record may bear the time of its request, by topic.

    In the topics of the flow none does: it waits there, and its request's time is in its facts. Readers of the results
    go by it.
    """
    topics = settings.topics
    waits = {topics.doubtful, topics.answers, topics.fallback, topics.shadows, topics.batched}
    return {name: 0 if name in waits else kept[name].own_ms for name in kept}


def untimely(settings: Settings, kept: Mapping[str, Keeping]) -> dict[str, str]:
    """Existing topics whose records should bear the time of the broker's log and do not, each with what to do."""
    wanted = [name for name, configs in topic_configs(settings).items() if APPEND_TIME in configs]
    return {name: _advice(settings, name) for name in wanted if name in kept and not kept[name].append_time}


def _advice(settings: Settings, name: str) -> str:
    return (
        f"{name}: {APPEND_TIME} is CreateTime, so retention goes by what producers say; change it: "
        f"kafka-configs.sh --bootstrap-server {settings.kafka.bootstrap_servers} --alter --entity-type topics "
        f"--entity-name {name} --add-config {APPEND_TIME}=LogAppendTime"
    )
