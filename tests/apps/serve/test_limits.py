"""Who is let in, on a clock that a test moves."""

import pytest

from pocketseek.apps.access_tokens import TokenLimits
from pocketseek.apps.serve.access import Caller
from pocketseek.apps.serve.limits import Admission, BodyBudget, check_model
from pocketseek.apps.serve.replies import RefusedError


def test_so_many_at_a_time_of_one_token_and_of_all() -> None:
    admission = Admission(3)
    one, other = Caller("one", TokenLimits(concurrent=2)), Caller("other")
    with admission.place(one), admission.place(one):
        with pytest.raises(RefusedError, match="2 requests at a time"), admission.place(one):
            pass
        with admission.place(other), pytest.raises(RefusedError, match="too many"), admission.place(other):
            pass
        assert admission.num_here == 2
    assert admission.num_here == 0


def test_a_place_is_free_again_after_a_failure() -> None:
    admission = Admission(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="inside"), admission.place(Caller()):
            raise ValueError("inside")


def test_requests_of_the_last_minute_count_and_the_wait_is_told() -> None:
    now = [100.0]
    admission = Admission(10, clock=lambda: now[0])
    caller = Caller("one", TokenLimits(requests_per_minute=2))

    def ask() -> int | None:
        """None: let in; else the seconds to wait."""
        try:
            with admission.place(caller):
                return None
        except RefusedError as error:
            return error.status == 429 and int(error.headers["Retry-After"])

    assert ask() is None
    now[0] = 130.0
    assert ask() is None
    assert ask() == 31
    now[0] = 159.0
    assert ask() == 2
    now[0] = 160.0
    assert ask() is None
    assert ask() == 31


def test_refused_requests_do_not_count() -> None:
    admission = Admission(1, clock=lambda: 0.0)
    caller = Caller("one", TokenLimits(requests_per_minute=2))
    with admission.place(caller):
        for _ in range(5):
            with pytest.raises(RefusedError, match="too many"), admission.place(caller):
                pass
    with admission.place(caller):
        pass


def test_models_of_a_token() -> None:
    caller = Caller("one", TokenLimits(models=("a", "b")))
    check_model(caller, "a")
    check_model(Caller(), "anything")
    with pytest.raises(RefusedError, match="use a, b"):
        check_model(caller, "c")


def test_bodies_that_are_arriving_are_bounded_together_and_given_back() -> None:
    budget = BodyBudget(100)
    with budget.arriving() as one, budget.arriving() as other:
        one(60)
        other(40)
        with pytest.raises(RefusedError) as refused:
            one(1)
        assert refused.value.status == 429
    assert budget.num_bytes == 0
    with budget.arriving() as again:
        again(100)
