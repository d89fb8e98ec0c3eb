"""Steps of a launch that are repeated while S3 is unavailable, so that an outage ends no run."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from resources.aws.clients import AwsClients
from resources.clock import Clock, system_clock
from resources.errors import UnavailableError
from resources.launch.hooks import OnLog
from resources.settings.profile import Profile

# A launch retries for this long while AWS is unavailable.
MAX_OUTAGE_SECONDS = 1800.0
RETRY_SECONDS = 15.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class OutageRetry:
    """Repeats steps that may be repeated: those that read, or write the same again.

    Args:
        on_log: called with each error.
    """

    clock: Clock
    on_log: OnLog

    def through(self, step: Callable[[], Result]) -> Result:
        """Call a step until S3 is available, and return its result.

        Raises:
            StoreError: S3 refuses, or the outage lasts longer than MAX_OUTAGE_SECONDS.
        """
        until = self.clock.now() + MAX_OUTAGE_SECONDS
        while True:
            try:
                return step()
            except UnavailableError as error:
                if self.clock.now() >= until:
                    raise
                self.on_log(f"AWS request failed, retrying: {error}")
                self.clock.sleep(RETRY_SECONDS)

    @contextmanager
    def entered(self, make: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        """Enter a context as `through` calls a step."""
        with ExitStack() as stack:
            self.through(lambda: stack.enter_context(make()))
            yield


def outage_retry(profile: Profile, on_log: OnLog) -> OutageRetry:
    """Return the retries of a run of a profile; without a cloud, no step is repeated."""
    clock = AwsClients(profile.cloud.aws).clock if profile.cloud else system_clock()
    return OutageRetry(clock, on_log)
