"""Media that failed are looked at again: what `munin batch --retry-failed` asks for."""

from collections.abc import Callable, Sequence

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.results_store import store_of
from odins_ravne_assets.munin.tables.journal import withdraw_all_failures
from resources.settings.profile import Profile


def look_again_at_failed(
    cameras: Sequence[Camera], profile: Profile, say: Callable[[str], None]
) -> None:
    """Withdraw the failures of the cameras' earlier runs, before the next ones.

    Raises:
        StoreError: the results cannot be reached.
    """
    for camera in cameras:
        count = withdraw_all_failures(store_of(camera.output_url, profile))
        media = "medium that failed is" if count == 1 else "media that failed are"
        say(f"{camera.camera_id}: {count or 'no'} {media} looked at again")
