"""Built engines, kept in an object store so that no machine builds one twice.

An object is a line of JSON (what the engine is of and for, its length, its SHA-256) and the plan.
Beside it may lie what makes the next start faster: the build's timings, and the kernels that
TensorRT-RTX compiled on the GPU's machine.

A plan is code that runs on the GPU's machine: who may write to the store may run code there. Keep
engines where only the pipeline writes.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from gpu_kernels.engines.tensorrt_build import EngineKey
from resources.errors import StoreError
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore

OnWarning = Callable[[str], None]
# timing: measured by TensorRT's builds. kernels: compiled by TensorRT-RTX when it first runs.
ArtifactKind = Literal["timing", "kernels"]

# Engines that were built ahead of time and came with the package; the worker's image has some.
SHIPPED_ENGINES = Path(__file__).parent / "built"


def engine_stores(kept: ObjectStore) -> list[ObjectStore]:
    """Where to look for engines: those that came with the package, then where new ones are kept."""
    return [LocalStore(SHIPPED_ENGINES), kept]


class EngineCache:
    """Engines in stores: the first one that has a whole engine gives it, the last one keeps."""

    def __init__(self, stores: Sequence[ObjectStore], on_note: OnWarning) -> None:
        """Args:
        stores: where to look, in turn; new engines go into the last one.
        on_note: told what a user should know, as a damaged engine.
        """
        self._stores = stores
        self.note = on_note

    def get(self, key: EngineKey) -> bytes | None:
        """The plan of an engine, whole; None when no store has it."""
        return self._whole(key.name, key._asdict())

    def put(self, key: EngineKey, plan: bytes) -> None:
        """Keep an engine. That it cannot be kept is told, and no reason to stop."""
        self._keep(key.name, key._asdict(), plan)

    def aid(self, key: EngineKey, kind: ArtifactKind, arch: str = "") -> bytes:
        """What makes a build or a start faster; empty when there is none.

        Args:
            arch: the GPU that it is for, if not each of the engine's.
        """
        return self._whole(_artifact_name(key, kind, arch), {"aid": kind}) or b""

    def put_aid(self, key: EngineKey, kind: ArtifactKind, content: bytes, arch: str = "") -> None:
        """Keep it for the next one."""
        if content:
            self._keep(_artifact_name(key, kind, arch), {"aid": kind}, content)

    def _whole(self, name: str, of: dict[str, Any]) -> bytes | None:
        for store in self._stores:
            if store.exists(name):
                content = store.read_bytes(name)
                kept = content.partition(b"\n")[2]
                if content == _header(of, kept) + kept:
                    return kept
                self.note(f"{store.url}/{name}: is damaged, and made anew")
        return None

    def _keep(self, name: str, of: dict[str, Any], content: bytes) -> None:
        try:
            self._stores[-1].write_bytes(name, _header(of, content) + content)
        except StoreError as error:
            self.note(f"a built engine is not kept, the next machine builds it again: {error}")


def _artifact_name(key: EngineKey, kind: ArtifactKind, arch: str) -> str:
    # Timings of one network's layers are of use to all networks.
    of = key._replace(model="", precision="") if kind == "timing" else key
    return of.name.removesuffix("engine") + (f"{arch}.{kind}" if arch else kind)


def _header(of: dict[str, Any], content: bytes) -> bytes:
    told = {**of, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return json.dumps(told, sort_keys=True).encode() + b"\n"
