"""Which options of a call the server takes: learned from what it refuses and answers, for no server tells.

A refusal may be the input's own fault as well. So the same input is asked again without the option, and only an answer
decides: from then on all calls are made so. After the first answer nothing changes any more.
"""

from __future__ import annotations

import logging
from typing import Protocol, runtime_checkable

from ....schemas.errors import BiSupervisedError
from ..protocol import RemoteProtocol
from ..retry import CallRefused

log = logging.getLogger(__name__)


@runtime_checkable
class Optional(Protocol):
    """A protocol with an option that some servers refuse."""

    @property
    def simpler(self) -> RemoteProtocol | None:
        """The same without it; None where there is none to leave out."""
        ...


class OptionRefused(BiSupervisedError):
    """A call was refused, maybe for its option. It says nothing about the remote's health, nor about the input."""

    def __init__(self, refusal: CallRefused) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Negotiation:
    """The form of the protocol in which calls are made."""

    def __init__(self, protocol: RemoteProtocol) -> None:
        self.form = protocol  #: in which the next call is made
        self._settled = _without_option(protocol) is None

    def after(self, refused: RemoteProtocol) -> RemoteProtocol | None:
        """The form to try after the refusal of this one; None where it was not the form."""
        if self._settled:  # others may have learned it meanwhile
            return None if refused is self.form else self.form
        return _without_option(refused)

    def taken(self, form: RemoteProtocol) -> None:
        """A call in this form was answered, whatever the answer is worth."""
        if not self._settled and form is not self.form:
            text = "the remote refuses to be asked by %s, and is asked by %s from now on"
            log.warning(text, self.form, form, extra={"action": "remote_option_refused"})
        if not self._settled:
            self.form, self._settled = form, True


def _without_option(protocol: RemoteProtocol) -> RemoteProtocol | None:
    return protocol.simpler if isinstance(protocol, Optional) else None
