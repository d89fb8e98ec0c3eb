"""Which room may import which: one table, read off the source.

A room is a folder of a package; a file that the table lists is a room of its own. Imports inside
functions and under TYPE_CHECKING count like all others.
"""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("resources", "gpu_kernels", "odins_ravne_assets", "profiles")
# Everything that a worker imports before its first stage.
WORKER = "import odins_ravne_assets.worker.__main__, odins_ravne_assets.worker.pipes_worker"
TABLES = {"openpyxl", "xlsxwriter"}
HEAVY = {"cv2", "onnxruntime", "av", "warp", "tensorrt", "PIL", "matplotlib", *TABLES}
MOST_MODULES, MOST_LINES = 25, 450

# What the rows below share; a room may import less than its row allows.
BASE = "settings spreadsheets clock.py errors.py printable.py user_path.py"
STORE = f"storage storage/open_store.py storage/s3 aws {BASE}"
BATCH = f"batch pricing {STORE}"
CLOUD = f"planning compute spot ledger storage/transfer {BATCH}"
MUNIN = "munin/progress.py munin/tables munin/media munin/inference munin/detection"
MUNIN += " munin/classification munin/workload"
HUGIN = "hugin/formats.py hugin/identification hugin/privacy hugin/review hugin/visits"
HUGIN += " hugin/report hugin/exports"
DATA = "databases instance_home.py cameras arrivals odin"
MODELS = "gpu_kernels/models gpu_kernels/preprocessing gpu_kernels/device gpu_kernels/engines"
MODELS += " gpu_kernels/heads"
LIBRARY = "gpu_kernels/models/catalogue model_library"

