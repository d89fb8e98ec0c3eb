"""The profile: every setting of a run as a typed tree, with descriptions and allowed values."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import (
    Field,
    field_validator,
)

from resources.settings.clock_corrections import ClockCorrections
from resources.settings.project import Project
from resources.settings.section import PositiveInt, Section, commented_yaml
from resources.settings.stored_data import History, Storage

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Budget = Annotated[float, Field(gt=0)] | None


class Compute(Section):
    spot_instances: bool = Field(
        True, description="Use spot machines, at a fraction of the on-demand price."
    )
    bid_percentage: Annotated[int, Field(ge=1, le=100)] = Field(
        70, description="Hard cap on the spot price, in percent of the on-demand price."
    )
    fallback_to_ondemand: bool = Field(
        True,
        description="Use on-demand machines if spot capacity is missing or interrupted repeatedly.",
    )
    max_vcpus: PositiveInt = Field(100, description="Maximum vCPUs that run at a time.")
    min_vcpus: Annotated[int, Field(ge=0)] = Field(
        0, description="Minimum vCPUs, which run without work too; 0 scales to zero."
    )
    desired_vcpus: Annotated[int, Field(ge=0)] = Field(0, description="Initial vCPUs.")
    instance_types: tuple[str, ...] = Field(
        ("g4dn.xlarge", "g5.xlarge", "g6.xlarge"),
        min_length=1,
        description="GPU machine types that may be used, in order of preference.",
    )


class Aws(Section):
    region: str = Field(
        "eu-north-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="AWS region, as eu-north-1."
    )
    name: str = Field(
        "ravne",
        pattern=r"^[a-z][a-z0-9-]{1,30}$",
        description="Prefix of the names of all AWS resources, and the value of their tag Project.",
    )
    compute: Compute = Field(Compute(), description="Machines of AWS Batch.")
    requester_pays: bool = Field(
        False,
        description="Pay for requests to buckets whose readers pay (requester pays) and for their "
        "transfers; without it S3 refuses them.",
    )
    endpoint_url: str | None = Field(
        None, description="Endpoint of all AWS services; empty: AWS's own."
    )
    endpoint_urls: dict[str, str] = Field(
        default_factory=dict, description="Endpoints of single services, as {pricing: URL}."
    )
    clock_url: str | None = Field(
        None, description="URL of a simulated clock; empty: the clock of this machine."
    )


class Unused(Section):
    tear_down_after_minutes: Annotated[float, Field(gt=0)] | None = Field(
        60.0,
        description="Minutes without use after which machines and queues are deleted; "
        "empty: never.",
    )
    end_jobs_after_minutes: Annotated[float, Field(gt=0)] | None = Field(
        120.0,
        description="Minutes without a run that watches them after which jobs are terminated; "
        "finished work is saved; empty: never.",
    )


class Cloud(Section):
    aws: Aws = Field(Aws(), description="Where steps are launched, and on which machines.")
    unused: Unused = Field(
        Unused(), description="Cleanup of unused compute, while `munin ui` runs."
    )


class CostOptimization(Section):
    enabled: bool = Field(True, description="Weigh price against waiting time when launching.")
    spot_preferred: bool = Field(
        True, description="Try spot before on-demand; false needs fallback_to_ondemand."
    )
    fallback_timeout: Annotated[int, Field(ge=0)] = Field(
        300, description="Seconds of spot starvation (not of queueing) before on-demand is used."
    )
    cost_threshold: Fraction = Field(
        0.5, description="Minimum effective saving, as a fraction, at which spot is chosen."
    )
    max_spot_interruptions: Annotated[int, Field(ge=0)] = Field(
        5, description="Spot interruptions of a work unit before it moves to on-demand."
    )
    max_parallel_jobs: PositiveInt = Field(
        10, description="Cameras and work units that run in parallel."
    )
    offline_camera_optimized: bool = Field(
        True,
        description="Choose the size of work units for lowest cost, not lowest latency.",
    )
    budget_usd_per_run: Budget = Field(
        None, description="Budget of a camera's run, in USD; the run stops before it is exceeded."
    )
    budget_usd_per_month: Budget = Field(
        None, description="Budget of all runs in a month (UTC) that this machine knows of, in USD."
    )


class Stage0(Section):
    container_time: Literal["camera", "utc"] = Field(
        "camera",
        description="Time zone of a video's creation time: the camera's wall clock (as trail "
        "cameras write it), or UTC (as the QuickTime standard defines it).",
    )
    use_file_date: bool = Field(
        False,
        description="Use a file's modification time if there is no other time. Copying changes it.",
    )
    clock_corrections: ClockCorrections = Field(
        (),
        description="CSV or XLSX of clock corrections: camera_id, from, until, shift, utc_offset.",
    )
    max_megapixels: Annotated[float, Field(gt=0)] = Field(
        200.0, description="Larger pictures are rejected as decompression bombs."
    )


class Stage1Settings(Section):
    conf_threshold: Fraction | None = Field(
        None, description="Minimum confidence of a box; empty: the detector's own threshold."
    )
    sampling: Literal["fps", "every", "keyframes"] = Field(
        "fps",
        description="How video frames are sampled: per second, every Nth frame, or keyframes.",
    )
    frames_per_second: Annotated[float, Field(gt=0)] = Field(
        1.0, description="For sampling fps: frames per second of video."
    )
    every_nth_frame: PositiveInt = Field(30, description="For sampling every: use every Nth frame.")
    motion_gate: bool = Field(
        True,
        description="Skip sampled video frames without motion after a frame without detections.",
    )
    motion_threshold: Fraction = Field(
        0.002, description="Minimum share of a frame's tiles that change during motion."
    )
    batch_size: PositiveInt = Field(8, description="Frames per inference.")
    decode_workers: PositiveInt = Field(1, description="Processes that decode media.")
    decode_timeout: Annotated[float, Field(gt=0)] = Field(
        60.0,
        description="Seconds without a frame after which the decoding of a medium counts as hung.",
    )
    engine: Literal["auto", "onnxruntime", "tensorrt"] = Field(
        "auto",
        description="Inference engine: onnxruntime on the CPU, tensorrt on a GPU (the full one, "
        "else TensorRT-RTX), or auto: tensorrt if it runs and gives the CPU's answers, else "
        "onnxruntime.",
    )
    video_decoder: Literal["cpu", "gpu"] = Field(
        "cpu",
        description="Video decoder: gpu keeps frames on the GPU of engine tensorrt, and uses the "
        "CPU for videos that it cannot decode.",
    )
    engine_fallback: bool = Field(
        False,
        description="If tensorrt fails, warn and continue with onnxruntime, instead of failing.",
    )
    threads: PositiveInt | None = Field(
        None, description="CPU threads of the engine; empty: one per core."
    )


class Stage2Settings(Section):
    auto_ok_threshold: Fraction = Field(
        0.65,
        description="Minimum confidence at which a label names an animal by itself; below it, the "
        "guesses are summed: see roll_up.",
    )
    batch_size: PositiveInt = Field(8, description="Crops per inference.")


class Stage3(Section):
    compression_window: Annotated[float, Field(gt=0)] = Field(
        10.0,
        description="Minutes: maximum time between the first and the last detection of a visit.",
    )
    min_confidence: Fraction = Field(
        0.5,
        description="Minimum confidence of a name. An animal whose name is below it is an unknown "
        "animal; a person or vehicle below it is left out.",
    )
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
        0.8, description="Visits whose highest confidence is below this are marked for review."
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


class Pipeline(Section):
    cost_optimization: CostOptimization = Field(
        CostOptimization(), description="How launches weigh cost against time."
    )
    local_usd_per_hour: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Price of an hour of this machine, in USD, for work that runs on it."
    )
    stage0: Stage0 = Field(Stage0(), description="Reading footage.")
    stage1: Stage1Settings = Field(Stage1Settings(), description="Detecting and cropping.")
    stage2: Stage2Settings = Field(Stage2Settings(), description="Classifying crops.")
    stage3: Stage3 = Field(Stage3(), description="Compressing rows into visits.")


class Models(Section):
    detector: str = Field(
        "lite-ensemble",
        description="Model or ensemble of stage 1: the name of a shipped or installed one, or the "
        "path of its .toml file.",
    )
    category_detector: str | None = Field(
        "auto",
        description="Model that tells people and vehicles from animals; auto: the ensemble's own, "
        "or ssd-mobilenet-v2-cam16 for a detector that finds only animals; empty: none.",
    )
    classifier: str = Field(
        "efficientnet-lite3",
        description="Model of stage 2, named like the detector; or a .json file of SpeciesNet "
        "predictions.",
    )
    folder: str | None = Field(
        None,
        description="Folder or s3:// URL of the models that `munin models add` installs; jobs on "
        "AWS read them from a bucket; empty: a folder of the user.",
    )
    engines: str | None = Field(
        None,
        description="Cache of engines built for GPUs, a folder or s3:// URL that cameras share; "
        "empty: in each camera's output.",
    )
    engines_shared_by: tuple[Annotated[str, Field(pattern=r"^sm_\d{2,3}$")], ...] = Field(
        (),
        description="GPU architectures that share one engine, as [sm_86, sm_89], so that a mixed "
        "fleet builds a model once; empty: one engine per architecture.",
    )


class Output(Section):
    root: str = Field(
        "results", description="Folder of results if no OUTPUT is given: ROOT/CAMERA."
    )


class Privacy(Section):
    """What is removed from everything that is shared: reports, thumbnails, exports."""

    blur_people: bool = Field(
        True, description="Blur people in every picture; this cannot be undone."
    )
    leave_out_people: bool = Field(
        False, description="Leave visits of people out of reports and exports."
    )
    sensitive_species: tuple[str, ...] = Field(
        (),
        description="Common or scientific names of any rank; the places of cameras that observed, "
        "or may have observed, one of them are covered in all that is shared.",
    )
    sensitive_decimals: Annotated[int, Field(ge=0, le=4)] = Field(
        1, description="Decimals of rounded coordinates: 1 is about 11 km, 2 about 1 km."
    )


class Uploads(Section):
    url: str | None = Field(
        None,
        description="Where new footage arrives: s3://BUCKET/PREFIX or a folder; empty: new "
        "footage is not detected.",
    )
    camera_pattern: str = Field(
        "(?P<camera>[^/]+)/",
        description="Regular expression for the beginning of a file's path below url; its group "
        "camera is the camera id, and ends the folder of its footage.",
    )
    queue_url: str | None = Field(
        None, description="SQS queue of S3's upload events; empty: uploads are found by listing."
    )
    quiet_minutes: Annotated[float, Field(gt=0)] = Field(
        10.0,
        description="Minutes without new files after which a camera's card is complete (debounce).",
    )
    longest_wait_hours: Annotated[float, Field(gt=0)] = Field(
        12.0, description="Maximum hours to wait for a complete card, from its first new file."
    )
    listing_minutes: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Minutes between two listings of a bucket without queue_url."
    )
    listing_hours: Annotated[float, Field(gt=0)] = Field(
        24.0, description="Hours between two checks for uploads without an event or a finished run."
    )
    output: str | None = Field(
        None, description="Folder of results: OUTPUT/CAMERA; empty: output.root."
    )
    silent_days: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Days without a new picture after which a camera is reported as silent."
    )

    @field_validator("camera_pattern")
    @classmethod
    def _names_a_camera(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"is not a regular expression ({error})") from None
        if "camera" not in groups:
            raise ValueError("has no group (?P<camera>...)")
        return pattern


class Profile(Section):
    """All settings of a run. A profile with a `cloud` section launches on AWS Batch."""

    cloud: Cloud | None = Field(
        None, description="The cloud; without this section everything runs on this machine."
    )
    pipeline: Pipeline = Field(Pipeline(), description="The stages.")
    models: Models = Field(Models(), description="Models for the footage.")
    output: Output = Field(Output(), description="Results of cameras.")
    project: Project = Field(Project(), description="The study: its species and deployments.")
    privacy: Privacy = Field(Privacy(), description="What is removed from shared files.")
    uploads: Uploads = Field(Uploads(), description="Detection of new footage, which starts runs.")
    storage: Storage = Field(Storage(), description="Storage classes of stored objects.")
    history: History = Field(History(), description="Dagster's records of runs.")

    @property
    def aws(self) -> Aws:
        """The settings of AWS; without a cloud section, the defaults."""
        return self.cloud.aws if self.cloud else Aws()

    def commented_yaml(self) -> Iterator[str]:
        """Yield every key with its value and description, as lines of YAML."""
        yield from commented_yaml(self, 0)
