"""Every metric that a worker shows: name, type, unit, labels, meaning. The table in docs/metrics.md is made of it.

Names are Prometheus's: a unit in plural at the end, `_total` for what only grows since the worker started. Where
OpenTelemetry has a name for generative AI clients, it is that one in Prometheus's spelling
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

_PARTITION = ("agent", "topic", "partition")
_GEN_AI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "server_address", "server_port")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as it is exposed."""

    name: str
    kind: Kind
    help: str  #: one sentence, with the unit where the name has none
    labels: tuple[str, ...] = ()


# the flow

RECORDS = Metric(
    "bisupervised_records_total",
    "counter",
    "Outcomes committed, by the topic they went to; `reason` of a fallback, `answered_by` of a result.",
    ("agent", "route", "reason", "answered_by"),
)
UNTRUSTED = Metric(
    "bisupervised_untrusted_results_total",
    "counter",
    "Results taken without trust, in a degraded mode that the user switched on.",
    ("agent",),
)
LATENCY = Metric(
    "bisupervised_latency_seconds",
    "histogram",
    "From the request's timestamp to the commit of its result or fallback; `outcome` is who answered, or fallback.",
    ("agent", "outcome"),
)
LAST_COMMIT = Metric(
    "bisupervised_last_commit_timestamp_seconds",
    "gauge",
    "When outcomes were last committed, since epoch; absent before the first.",
    ("agent",),
)
FETCHED = Metric("bisupervised_fetched_records_total", "counter", "Records fetched from the input topic.", ("agent",))
BATCHES = Metric("bisupervised_batches_total", "counter", "Batches handed to the agent.", ("agent",))
TRANSACTIONS = Metric("bisupervised_transactions_total", "counter", "Transactions committed.", ("agent",))
RECOVERIES = Metric(
    "bisupervised_recoveries_total",
    "counter",
    "Times a lost producer was opened again, and the broker asked what it has.",
    ("agent",),
)
REBALANCES = Metric("bisupervised_rebalances_total", "counter", "Times partitions were taken away.", ("agent",))
ABANDONED = Metric(
    "bisupervised_abandoned_records_total",
    "counter",
    "Records in flight when a drain deadline passed; the next owner answers them.",
    ("agent",),
)
DISCARDED = Metric(
    "bisupervised_discarded_outcomes_total",
    "counter",
    "Outcomes that came after their partition had gone.",
    ("agent",),
)
FAULTS = Metric("bisupervised_agent_faults_total", "counter", "Times the agent raised on a batch.", ("agent",))
RESTARTS = Metric("bisupervised_agent_restarts_total", "counter", "Times the agent was restarted.", ("agent",))
PREDICT = Metric(
    "bisupervised_predict_duration_seconds", "histogram", "Time that the local model took for a batch.", ("agent",)
)

# partitions

UNFINISHED = Metric(
    "bisupervised_partition_unfinished_records",
    "gauge",
    "Records fetched and without a committed outcome.",
    _PARTITION,
)
LAG = Metric(
    "bisupervised_partition_lag_records",
    "gauge",
    "Offsets from the first record without a committed outcome, less those done, to the end of the partition; "
    "absent until both are known.",
    _PARTITION,
)
OLDEST = Metric(
    "bisupervised_partition_oldest_age_seconds",
    "gauge",
    "Time since the oldest unfinished record was requested; 0 without one.",
    _PARTITION,
)
PAUSED = Metric(
    "bisupervised_partition_paused",
    "gauge",
    "1 while nothing is fetched: the window is full, or the agent takes nothing for now.",
    _PARTITION,
)
STOPPED = Metric(
    "bisupervised_partition_stopped", "gauge", "1 when the partition cannot go on without a person.", _PARTITION
)

# the remote