# Room -> the rooms that it may import. Within a package, a room is named without the package.
MAY_IMPORT = {
    "resources": {
        "printable.py": "",
        "errors.py": "printable.py",
        "clock.py": "errors.py",
        "user_path.py": "errors.py",
        "spreadsheets": "errors.py printable.py user_path.py",
        "settings": "spreadsheets errors.py user_path.py",
        "aws": BASE,
        "storage": BASE,
        "storage/s3": f"storage aws {BASE}",
        "storage/open_store.py": f"storage storage/s3 aws {BASE}",
        "storage/transfer": STORE,
        "pricing": STORE,
        "batch": f"pricing {STORE}",
        "spot": BATCH,
        "ledger": BATCH,
        "planning": BATCH,
        "compute": BATCH,
        "retention": f"compute {BATCH}",
        "launch": f"retention {CLOUD}",
        "sandbox/model": f"aws {BASE}",
        "sandbox/wire": f"sandbox/model aws {BASE}",
        "sandbox/fleet": f"sandbox/model sandbox/wire aws {BASE}",
        "sandbox/jobs": f"sandbox/model sandbox/wire sandbox/fleet aws {BASE}",
        "sandbox/iam": f"sandbox/model sandbox/wire sandbox/jobs aws {BASE}",
        "sandbox/api": "sandbox/model sandbox/wire sandbox/fleet sandbox/jobs sandbox/iam "
        f"aws {BASE}",
        "sandbox": "sandbox/model sandbox/wire sandbox/fleet sandbox/jobs sandbox/iam sandbox/api "
        f"aws {BASE}",
    },
    "gpu_kernels": {
        "": "",
        "models": "resources/errors.py resources/storage resources/user_path.py",
        "models/catalogue": "models resources/errors.py",
        "preprocessing": "models",
        "device": "models preprocessing resources/errors.py",
        "engines": "models device resources/errors.py resources/storage",
        "heads": "models preprocessing device engines resources/errors.py",
        "inspection": "models preprocessing engines heads resources/errors.py",
        "ahead_of_time.py": "models device engines resources/errors.py resources/storage",
    },
    "odins_ravne_assets": {
        "": "rerun.py",  # run_stage3_local.py, which is copied next to downloaded results
        "databases": "resources/errors.py printable.py storage",
        "instance_home.py": "databases resources/errors.py user_path.py settings storage",
        "demo": "",
        "page": "resources/printable.py",
        "munin/progress.py": "",
        "munin/tables": f"gpu_kernels/models {STORE}",
        "munin/media": f"munin/media/tags munin/tables munin/progress.py batch {STORE}",
        "munin/media/tags": "",
        "munin/inference": f"munin/tables munin/progress.py {MODELS} {STORE}",
        "munin/detection": "munin/media munin/inference munin/tables munin/progress.py "
        f"{MODELS} {STORE}",
        "munin/classification": "munin/media munin/inference munin/tables munin/progress.py "
        f"{MODELS} {STORE}",
        "munin/workload": f"{MUNIN} {MODELS} batch {STORE}",
        "hugin/formats.py": "munin/tables resources/printable.py spreadsheets",
        "hugin/identification": f"hugin/formats.py {MUNIN} {STORE}",
        "hugin/review": f"hugin/formats.py hugin/identification {MUNIN} {STORE}",
        "hugin/privacy": f"hugin/identification {BASE}",
        "hugin/visits": "hugin/formats.py hugin/identification hugin/privacy hugin/review "
        f"{MUNIN} {STORE}",
        "hugin/report": "hugin/formats.py hugin/identification hugin/privacy hugin/review "
        f"hugin/visits page gpu_kernels/preprocessing ledger {MUNIN} {STORE}",
        "hugin/exports": "hugin/formats.py hugin/identification hugin/privacy hugin/review "
        "hugin/visits "
        f"{MUNIN} {STORE}",
        "odin": f"page munin/workload planning ledger retention {BATCH}",
        "model_library": "gpu_kernels/models gpu_kernels/models/catalogue hugin/identification "
        f"{STORE}",
        "cameras": f"instance_home.py munin/media {STORE}",
        "arrivals": f"instance_home.py munin/media {STORE}",
        "runs": f"cameras instance_home.py storage {BASE}",
        "results": f"{DATA} {HUGIN} {MUNIN} storage/transfer {STORE}",
        "costs": f"{DATA} hugin/identification {MUNIN} model_library retention {CLOUD}",
        "worker": f"demo {DATA} {HUGIN} {MUNIN} {MODELS} model_library planning batch {STORE}",
        "defs": f"{DATA} {MUNIN} model_library runs results costs launch retention {CLOUD}",
        "cli": f"demo {DATA} {HUGIN} {MUNIN} {MODELS} {LIBRARY} gpu_kernels/ahead_of_time.py "
        f"gpu_kernels/inspection runs results costs retention sandbox/model {CLOUD}",
        "rerun.py": f"{DATA} {HUGIN} cli results {STORE}",
        "run_stage3_local.py": "rerun.py",
        "definitions.py": f"{DATA} defs runs launch {BASE}",
        "run_camera.py": f"{DATA} definitions.py defs runs launch {BASE}",
    },
    "profiles": {"": ""},
}


@cache
def modules() -> Mapping[str, Path]:
    """Every module of the packages, by its full name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    assert len(found) > 200
    return found


@cache
def imports() -> Mapping[str, frozenset[str]]:
    """The full names that each module imports anywhere; a module `b` of `a` counts as `a.b`."""
    found = {}
    for name, path in modules().items():
        imported: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.module and not node.level, f"{path}: a relative import"
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    imported.add(full if full in modules() else node.module)
        found[name] = frozenset(imported - {name})
    return found


@cache
def table() -> dict[str, set[str]]:
    """`MAY_IMPORT` with full paths below the root."""
    rooms = {
        (package, room): f"{package}/{room}".rstrip("/")
        for package, rows in MAY_IMPORT.items()
        for room in rows
    }

    def resolve(package: str, word: str) -> str:
        for owner in (package, "resources"):
            if (owner, word) in rooms:
                return rooms[owner, word]
        assert word in rooms.values(), f"{package}: the table has no room {word}"
        return word

    return {
        rooms[package, room]: {resolve(package, word) for word in words.split()}
        - {rooms[package, room]}
        for package, rows in MAY_IMPORT.items()
        for room, words in rows.items()
    }


def room_of(module: str) -> str:
    """The room of a module: its file if the table lists it, else its folder."""
    path = PurePosixPath(modules()[module].relative_to(ROOT).as_posix())
    return str(path if str(path) in table() else path.parent)


def test_every_folder_is_a_room_of_the_table() -> None:
    listed = table()
    for name, path in modules().items():
        if path.name == "__init__.py" and path.read_text("utf-8").count("\n") <= 1:
            continue  # a package that holds rooms only
        assert room_of(name) in listed, f"{path.relative_to(ROOT)}: add its room to MAY_IMPORT"
    for room in listed:
        assert (ROOT / room).exists(), f"MAY_IMPORT names {room}, which does not exist"


def test_a_room_imports_only_the_rooms_that_its_row_allows() -> None:
    listed = table()
    for name, imported in imports().items():
        for other in imported & modules().keys():
            ours, theirs = room_of(name), room_of(other)
            if ours == theirs or modules()[other].name == "__init__.py":
                continue
            assert theirs in listed.get(ours, set()), f"{name} imports {other}"


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """A circle of a graph; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {name: imported & modules().keys() for name, imported in imports().items()}
    assert not circle(graph)


