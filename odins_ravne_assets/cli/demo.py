"""`munin demo`: the pipeline on sample footage."""

from typing import Annotated

import typer

from odins_ravne_assets.cli.stages import batch
from resources.errors import UsageError
from resources.storage.local_store import local_path

CAMERA = "demo-camera"


def demo(
    context: typer.Context,
    folder: Annotated[
        str, typer.Argument(help="A local folder for the footage and the results.")
    ] = "munin-demo",
) -> None:
    """Run all stages on sample footage, five pictures and a clip, which needs no download."""
    from odins_ravne_assets.demo.footage import write_footage

    root = local_path(folder)
    try:
        footage = write_footage(root / "footage" / CAMERA)
    except OSError as error:
        raise UsageError(
            f"{folder}: the sample footage cannot be written ({error.strerror}); name a writable "
            "folder"
        ) from None
    batch(context, str(footage), str(root / "results" / CAMERA))
