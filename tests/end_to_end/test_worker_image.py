"""The worker's image: the packages that its Dockerfile installs, and its command."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from paths import ROOT

from resources.compute.desired_state import SCRATCH
from tests.resources.compute.test_desired_state import planned

OURS = ("odins_ravne_assets", "resources", "gpu_kernels", "profiles")
ROOTS = (
    "odins_ravne_assets/worker",
    "odins_ravne_assets/munin",
    "odins_ravne_assets/hugin",
)
# Dependencies of boto3, pydantic and onnx.
TRANSITIVE = {"botocore", "pydantic-core", "protobuf"}
# The same module without windows, for machines without a display.
WITHOUT_DISPLAY = {"opencv-python": "opencv-python-headless"}


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.M)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line)]


def argument_of(instruction: str) -> str:
    """Return the argument of the last instruction of a kind, which is the effective one."""
    return [rest for name, rest in instructions() if name == instruction][-1]


def installed() -> dict[str, str]:
    """Return the distributions that the image installs, with their versions."""
    commands = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    return dict(re.findall(r"([a-z0-9-]+)==([0-9.]+)", " ".join(commands)))


def pinned() -> dict[str, str]:
    """Return the distributions that the package pins, with their versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return dict(entry.split("==") for each in lists for entry in each if "==" in entry)


def gpu_extra() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {entry.split("==")[0] for entry in project["optional-dependencies"]["gpu"]}


def path_of(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full names that a file imports anywhere, except under TYPE_CHECKING."""
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def closure() -> tuple[set[str], set[str]]:
    """Our modules that a worker may import, at once or later, and the packages of others."""
    waiting = [p for root in ROOTS for p in ([ROOT / root] if root.endswith(".py") else
                                             (ROOT / root).rglob("*.py"))]  # fmt: skip
    seen: set[Path] = set()
    others: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in imports_of(path):
            top = name.partition(".")[0]
            if top not in OURS:
                others.add(top)
            elif found := path_of(name):
                waiting.append(found)
    ours = {p.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for p in seen}
    return {name.removesuffix(".__init__") for name in ours}, others - set(sys.stdlib_module_names)


def test_the_image_installs_exactly_the_packages_that_a_worker_imports() -> None:
    _, others = closure()
    distributions = {packages_distributions()[name][0].lower().replace("_", "-") for name in others}
    # TensorRT is imported by name on first use.
    needed = {WITHOUT_DISPLAY.get(name, name) for name in distributions} - TRANSITIVE | gpu_extra()
    assert set(installed()) == needed


def test_the_image_has_the_versions_that_the_package_pins() -> None:
    with_display = {without: name for name, without in WITHOUT_DISPLAY.items()}
    wanted = pinned()
    assert {name: wanted[with_display.get(name, name)] for name in installed()} == installed()


def test_the_image_has_no_dagster_but_pipes() -> None:
    ours, others = closure()
    assert {name for name in others if name.startswith("dagster")} == {"dagster_pipes"}
    code = (
        "import importlib, sys\n"
        f"for name in {sorted(ours)!r}: importlib.import_module(name)\n"
        "print(*sorted(name for name in sys.modules if name.startswith('dagster')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dagster_pipes"]


def test_the_base_is_cudas_runtime_pinned_by_its_tag() -> None:
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-runtime-\w+", argument_of("FROM"))


def test_the_image_starts_the_command_of_the_job_definition_without_a_shell() -> None:
    container = planned().job_definition["containerProperties"]
    assert json.loads(argument_of("CMD")) == container["command"]
    assert json.loads(argument_of("ENTRYPOINT")) == []


def test_the_worker_is_not_root_and_stages_footage_on_the_machines_disk() -> None:
    assert argument_of("USER") not in {"root", "0"}
    assert f"TMPDIR={SCRATCH}" in {rest for name, rest in instructions() if name == "ENV"}
    (mount,) = planned().job_definition["containerProperties"]["mountPoints"]
    assert mount["containerPath"] == SCRATCH


def wheel(folder: Path, name: str, version: str) -> None:
    """Write a package of one module into a package index in a folder."""
    module, place = name.replace("-", "_"), folder / name
    place.mkdir(parents=True)
    info = f"{module}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    facts = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    file = f"{module}-{version}-py3-none-any.whl"
    (place / "index.html").write_text(f'<a href="{file}">{file}</a>', "utf-8")
    with zipfile.ZipFile(place / file, "w") as archive:
        archive.writestr(f"{module}.py", "")
        archive.writestr(f"{info}/METADATA", metadata + "Requires-Dist: not-there\n")
        archive.writestr(f"{info}/WHEEL", facts)
        archive.writestr(f"{info}/RECORD", "")


def test_full_tensorrt_is_installed_from_the_index_of_the_build_argument_alone(
    tmp_path: Path,
) -> None:
    """The instruction itself, run by a shell, with an index in a folder."""
    defaults = dict(rest.split("=", 1) for name, rest in instructions() if name == "ARG")
    assert defaults["TENSORRT_INDEX"] == '""'
    version = defaults["TENSORRT_VERSION"]
    # The bindings of this version are those in which tests look up the names that the code uses.
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert version in re.findall(r"^TENSORRT := (.*)$", makefile, re.M)[0].split()
    names = ("tensorrt-cu13-bindings", "tensorrt-cu13-libs")
    for name in names:
        wheel(tmp_path / "index", name, version)
    (install,) = [rest for name, rest in instructions() if name == "RUN" and names[0] in rest]
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    path = f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for index, expected in (("", set()), ((tmp_path / "index").as_uri(), set(names))):
        variables = {"TENSORRT_INDEX": index, "TENSORRT_VERSION": version, "PATH": path}
        # No other index of this machine.
        variables |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        subprocess.run(["sh", "-ec", install], env=variables, check=True, cwd=tmp_path)
        folders = (tmp_path / "venv").rglob("tensorrt*.dist-info")
        assert {each.name.split("-")[0].replace("_", "-") for each in folders} == expected


def test_an_image_whose_full_tensorrt_cannot_be_loaded_is_not_built() -> None:
    checks = [rest for name, rest in instructions() if name == "RUN" and "tensorrt_api" in rest]
    (command,) = [re.sub(r"^python\b", sys.executable, each.split("then ")[1]) for each in checks]
    done = subprocess.run(["sh", "-ec", command.removesuffix("; fi")], cwd=ROOT,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: tensorrt is not installed")


def test_all_packages_of_the_project_are_copied_in() -> None:
    copied = {rest.split()[0] for name, rest in instructions() if name == "COPY"}
    assert set(OURS) <= copied
