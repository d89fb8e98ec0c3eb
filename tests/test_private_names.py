"""Private names of other libraries: a subclass of ours must not reuse one.

A library may add, rename or use a private name in any release: CPython 3.13 added `Thread._handle`.
A class that runs something (a thread, a process) gains names with each Python, so ours holds one
instead of being one.
"""

import ast
import builtins
import importlib
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from paths import ROOT

PACKAGES = ("resources", "gpu_kernels", "odins_ravne_assets", "profiles")
# Their modules are imported by bare names.
SCRIPTS = ("benchmarks", "tools", "tests/support")
# Bases that no class of ours may have: hold one in an attribute.
NEVER_BASES = {
    "threading.Thread",
    "threading.Timer",
    "subprocess.Popen",
    "multiprocessing.Process",
    "multiprocessing.context.Process",
    "concurrent.futures.ThreadPoolExecutor",
    "concurrent.futures.ProcessPoolExecutor",
}


@dataclass
class Module:
    """A module of ours: its classes, and the full names behind its imported names."""

    name: str
    classes: list[ast.ClassDef]
    imported: Mapping[str, str]


def parse_module(name: str, source: str) -> Module:
    tree = ast.parse(source)
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                imported[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return Module(name, [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)], imported)


@cache
def our_modules() -> dict[str, Module]:
    """All modules of ours, by the name under which others import them."""
    found = {}
    for folder in (*PACKAGES, *SCRIPTS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            below = path.relative_to(ROOT if folder in PACKAGES else ROOT / folder)
            name = ".".join(below.with_suffix("").parts).removesuffix(".__init__")
            found[name] = parse_module(name, path.read_text("utf-8"))
    assert len(found) > 250
    return found


def dotted(node: ast.expr) -> str:
    """The name of a base class in the source, without type parameters: `dg.Config`."""
    return ast.unparse(node.value if isinstance(node, ast.Subscript) else node)


def full_name(module: Module, base: ast.expr) -> str:
    """The full name of a base class, as `threading.Thread`."""
    name = dotted(base)
    first, _, rest = name.partition(".")
    if first in module.imported:
        return module.imported[first] + (f".{rest}" if rest else "")
    if hasattr(builtins, name):
        return f"builtins.{name}"
    return f"{module.name}.{name}"


def own_class(name: str) -> tuple[Module, ast.ClassDef] | None:
    """A class of ours by its full name."""
    owner, _, class_name = name.rpartition(".")
    module = our_modules().get(owner)
    for node in module.classes if module else ():
        if node.name == class_name:
            return module, node
    return None


def foreign_bases(module: Module, node: ast.ClassDef) -> Iterator[str]:
    """The full names of the classes of other libraries that a class inherits from."""
    own = {each.name: each for each in module.classes}
    for base in node.bases:
        name = full_name(module, base)
        if ours := own_class(name):
            yield from foreign_bases(*ours)
        elif name.removeprefix(f"{module.name}.") in own:
            yield from foreign_bases(module, own[name.removeprefix(f"{module.name}.")])
        else:
            yield name


def is_private(name: str) -> bool:
    """True for `_x`; not for dunder names, nor for `_x_`, which enum documents."""
    return name.startswith("_") and not name.startswith("__") and not name.endswith("_")


def private_names(node: ast.ClassDef) -> set[str]:
    """The private names that a class defines, or assigns on its instances."""
    names: set[str] = set()
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(part.name)
            receiver = part.args.args[0].arg if part.args.args else None
            names |= {
                each.attr
                for each in ast.walk(part)
                if isinstance(each, ast.Attribute)
                and isinstance(each.ctx, ast.Store)
                and isinstance(each.value, ast.Name)
                and each.value.id == receiver
            }
        else:
            names |= {
                each.id
                for each in ast.walk(part)
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
            }
    return {name for name in names if is_private(name)}


@cache
def names_of_library_class(name: str) -> frozenset[str] | None:
    """The private names of a class of another library and of its instances; None if unknown.

    The names that its methods assign are read from the source of all classes it inherits from.
    """
    owner, _, class_name = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(owner), class_name)
    except (ImportError, AttributeError, ValueError):
        return None
    if not isinstance(found, type):
        return frozenset()  # NamedTuple, TypedDict, a type variable
    names = {each for each in dir(found) if is_private(each)}
    for base in found.__mro__:
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):
            continue  # written in C
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                names |= private_names(node)
    return frozenset(names)


def faults(module: Module) -> Iterator[str]:
    """What is wrong with the classes of a module."""
    for node in module.classes:
        for base in foreign_bases(module, node):
            if base in NEVER_BASES:
                yield f"{module.name}.{node.name}: holds a {base} instead of being one"
                continue
            known = names_of_library_class(base)
            names = private_names(node)
            for name in sorted(names if known is None else names & known):
                yield f"{module.name}.{node.name}.{name}: is also a name of {base}"


@pytest.mark.parametrize("folder", [*PACKAGES, *SCRIPTS])
def test_no_class_reuses_a_private_name_of_a_library(folder: str) -> None:
    names = [
        ".".join(path.relative_to(ROOT if folder in PACKAGES else ROOT / folder).parts)
        for path in (ROOT / folder).rglob("*.py")
    ]
    modules = [our_modules()[name.removesuffix(".py").removesuffix(".__init__")] for name in names]
    assert [fault for module in modules for fault in faults(module)] == []


REFUSED = {
    "import threading\nclass Lane(threading.Thread): pass": "Lane: holds a threading.Thread",
    "from threading import Thread as T\nclass A(T): pass\nclass Lane(A): pass": "Lane: holds a",
    "from subprocess import Popen\nclass Child(Popen[str]): pass": "Child: holds a",
    # Of the class, and of a base of it.
    "import socketserver as s\nclass Server(s.ThreadingTCPServer):\n  _threads = 1": "_threads",
    "import socketserver\nclass Server(socketserver.ThreadingMixIn):\n"
    "  def _threads(self): pass": "_threads",
    # Assigned by the base in a method.
    "from http.client import HTTPSConnection\nclass Client(HTTPSConnection):\n"
    "  def __init__(self):\n    self._tunnel_host = 1": "_tunnel_host",
    "from http.client import HTTPSConnection\nclass Client(HTTPSConnection):\n"
    "  def open(here):\n    with open('x') as here._method: pass": "_method",
    # A base that is not installed may have any name.
    "import no_such_library\nclass A(no_such_library.B):\n  _x: int = 1": "_x: is also",
}  # fmt: skip


@pytest.mark.parametrize("source", REFUSED)
def test_the_lint_refuses(source: str) -> None:
    found = list(faults(parse_module("example", source)))
    assert REFUSED[source] in "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import threading\nclass Lane:\n  def __init__(self):\n    self._handle = 1",
        "class Error(Exception):\n  def __init__(self):\n    self._reason = 1",
        "from http.server import BaseHTTPRequestHandler\n"
        "class Handler(BaseHTTPRequestHandler):\n  def _respond(self):\n    self.other._method = 1",
        "from enum import Enum\nclass Kind(Enum):\n  def _missing_(cls): pass",
        "from typing import NamedTuple\nclass Pair(NamedTuple):\n  x: int",
        "import no_such_library\nclass A(no_such_library.B):\n  x: int = 1",
    ],
)
def test_the_lint_accepts(source: str) -> None:
    assert list(faults(parse_module("example", source))) == []


def test_all_modules_are_found() -> None:
    assert {"resources.errors", "memory", "sandbox_demo", "s3_rig"} <= our_modules().keys()
    assert all(Path(ROOT / folder).is_dir() for folder in (*PACKAGES, *SCRIPTS))
