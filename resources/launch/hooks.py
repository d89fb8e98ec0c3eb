"""Callbacks and queries that a launcher is given."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from resources.batch.work_units import ExpectedMedium
from resources.launch.base import StepRequest
from resources.settings.profile import Profile
from resources.storage.object_store import ObjectStore

KnownOutputs = Callable[[], Iterable[tuple[str, str]]]


@dataclass(frozen=True)
class FootageQueries:
    """What the stages know of a camera, and a launcher asks them.

    Args:
        count_media: the usable media of a camera's media table, in order.
        is_media: whether a key of the footage is a medium's, and worth copying.
        without_machine: the step as any machine can do it, since it only has to write tables into
            the results (the second store); None: it has to read footage (the first one), to look
            at media or to label crops.
    """

    count_media: Callable[[ObjectStore, Profile], Iterable[ExpectedMedium]]
    is_media: Callable[[str], bool]
    without_machine: Callable[[StepRequest, ObjectStore, ObjectStore, Profile], StepRequest | None]
