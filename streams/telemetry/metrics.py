"""Every metric of a worker: name, type, unit, labels, meaning. `scripts/tables.py` writes them into docs/metrics.md.

Names follow Prometheus: a unit in plural at the end, `_total` for what only grows since the worker started. Where
OpenTelemetry has a name for generative AI clients, that name is used in Prometheus's spelling
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


BROKER_REFUSALS = Metric(
    "bisupervised_broker_refusals_total",
    "counter",
    "Connections that the broker refused, for the password or the certificate; both are read again for each.",
)

# the thresholds, where versions are followed

RUNG = Metric(
    "bisupervised_thresholds_rung",
    "gauge",
    "Rung that judges, counted from 1, the laxest; `version` is what the records carry.",
    ("version",),
)
PINNED = Metric(
    "bisupervised_thresholds_pinned",
    "gauge",
    "1 while a rung is pinned, by the topic or by the settings; else 0.",
)
VERSIONS_LOST = Metric(
    "bisupervised_thresholds_lost",
    "gauge",
    "1 while the topic of versions cannot be read, and the last known one judges; else 0.",
)
VERSIONS_REFUSED = Metric(
    "bisupervised_thresholds_refused",
    "gauge",
    "1 while another version should judge and was not made for this worker's scores or file; else 0.",
)

# the audit: is the promise still true? The same in every worker, but for the last two

AUDIT_SHARE = Metric(
    "bisupervised_audit_share",
    "gauge",
    "Estimate, 0 to 1, for a version of the thresholds: `rate` is error (wrong among the trusted), "
    "false_positive_rate, local_error, remote_error, doubtful or disagreement; `bound` is value, lower or upper.",
    ("version", "rate", "bound"),
)
AUDIT_PROMISE = Metric(
    "bisupervised_audit_promise",
    "gauge",
    "Rate that is promised, 0 to 1, where the auditor knows it.",
    ("version", "rate"),
)
AUDIT_ALARM_LEVEL = Metric(
    "bisupervised_audit_alarm_level",
    "gauge",
    "How near the alarm of a promise is: it is raised at 1, and evidence begins anew.",
    ("version", "rate"),
)
AUDIT_ALARMS = Metric(
    "bisupervised_audit_alarms_total",
    "counter",
    "Alarms of a promise since the audit began.",
    ("version", "rate"),
)
AUDIT_LABELS = Metric(
    "bisupervised_audit_labels",
    "gauge",
    "Drawn requests by the `state` of their label: wanted (all), labelled, outstanding, late.",
    ("version", "state"),
)
AUDIT_RAISED = Metric(
    "bisupervised_audit_raised",
    "gauge",
    "1 while more requests are drawn since an alarm (`[audit] alarm_share`); else 0.",
)
AUDIT_RAISED_LABELS = Metric(
    "bisupervised_audit_raised_labels",
    "gauge",
    "Labels that are wanted for that alone, since it began; only while it lasts.",
)
AUDIT_CLOSED = Metric(
    "bisupervised_audit_closed_timestamp_seconds", "gauge", "When the auditor wrote last, seconds since epoch."
)
AUDITOR = Metric("bisupervised_audit_auditor", "gauge", "1 where this worker is the auditor of the fleet; else 0.")
AUDIT_FAILS = Metric(
    "bisupervised_audit_fails", "gauge", "1 while this worker could not audit if it were asked to; else 0."
)

# the flow

RECORDS = Metric(
    "bisupervised_records_total",
    "counter",
    "Outcomes committed, by `route`, the topic they went to. A fallback has a `reason`, a result `answered_by`.",
    ("agent", "route", "reason", "answered_by"),
)
UNTRUSTED = Metric(
    "bisupervised_untrusted_results_total",
    "counter",
    "Results that no supervisor trusts, given out in a degraded mode that the user switched on.",
    ("agent",),
)
LATENCY = Metric(
    "bisupervised_latency_seconds",
    "histogram",
    "Time from the request to the commit of its outcome; `outcome` is local, remote or fallback.",
    ("agent", "outcome"),
)
LAST_COMMIT = Metric(
    "bisupervised_last_commit_timestamp_seconds",
    "gauge",
    "When outcomes were last committed, seconds since epoch; absent before the first commit.",
    ("agent",),
)
FETCHED = Metric("bisupervised_fetched_records_total", "counter", "Records fetched from the input topic.", ("agent",))
BATCHES = Metric("bisupervised_batches_total", "counter", "Batches handed to the agent.", ("agent",))
TRANSACTIONS = Metric("bisupervised_transactions_total", "counter", "Transactions committed.", ("agent",))
RECOVERIES = Metric(
    "bisupervised_recoveries_total",
    "counter",
    "Times a lost producer was opened again after asking the broker what is committed.",
    ("agent",),
)
REBALANCES = Metric("bisupervised_rebalances_total", "counter", "Times partitions were taken away.", ("agent",))
ABANDONED = Metric(
    "bisupervised_abandoned_records_total",
    "counter",
    "Records still in flight when the time to finish a revoked partition was over; the next owner answers them.",
    ("agent",),
)
DISCARDED = Metric(
    "bisupervised_discarded_outcomes_total",
    "counter",
    "Outcomes that came after their partition was given up.",
    ("agent",),
)
FAULTS = Metric("bisupervised_agent_faults_total", "counter", "Times the agent raised on a batch.", ("agent",))
RESTARTS = Metric("bisupervised_agent_restarts_total", "counter", "Times the agent was restarted.", ("agent",))
PREDICT = Metric(
    "bisupervised_predict_duration_seconds",
    "histogram",
    "Time of one call of the local model, for a batch.",
    ("agent",),
)

SCHEMA_RECORDS = Metric(
    "bisupervised_schema_waiting_records",
    "gauge",
    "Records in hand that wait for a schema, because the registry does not answer; there may be more in Kafka. Only "
    "where requests have schemas.",
)
SCHEMA_SECONDS = Metric(
    "bisupervised_schema_waiting_seconds",
    "gauge",
    "For how long records have been waiting for a schema; 0 while none do.",
)

# partitions

UNFINISHED = Metric(
    "bisupervised_partition_unfinished_records",
    "gauge",
    "Records that are fetched and have no committed outcome yet.",
    _PARTITION,
)
LAG = Metric(
    "bisupervised_partition_lag_records",
    "gauge",
    "Offsets up to the end of the partition that have no committed outcome yet; absent until the end and the committed "
    "offset are known.",
    _PARTITION,
)
HELD_BACK = Metric(
    "bisupervised_partition_held_back_records",
    "gauge",
    "Those of the lag that nobody can read yet: somebody has a transaction open before them. Moments of it are normal.",
    _PARTITION,
)
OLDEST = Metric(
    "bisupervised_partition_oldest_age_seconds",
    "gauge",
    "Time since the request of the oldest unfinished record; 0 where there is none.",
    _PARTITION,
)
RETENTION_LEFT = Metric(
    "bisupervised_partition_retention_left_seconds",
    "gauge",
    "Time until the retention of the topic may delete the oldest waiting record; absent where nothing waits, and where "
    "records are kept for ever.",
    _PARTITION,
)
PAUSED = Metric(
    "bisupervised_partition_paused",
    "gauge",
    "1 while nothing is fetched: the window is full, or the agent takes nothing for now.",
    _PARTITION,
)
STOPPED = Metric(
    "bisupervised_partition_stopped", "gauge", "1 when the partition has stopped, and a person must act.", _PARTITION
)

# the remote

CALL_DURATION = Metric(
    "gen_ai_client_operation_duration_seconds",
    "histogram",
    "Time of one call to the remote; each try counts as one. `error_type` is empty for an answer, else a reason code, "
    "`terminal` or `cancelled`.",
    (*_GEN_AI, "error_type"),
)
TOKENS = Metric(
    "gen_ai_client_token_usage",
    "histogram",
    "Tokens of one call, where the remote reports them; `gen_ai_token_type` is input or output.",
    (*_GEN_AI, "gen_ai_token_type"),
)
RETRIES = Metric(
    "bisupervised_remote_retries_total",
    "counter",
    "Calls repeated after a failure, by its reason.",
    ("reason",),
)
IMPLAUSIBLE = Metric(
    "bisupervised_remote_implausible_usage_total",
    "counter",
    "Answers whose token counts cannot be; the most that the call can have used stands for them.",
)
REPEATED = Metric(
    "bisupervised_remote_calls_repeated_total",
    "counter",
    "Calls repeated after a crash or a rebalance, so that an input may be paid for twice.",
)
CACHED = Metric(
    "bisupervised_remote_cached_answers_total",
    "counter",
    "Answers reused from an equal input, out of the cache or from a call under way; absent without the cache.",
)
ASKED = Metric(
    "bisupervised_remote_asked_records_total",
    "counter",
    "Committed records about which the remote was asked.",
)
COST = Metric(
    "bisupervised_remote_cost_total",
    "counter",
    "Cost of the calls about committed records, in the currency of the settings.",
)
SAVED = Metric(
    "bisupervised_saved_cost",
    "gauge",
    "What the results of the local model would have cost at the remote: their number times the mean cost of an asked "
    "record, or times the price of a call in the settings before the first.",
)
IN_FLIGHT = Metric("bisupervised_remote_batches_in_flight", "gauge", "Batches that wait for an answer of the remote.")
WAITING = Metric("bisupervised_remote_waiting_calls", "gauge", "Calls that wait for their turn.")
IN_FLIGHT_LIMIT = Metric(
    "bisupervised_remote_in_flight_limit", "gauge", "This worker's share of the most batches under way at once."
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
    "Requests or tokens a minute, by `kind`, that this worker allows itself now.",
    ("kind",),
)
BREAKER = Metric(
    "bisupervised_breaker_state",
    "gauge",
    "1 for the present state of the circuit: closed, open, probing, or stopped by an error that a person must fix.",
    ("state",),
)
HELD = Metric(
    "bisupervised_remote_held_inputs",
    "gauge",
    "Inputs that the remote refused, or whose answer is of no use, and that wait until it is known who is to blame.",
)
BREAKER_OPENED = Metric("bisupervised_breaker_opened_total", "counter", "Times the circuit opened.")
BREAKER_PROBES = Metric(
    "bisupervised_breaker_probes_total", "counter", "Calls let through while the circuit was open, to probe the remote."
)
BUDGET_LIMIT = Metric(
    "bisupervised_budget_limit",
    "gauge",
    "The fleet's budget of a period, by `unit`: money in the currency of the settings, or calls; absent without such a "
    "budget.",
    ("unit",),
)
BUDGET_USED = Metric(
    "bisupervised_budget_used",
    "gauge",
    "How much of the budget the fleet has spent or reserved in this period.",
    ("unit",),
)
BUDGET_LEFT = Metric(
    "bisupervised_budget_left", "gauge", "How much of the budget is neither spent nor reserved.", ("unit",)
)
BUDGET_CHARGED = Metric(
    "bisupervised_budget_charged", "gauge", "What this worker's calls have cost in this period.", ("unit",)
)
BUDGET_SPENT = Metric(
    "bisupervised_budget_spent",
    "gauge",
    "1 while this worker can reserve no more of the budget; absent without a budget.",
)

# shadows: trusted requests that the remote is asked about as well

SHADOWS = Metric(
    "bisupervised_shadows_total",
    "counter",
    "Trusted requests that the remote was to be asked about as well, by `reason`: empty where it has answered, else "
    "why its answer is missing.",
    ("reason",),
)
SHADOWS_WAITING = Metric(
    "bisupervised_shadows_waiting",
    "gauge",
    "Shadows that no record of `audits` tells of yet, fetched or not, in the partitions of this worker.",
)
SHADOW_COST = Metric(
    "bisupervised_shadow_cost_total", "counter", "Cost of the calls about shadows, in the currency of the settings."
)
SHADOWS_GAVE_WAY = Metric(
    "bisupervised_shadow_calls_gave_way_total",
    "counter",
    "Calls about shadows that were broken off, because their place was needed by a call that somebody waits for.",
)
SHADOW_BUDGET = Metric(
    "bisupervised_shadow_budget_limit",
    "gauge",
    "The part of the fleet's budget of a period that is for shadows, by `unit`; absent without such a budget.",
    ("unit",),
)
SHADOW_BUDGET_USED = Metric(
    "bisupervised_shadow_budget_used",
    "gauge",
    "How much of that part the fleet has spent or reserved in this period.",
    ("unit",),
)

# batches: inputs that the remote is asked about in a batch interface of the provider

PROVIDER_BATCHES = Metric(
    "bisupervised_provider_batches",
    "gauge",
    "Batches of this worker's partitions that are not over, by `state`: closed (waits for its turn), creating, running "
    "(the provider has it), settling (its answers go out).",
    ("state",),
)
PROVIDER_BATCH_INPUTS = Metric("bisupervised_provider_batch_inputs", "gauge", "Inputs in these batches.")
PROVIDER_BATCH_OLDEST = Metric(
    "bisupervised_provider_batch_oldest_seconds", "gauge", "Age of the oldest of these batches, since it was closed."
)
PROVIDER_BATCHES_LATE = Metric(
    "bisupervised_provider_batches_late", "gauge", "How many of them are older than `[batch] late_hours`."
)
PROVIDER_BATCHES_FAIL = Metric(
    "bisupervised_provider_batches_fail",
    "gauge",
    "1 while this worker cannot go on with the batches of a partition that it owns; batches at the provider go on.",
)
PROVIDER_STOPPED = Metric(
    "bisupervised_provider_stopped",
    "gauge",
    "1 while the provider refuses everything that it is asked in batches: inputs wait until a small batch is answered.",
)
PROVIDER_BATCHES_CREATED = Metric(
    "bisupervised_provider_batches_created_total", "counter", "Batches that the provider has taken from this worker."
)
PROVIDER_BATCHES_ENDED = Metric(
    "bisupervised_provider_batches_ended_total",
    "counter",
    "Batches of which every input has its outcome, by `how`: answered, or the reason for which all of them fell back.",
    ("how",),
)
PROVIDER_BATCHES_UNSURE = Metric(
    "bisupervised_provider_batches_unsure_total",
    "counter",
    "Batches that were created once more though they may have been created before: each may be paid twice.",
)
PROVIDER_BATCH_OUTCOMES = Metric(
    "bisupervised_provider_batch_outcomes_total",
    "counter",
    "Inputs of batches by `outcome`: answered, fallback, or again (into another batch).",
    ("outcome",),
)
PROVIDER_BATCH_FOREIGN = Metric(
    "bisupervised_provider_batch_foreign_results_total", "counter", "Results of batches that are of nothing we asked."
)
PROVIDER_BATCH_COST = Metric(
    "bisupervised_provider_batch_cost_total", "counter", "Cost of the batches, in the currency of the settings."
)
PROVIDER_BATCH_SAVED = Metric(
    "bisupervised_provider_batch_saved_total",
    "counter",
    "What direct calls about the same inputs would have cost more, in the currency of the settings.",
)

# the worker

BUILD = Metric("bisupervised_build_info", "gauge", "1, with the versions as labels.", ("version", "python"))
STARTED = Metric("bisupervised_start_time_seconds", "gauge", "When the worker started, seconds since epoch.")
LOOP_LAG = Metric(
    "bisupervised_event_loop_lag_seconds",
    "gauge",
    "The longest delay of the event loop in the last half minute. A delay means that it is blocked, or lacks CPU.",
)
PROCESS_UP = Metric(
    "bisupervised_process_up",
    "gauge",
    "With `--processes`: 1 where this process answers, 0 where its samples are missing.",
    ("process",),
)

METRICS = tuple(metric for metric in list(globals().values()) if isinstance(metric, Metric))


def table() -> str:
    """The table for docs/metrics.md."""
    rows = [f"| `{one.name}` | {one.kind} | {', '.join(map(_code, one.labels))} | {one.help} |" for one in METRICS]
    return "\n".join(["| name | type | labels | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _code(label: str) -> str:
    return f"`{label}`"
