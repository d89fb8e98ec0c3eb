"""Whether jobs on AWS can read the models of a profile."""

from gpu_kernels.models.models_folder import installed_manifest
from odins_ravne_assets.model_library.bucket import named_models
from resources.errors import UsageError
from resources.settings.profile import Profile
from resources.storage.object_store import S3_SCHEME
from resources.user_path import user_path


def require_reachable_models(profile: Profile) -> None:
    """Check that jobs can read the models: shipped ones, or those of `models.folder` in a bucket.

    Profiles without a cloud, and those of the sandbox, whose jobs run on this machine, pass.

    Raises:
        UsageError: a model is a file of this machine.
    """
    if profile.cloud is None or profile.aws.endpoint_url is not None:
        return
    models = profile.models
    for key in ("detector", "category_detector", "classifier"):
        name = getattr(models, key)
        if name and name.endswith(".toml") and user_path(name).is_file():
            raise UsageError(
                f"models.{key} {name}: is a file of this machine, which jobs on AWS cannot read; "
                f"copy it into a bucket: munin models add {name} --to s3://BUCKET/models, set "
                "models.folder to that URL, and name the model"
            )
        in_bucket = (models.folder or "").startswith(S3_SCHEME)
        if named_models([name]) and not in_bucket and installed_manifest(name, models.folder):
            raise UsageError(
                f"models.{key} {name}: is installed on this machine only, where jobs on AWS cannot "
                f"read it; copy it into a bucket: munin models add {name} --to "
                "s3://BUCKET/models, and set models.folder to that URL"
            )
