"""`munin models`: detectors and classifiers, and their GPU engines."""

from typing import Annotated

import typer

from odins_ravne_assets.cameras.results_store import store_of
from odins_ravne_assets.cli.models_catalogue import (
    add_model,
    models_table,
    show_catalogue,
    use_model,
)
from odins_ravne_assets.cli.terminal import out, print_log
from resources.errors import UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Models

app = typer.Typer(help="Detectors and classifiers, and their GPU engines.", no_args_is_help=True)


@app.command("list")
def list_models(context: typer.Context) -> None:
    """List the shipped and the installed models, and which of them the profile uses."""
    out.print(models_table(load_profile(context.obj.name), context.obj.name))


app.command("catalogue")(show_catalogue)
app.command("add")(add_model)
app.command("use")(use_model)


@app.command("verify")
def verify_models(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Models or manifests. Default: the profile's.")
    ] = None,
) -> None:
    """Check every file of models against the SHA-256 in its manifest."""
    from gpu_kernels.models.manifest import load_manifest, verify

    for name in names or _profile_models(load_profile(context.obj.name).models):
        manifest = load_manifest(name)
        verify(manifest)
        out.print(f"{manifest.name}: complete")


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
            "--to is missing: name a folder or URL, as --to s3://bucket/engines, or set "
            "models.engines in the profile"
        )
    shared_by = profile.models.engines_shared_by
    archs = parse_archs(
        default_archs(shared_by) if arch is None else arch, find_tensorrt("tensorrt-rtx")
    )
    batches = BatchSizes.around(profile.pipeline.stage1.batch_size)
    build_missing_engines(
        names or _profile_models(profile.models),
        archs,
        batches,
        store_of(target, profile),
        print_log,
    )


def _profile_models(models: Models) -> list[str]:
    """Return the models of a profile."""
    named = [models.detector, models.category_detector, models.classifier]
    return [name for name in named if name]
