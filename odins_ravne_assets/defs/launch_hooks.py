"""What a launcher may ask of the stages, without loading a decoder or an engine."""

from dataclasses import replace

from odins_ravne_assets.munin.media.media_files import kind_by_name
from odins_ravne_assets.munin.media.media_table import expected_media
from resources.launch.base import StepRequest
from resources.launch.hooks import FootageQueries
from resources.settings.profile import Profile
from resources.storage.object_store import ObjectStore


def _is_media(key: str) -> bool:
    return kind_by_name(key) is not None


def _without_machine(
    request: StepRequest, footage: ObjectStore, output: ObjectStore, profile: Profile
) -> StepRequest | None:
    from odins_ravne_assets.munin.workload.remaining_work import engine_with_results

    engine = engine_with_results(request.camera_id, request.stages, footage, output, profile)
    if engine is None:
        return None
    # By name: here, `auto` may mean another one than there.
    stage1 = profile.pipeline.stage1.model_copy(update={"engine": engine})
    pipeline = profile.pipeline.model_copy(update={"stage1": stage1})
    easy = profile.model_copy(update={"pipeline": pipeline})
    return replace(request, profile=easy.model_dump(mode="json"))


FOOTAGE_QUERIES = FootageQueries(expected_media, _is_media, _without_machine)
