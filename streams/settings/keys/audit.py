"""Whether the promise is true, and stays so: `[thresholds]` and `[audit]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from .table import Table
from .values import MODULE_CALLABLE, Number, Positive, Seconds, WholeNumber


def _matching(name: str) -> str:
    if name in ("exact", "normalised") or MODULE_CALLABLE.fullmatch(name):
        return name
    raise ValueError("must be exact, normalised, or module:callable")


class ThresholdsSettings(Table):
    """Where the thresholds come from."""

    file: str = Field(
        default="", description="file of `bisupervised calibrate`, which gives both thresholds; '' for none"
    )
    version: str = Field(
        default="", description="name under which records say which thresholds judged them; '' takes a digest of them"
    )
    follow: bool = Field(
        default=False,
        description="true takes versions from the topic thresholds while the worker runs: each a rung of the file, "
        "chosen by `audit set`, `audit pin`, or by the auditor where [audit] on_alarm = 'tighten'",
    )
    pin: WholeNumber = Field(
        default=0,
        description="rung of the file that judges, whatever the topic says, counted from 1, the laxest; 0 for none",
    )


class AuditSettings(Table):
    """A share of the requests is drawn, so that people can say whether the promise is still true."""

    share: Annotated[Number, Field(ge=0, le=1)] = Field(
        default=0.0, description="share of the requests that is audited; 0 for no audit"
    )
    shadow_share: Annotated[Number, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="share of the requests that both models answer, those of `share` included: the remote is asked "
        "about trusted inputs, too, when it has nothing else to do; 0 for none, else at least `share`",
    )
    shadow_within_hours: Seconds = Field(
        default=24.0, description="hours in which the remote is asked about those; then its answer is missing"
    )
    budget_share: Annotated[Positive, Field(lt=1)] = Field(
        default=0.1, description="share of [budget] that is for them alone; the rest is for all other calls"
    )
    secret: SecretStr | None = Field(
        default=None,
        description="what the draw is keyed with, so that nobody can foresee it; from the environment only",
    )
    secret_file: str = Field(default="", description="file that holds it; '' for none")
    matches: Annotated[str, AfterValidator(_matching)] = Field(
        default="exact",
        description="when an answer is the right one: exact, normalised (but for case, white space and punctuation "
        "around it), or module:callable, called with the answer and the truth",
    )
    labels_to_false_alarm: Annotated[Number, Field(ge=100)] = Field(
        default=10_000.0, description="labels until the alarm is a false one, on average, at least"
    )
    label_within_hours: Seconds = Field(
        default=168.0, description="hours in which a label is expected; one that comes later is late"
    )
    on_alarm: Literal["tell", "tighten"] = Field(
        default="tell",
        description="what an alarm does: tell says so; tighten also takes a stricter rung of [thresholds] file, and "
        "loosens again on evidence",
    )
    alarm_share: Annotated[Number, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="share of the requests that is audited for a while after an alarm that tightens: above `share`, "
        "and shadowed as well; 0 for no more than `share`",
    )
    alarm_hours: Seconds = Field(
        default=24.0, description="hours after an alarm for which the share is so high, at most"
    )
    alarm_labels: Annotated[WholeNumber, Field(ge=1)] = Field(
        default=1000,
        description="labels that this may ask for in that time, beside those of `share`; then the share falls at once",
    )
    close_every_s: Seconds = Field(
        default=5.0,
        description="seconds between two closings of the auditor, at least; without new labels, twelve times as many",
    )
    retention_hours: Seconds = Field(
        default=9600.0, description="hours that audits, labels and trust are kept; 9600 are 400 days"
    )

    @property
    def on(self) -> bool:
        """Requests are drawn."""
        return bool(self.share or self.shadow_share)
