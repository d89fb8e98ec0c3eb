"""The profile: every setting of a run as a typed tree, with its meaning and what is allowed."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from resources.settings.clock_corrections import ClockCorrections
from resources.settings.project import Project

# Between two moves of an object, S3 demands so many days.
LEAST_DAYS_IN_IA = 30

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(ge=1)]
Budget = Annotated[float, Field(gt=0)] | None


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Compute(_Section):
    spot_instances: bool = Field(True, description="Use spot machines, at a fraction of the price.")
    bid_percentage: Annotated[int, Field(ge=1, le=100)] = Field(
        70, description="Hard cap on the spot price, in percent of the on-demand price."
    )
    fallback_to_ondemand: bool = Field(
        True, description="Go on-demand when spot capacity starves or keeps being taken away."
    )
    max_vcpus: PositiveInt = Field(100, description="Most vCPUs that may run at once.")
    min_vcpus: Annotated[int, Field(ge=0)] = Field(
        0, description="vCPUs kept running with nothing to do; 0 scales to zero."
    )
    desired_vcpus: Annotated[int, Field(ge=0)] = Field(0, description="vCPUs to start with.")
    instance_types: tuple[str, ...] = Field(
        ("g4dn.xlarge", "g5.xlarge", "g6.xlarge"),
        min_length=1,
        description="GPU machines that may be used, the preferred one first.",
    )


class Aws(_Section):
    region: str = Field(
        "eu-north-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="AWS region, as eu-north-1."
    )
    name: str = Field(
        "ravne",
        pattern=r"^[a-z][a-z0-9-]{1,30}$",
        description="Begins the names of all that is set up in the account, and is their tag "
        "Project.",
    )
    compute: Compute = Field(Compute(), description="The machines of AWS Batch.")
    endpoint_url: str | None = Field(
        None, description="Where AWS's services answer, if not at their own addresses."
    )
    endpoint_urls: dict[str, str] = Field(
        default_factory=dict, description="The same for single services, as {pricing: URL}."
    )
    clock_url: str | None = Field(
        None, description="Where the time of day comes from, if not from this machine."
    )


class Unused(_Section):
    tear_down_after_minutes: Annotated[float, Field(gt=0)] | None = Field(
        60.0,
        description="Machines and queues that nothing has used for so long are taken away; "
        "empty: never.",
    )
    end_jobs_after_minutes: Annotated[float, Field(gt=0)] | None = Field(
        120.0,
        description="Jobs that no run has watched for so long are terminated; what they finished "
        "is kept; empty: never.",
    )


class Cloud(_Section):
    aws: Aws = Field(Aws(), description="Where and on what steps are launched.")
    unused: Unused = Field(
        Unused(), description="What becomes of compute that nobody uses, while `munin ui` runs."
    )


class CostOptimization(_Section):
    enabled: bool = Field(True, description="Weigh price against waiting when launching.")
    spot_preferred: bool = Field(
        True, description="Try spot before on-demand; false needs fallback_to_ondemand."
    )
    fallback_timeout: Annotated[int, Field(ge=0)] = Field(
        300, description="Seconds of starvation, not of queueing, before on-demand is used."
    )
    cost_threshold: Fraction = Field(
        0.5, description="Least effective saving, as a fraction, at which spot is chosen."
    )
    max_spot_interruptions: Annotated[int, Field(ge=0)] = Field(
        5, description="Lost spot machines that a work unit bears before it goes on-demand."
    )
    max_parallel_jobs: PositiveInt = Field(
        10, description="Cameras and work units that run at once."
    )
    offline_camera_optimized: bool = Field(
        True, description="Choose the size of work units for lowest cost, not lowest latency."
    )
    budget_usd_per_run: Budget = Field(
        None, description="USD that a camera's run may cost; before it costs more, it stops."
    )
    budget_usd_per_month: Budget = Field(
        None, description="The same for all runs of a month (UTC) that this machine knows of."
    )


class Stage0(_Section):
    container_time: Literal["camera", "utc"] = Field(
        "camera",
        description="How a video's creation time is meant: the camera's wall clock (what trail "
        "cameras write), or UTC (what the QuickTime standard asks for).",
    )
    use_file_date: bool = Field(
        False,
        description="Use a file's date when nothing else tells the time. Copying changes it.",
    )
    clock_corrections: ClockCorrections = Field(
        (),
        description="CSV of clock corrections: camera_id, from, until, shift, utc_offset.",
    )
    max_megapixels: Annotated[float, Field(gt=0)] = Field(
        200.0, description="Pictures larger than this are refused: a decompression bomb."
    )


class Stage1Settings(_Section):
    conf_threshold: Fraction | None = Field(
        None, description="Least confidence of a box; empty takes the detector's own threshold."
    )
    sampling: Literal["fps", "every", "keyframes"] = Field(
        "fps", description="Which frames of a video are looked at."
    )
    frames_per_second: Annotated[float, Field(gt=0)] = Field(
        1.0, description="For sampling fps: frames looked at per second of video."
    )
    every_nth_frame: PositiveInt = Field(
        30, description="For sampling every: look at every Nth frame."
    )
    motion_gate: bool = Field(
        True,
        description="Skip sampled video frames in which nothing moved and nothing was last seen.",
    )
    motion_threshold: Fraction = Field(
        0.002, description="Share of a frame's tiles that must change to count as motion."
    )
    batch_size: PositiveInt = Field(8, description="Frames per inference.")
    decode_workers: PositiveInt = Field(1, description="Processes that decode media.")
    decode_timeout: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Seconds without a frame after which a medium counts as hung."
    )
    engine: Literal["auto", "onnxruntime", "tensorrt"] = Field(
        "auto",
        description="What runs the models: onnxruntime on the CPU, tensorrt on a GPU, or auto: "
        "tensorrt where it can run, onnxruntime elsewhere.",
    )
    video_decoder: Literal["cpu", "gpu"] = Field(
        "cpu",
        description="What decodes videos: gpu keeps frames on the GPU that runs engine tensorrt; "
        "what it cannot decode the CPU does.",
    )
    engine_fallback: bool = Field(
        False,
        description="When tensorrt fails, go on with onnxruntime and say so, instead of failing.",
    )
    threads: PositiveInt | None = Field(
        None, description="CPU threads of the engine; empty takes one per core."
    )


class Stage2Settings(_Section):
    auto_ok_threshold: Fraction = Field(
        0.5, description="Least confidence at which a label is used without a person's look."
    )
    batch_size: PositiveInt = Field(8, description="Crops per inference.")


class Stage3(_Section):
    compression_window: Annotated[float, Field(gt=0)] = Field(
        10.0,
        description="Minutes: maximum time between the first and the last detection of a visit.",
    )
    min_confidence: Fraction = Field(0.5, description="Detections below this are left out.")
    min_duration: Annotated[float, Field(ge=0)] = Field(
        5.0,
        description="Seconds: shorter visits on video alone are dropped; visits with stills never.",
    )
    mode: Literal["window", "gap"] = Field(
        "window",
        description="window: compression_window starts at the first detection of a visit, edge "
        "included. gap: at the previous detection, edge excluded (camtrapR's rule).",
    )
    review_below: Fraction = Field(
        0.8, description="Visits whose best confidence is below this are marked for review."
    )
    roll_up: Fraction = Field(
        0.65,
        description="An animal with an uncertain label is named by the lowest taxon (genus, family "
        "...) in which the confidences of its five best guesses reach this sum.",
    )
    burst_gap: Annotated[float, Field(ge=0)] = Field(
        60.0,
        description="Seconds: detections of a camera with gaps up to this are one sequence, which "
        "votes on its species; 0: no vote.",
    )
    vote_share: Fraction = Field(
        0.65, description="Minimum share of the votes with which a species wins its sequence."
    )
    repeat_media: Annotated[int, Field(ge=0)] = Field(
        20,
        description="Minimum number of media with the same box of an animal to flag it as "
        "repeat_detection; 0: never.",
    )
    repeat_days: Annotated[float, Field(ge=0)] = Field(
        7.0, description="Minimum number of days between the first and the last of these media."
    )
    repeat_overlap: Fraction = Field(
        0.9, description="Minimum overlap (intersection over union) of the same box."
    )


class Pipeline(_Section):
    cost_optimization: CostOptimization = Field(
        CostOptimization(), description="How launches weigh money against time."
    )
    local_usd_per_hour: Annotated[float, Field(ge=0)] = Field(
        0.0, description="What an hour of this machine costs, for work that runs on it."
    )
    stage0: Stage0 = Field(Stage0(), description="Reading footage.")
    stage1: Stage1Settings = Field(Stage1Settings(), description="Detecting and cropping.")
    stage2: Stage2Settings = Field(Stage2Settings(), description="Classifying crops.")
    stage3: Stage3 = Field(Stage3(), description="Compressing rows into visits.")


class Models(_Section):
    detector: str = Field(
        "megadetector-lite",
        description="Stage 1's model: the name of a shipped one, or the path of a manifest.",
    )
    category_detector: str | None = Field(
        "ssd-mobilenet-v2-cam16",
        description="Tells people and vehicles from animals; empty if the detector does itself.",
    )
    classifier: str = Field(
        "efficientnet-lite3",
        description="Stage 2's model, named as the detector is; or a .json of SpeciesNet's "
        "predictions.",
    )
    engines: str | None = Field(
        None,
        description="Where engines built for GPUs are kept, a folder or s3:// URL that cameras "
        "share; empty: in each camera's output.",
    )
    engines_shared_by: tuple[Annotated[str, Field(pattern=r"^sm_\d{2,3}$")], ...] = Field(
        (),
        description="Kinds of GPU that share one engine, as [sm_86, sm_89], so that machines of a "
        "mixed fleet build a model once; empty: each kind has its own.",
    )


class Output(_Section):
    root: str = Field(
        "results", description="Where a camera's results go when no OUTPUT is named: ROOT/CAMERA."
    )


class Privacy(_Section):
    """What is kept back in everything that is made to be shared: reports, thumbnails, exports."""

    blur_people: bool = Field(
        True, description="Blur people in every picture; what was blurred cannot be had back."
    )
    leave_out_people: bool = Field(
        False, description="Leave visits of people out of reports and exports."
    )
    sensitive_species: tuple[str, ...] = Field(
        (),
        description="Scientific names; a camera that saw one of them has its coordinates rounded.",
    )
    sensitive_decimals: Annotated[int, Field(ge=0, le=4)] = Field(
        1, description="Decimals of rounded coordinates: 1 is about 11 km, 2 about 1 km."
    )


class Uploads(_Section):
    url: str | None = Field(
        None,
        description="Where new footage arrives: s3://BUCKET/PREFIX or a folder; empty: nobody "
        "looks for it.",
    )
    camera_pattern: str = Field(
        "(?P<camera>[^/]+)/",
        description="Regular expression that begins the path of a file below url; its group "
        "camera is the camera's id, and the end of its footage's folder.",
    )
    queue_url: str | None = Field(
        None, description="SQS queue that S3 tells of uploads; empty: they are found by listing."
    )
    quiet_minutes: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Minutes without new files after which a camera's card is complete."
    )
    longest_wait_hours: Annotated[float, Field(gt=0)] = Field(
        12.0, description="Hours after which a camera that never is quiet is run all the same."
    )
    listing_minutes: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Minutes between two listings of a bucket without queue_url."
    )
    listing_hours: Annotated[float, Field(gt=0)] = Field(
        24.0, description="Hours between two looks for what no event told, or no run finished."
    )
    output: str | None = Field(
        None, description="Where results go: OUTPUT/CAMERA; empty takes output.root."
    )
    silent_days: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Days without a new picture after which a camera is told to be silent."
    )

    @field_validator("camera_pattern")
    @classmethod
    def _names_a_camera(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from None
        if "camera" not in groups:
            raise ValueError("holds no group (?P<camera>...)")
        return pattern


class Lifecycle(_Section):
    transition_to_ia: Annotated[int, Field(ge=30)] = Field(
        30, description="Days until footage moves to infrequent access (S3 allows 30 or more)."
    )
    transition_to_glacier: Annotated[int, Field(ge=60)] = Field(
        90, description="Days until footage moves to Glacier; 30 or more after the move before."
    )
    delete_old_versions: PositiveInt = Field(
        30, description="Days that overwritten and deleted versions are kept."
    )

    @model_validator(mode="after")
    def _in_order(self) -> "Lifecycle":
        least = self.transition_to_ia + LEAST_DAYS_IN_IA
        if self.transition_to_glacier < least:
            raise PydanticCustomError(
                "order",
                "transition_to_glacier must be {least} or more: S3 keeps objects in infrequent "
                "access for 30 days at least",
                {"least": least},
            )
        return self


class Storage(_Section):
    lifecycle: Lifecycle = Field(Lifecycle(), description="How stored footage ages.")


class Profile(_Section):
    """All settings of a run. A profile with a `cloud` section launches on AWS Batch."""

    cloud: Cloud | None = Field(
        None, description="The cloud to launch on; without it everything runs on this machine."
    )
    pipeline: Pipeline = Field(Pipeline(), description="The stages.")
    models: Models = Field(Models(), description="Which models look at the footage.")
    output: Output = Field(Output(), description="Where results go.")
    project: Project = Field(Project(), description="The study: its species, its places.")
    privacy: Privacy = Field(Privacy(), description="What is kept back in what is shared.")
    uploads: Uploads = Field(Uploads(), description="New footage that starts by itself.")
    storage: Storage = Field(Storage(), description="How stored objects age.")

    @property
    def aws(self) -> Aws:
        """Where AWS is and how it is used; without a cloud, its services' own addresses."""
        return self.cloud.aws if self.cloud else Aws()

    def explained(self) -> Iterator[str]:
        """Every key with its value now and its meaning, as lines of YAML."""
        yield from _explained(self, 0)


def _explained(section: BaseModel, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for key, about in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield f"{indent}{key}:  # {about.description}"
            yield from _explained(value, depth + 1)
        elif isinstance(value, tuple) and any(isinstance(each, BaseModel) for each in value):
            yield f"{indent}{key}: [{len(value)} rows]  # {about.description}"
        else:
            text = yaml.safe_dump(
                list(value) if isinstance(value, tuple) else value, default_flow_style=True
            )
            yield f"{indent}{key}: {text.splitlines()[0]}  # {about.description}"
