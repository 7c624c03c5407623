"""What a client is told when it is cut off fits a close frame, with what to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.serve.voice.frames import CloseError, Intake, cut_reason


def test_a_long_reason_keeps_its_remedy() -> None:
    reason = cut_reason("the model cannot be opened (" + "very " * 40 + "long); run `pocketseek voice setup`")
    assert reason.startswith("the model cannot be opened (very ")
    assert reason.endswith("...; run `pocketseek voice setup`")
    assert len(reason) == 123


def test_a_short_reason_stays_as_it_is() -> None:
    assert cut_reason("half a sample; send\n16-bit PCM") == "half a sample; send 16-bit PCM"


@given(st.text(), st.text(), st.text(max_size=60))
def test_any_reason_fits(problem: str, more: str, remedy: str) -> None:
    assert len(cut_reason(f"{problem * 4}{more}; {remedy * 5}").encode()) <= 123


def test_a_message_that_is_not_understood_says_where_to_look() -> None:
    with pytest.raises(CloseError) as error:
        Intake().order('{"type": "' + "x" * 900 + '"}')
    assert error.value.reason.endswith("; see docs/serve-api.md")
