"""The faults of a cluster. Each is a coroutine that hits it once and tells whom.

What they end or cut is brought back by `ThreeNodes.mend`, which waits until the cluster is well.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
from collections.abc import Awaitable, Callable

from nodes import NODES, ThreeNodes
from proxy import Way

NodeFault = Callable[[ThreeNodes], Awaitable[str]]

#: longer than the session of a broker (9 s), so that its partitions get other leaders meanwhile
_FROZEN_S = 13.0
_TWO_DOWN_S = 12.0
_REFUSED_S = 12.0
#: longer than `[kafka] request_timeout_s` (15 s), so that the worker gives its connections up
_STALLED_S = 20.0
_LEADERLESS_S = 15.0
_CHANGED_S = 60.0
_times = itertools.count()


async def kill_leader(rig: ThreeNodes) -> str:
    """kill -9 the node that leads most partitions of the outputs, every other time inside an open transaction."""
    return await _crash(rig, await rig.leader())


async def kill_coordinator(rig: ThreeNodes) -> str:
    """kill -9 the node that coordinates most groups and transactions."""
    return await _crash(rig, await rig.coordinator())


async def _crash(rig: ThreeNodes, node: int) -> str:
    inside = bool(next(_times) % 2)
    if inside:
        worker = await rig.any_worker()
        inside = await rig.trap(worker, signal.SIGKILL, victim=rig.nodes[node].pid, timeout_s=5.0)
    rig.kill(node)
    await asyncio.sleep(random.uniform(4, 12))  # shorter and longer than its session
    return f"node {node + 1}{' in a transaction' if inside else ''}"


async def rolling_restart(rig: ThreeNodes) -> str:
    """SIGTERM one after the other, the next one only when all copies are in sync again, as an upgrade does."""
    order = random.sample(range(NODES), NODES)
    for node in order:
        await asyncio.to_thread(rig.stop_in_order, node)
        await rig.start_nodes(node)
        await rig.admin.well(_CHANGED_S)
    return f"nodes {[node + 1 for node in order]}"


async def freeze_node(rig: ThreeNodes) -> str:
    """SIGSTOP past its session, then SIGCONT: a leader or a coordinator that does not know that it is none any more."""
    leads = next(_times) % 2
    node = await (rig.leader() if leads else rig.coordinator())
    os.kill(rig.nodes[node].pid, signal.SIGSTOP)
    await asyncio.sleep(_FROZEN_S)
    os.kill(rig.nodes[node].pid, signal.SIGCONT)
    return f"node {node + 1}, {'leader' if leads else 'coordinator'}"


async def two_down(rig: ThreeNodes) -> str:
    """kill -9 two: no majority of controllers, too few copies in sync."""
    down = random.sample(range(NODES), 2)
    for node in down:
        rig.kill(node)
    await asyncio.sleep(_TWO_DOWN_S)
    return f"nodes {[node + 1 for node in down]}"


async def reassign_and_elect(rig: ThreeNodes) -> str:
    """Take away a copy of each partition, be it the leader's, make it anew elsewhere, and let another one lead."""
    before = {tp: list(told.replicas) for tp, told in (await rig.admin.partitions()).items()}
    shrink = next(_times) % 2
    if shrink:
        await rig.admin.reassign({tp: copies[1:] for tp, copies in before.items()})
        await rig.admin.well(_CHANGED_S)
    await rig.admin.reassign({tp: [*copies[1:], copies[0]] for tp, copies in before.items()})
    await rig.admin.well(_CHANGED_S)
    await rig.admin.elect(before)
    return f"{len(before)} partitions{', a copy of each made anew' if shrink else ''}"


async def worker_and_node(rig: ThreeNodes) -> str:
    """kill -9 a node inside a worker's open transaction, and that worker with it."""
    leads = next(_times) % 2
    node = await (rig.leader() if leads else rig.coordinator())
    worker = await rig.any_worker()
    inside = await rig.trap(worker, signal.SIGKILL, victim=rig.nodes[node].pid, timeout_s=8.0)
    worker.kill()
    rig.kill(node)
    rig.drop(worker)
    await asyncio.to_thread(worker.wait)
    rig.add_worker()
    await asyncio.sleep(random.uniform(3, 8))
    return f"node {node + 1}, {'leader' if leads else 'coordinator'}{' in a transaction' if inside else ''}"


async def cut_refused(rig: ThreeNodes) -> str:
    """One worker cannot connect to one node; the nodes see each other, and the other worker sees them all."""
    return await _cut(rig, Way.REFUSED, _REFUSED_S)


async def cut_stalled(rig: ThreeNodes) -> str:
    """The same, where nothing comes through and nobody is told."""
    return await _cut(rig, Way.STALLED, _STALLED_S)


async def _cut(rig: ThreeNodes, way: Way, seconds: float) -> str:
    leads = next(_times) % 2
    node = await (rig.leader() if leads else rig.coordinator())
    slot = rig.slot_of(await rig.any_worker())
    rig.kafka.set(node, way, slot)
    await asyncio.sleep(seconds)
    return f"slot {slot} from node {node + 1}, {'leader' if leads else 'coordinator'}"


async def only_leader_gone(rig: ThreeNodes) -> str:
    """One partition of each topic has its only copy on a node that goes away for a while: it has no leader.

    It goes in order: after kill -9 Kafka does not let an only copy lead again unless somebody elects it.
    """
    names = rig.settings.topics
    topics = {names.requests, names.doubtful, names.answers, names.results, names.fallback}
    found = await rig.admin.partitions()
    before = {tp: list(told.replicas) for tp, told in found.items() if tp.topic in topics and tp.partition == 0}
    node = await rig.leader()
    await rig.admin.reassign({tp: [node + 1] for tp in before})
    try:
        await rig.admin.well(_CHANGED_S)
        await asyncio.to_thread(rig.stop_in_order, node)
        await asyncio.sleep(_LEADERLESS_S)
    finally:
        await rig.mend()
        await rig.admin.reassign(before)
    return f"node {node + 1}, the only copy of {len(before)} partitions"


NODE_FAULTS: dict[str, NodeFault] = {
    fault.__name__: fault
    for fault in (
        kill_leader,
        kill_coordinator,
        rolling_restart,
        freeze_node,
        two_down,
        reassign_and_elect,
        worker_and_node,
        cut_refused,
        cut_stalled,
        only_leader_gone,
    )
}
