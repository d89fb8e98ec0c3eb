"""FFmpeg's calls of the NVIDIA driver before it decodes, without a GPU.

FFmpeg is the real one, of PyAV. The driver is a stub with every function that FFmpeg looks up; its
GPU already has a context, as in a process that uses Warp.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest

from gpu_kernels.device.gpu import find_gpu
from odins_ravne_assets.munin.detection.gpu_video import CURRENT_CONTEXT

DRIVER = """
static int context;
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuCtxGetCurrent(void **current) { *current = &context; return 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
  *flags = 0;
  *active = 1;
  return 0;
}
"""
OPENS = """
import sys, av
from av.codec.hwaccel import HWAccel
av.logging.set_level(av.logging.ERROR)
options = dict(each.split("=") for each in sys.argv[2:])
on_gpu = HWAccel("cuda", allow_software_fallback=False, options=options, is_hw_owned=True)
try:
    with av.open(sys.argv[1], hwaccel=on_gpu) as container:
        print("hardware" if container.streams.video[0].codec_context.is_hwaccel else "software")
except av.error.FFmpegError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a stub driver."""
    gcc = shutil.which("gcc")
    libraries = list((Path(av.__file__).parent.parent / "av.libs").glob("libavutil*"))
    if gcc is None or not libraries:
        pytest.skip("gcc and PyAV's own FFmpeg are needed")
    named = set(re.findall(rb"\0(cu[A-Z]\w+)(?=\0)", libraries[0].read_bytes()))
    others = {name.decode() for name in named if name not in DRIVER.encode()}
    assert "cuCtxPushCurrent_v2" in others
    folder = tmp_path_factory.mktemp("driver")
    source = DRIVER + "".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(others))
    (folder / "driver.c").write_text(source, encoding="utf-8")
    library, source_path = folder / "libcuda.so.1", folder / "driver.c"
    subprocess.run([gcc, "-shared", "-fPIC", "-o", library, source_path], check=True)
    return folder


def open_clip(driver: Path, clip: Path, options: dict[str, Any]) -> str:
    command = [sys.executable, "-c", OPENS, str(clip), *(f"{k}={v}" for k, v in options.items())]
    environment = os.environ | {"LD_LIBRARY_PATH": str(driver)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_ffmpeg_uses_the_current_context_of_warp(
    driver: Path, tmp_path: Path, make_video: Any
) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    assert open_clip(driver, clip, CURRENT_CONTEXT) == "hardware"
    # PyAV's default, for a process without a context.
    refused = open_clip(driver, clip, {"primary_ctx": "1"})
    assert "Primary context already active with incompatible flags" in refused


def test_without_a_driver_opening_fails_and_does_not_fall_back_to_the_cpu(
    tmp_path: Path, make_video: Any
) -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a driver")
    clip = make_video(tmp_path / "clip.mp4")
    assert "Could not dynamically load CUDA" in open_clip(tmp_path, clip, CURRENT_CONTEXT)
