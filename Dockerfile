# The worker's image, which AWS Batch runs on a GPU machine. It contains no Dagster, only the small
# library by which a worker reports to it (dagster-pipes).
#
#   docker build --tag REPOSITORY:VERSION .
#
# where VERSION is that of pyproject.toml: `munin cost setup` uses the image of its own version.
# With `--build-arg TENSORRT_INDEX=URL` it also has the full TensorRT: docs/gpu.md.

# CUDA's runtime for TensorRT; the driver is the machine's. Red Hat's base, because it has a
# maintained package of Python 3.11; Ubuntu 24.04 has none, and 22.04 a beta.
FROM nvidia/cuda:13.0.1-runtime-ubi9

RUN dnf install --assumeyes --nodocs python3.11 python3.11-pip && dnf clean all \
    && python3.11 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

# The worker's dependencies, in the versions of pyproject.toml. First, because they seldom change: a
# new version of the package is then a small layer on top.
# opencv-python-headless is opencv-python without windows, which need display libraries.
RUN pip install --no-cache-dir \
    av==18.1.0 \
    boto3==1.44.5 \
    dagster-pipes==1.13.27 \
    filelock==4.2.12 \
    jinja2==3.1.6 \
    markupsafe==3.0.4 \
    matplotlib==3.11.2 \
    numpy==2.4.6 \
    onnx==1.23.2 \
    onnxruntime==1.32.0 \
    opencv-python-headless==5.0.0.93 \
    openpyxl==3.1.5 \
    pillow==13.0.0 \
    pillow-heif==1.8.1 \
    polars==2.1.0 \
    psutil==7.2.2 \
    pydantic==2.14.3 \
    pyyaml==6.0.3 \
    rawpy==0.28.0 \
    tensorrt-rtx-cu13-bindings==1.7.1.116 \
    tensorrt-rtx-cu13-libs==1.7.1.116 \
    warp-lang==1.19.0 \
    xlsxwriter==3.3.1

# The full TensorRT, which a worker prefers to TensorRT-RTX. Its libraries are not on the usual
# package index: TENSORRT_INDEX is the URL of one that has both packages, without credentials, since
# an image shows its build arguments. Empty: TensorRT-RTX only. Nothing else is taken from there.
ARG TENSORRT_INDEX=""
ARG TENSORRT_VERSION=11.4.0.106
RUN if [ -n "$TENSORRT_INDEX" ]; then \
    pip install --no-cache-dir --no-deps --only-binary :all: --index-url "$TENSORRT_INDEX" \
    "tensorrt-cu13-bindings==$TENSORRT_VERSION" "tensorrt-cu13-libs==$TENSORRT_VERSION"; fi

# --no-deps: the package depends on Dagster, the worker does not.
WORKDIR /build
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY odins_ravne_assets odins_ravne_assets
COPY resources resources
COPY gpu_kernels gpu_kernels
COPY profiles profiles
RUN pip install --no-cache-dir --no-deps . && rm -rf /build/*

# A full TensorRT that cannot be loaded fails the build, not the first job.
RUN if [ -n "$TENSORRT_INDEX" ]; then \
    python -m gpu_kernels.engines.tensorrt_api tensorrt; fi

# The engines of the shipped models and the kernels, for g4dn, g5 and g6, so that a spot machine's
# first batch does not wait for a compiler. The build needs no GPU. Those of a full TensorRT are
# built by the first machine, since they need its GPU.
RUN python -m gpu_kernels.ahead_of_time --arch sm_75,sm_86,sm_89

# Matplotlib caches the list of fonts; without it each job would search for them.
ENV MPLCONFIGDIR=/opt/matplotlib
RUN python -c "import matplotlib.font_manager" && chmod --recursive a+rwX /opt/matplotlib

# Footage is staged on the machine's disk, which the job definition mounts at /scratch. It is
# world-writable, so that the worker does not need root.
RUN mkdir --mode=1777 /scratch && useradd --uid 10001 --create-home worker
ENV TMPDIR=/scratch
WORKDIR /scratch
USER 10001

# video: decoding on the GPU.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    PYTHONUNBUFFERED=1

# The base image's entry point prints a banner, so it is removed. The command is a list, as in the
# job definition: a shell would not forward SIGTERM.
ENTRYPOINT []
CMD ["python", "-m", "odins_ravne_assets.worker"]
