"""The word of a living former owner: what it says, whom it reaches, and what it never acquits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from bisupervised.streams.kafka.consumer import Dealing
from bisupervised.streams.plane.window.acquittal import Word, deserved, origin_of, words_about, words_from
from bisupervised.streams.plane.window.marks import Progress
from support.partitions import Owner, ScriptedBroker, lost_after, lost_before
from support.virtual_time import on_virtual_time
from support.windows import TOPIC_ID

P = Progress(7, frozenset({9}), "n", TOPIC_ID)


def at(offset: int, phase: str, *done: int) -> Progress:
    return Progress(offset, frozenset(done), phase, TOPIC_ID)


# what a word says


@pytest.mark.parametrize(
    ("stored", "phase"),
    [
        (at(7, "n", 9), "c"),
        (at(7, "b", 9), "c"),  # a careful owner came in between, and committed nothing
        (at(7, "B", 9), None),  # it died while it tried a batch
        (at(7, "a1", 9), None),
        (at(7, "n"), None),  # another's progress
        (at(8, "n", 9), None),
        (Progress(7, frozenset({9}), "n", "of another topic"), None),
    ],
)
def test_a_word_is_about_one_progress(stored: Progress, phase: str | None) -> None:
    assert deserved(words_about([(P, "c")]), stored) == phase


@pytest.mark.parametrize(("phase", "instead"), [("B", "b"), ("a2", "a1")])
def test_a_careful_owner_acquits_what_it_tried_and_not_what_it_inherited(phase: str, instead: str) -> None:
    words = words_about([(at(7, phase), instead)])
    assert deserved(words, at(7, phase)) == instead
    assert deserved(words, at(7, "b")) is None


LINK = origin_of([], at(7, "n")) or ""


@pytest.mark.parametrize("stored", [at(12, "b"), at(12, "b", 14)])
def test_a_link_and_the_word_about_its_end_acquit_together(stored: Progress) -> None:
    word, link = words_about([(at(7, "n"), "c")]), words_about([(stored, LINK)])
    assert deserved([*word, *link], stored) == "c"
    assert deserved(link, stored) is None, "the former owner may be dead"
    assert deserved(word, stored) is None
    assert deserved([*words_about([(at(8, "n"), "c")]), *link], stored) is None, "of another loss"
    assert origin_of(link, stored) == LINK, "it is passed on"
    assert deserved([*word, *link], at(12, "B")) is None


@pytest.mark.parametrize(
    "told", [None, 3, "c", {}, [1], [["x"]], [["x", "n", 1]], [["x", "n", "z"]], [["x", "n", "c", "d"]]]
)
def test_what_is_no_word_is_not_heard(told: object) -> None:
    assert words_from(told) == []


# whom it reaches


class Cluster:
    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0, 1, 2}


def place(number: int) -> TopicPartition:
    return TopicPartition("requests", number)


def member(said: dict[TopicPartition, Any]) -> tuple[Dealing, dict[TopicPartition, Any]]:
    heard: dict[TopicPartition, Any] = {}
    return Dealing(lambda: said, heard.update), heard


WORD = Word("print", "n", "c")


def joined(*dealing: Any) -> dict[str, ConsumerProtocolMemberMetadata]:
    """What the leader reads, there and back through the bytes of the protocol."""
    told = {f"m{number}": each.metadata(["requests"]).encode() for number, each in enumerate(dealing)}
    return {name: ConsumerProtocolMemberMetadata.decode(said) for name, said in told.items()}


def hand_over(dealt: Any, name: str, dealing: Any) -> None:
    dealing.on_assignment(ConsumerProtocolMemberAssignment.decode(dealt[name].encode()))


def test_what_one_says_reaches_the_one_that_gets_the_partition() -> None:
    (one, heard_one), (other, heard_other) = member({place(0): [WORD], place(1): [WORD]}), member({})
    dealt = one.assign(Cluster(), joined(one, other))
    hand_over(dealt, "m0", one)
    hand_over(dealt, "m1", other)
    assert {tp: words_from(words) for tp, words in heard_one.items()} == {place(0): [WORD]}
    assert {tp: words_from(words) for tp, words in heard_other.items()} == {place(1): [WORD]}


def test_a_group_of_thousands_of_partitions_still_fits_into_the_record_that_keeps_it() -> None:
    told: dict[TopicPartition, Any] = {place(number): [WORD] for number in range(3000)}
    ours, heard = member(told)
    said = ours.metadata(["requests"]).user_data
    assert 3000 < len(said) <= 4096
    ours.on_assignment(ConsumerProtocolMemberAssignment(0, [("requests", [0])], said))
    assert list(heard) == [place(number) for number in range(len(heard))], "as many as fit"
    assert len(heard) > 50


def test_partitions_are_dealt_as_the_client_itself_does_and_silence_adds_no_byte() -> None:
    silent, _ = member({})
    plain = RoundRobinPartitionAssignor
    assert silent.name == plain.name, "a group of both versions has a strategy in common"
    assert silent.metadata(["requests"]).encode() == plain.metadata(["requests"]).encode()
    ours, theirs = silent.assign(Cluster(), joined(silent, plain)), plain.assign(Cluster(), joined(silent, plain))
    assert {name: dealt.encode() for name, dealt in ours.items()} == {n: dealt.encode() for n, dealt in theirs.items()}


def test_a_group_of_both_versions_forms_whoever_leads_it() -> None:
    """A worker of the version before reads no word and passes none on."""
    ours, heard = member({place(1): [WORD]})
    before = RoundRobinPartitionAssignor
    members = joined(ours, before)
    by_us, by_it = ours.assign(Cluster(), members), before.assign(Cluster(), members)
    for dealt in (by_us, by_it):
        assert {name: each.partitions() for name, each in dealt.items()} == {
            "m0": [place(0), place(2)],
            "m1": [place(1)],
        }
        hand_over(dealt, "m1", before)
        hand_over(dealt, "m0", ours)
    assert heard == {}


@pytest.mark.parametrize("told", [b"sticky", b"bisupervised 1 ", b"bisupervised 1 [[1]]", b"bisupervised 2 []", None])
def test_what_others_write_there_is_ignored(told: bytes | None) -> None:
    ours, heard = member({})
    members = {"m0": ConsumerProtocolMemberMetadata(0, ["requests"], told)}
    ours.on_assignment(ConsumerProtocolMemberAssignment(0, [("requests", [0])], told))
    assert ours.assign(Cluster(), members)["m0"].user_data == b""
    assert heard == {}


# who says it


async def lost(owner: Owner) -> list[Word]:
    """The owner is told to give up a partition that it cannot commit for any more. What it says of it."""
    owner.broker.script = [lost_before] * 10
    await owner.release()
    return owner.partition.words


@on_virtual_time
async def test_an_owner_that_could_not_close_says_that_it_lives_and_the_next_one_tries_one_batch() -> None:
    broker = ScriptedBroker(at(0, "c"))
    owner = Owner(broker, careful=True)
    await owner.answer(0, 1)
    words = await lost(owner)
    broker.script = []
    assert broker.stored == at(2, "n")
    following = Owner(broker, careful=True, heard=words)
    await following.answer(2)
    assert [commit.phase for commit in broker.commits[-3:]] == ["b", "B", "n"], "one batch is tried as a suspect"
    await following.release()
    assert broker.stored == at(3, "c")


@on_virtual_time
async def test_without_a_word_a_batch_changes_nothing() -> None:
    broker = ScriptedBroker(at(2, "n"))
    following = Owner(broker, careful=True)
    await following.answer(2)
    assert broker.stored == at(3, "b")
    await following.release()


@on_virtual_time
async def test_what_the_agent_still_holds_is_waited_for_and_then_acquitted() -> None:
    owner = Owner(ScriptedBroker(at(0, "c")), careful=True)
    lease = await owner.take(0, 1)
    releasing = asyncio.create_task(lost(owner))
    await asyncio.sleep(5.0)
    assert not releasing.done()
    owner.resolve(lease)
    words = await releasing
    assert deserved(words, at(0, "n")) == "c"
    assert owner.partition.abandoned == 0


@on_virtual_time
async def test_an_input_that_hangs_does_not_acquit_itself() -> None:
    owner = Owner(ScriptedBroker(at(0, "c")), careful=True)
    lease = await owner.take(0)
    assert await lost(owner) == []
    owner.resolve(lease)
    assert deserved(owner.partition.words, at(0, "n")) == "c", "it did not hang after all"


@on_virtual_time
async def test_an_owner_that_closed_well_has_nothing_to_say() -> None:
    broker = ScriptedBroker(at(0, "c"))
    owner = Owner(broker, careful=True)
    await owner.answer(0)
    await owner.release()
    assert owner.partition.words == [], "and sends no byte"


@on_virtual_time
async def test_a_careful_owner_does_not_acquit_what_it_inherited() -> None:
    owner = Owner(ScriptedBroker(at(0, "n")), careful=True)
    await owner.owned.wait()
    words = await lost(owner)
    assert deserved(words, at(0, "b")) is None


@on_virtual_time
async def test_one_that_was_acquitted_and_has_tried_nothing_passes_it_on() -> None:
    """Rebalances come in twos: one for each member that joins again."""
    broker = ScriptedBroker(at(0, "n"))
    first = Owner(broker, careful=True, heard=words_about([(at(0, "n"), "c")]))
    await first.owned.wait()
    await first.release()
    assert broker.stored == at(0, "b")
    assert deserved(first.partition.words, at(0, "b")) == "c"


@on_virtual_time
async def test_one_that_began_before_the_word_came_links_what_it_stored_to_where_it_began() -> None:
    """The first member that joins again gets everything, and hears nobody yet."""
    broker = ScriptedBroker(at(0, "n"))
    words = words_about([(at(0, "n"), "c")])
    first = Owner(broker, careful=True)
    await first.answer(0, 1)
    await first.release()
    assert broker.stored == at(2, "b")
    second = Owner(broker, careful=True, heard=first.partition.words)  # nor does this one
    await second.answer(2)
    await second.release()
    assert broker.stored == at(3, "b")
    third = Owner(broker, careful=True, heard=[*second.partition.words, *words])
    await third.answer(3)
    assert broker.stored == at(4, "n")
    await third.release()


@on_virtual_time
async def test_one_that_was_given_up_before_it_was_acquired_passes_on_what_it_heard() -> None:
    broker = ScriptedBroker(at(0, "n"), open_fails=100)
    heard = words_about([(at(0, "n"), "c")])
    owner = Owner(broker, careful=True, heard=heard)
    await asyncio.sleep(1.0)
    await owner.release()
    assert owner.partition.words == heard


@on_virtual_time
async def test_an_owner_does_not_suspect_itself_where_only_the_answer_to_its_opening_was_lost() -> None:
    broker = ScriptedBroker(at(0, "c"), script=[lost_after])
    owner = Owner(broker, careful=True)
    await owner.answer(0)
    assert broker.stored == at(1, "n")
    await owner.release()


@on_virtual_time
async def test_where_no_input_can_kill_there_is_nothing_to_say() -> None:
    owner = Owner(ScriptedBroker(at(0, "c")))
    await owner.answer(0)
    assert await lost(owner) == []
