"""`run_offline_camera_batch [OPTIONS] INPUT OUTPUT`: `munin batch` as a command of its own."""

import inspect
from typing import Annotated, Any

import typer

from odins_ravne_assets.cameras.selection import S3
from odins_ravne_assets.cli.job import ProfileChoice
from odins_ravne_assets.cli.stages import batch
from odins_ravne_assets.cli.terminal import run_app

ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        envvar="MUNIN_PROFILE",
        help="Settings: local, cloud, cloud-cost-optimized, or the path of a YAML file. "
        "Default: cloud if INPUT or OUTPUT is on S3, otherwise local.",
    ),
]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


def run_offline_camera_batch(context: typer.Context, profile: str | None, **options: Any) -> None:
    """Run `munin batch` with its options and the profile that fits INPUT and OUTPUT."""
    places = (options[name] for name in ("input", "output", "input_option", "output_option"))
    on_s3 = any(place and place.startswith(S3) for place in places)
    context.obj = ProfileChoice(profile or ("cloud" if on_s3 else "local"))
    batch(context, **options)


def _signature() -> inspect.Signature:
    """Return the parameters of `batch`, with `--profile` after its arguments."""
    profile = inspect.Parameter(
        "profile", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ProfileOption
    )
    return inspect.Signature([*inspect.signature(batch).parameters.values(), profile])


# Typer reads options off the signature.
run_offline_camera_batch.__signature__ = _signature()  # type: ignore[attr-defined]
app.command(help=batch.__doc__)(run_offline_camera_batch)


def main() -> None:
    run_app(app)
