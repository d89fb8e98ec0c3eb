"""Steps of a launch are repeated while S3 is unavailable, for half an hour at most."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from resources.errors import LeaseLostError, StoreError, UnavailableError
from resources.launch.outage import MAX_OUTAGE_SECONDS, OutageRetry, outage_retry
from resources.settings.profile import Profile


class Clock:
    """A clock whose sleeps take no time."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, wake: Event | None = None) -> bool:
        self.time += seconds
        return False


class Step:
    """A step that fails some times."""

    def __init__(self, error: StoreError, times: int) -> None:
        self._error, self._times = error, times
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error
        return "done"


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def retry(lines: list[str]) -> OutageRetry:
    return OutageRetry(Clock(), lines.append)


def test_a_step_is_repeated_and_each_error_is_logged(retry: OutageRetry, lines: list[str]) -> None:
    assert retry.through(Step(UnavailableError("s3://b/k: S3 fails"), 3)) == "done"
    assert lines == ["AWS request failed, retrying: s3://b/k: S3 fails"] * 3


def test_a_long_outage_ends_the_launch(retry: OutageRetry) -> None:
    with pytest.raises(UnavailableError):
        retry.through(Step(UnavailableError("down"), 10**6))
    assert MAX_OUTAGE_SECONDS <= retry.clock.now() <= MAX_OUTAGE_SECONDS + 60


@pytest.mark.parametrize("error", [StoreError("permission denied"), LeaseLostError("taken over")])
def test_an_error_that_does_not_end_by_itself_is_not_repeated(
    error: StoreError, retry: OutageRetry
) -> None:
    step = Step(error, 1)
    with pytest.raises(type(error)):
        retry.through(step)
    assert step.calls == 1


def test_a_context_is_entered_again_but_its_body_is_not_repeated(retry: OutageRetry) -> None:
    enter: Callable[[], str] = Step(UnavailableError("down"), 2)
    exits: list[str] = []

    @contextmanager
    def lock() -> Iterator[None]:
        enter()
        yield
        exits.append("released")

    bodies = 0
    with pytest.raises(UnavailableError), retry.entered(lock):
        bodies += 1
        raise UnavailableError("in the body")
    assert (bodies, exits) == (1, [])
    with retry.entered(lock):
        bodies += 1
    assert (bodies, exits) == (2, ["released"])


def test_a_profile_without_a_cloud_has_the_clock_of_this_machine(lines: list[str]) -> None:
    assert outage_retry(Profile(), lines.append).through(lambda: 7) == 7
