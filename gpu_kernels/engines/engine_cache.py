"""The cache of built engines, in object stores, so that no machine builds an engine twice.

An object is a header, a line of JSON (the engine's key, its length, its SHA-256), and the content.
Next to an engine the cache stores artifacts that make builds and starts faster: the timing cache
of TensorRT's builds, the kernels that TensorRT-RTX compiled, the outcome of the engine's check
(`EngineRecord`), and the reason why it could not be built.

An engine is executable code: write access to the store allows code execution on the GPU's machine.
Restrict it to the pipeline.
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

# timing: measured by TensorRT's builds. kernels: compiled by TensorRT-RTX at run time. check and
# refusal: see EngineRecord.
ArtifactKind = Literal["timing", "kernels", "check", "refusal"]

# Engines built ahead of time and shipped in the package; the worker's image has some.
SHIPPED_ENGINES = Path(__file__).parent / "built"


def engine_stores(store: ObjectStore) -> list[ObjectStore]:
    """Return the stores of an EngineCache: the package's, then the one for new engines."""
    return [LocalStore(SHIPPED_ENGINES), store]


class EngineCache:
    """Engines in stores: reads from the first store that has an intact one, writes to the last."""

    def __init__(self, stores: Sequence[ObjectStore], on_warning: Callable[[str], None]) -> None:
        """Args:
        stores: in order of lookup; new engines are written to the last one.
        on_warning: called with a message for the user, such as a damaged engine.
        """
        self._stores = stores
        self.warn = on_warning

    def get(self, key: EngineKey) -> bytes | None:
        """Return an engine; None if no store has an intact one."""
        return self._read(key.name, key._asdict())

    def put(self, key: EngineKey, plan: bytes) -> None:
        """Store an engine. If that fails, warn and continue."""
        self._write(key.name, key._asdict(), plan)

    def get_artifact(self, key: EngineKey, kind: ArtifactKind, arch: str = "") -> bytes:
        """Return an artifact; empty if there is none.

        Args:
            arch: the GPU that it is for; empty for all GPUs of the engine.
        """
        return self._read(_artifact_name(key, kind, arch), {"aid": kind}) or b""

    def put_artifact(
        self, key: EngineKey, kind: ArtifactKind, content: bytes, arch: str = ""
    ) -> None:
        """Store an artifact, unless it is empty."""
        if content:
            self._write(_artifact_name(key, kind, arch), {"aid": kind}, content)

    def artifact_url(self, key: EngineKey, kind: ArtifactKind, arch: str = "") -> str:
        """Return the URL to which an artifact is written, for messages."""
        return f"{self._stores[-1].url.rstrip('/')}/{_artifact_name(key, kind, arch)}"

    def _read(self, name: str, key: dict[str, Any]) -> bytes | None:
        for store in self._stores:
            if store.exists(name):
                stored = store.read_bytes(name)
                content = stored.partition(b"\n")[2]
                if stored == _header(key, content) + content:
                    return content
                self.warn(f"{store.url}/{name}: is damaged, building it again")
        return None

    def _write(self, name: str, key: dict[str, Any], content: bytes) -> None:
        try:
            self._stores[-1].write_bytes(name, _header(key, content) + content)
        except StoreError as error:
            self.warn(f"cannot cache a built engine, the next machine builds it again: {error}")


def _artifact_name(key: EngineKey, kind: ArtifactKind, arch: str) -> str:
    # Timings of a layer are valid for all networks.
    owner = key._replace(model="", precision="", graph="") if kind == "timing" else key
    return owner.name.removesuffix("engine") + (f"{arch}.{kind}" if arch else kind)


def _header(key: dict[str, Any], content: bytes) -> bytes:
    fields = {**key, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return json.dumps(fields, sort_keys=True).encode() + b"\n"
