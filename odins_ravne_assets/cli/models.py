"""`munin models`: detectors and classifiers, and their GPU engines."""

from typing import TYPE_CHECKING, Annotated

import typer

from odins_ravne_assets.cameras.results_store import store_of
from odins_ravne_assets.cli.models_catalogue import (
    add_model,
    print_models,
    remove_installed,
    show_catalogue,
    use_model,
)
from odins_ravne_assets.cli.models_describe import describe_model, print_verified
from odins_ravne_assets.cli.terminal import print_log
from resources.errors import UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Models

if TYPE_CHECKING:
    from gpu_kernels.models.manifest import ModelManifest

app = typer.Typer(help="Detectors and classifiers, and their GPU engines.", no_args_is_help=True)


@app.command("list")
def list_models(context: typer.Context) -> None:
    """List the shipped and the installed models, and which of them the profile uses."""
    print_models(load_profile(context.obj.name), context.obj.name)


app.command("catalogue")(show_catalogue)
app.command("add")(add_model)
app.command("use")(use_model)
app.command("remove")(remove_installed)


@app.command("verify")
def verify_models(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Models or manifests. Default: the profile's.")
    ] = None,
) -> None:
    """Check models: the SHA-256 of their files, the graph, and what it finds in a picture."""
    for manifest in _manifests(load_profile(context.obj.name).models, names):
        print_verified(manifest)


app.command("describe")(describe_model)


@app.command("engines")
def build_engines(
    context: typer.Context,
    arch: Annotated[
        str | None,
        typer.Option(
            help="GPUs: sm_75 is g4dn, sm_86 is g5, sm_89 is g6; sm_86+sm_89 is one engine for "
            "both. Default: these three, grouped as in models.engines_shared_by."
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
    """Build the GPU engines of models ahead of time; needs no GPU.

    Engines that exist are skipped.
    """
    from gpu_kernels.ahead_of_time import build_missing_engines, default_archs, parse_archs
    from gpu_kernels.engines.tensorrt_api import find_tensorrt
    from gpu_kernels.engines.tensorrt_build import BatchSizes

    profile = load_profile(context.obj.name)
    if not (target := to or profile.models.engines):
        raise UsageError(
            "--to is missing: name a folder or URL, as --to s3://bucket/results/engines, or set "
            "models.engines in the profile"
        )
    shared_by = profile.models.engines_shared_by
    archs = parse_archs(
        default_archs(shared_by) if arch is None else arch, find_tensorrt("tensorrt-rtx")
    )
    batches = BatchSizes.around(profile.pipeline.stage1.batch_size)
    build_missing_engines(
        _manifests(profile.models, names),
        archs,
        batches,
        store_of(target, profile),
        print_log,
    )


def _manifests(models: Models, names: list[str] | None) -> "list[ModelManifest]":
    """Return the manifests of the named models, or of all models of a profile."""
    from gpu_kernels.models.ensemble import load_all_manifests
    from odins_ravne_assets.model_library.used_models import used_manifests

    if not names:
        return used_manifests(models)
    return [each for name in names for each in load_all_manifests(name, models.folder)]
