"""What a killed worker had asked and not committed is paid again: under the same key, counted, and on the record."""

from __future__ import annotations

import re
import time
from typing import Any

import orjson
import pytest
from bisupervised.schemas.codec import decode_facts
from bisupervised.schemas.records import Verdict
from bisupervised.streams.plane.window.marks import Progress, decode
from support.pipeline import Pipeline, Remote, Setup, Worker, check_exactly_once, request, wait_until

INPUTS = 120
IN_FLIGHT = 8
#: seconds after which a transaction that the killed worker had ended is through, or will never be
SETTLED_S = 1.0


def told(worker: Worker, name: str) -> int:
    """A count that the remote agent told when it stopped."""
    [line] = [line for line in worker.told() if str(line.get("message", "")).startswith("remote stopped")]
    found = re.search(rf'"{name}":(\d+)', orjson.dumps(line["counts"]).decode())
    assert found is not None, line
    return int(found[1])


def verdicts(pipeline: Pipeline) -> list[Verdict]:
    """What the remote is said to have answered, as `answers` has it."""
    found = [decode_facts(record).remote for record in pipeline.records("answers")]
    return [verdict for verdict in found if verdict is not None]


def repeats(remote: Remote) -> int:
    """Answers that the server gave again, by its own count of keys."""
    return sum(times - 1 for times in remote.answered.values())


def _inputs(key: str) -> int:
    """How many inputs a call was about, as its key says."""
    found = re.search(r"\+(\d+)-", key)
    return 1 + int(found[1]) if found else 1


def _place(key: str) -> tuple[int, int]:
    """Partition and offset of the first input of a call, as its key says."""
    partition, offset, _ = key.split("-", 2)
    return int(partition), int(offset)


def inputs_answered(remote: Remote) -> int:
    """Inputs that the server answered, repeated ones included."""
    return sum(_inputs(key) * times for key, times in list(remote.answered.items()))


def left_behind(pipeline: Pipeline) -> list[Progress]:
    """What the remote agent has committed of each partition, once that changes no more."""
    seen: list[tuple[float, list[Progress]]] = []

    def unchanged() -> bool:
        committed = [pipeline.committed("remote", "doubtful", partition) for partition in range(pipeline.partitions)]
        now = [decode(found.offset, found.metadata) for found in committed if found is not None]
        if not seen or seen[-1][1] != now:
            seen.append((time.monotonic(), now))
        return time.monotonic() - seen[-1][0] > SETTLED_S

    wait_until(unchanged, "no further commit")
    return seen[-1][1]


def perhaps_asked(pipeline: Pipeline, left: list[Progress]) -> int:
    """Doubtful records that these commits leave without an answer, and allow to be handed out."""
    return sum(
        start.offset <= record.offset < start.offset + int(start.phase.removeprefix("a"))
        and record.offset not in start.done
        for record in pipeline.records("doubtful")
        for start in (left[record.partition],)
    )


