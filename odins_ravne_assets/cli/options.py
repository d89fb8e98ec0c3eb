"""Arguments and options that several commands share."""

from typing import Annotated

import typer

FOOTAGE_ARGUMENT = typer.Argument(help="A camera's footage: a folder or an s3:// URL.")
InputArgument = Annotated[str | None, FOOTAGE_ARGUMENT]
OutputArgument = Annotated[
    str | None,
    typer.Argument(
        help="Destination of the results: a folder or an s3:// URL. Default: results/CAMERA."
    ),
]
InputOption = Annotated[str | None, typer.Option("--input", help="INPUT, as an option.")]
OutputOption = Annotated[str | None, typer.Option("--output", help="OUTPUT, as an option.")]
CameraOption = Annotated[
    str | None, typer.Option("--camera", help="The camera's id. Default: the name of its folder.")
]
CamerasFlag = Annotated[
    bool, typer.Option("--cameras", help="INPUT is a folder of camera folders.")
]
OneCameraFlag = Annotated[
    bool,
    typer.Option(
        "--one-camera",
        help="A folder is one camera, also if the folders in it look like cameras.",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Detector: the name of a shipped model, or a manifest."),
]
ConfThresholdOption = Annotated[
    float | None, typer.Option("--conf-threshold", help="Minimum confidence of a box, 0 to 1.")
]
WindowOption = Annotated[
    float | None,
    typer.Option("--compression-window", help="Maximum length of a visit, in minutes."),
]
MinConfidenceOption = Annotated[
    float | None,
    typer.Option(
        "--min-confidence",
        help="Minimum confidence of a name; an animal below it is an unknown animal.",
    ),
]
MinDurationOption = Annotated[
    float | None,
    typer.Option("--min-duration", help="Minimum length of a visit on video, in seconds."),
]
NoGpuFlag = Annotated[bool, typer.Option("--no-gpu", help="Run the models on the CPU.")]
UpdateFlag = Annotated[
    bool,
    typer.Option(
        "--update",
        help="Process finished media again if the profile's models or settings are others than "
        "those of the results. Default: new media get the settings of the results.",
    ),
]
ResultsArgument = Annotated[
    str, typer.Argument(help="A camera's results: the OUTPUT of its first run.")
]
