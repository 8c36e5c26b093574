"""How records are moved: `[kafka]`, `[topics]` and `[stream]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from ...kafka.connection import Mechanism, SecurityProtocol
from .certificates import Certificates, Reached
from .table import Table
from .values import Count, NotNegative, Seconds, Topic, optional_callable, optional_url, servers, upper

if TYPE_CHECKING:
    from ....schemas.records import Route


#: the done-marks of a window must fit into 4,096 characters of commit metadata
MOST_WINDOW_RECORDS = 24_000
#: `transaction.max.timeout.ms` of a broker as it comes, seconds
MOST_TRANSACTION_S = 900


class _Brokers(Table):
    """Which brokers are asked first, and who we are to them."""

    bootstrap_servers: Annotated[str, AfterValidator(servers)] = Field(
        default="127.0.0.1:9092", description="brokers to ask first, host:port, separated by commas"
    )
    security_protocol: Annotated[SecurityProtocol, BeforeValidator(upper)] = Field(
        default="PLAINTEXT",
        description="PLAINTEXT, SSL (encrypted), SASL_PLAINTEXT (with a password), or SASL_SSL (both)",
    )
    sasl_mechanism: Annotated[Mechanism, BeforeValidator(upper)] = Field(
        default="SCRAM-SHA-512",
        description="how we log in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 with a password; OAUTHBEARER with a token",
    )
    sasl_username: str = Field(default="", description="user to log in as, with SASL")
    sasl_password: SecretStr | None = Field(default=None, description="its password, from the environment only")
    sasl_password_file: str = Field(default="", description="file that holds its password; '' for none")
    sasl_oauth_url: Annotated[str, AfterValidator(optional_url)] = Field(
        default="", description="token endpoint that gives programs a token, with OAUTHBEARER; '' for none"
    )
    sasl_oauth_client_id: str = Field(default="", description="who we are to the token endpoint")
    sasl_oauth_client_secret: SecretStr | None = Field(
        default=None, description="the secret for the token endpoint, from the environment only"
    )
    sasl_oauth_client_secret_file: str = Field(default="", description="file that holds that secret; '' for none")
    sasl_oauth_scope: str = Field(default="", description="what the token is to be good for, as the endpoint names it")
    sasl_oauth_token_file: str = Field(
        default="", description="file with a token that somebody keeps fresh, read for each connection; '' for none"
    )
    sasl_oauth_provider: Annotated[str, AfterValidator(optional_callable)] = Field(
        default="",
        description="module:callable of yours that gives a token, or a pair of a token and when it ends; '' for none",
    )
    sasl_oauth_extensions: dict[str, str] = Field(
        default={}, description='what the broker wants to know beside the token, such as {logicalCluster = "lkc-1"}'
    )


class TokenEndpointSettings(Reached):
    """How the token endpoint of [kafka] sasl_oauth_url is reached."""


class KafkaSettings(Certificates, _Brokers):
    """How to reach the broker, and how long it may take."""

    sasl_oauth_endpoint: TokenEndpointSettings | None = Field(
        default=None, description="how the token endpoint is reached: its authority, a certificate to show, a proxy"
    )
    session_timeout_s: Seconds = Field(
        default=10.0,
        description="seconds without a heartbeat after which the broker gives a worker's partitions away",
    )
    rebalance_timeout_s: Seconds = Field(
        default=60.0, description="seconds a worker has to join a rebalance, draining included"
    )
    request_timeout_s: Seconds = Field(default=15.0, description="seconds to wait for one answer of the broker")
    start_wait_s: NotNegative = Field(
        default=60.0, description="seconds that a worker's start waits for a broker before it ends with status 1"
    )


class TopicsSettings(Table):
    """Names of the topics, and how `topics create` makes them."""

    requests: Topic = Field(default="requests", description="topic that events are read from")
    doubtful: Topic = Field(
        default="doubtful", description="internal topic: inputs the local supervisor does not trust"
    )
    answers: Topic = Field(
        default="answers", description="internal topic: remote answers that are paid and not yet judged"
    )
    results: Topic = Field(default="results", description="topic that trusted answers are written to")
    fallback: Topic = Field(default="fallback", description="topic for what cannot be answered, each with its reason")
    budget: Topic = Field(
        default="budget", description="internal topic of one partition: who may spend what, where there is a [budget]"
    )
    audits: Topic = Field(
        default="audits",
        description="topic of the requests that are drawn and how they ended, where there is an [audit]",
    )
    labels: Topic = Field(
        default="labels", description="topic of one partition: what people say is right, where there is an [audit]"
    )
    trust: Topic = Field(
        default="trust",
        description="topic of one partition: whether the promise is still true, as the auditor says, where there is an "
        "[audit]",
    )
    thresholds: Topic = Field(
        default="thresholds",
        description="topic of one partition: the versions of the thresholds, where they are followed",
    )
    shadows: Topic = Field(
        default="shadows",
        description="internal topic: trusted answers about which the remote is asked as well, where there is a "
        "shadow_share",
    )
    batched: Topic = Field(
        default="batched",
        description="internal topic: inputs that wait for a batch or for its answers, where [remote] mode says so",
    )
    batches: Topic = Field(
        default="batches", description="internal topic: the log of these batches, partition by partition"
    )
    partitions: Count = Field(
        default=4, description="partitions of each topic: the most workers that can share the work"
    )
    replication_factor: Count = Field(default=1, description="copies of each partition, 3 on a production cluster")
    min_insync_replicas: Count = Field(
        default=1, description="copies that must have a record before it counts as written"
    )
    retention_hours: Seconds = Field(default=168.0, description="hours that records are kept")
    max_message_bytes: Count = Field(
        default=1_048_588, description="bytes of the largest batch of records a topic accepts"
    )

    def name_of(self, route: Route) -> str:
        """The topic that an outcome of this route is written to."""
        return {
            "results": self.results,
            "doubtful": self.doubtful,
            "answers": self.answers,
            "fallback": self.fallback,
            "audits": self.audits,
            "shadows": self.shadows,
            "batched": self.batched,
        }[route]


class StreamSettings(Table):
    """How records are moved: the promise, the order and the bounds."""

    delivery: Literal["exactly_once", "at_least_once"] = Field(
        default="exactly_once", description="exactly_once, or at_least_once for brokers without transactions"
    )
    ordering: Literal["key", "none"] = Field(
        default="key", description="key: records of one key leave in order; none: as they finish"
    )
    start: Literal["earliest", "latest"] = Field(
        default="earliest",
        description="where a new pipeline starts; partitions added later start at their earliest record",
    )
    commit_interval_ms: Count = Field(
        default=100, description="milliseconds between two transactions, under load or behind a remote call"
    )
    window_records: Annotated[Count, Field(le=MOST_WINDOW_RECORDS)] = Field(
        default=10_000, description="records of one partition that may be unfinished or done out of order"
    )
    window_bytes: Count = Field(default=67_108_864, description="bytes of the records that one partition may hold")
    drain_s: NotNegative = Field(default=10.0, description="seconds that work in flight gets on a rebalance or a stop")
    max_tries: Count = Field(default=3, description="times an agent may fail on a record before it goes to fallback")
    transaction_timeout_s: Annotated[Seconds, Field(le=MOST_TRANSACTION_S)] = Field(
        default=10.0,
        description="seconds for one transaction, or for taking a partition over: then the worker tries again; the "
        "broker aborts what a dead worker left open for so long",
    )
    watchdog_s: Seconds = Field(
        default=60.0,
        description="seconds in which every fetch fails before the worker ends; a command asks a broker for so long",
    )
    pause_aim_s: Seconds = Field(
        default=45.0,
        description="seconds that a partition may stand still at most when workers or brokers fail: `check` says where "
        "the other settings allow more",
    )
    fetch_records: Count = Field(default=2_000, description="records taken from the consumer at once")
