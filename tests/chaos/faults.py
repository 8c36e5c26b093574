"""The faults. Each is a coroutine that hits the rig once and leaves it as many workers as it found."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable

from rig import SESSION_TIMEOUT_S, OneBroker

Fault = Callable[[OneBroker], Awaitable[bool]]

#: longer than the session timeout, so that the group gives the partitions away meanwhile
_LONG_S = SESSION_TIMEOUT_S + 3.0


async def kill(rig: OneBroker) -> bool:
    """SIGKILL a worker; another takes its place after a moment."""
    worker = await rig.any_worker()
    rig.drop(worker)
    worker.kill()
    worker.wait()
    await asyncio.sleep(random.uniform(0, 2))
    rig.add_worker()
    return True


async def kill_in_transaction(rig: OneBroker) -> bool:
    """SIGKILL a worker whose transaction is open and has records in it."""
    worker = await rig.any_worker()
    if not await rig.trap(worker, signal.SIGKILL):
        return False
    rig.drop(worker)
    await asyncio.to_thread(worker.wait)
    rig.add_worker()
    return True


async def join(rig: OneBroker) -> bool:
    """One worker more for a while, then killed: the group had no time to hand over."""
    worker = rig.add_worker()
    await asyncio.sleep(random.uniform(3, 6))
    rig.drop(worker)
    worker.kill()
    worker.wait()
    return True


async def leave(rig: OneBroker) -> bool:
    """SIGTERM a worker; another takes its place."""
    worker = await rig.any_worker()
    rig.drop(worker)
    worker.terminate()
    rig.add_worker()
    await asyncio.to_thread(worker.wait)
    return True


async def freeze(rig: OneBroker) -> bool:
    """SIGSTOP past the session timeout, then SIGCONT: a zombie wakes up."""
    worker = await rig.any_worker()
    os.kill(worker.pid, signal.SIGSTOP)
    await asyncio.sleep(_LONG_S)
    os.kill(worker.pid, signal.SIGCONT)
    return True


async def freeze_in_transaction(rig: OneBroker) -> bool:
    """The same, stopped while its transaction is open: the zombie's first act is to commit."""
    worker = await rig.any_worker()
    if not await rig.trap(worker, signal.SIGSTOP):
        return False
    await asyncio.sleep(_LONG_S)
    os.kill(worker.pid, signal.SIGCONT)
    return True


async def kill_broker(rig: OneBroker) -> bool:
    """kill -9 the broker, inside a worker's open transaction where one comes soon; start it again on the same data."""
    await rig.trap(await rig.any_worker(), signal.SIGKILL, victim=rig.broker.pid, timeout_s=5.0)
    await rig.restart_broker(after_s=random.uniform(0, 2))
    return True


async def power_cut(rig: OneBroker) -> bool:
    """The broker inside a worker's open transaction, and the worker with it: nobody is left to go on with it."""
    worker = await rig.any_worker()
    if not await rig.trap(worker, signal.SIGKILL, victim=rig.broker.pid):
        return False
    rig.drop(worker)
    worker.kill()
    await asyncio.to_thread(worker.wait)
    await rig.restart_broker()
    rig.add_worker()
    return True


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (kill, kill_in_transaction, join, leave, freeze, freeze_in_transaction, kill_broker, power_cut)
}
#: faults that leave transactions open with records in them, which the broker must abort. Where the broker alone dies
#: and is back in time, its transactions are: they go on
LEAVE_OPEN = ("kill", "kill_in_transaction", "freeze_in_transaction", "power_cut")
