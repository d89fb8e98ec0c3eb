"""Options and arguments that several commands share."""

from typing import Annotated

import typer

FOOTAGE = typer.Argument(help="A camera's footage: a folder, or an s3:// URL.")
Input = Annotated[str | None, FOOTAGE]
Output = Annotated[
    str | None, typer.Argument(help="Where the results go. Default: results/CAMERA.")
]
InputOption = Annotated[str | None, typer.Option("--input", help="INPUT, as an option.")]
OutputOption = Annotated[str | None, typer.Option("--output", help="OUTPUT, as an option.")]
CameraOption = Annotated[
    str | None, typer.Option("--camera", help="The camera's id. Default: its folder's name.")
]
CamerasFlag = Annotated[
    bool, typer.Option("--cameras", help="INPUT is a folder of camera folders.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Detector: a shipped one's name, or a manifest.")
]
ConfThreshold = Annotated[
    float | None, typer.Option("--conf-threshold", help="Least confidence of a box, 0 to 1.")
]
Window = Annotated[
    float | None, typer.Option("--compression-window", help="Minutes that one visit may span.")
]
MinConfidence = Annotated[
    float | None, typer.Option("--min-confidence", help="Rows below this are left out of visits.")
]
MinDuration = Annotated[
    float | None, typer.Option("--min-duration", help="Seconds; shorter visits on video drop out.")
]
NoGpu = Annotated[bool, typer.Option("--no-gpu", help="Run the models on the CPU.")]
Results = Annotated[str, typer.Argument(help="A camera's results: what OUTPUT was in Stage 1.")]
