"""`munin models`: the models that look at footage."""

from typing import Annotated

import typer
from rich.table import Table

from odins_ravne_assets.cameras.results_store import store_of
from odins_ravne_assets.cli.terminal import out, print_log
from resources.errors import UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Models

app = typer.Typer(help="The models that look at footage.", no_args_is_help=True)


@app.command("list")
def list_models() -> None:
    """The models that ship, and what each is good for."""
    from gpu_kernels.models.manifest import load_manifest, shipped_models

    table = Table()
    for heading in ("name", "task", "licence", "good for"):
        table.add_column(heading)
    for name in shipped_models():
        manifest = load_manifest(name)
        table.add_row(manifest.name, manifest.task, manifest.licence, manifest.honest)
    out.print(table)


@app.command("verify")
def verify_models(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Models or manifests. Default: the profile's.")
    ] = None,
) -> None:
    """Check that models are whole: every file against the sha256 in its manifest."""
    from gpu_kernels.models.manifest import load_manifest, verify

    for name in names or _profile_models(load_profile(context.obj.name).models):
        manifest = load_manifest(name)
        verify(manifest)
        out.print(f"{manifest.name}: whole")


@app.command("engines")
def build_engines(
    context: typer.Context,
    arch: Annotated[
        str | None,
        typer.Option(
            help="GPUs: sm_75 is g4dn, sm_86 is g5, sm_89 is g6; sm_86+sm_89 is one engine for "
            "both. Default: these three, as models.engines_shared_by joins them."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(help="A folder or s3:// URL. Default: the profile's models.engines."),
    ] = None,
    names: Annotated[
        list[str] | None, typer.Argument(help="Models or manifests. Default: the profile's.")
    ] = None,
) -> None:
    """Build the GPU engines of models ahead of time; no GPU is needed for it.

    What is there already is not built again.
    """
    from gpu_kernels.ahead_of_time import architectures, build_ahead, fleet
    from gpu_kernels.engines.tensorrt_api import find_tensorrt
    from gpu_kernels.engines.tensorrt_build import Batches

    profile = load_profile(context.obj.name)
    if not (kept := to or profile.models.engines):
        raise UsageError("where to? name a place: --to s3://bucket/engines, or set models.engines")
    shared_by = profile.models.engines_shared_by
    archs = architectures(fleet(shared_by) if arch is None else arch, find_tensorrt())
    batches = Batches.around(profile.pipeline.stage1.batch_size)
    build_ahead(
        names or _profile_models(profile.models), archs, batches, store_of(kept, profile), print_log
    )


def _profile_models(models: Models) -> list[str]:
    """The models that a profile names."""
    named = [models.detector, models.category_detector, models.classifier]
    return [name for name in named if name]
