"""Who may know whom: DESIGN's rules, read off the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"cv2", "onnxruntime", "av", "warp", "tensorrt", "PIL", "matplotlib"}


def imports_of(folder: str) -> dict[Path, set[str]]:
    """Every file of a folder, with the full names that it imports anywhere."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
        found[path] = names
    assert found, f"{folder} holds no Python"
    return found


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("odins_ravne_assets/munin", {"dagster", "dagster_pipes", "boto3"}),
        ("odins_ravne_assets/hugin", {"dagster", "dagster_pipes", "boto3"}),
        ("odins_ravne_assets/odin", {"dagster", "dagster_pipes", "boto3", "botocore"}),
        ("odins_ravne_assets/page", {"dagster", "dagster_pipes", "boto3", "odins_ravne_assets"}),
        ("gpu_kernels", {"dagster", "dagster_pipes", "boto3", "odins_ravne_assets"}),
        ("resources", {"odins_ravne_assets"}),
    ],
)
def test_a_room_knows_only_whom_it_may(folder: str, forbidden: set[str]) -> None:
    for path, names in imports_of(folder).items():
        known = {name.partition(".")[0] for name in names}
        assert not known & forbidden, f"{path} imports {known & forbidden}"


def test_only_its_own_commands_know_of_the_sandbox() -> None:
    found = imports_of("odins_ravne_assets") | imports_of("resources")
    sandbox = ROOT / "resources" / "sandbox"
    knowing = {
        path.name
        for path, names in found.items()
        if any(name.startswith("resources.sandbox") for name in names)
        and not path.is_relative_to(sandbox)
    }
    assert knowing == {"sandbox.py"}


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*(n.partition('.')[0] for n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_loading_the_code_location_loads_nothing_heavy() -> None:
    assert not modules_after("import odins_ravne_assets.definitions") & HEAVY


def test_the_worker_imports_no_dagster_but_pipes() -> None:
    modules = modules_after("import odins_ravne_assets.worker.__main__")
    assert "dagster_pipes" in modules
    assert not modules & {"dagster", "dagster_shared", "boto3"}


def test_the_worker_is_there_within_a_second_and_a_half_of_the_processor() -> None:
    """A machine is paid for meanwhile. 0.6 s as a rule; the engine comes when it is needed."""
    code = (
        "import sys, time, odins_ravne_assets.worker.__main__\n"
        "print('onnxruntime' in sys.modules, time.process_time())"
    )

    def seconds() -> float:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        )
        engine, spent = done.stdout.split()
        assert engine == "False"
        return float(spent)

    assert any(seconds() < 1.5 for _ in range(3))  # on a busy machine even this varies


def test_the_worker_loads_what_draws_only_to_draw() -> None:
    modules = modules_after("import odins_ravne_assets.worker.__main__")
    assert not modules & {"matplotlib", "jinja2"}


def test_the_decoding_process_holds_no_models() -> None:
    modules = modules_after("import odins_ravne_assets.munin.detection.decode_process")
    assert not modules & {"onnxruntime", "polars", "dagster"}
