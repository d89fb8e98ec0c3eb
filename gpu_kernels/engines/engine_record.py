"""What is known about an engine beside its plan: its check, why it was refused, and its costs.

Cached with the engine, per GPU architecture, so that machines of one kind do not repeat a build
that fails, or a check that passed. A file of the cache is deleted to try again.
"""

import json
from dataclasses import dataclass, field
from typing import NamedTuple

from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.tensorrt_build import EngineBuildError, EngineKey

# A build that failed for lack of memory, or of a GPU, may succeed at another time.
TRANSIENT_REASONS = ("memory", "cuda initialization", "no gpu")
# One that fails at once is not worth remembering, and a newer version of this code may build it.
WORTH_REMEMBERING_SECONDS = 5.0
# Raise it when a change of the code can change which builds succeed.
REFUSAL_VERSION = 2


class CheckOutcome(NamedTuple):
    """The outcome of the comparison of an engine's answers with the CPU's."""

    basis: str  # a hash of all that the comparison depends on beside the engine
    agrees: bool
    summary: str  # for messages


class EngineRecord:
    """The record of an engine on a kind of GPU; see the module."""

    def __init__(self, cache: EngineCache, key: EngineKey, arch: str) -> None:
        """Args:
        arch: of this GPU; several GPUs may share an engine, but not its record.
        """
        self._cache, self._key, self._arch = cache, key, arch

    def check(self, basis: str) -> CheckOutcome | None:
        """Return the outcome of an earlier check on the same basis."""
        content = self._cache.get_artifact(self._key, "check", self._arch)
        outcome = CheckOutcome(**json.loads(content)) if content else None
        return outcome if outcome and outcome.basis == basis else None

    def save_check(self, outcome: CheckOutcome) -> None:
        """Store the outcome of a check."""
        content = json.dumps(outcome._asdict(), sort_keys=True).encode()
        self._cache.put_artifact(self._key, "check", content, self._arch)

    def raise_refusal(self) -> None:
        """Raise the error of an earlier build, if it failed.

        Raises:
            EngineBuildError: it did.
        """
        content = self._cache.get_artifact(self._key, "refusal", self._arch)
        if content and (stored := json.loads(content))["version"] == REFUSAL_VERSION:
            url = self._cache.artifact_url(self._key, "refusal", self._arch)
            reason = stored["reason"]
            raise EngineBuildError(f"{reason} (tried before; delete {url} to try again)")

    def save_refusal(self, error: EngineBuildError, seconds: float) -> None:
        """Store the error of a build, unless another attempt may succeed or costs nothing.

        Args:
            seconds: that the build took.
        """
        reason = str(error)
        transient = any(each in reason.lower() for each in TRANSIENT_REASONS)
        if seconds >= WORTH_REMEMBERING_SECONDS and not transient:
            content = json.dumps({"version": REFUSAL_VERSION, "reason": reason}).encode()
            self._cache.put_artifact(self._key, "refusal", content, self._arch)


@dataclass
class EngineStart:
    """What opening an engine took.

    Attributes:
        seconds: by step: building (0 from the cache), loading, and compiling or loading the
            kernels around it, once per process.
        record: of the engine; None if it has no cache.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    record: EngineRecord | None = None