def kill_between_answer_and_commit(pipeline: Pipeline, remote: Remote) -> tuple[list[Any], Worker, list[Progress]]:
    """The first worker is killed with answers on the way; the second one ends well."""
    sent = pipeline.send([request(number) for number in range(INPUTS)])
    first = pipeline.ready_worker()
    wait_until(lambda: inputs_answered(remote) >= INPUTS // 4, "a quarter of the answers")
    first.kill()
    assert inputs_answered(remote) < INPUTS, "it was killed on the way"
    left = left_behind(pipeline)
    second = pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    return outcomes, second, left


@pytest.mark.parametrize("attempt", range(2))
def test_every_call_that_a_kill_repeats_is_counted_and_carries_the_key_it_had(setup: Setup, attempt: int) -> None:
    remote, pipeline = setup(delay_s=0.05, remote={"batch_size": 1, "in_flight": IN_FLIGHT})
    outcomes, second, left = kill_between_answer_and_commit(pipeline, remote)
    assert len(remote.answered) == len(outcomes), "one key for each input"
    assert set(map(_place, remote.answered)) == {o.place for o in outcomes}
    counted = told(second, "remote_calls_repeated")
    answered = verdicts(pipeline)
    print(f"the server answered {repeats(remote)} again; counted {counted}")
    assert repeats(remote) <= counted, "a repeated call is hidden"
    assert counted == perhaps_asked(pipeline, left), "what the last commits allowed, and no more"
    assert sum(verdict.repeated for verdict in answered) == counted
    assert sum(o.result.repeated for o in outcomes if o.result is not None) == counted
    again = {_place(key) for key, times in remote.answered.items() if times > 1}
    sources = [decode_facts(record).source for record in pipeline.records("answers") if _repeated(record)]
    assert again <= {(source.partition, source.offset) for source in sources}, "the very inputs that were asked again"


def _repeated(record: Any) -> bool:
    verdict = decode_facts(record).remote
    return verdict is not None and verdict.repeated


def test_a_call_of_many_inputs_says_of_each_whether_it_was_asked_before(setup: Setup) -> None:
    """Batches may be formed anew, and then are other calls with other keys: each input still says so."""
    remote, pipeline = setup(delay_s=0.05, remote={"batch_size": 4, "in_flight": IN_FLIGHT})
    outcomes, second, _ = kill_between_answer_and_commit(pipeline, remote)
    counted = told(second, "remote_calls_repeated")
    marked = sum(_repeated(record) for record in pipeline.records("answers"))
    paid_inputs = inputs_answered(remote)
    print(f"the server answered {paid_inputs} inputs of {INPUTS}; {marked} records in {counted} calls say so")
    assert paid_inputs - INPUTS <= marked
    assert counted <= marked <= 4 * counted
    assert len(outcomes) == INPUTS


def test_a_worker_that_ends_well_leaves_nothing_to_be_taken_for_asked(setup: Setup) -> None:
    remote, pipeline = setup(delay_s=0.05, remote={"batch_size": 1, "in_flight": IN_FLIGHT})
    sent = pipeline.send([request(number) for number in range(INPUTS)])
    first = pipeline.ready_worker()
    wait_until(lambda: remote.answered.total() >= INPUTS // 4, "a quarter of the answers")
    assert first.stop() == 0
    pipeline.worker()
    check_exactly_once(sent, pipeline.settle(sent))
    assert repeats(remote) == 0
    assert not any(verdict.repeated for verdict in verdicts(pipeline))


def test_calls_that_a_rebalance_cuts_off_are_counted_where_they_are_made_again(setup: Setup) -> None:
    """Calls take longer than a drain may: the second worker takes partitions whose calls are under way."""
    stream = {"drain_s": 0.5}
    remote, pipeline = setup(delay_s=0.05, stream=stream, remote={"batch_size": 1, "in_flight": IN_FLIGHT})
    remote.close_gate()
    sent = pipeline.send([request(number) for number in range(40)])
    workers = [pipeline.ready_worker()]
    wait_until(lambda: remote.under_way == IN_FLIGHT, "calls under way")
    workers.append(pipeline.worker())
    workers[1].wait_for("partition_acquired", 3)
    remote.open_gate()
    check_exactly_once(sent, pipeline.settle(sent))
    counted = sum(told(worker, "remote_calls_repeated") for worker in workers)
    print(f"the server answered {repeats(remote)} again; counted {counted}")
    assert 0 < repeats(remote) <= counted <= remote.calls - len(sent) + IN_FLIGHT
    assert sum(verdict.repeated for verdict in verdicts(pipeline)) == counted


def test_equal_inputs_are_paid_once_in_the_whole_pipeline(setup: Setup) -> None:
    remote, pipeline = setup(delay_s=0.05, remote={"cache_records": 100})
    sent = pipeline.send([request(number % 10) for number in range(INPUTS)])
    worker = pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    different = len({bytes(record.value or b"")[: record.value.index(b"]")] for record in sent if record.value})
    answered = verdicts(pipeline)
    paid = [verdict for verdict in answered if not verdict.cached]
    assert len(paid) == different
    assert sum(_inputs(key) for key in remote.answered) == different, "the server was asked about no more"
    assert all((verdict.calls, verdict.cost) == (0, 0.0) for verdict in answered if verdict.cached)
    assert sum(o.result.cached for o in outcomes if o.result is not None) == INPUTS - different
    assert told(worker, "hits") + told(worker, "shared") == INPUTS - different
