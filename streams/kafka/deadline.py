"""One deadline for all steps of one attempt: what one step leaves is what the next one gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .errors import Lost


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Everything in it shares one deadline. Raises `Lost` when that has passed: whether it was done is not known."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Lost(f"the broker did not answer within {seconds:g} s") from error
