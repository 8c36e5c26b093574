"""The remote asked in batches: `[batch]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .table import Table
from .values import Count, NotNegative, Positive, Seconds, WholeNumber

#: the batch interfaces that there are
Interface = Literal["openai_batch", "anthropic_batch"]


class BatchSettings(Table):
    """How the remote is asked in batches, where [remote] mode says so: within hours, for about half the price."""

    interface: Interface = Field(
        default="openai_batch",
        description="openai_batch, which Azure, Groq and others have, too; or anthropic_batch",
    )
    endpoint: str = Field(
        default="",
        description="what each request is for, as openai_batch has it, such as /v1/chat/completions; '' takes it off "
        "the path of a call",
    )
    records: Count = Field(default=10_000, description="inputs in one batch, at most")
    megabytes: Positive = Field(default=50.0, description="megabytes of one batch, at most")
    tokens: WholeNumber = Field(default=0, description="estimated tokens of one batch, at most; 0 for no such bound")
    money: NotNegative = Field(
        default=0.0, description="what one batch can cost, at most, in the currency of the prices; 0 for no such bound"
    )
    age_s: Seconds = Field(default=300.0, description="seconds that an input waits at most for others of its batch")
    in_flight: Count = Field(
        default=4, description="batches of one partition that may be under way; what comes meanwhile waits in Kafka"
    )
    poll_first_s: Seconds = Field(
        default=10.0, description="seconds between two looks at a batch at first; later a twentieth of its age"
    )
    poll_most_s: Seconds = Field(default=300.0, description="seconds between two looks, at most")
    call_timeout_s: Seconds = Field(default=60.0, description="seconds for one question about a batch")
    transfer_timeout_s: Seconds = Field(
        default=1800.0, description="seconds for sending the inputs of a batch, or fetching its answers"
    )
    on_expired: Literal["again", "fallback"] = Field(
        default="again",
        description="what becomes of inputs that the provider has not answered in time: they go into another batch "
        "again; or fall back as timeout",
    )
    tries: Count = Field(default=3, description="batches that an input goes into before it falls back, at most")
    price_share: Annotated[Positive, Field(le=1)] = Field(
        default=0.5, description="what a batch costs, as a share of the prices in [remote]"
    )
    late_hours: Seconds = Field(
        default=26.0, description="hours after which a batch counts as late: an alert tells of it"
    )
    folder: str = Field(
        default="",
        description="folder for the inputs and answers of batches under way, in files without a name; '' takes the "
        "system's for such",
    )