CALL_DURATION = Metric(
    "gen_ai_client_operation_duration_seconds",
    "histogram",
    "Time of one call to the remote, each try by itself; `error_type` is empty for an answer, else a reason code, "
    "terminal or cancelled.",
    (*_GEN_AI, "error_type"),
)
TOKENS = Metric(
    "gen_ai_client_token_usage",
    "histogram",
    "Tokens of one call, where the remote tells them; `gen_ai_token_type` is input or output.",
    (*_GEN_AI, "gen_ai_token_type"),
)
RETRIES = Metric(
    "bisupervised_remote_retries_total", "counter", "Calls made again after a failure, by its reason.", ("reason",)
)
REPEATED = Metric(
    "bisupervised_remote_calls_repeated_total",
    "counter",
    "Calls made again after a crash or a rebalance for what may have been paid before.",
)
CACHED = Metric(
    "bisupervised_remote_cached_answers_total",
    "counter",
    "Answers taken from an equal input's, kept or under way, and not paid again; absent without the cache.",
)
ASKED = Metric(
    "bisupervised_remote_asked_records_total",
    "counter",
    "Committed records about which the remote was asked.",
)
COST = Metric("bisupervised_remote_cost_total", "counter", "What they cost, in the currency of the settings.")
SAVED = Metric(
    "bisupervised_saved_cost",
    "gauge",
    "What the results that the local model answered would have cost remotely, at the mean cost of an asked record or, "
    "before the first, at the price of a call in the settings.",
)
IN_FLIGHT = Metric("bisupervised_remote_batches_in_flight", "gauge", "Batches about which the remote is being asked.")
WAITING = Metric("bisupervised_remote_waiting_calls", "gauge", "Calls that wait for their turn.")
IN_FLIGHT_LIMIT = Metric(
    "bisupervised_remote_in_flight_limit", "gauge", "Most batches under way at once: this worker's share."
)
SHARE = Metric(
    "bisupervised_remote_limit_share_ratio", "gauge", "Share of the fleet's limits that this worker may use, 0 to 1."
)
LIMIT = Metric(
    "bisupervised_remote_limit_per_minute",
    "gauge",
    "The fleet's limit of `kind` requests or tokens a minute, as set or learnt; absent where there is none.",
    ("kind",),
)
PACE = Metric(
    "bisupervised_remote_pace_per_minute",
    "gauge",
    "What this worker allows itself of it now.",
    ("kind",),
)
BREAKER = Metric(
    "bisupervised_breaker_state",
    "gauge",
    "1 for the state that the circuit is in: closed, open, probing, or stopped by an error that only a person mends.",
    ("state",),
)
BREAKER_OPENED = Metric("bisupervised_breaker_opened_total", "counter", "Times the circuit opened.")
BREAKER_PROBES = Metric("bisupervised_breaker_probes_total", "counter", "Calls let through while it was open.")
BUDGET_LIMIT = Metric(
    "bisupervised_budget_limit",
    "gauge",
    "What the fleet may spend in a period, by `unit`: money in the currency of the settings, or calls; absent without "
    "such a budget.",
    ("unit",),
)
BUDGET_USED = Metric(
    "bisupervised_budget_used", "gauge", "What the fleet has spent or reserved of it in this period.", ("unit",)
)
BUDGET_LEFT = Metric("bisupervised_budget_left", "gauge", "What nobody has spent or reserved of it yet.", ("unit",))
BUDGET_CHARGED = Metric(
    "bisupervised_budget_charged", "gauge", "What this worker's calls have cost of it in this period.", ("unit",)
)
BUDGET_SPENT = Metric(
    "bisupervised_budget_spent", "gauge", "1 while this worker can have no more of it; absent without a budget."
)

# the worker

BUILD = Metric("bisupervised_build_info", "gauge", "1, with the versions as labels.", ("version", "python"))
STARTED = Metric("bisupervised_start_time_seconds", "gauge", "When the worker started, since epoch.")
LOOP_LAG = Metric(
    "bisupervised_event_loop_lag_seconds",
    "gauge",
    "The longest that the event loop was late in the last half minute: it is blocked, or lacks CPU.",
)

METRICS = tuple(metric for metric in list(globals().values()) if isinstance(metric, Metric))


def table() -> str:
    """The table in docs/metrics.md."""
    rows = [f"| `{one.name}` | {one.kind} | {', '.join(map(_code, one.labels))} | {one.help} |" for one in METRICS]
    return "\n".join(["| name | type | labels | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _code(label: str) -> str:
    return f"`{label}`"