def test_no_rooms_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for name, imported in imports().items():
        for other in imported & modules().keys():
            if room_of(other) != room_of(name):
                graph[room_of(name)].add(room_of(other))
    assert not circle(graph)
    assert not circle(table()), "the table itself allows a circle"


def test_a_folder_has_at_most_25_modules_and_a_file_at_most_450_lines() -> None:
    counts: dict[Path, int] = defaultdict(int)
    for path in modules().values():
        counts[path.parent] += path.name != "__init__.py"
        lines = path.read_text("utf-8").count("\n")
        assert lines <= MOST_LINES, f"{path.relative_to(ROOT)} has {lines} lines"
    for folder, count in counts.items():
        assert count <= MOST_MODULES, f"{folder.relative_to(ROOT)} holds {count} modules"


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("odins_ravne_assets.munin", {"dagster", "dagster_pipes", "boto3", "botocore"}),
        ("odins_ravne_assets.hugin", {"dagster", "dagster_pipes", "boto3", "botocore"}),
        ("odins_ravne_assets.odin", {"dagster", "dagster_pipes", "boto3", "botocore"}),
        ("odins_ravne_assets.page", {"dagster", "dagster_pipes", "boto3", "botocore"}),
        ("gpu_kernels", {"dagster", "dagster_pipes", "boto3", "botocore"}),
    ],
)
def test_a_room_imports_no_dagster_and_no_boto3(room: str, forbidden: set[str]) -> None:
    for name, imported in imports().items():
        if name.startswith(room):
            known = {each.partition(".")[0] for each in imported}
            assert not known & forbidden, f"{name} imports {known & forbidden}"


def test_only_the_sandbox_command_imports_the_sandbox() -> None:
    importers = {
        name
        for name, imported in imports().items()
        if any(each.startswith("resources.sandbox") for each in imported)
        and not name.startswith("resources.sandbox")
    }
    assert importers == {"odins_ravne_assets.cli.sandbox"}


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*(n.partition('.')[0] for n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_loading_the_code_location_loads_nothing_heavy() -> None:
    assert not modules_after("import odins_ravne_assets.definitions") & HEAVY


def test_the_worker_imports_no_dagster_but_pipes() -> None:
    loaded = modules_after(WORKER)
    assert "dagster_pipes" in loaded
    assert not loaded & {"dagster", "dagster_shared", "boto3"}


def test_the_worker_starts_within_a_second_and_a_half_of_cpu_time() -> None:
    """A rented machine is paid for meanwhile. 0.6 s as a rule; engines are imported when used."""
    code = f"{WORKER}\nimport sys, time\nprint('onnxruntime' in sys.modules, time.process_time())"

    def seconds() -> float:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        )
        engine, spent = done.stdout.split()
        assert engine == "False"
        return float(spent)

    assert any(seconds() < 1.5 for _ in range(3))  # on a busy machine even this varies


def test_the_worker_loads_libraries_of_plots_and_workbooks_only_to_write_them() -> None:
    loaded = modules_after(WORKER)
    assert not loaded & {"matplotlib", "jinja2", *TABLES}


def test_the_decoding_process_loads_no_models() -> None:
    loaded = modules_after("import odins_ravne_assets.munin.detection.decode_process")
    assert not loaded & {"onnxruntime", "polars", "dagster"}
