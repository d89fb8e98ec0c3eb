"""A camera's results with finished media, without a model and without footage."""

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from odins_ravne_assets.munin.classification.journal_key import stage2_key
from odins_ravne_assets.munin.detection.journal_key import stage1_key
from odins_ravne_assets.munin.tables.journal import Stage1Journal, Stage2Journal
from odins_ravne_assets.munin.workload.recorded_settings import STAGE1, STAGE2
from odins_ravne_assets.munin.workload.used_settings import UsedSettings, choose_settings
from resources.settings.profile import Profile
from resources.storage.local_store import LocalStore

DETECTOR = {"detector": "megadetector-lite"}
ALL = ("footage", "detections", "classifications", "observations", "exports")


def profile(**settings: Any) -> Profile:
    """Return a profile; `stage1__conf_threshold=0.3` is its key pipeline.stage1.conf_threshold."""
    tree: dict[str, Any] = {"models": {**DETECTOR}, "pipeline": {"stage1": {}, "stage2": {}}}
    for name, value in settings.items():
        section, _, key = name.partition("__")
        place = tree["models"] if section == "models" else tree["pipeline"][section]
        place[key] = value
    return Profile.model_validate(tree)


class Results:
    """A camera's results, to which runs add finished media."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalStore(folder)
        self._media = 0

    def add(self, made_with: Profile, media: int = 1, *, record: bool = True) -> None:
        """Finish media in one part, as a worker with this profile does."""
        journal = Stage1Journal(self.store, stage1_key(made_with))
        if record:
            STAGE1.save(self.store, STAGE1.of_profile(made_with))
            STAGE2.save(self.store, STAGE2.of_profile(made_with))
        for _ in range(media):
            self._media += 1
            content = hashlib.sha256(str(self._media).encode()).hexdigest()
            counts = {"frames_decoded": 1, "frames_skipped": 0, "boxes": 0}
            row = {"content_hash": content, "status": "done", "reason": None, **counts}
            journal.append(row, [], [], [])
        journal.flush()
        labels = Stage2Journal(self.store, stage2_key(made_with, journal.key))
        for part in journal.parts():
            labels.write(part, [])

    def choose(
        self, own: Profile, stages: Collection[str] = ALL, *, update: bool = False
    ) -> UsedSettings:
        return choose_settings(self.store, own, stages, update)
