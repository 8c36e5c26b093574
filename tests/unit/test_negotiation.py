"""Which form of a protocol is asked in, by what a server refuses and answers."""

from __future__ import annotations

import pytest
from bisupervised.agents.remote.protocol import Negotiation, OptionRefused
from bisupervised.agents.remote.protocols.label_forms import LabelForm
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.retry import CallRefused
from support.remotes import answered


@pytest.fixture
def asked() -> OpenAIChat:
    """With an option that may be left out."""
    return OpenAIChat("m", labels=("no", "yes"), form=LabelForm("json_schema", learns=True))


def test_what_may_be_the_option_is_asked_without_it(asked: OpenAIChat) -> None:
    with pytest.raises(OptionRefused):
        Negotiation(asked).hear(answered({"error": {"message": "no such field"}}, 400), asked)


def test_a_redirect_is_not_the_options_fault(asked: OpenAIChat) -> None:
    negotiation = Negotiation(asked)
    with pytest.raises(CallRefused):
        negotiation.hear(answered({}, 302), asked)
    assert negotiation.form is asked


def test_a_refusal_of_the_last_form_is_told_as_it_is(asked: OpenAIChat) -> None:
    negotiation = Negotiation(asked)
    assert not negotiation.hear(answered({}), asked)
    with pytest.raises(CallRefused):
        negotiation.hear(answered({"error": {"message": "no such field"}}, 400), asked)


def test_an_answer_without_the_option_decides_for_all_calls(asked: OpenAIChat) -> None:
    negotiation = Negotiation(asked)
    without = negotiation.after(asked)
    assert without is not None
    assert negotiation.hear(answered({}), without)
    assert negotiation.form is without
