"""`install`: what is put into the models folder, and what is not."""

import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_server import (
    ModelServer,
    classifier_network,
    detector_entry,
    end2end_network,
    model_server,
    sha256_of,
    sparrow_detector,
    zip_of,
)

from gpu_kernels.models.catalogue.entry import CatalogueEntry
from gpu_kernels.models.labels import load_labels
from gpu_kernels.models.manifest import load_manifest, verify
from odins_ravne_assets.model_library import download
from odins_ravne_assets.model_library.install import install
from resources.errors import ModelError, RavneError, StoreError, UsageError
from resources.storage.layout import MODEL_DOWNLOADS_FOLDER

NETWORK = end2end_network()
PACKAGE = zip_of(sparrow_detector(NETWORK))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setattr(download, "FIRST_PAUSE", 0.01)
    with model_server() as running:
        yield running


def files_of(folder: Path) -> set[str]:
    """Everything in a models folder but locks."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.endswith(".lock")}


def test_the_right_file_becomes_a_model_with_a_manifest(
    server: ModelServer, tmp_path: Path
) -> None:
    url = server.serve("/Zoo.zip", PACKAGE)
    result = install(detector_entry(url, download_sha256=sha256_of(PACKAGE)), tmp_path)
    assert result.folder == tmp_path / "test-detector"
    assert result.notes == []
    manifest = load_manifest("test-detector", str(tmp_path))
    verify(manifest)
    assert manifest.path.read_bytes() == NETWORK
    assert manifest.detector_output.decoding == "end2end"
    assert manifest.licence == "MIT"
    assert files_of(tmp_path) == {
        f"test-detector/{name}" for name in ("test-detector.toml", "model.onnx", "origin.json")
    }
    origin = json.loads((result.folder / "origin.json").read_text())
    assert origin["source"] == url
    assert origin["download_sha256"] == sha256_of(PACKAGE)
    assert "sha256" in origin["checked_by"]


def test_a_bare_network_needs_no_package(server: ModelServer, tmp_path: Path) -> None:
    url = server.serve("/model.onnx", NETWORK)
    entry = detector_entry(
        url, download_sha256=sha256_of(NETWORK), download_member=None, download_package=None
    )
    install(entry, tmp_path)
    assert load_manifest("test-detector", str(tmp_path)).sha256 == sha256_of(NETWORK)


@pytest.mark.parametrize("checksum", [{"download_sha256": "0" * 64}, {"download_md5": "1" * 32}])
def test_a_wrong_checksum_leaves_nothing(
    server: ModelServer, tmp_path: Path, checksum: dict[str, str]
) -> None:
    entry = detector_entry(server.serve("/Zoo.zip", PACKAGE), **checksum)
    with pytest.raises(ModelError) as error:
        install(entry, tmp_path)
    (expected,) = checksum.values()
    assert f"expected {expected}" in str(error.value)
    assert "found " in str(error.value)
    assert files_of(tmp_path) == set()


def test_the_md5_of_a_record_is_compared(server: ModelServer, tmp_path: Path) -> None:
    import hashlib

    md5 = hashlib.md5(PACKAGE, usedforsecurity=False).hexdigest()
    record = {"files": [{"key": "Zoo.zip", "checksum": f"md5:{md5}"}]}
    entry = detector_entry(
        server.serve("/records/1/files/Zoo.zip/content", PACKAGE),
        download_md5_from=server.serve("/records/1", json.dumps(record).encode()),
    )
    result = install(entry, tmp_path)
    assert md5 in json.loads((result.folder / "origin.json").read_text())["checked_by"]


@pytest.mark.parametrize(
    "record",
    [
        b"no json",
        b"[]",
        b'{"files": []}',
        b'{"files": [{"key": "Zoo.zip", "checksum": "md5:' + b"0" * 32 + b'"}]}',
    ],
)
def test_a_record_without_the_right_md5_installs_nothing(
    server: ModelServer, tmp_path: Path, record: bytes
) -> None:
    entry = detector_entry(
        server.serve("/files/Zoo.zip/content", PACKAGE),
        download_md5_from=server.serve("/records/1", record),
    )
    with pytest.raises((ModelError, StoreError)):
        install(entry, tmp_path)
    assert not (tmp_path / "test-detector").exists()


def test_a_record_that_cannot_be_read_is_an_error_before_the_download(
    server: ModelServer, tmp_path: Path
) -> None:
    entry = detector_entry(
        server.serve("/files/Zoo.zip/content", PACKAGE),
        download_md5_from=f"{server.url}/none",
    )
    with pytest.raises(StoreError, match="HTTP 404"):
        install(entry, tmp_path)
    assert [path for path, _ in server.requests] == ["/none"]


def test_without_a_published_checksum_the_first_one_is_recorded_and_reported(
    server: ModelServer, tmp_path: Path
) -> None:
    entry = detector_entry(server.serve("/Zoo.zip", PACKAGE))
    result = install(entry, tmp_path)
    assert any(f"recorded sha256 {sha256_of(PACKAGE)}" in note for note in result.notes)
    assert len(result.notes) == 1
    changed = zip_of({**sparrow_detector(NETWORK), "Zoo/new.txt": b"new"})
    path = tmp_path / "other.zip"
    path.write_bytes(changed)
    again = install(entry, tmp_path, given=str(path))
    assert any("differs from the one installed" in note for note in again.notes)


def test_a_checksum_that_the_package_states_is_compared(
    server: ModelServer, tmp_path: Path
) -> None:
    package = zip_of(sparrow_detector(NETWORK, onnx_sha256=f'"{"2" * 64}"'))
    with pytest.raises(ModelError, match="2222, found "):
        install(detector_entry(server.serve("/Zoo.zip", package)), tmp_path)
    assert files_of(tmp_path) == set()


def test_an_interrupted_download_is_continued(server: ModelServer, tmp_path: Path) -> None:
    url = server.serve("/Zoo.zip", PACKAGE, break_after=[100, 50])
    install(detector_entry(url, download_sha256=sha256_of(PACKAGE)), tmp_path)
    assert server.ranges == [None, "bytes=100-", "bytes=150-"]


def test_a_download_that_failed_is_continued_by_the_next_command(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    url = server.serve("/Zoo.zip", PACKAGE, break_after=[100, 0])
    entry = detector_entry(url, download_sha256=sha256_of(PACKAGE))
    with pytest.raises(StoreError, match="run the same command again to continue"):
        install(entry, tmp_path)
    assert not (tmp_path / "test-detector").exists()
    assert (tmp_path / MODEL_DOWNLOADS_FOLDER / "test-detector.part").stat().st_size == 100
    server.requests.clear()
    install(entry, tmp_path)
    assert server.ranges == ["bytes=100-"]


def test_a_file_from_somebody_needs_no_network(tmp_path: Path) -> None:
    brought = tmp_path / "stick" / "Zoo.zip"
    brought.parent.mkdir()
    brought.write_bytes(PACKAGE)
    entry = detector_entry(
        "https://unreachable.invalid/Zoo.zip",
        download_md5_from="https://unreachable.invalid/record",
    )
    result = install(entry, tmp_path / "models", given=str(brought))
    assert any("which was not asked" in note for note in result.notes)
    assert not any("no checksum" in note for note in result.notes)
    assert sum("recorded sha256" in note for note in result.notes) == 1
    assert brought.read_bytes() == PACKAGE
    verify(load_manifest("test-detector", str(tmp_path / "models")))


def test_a_wrong_file_from_somebody_is_not_deleted(tmp_path: Path) -> None:
    brought = tmp_path / "Zoo.zip"
    brought.write_bytes(PACKAGE + b"x")
    entry = detector_entry("https://unreachable.invalid/Zoo.zip", download_sha256="0" * 64)
    with pytest.raises(ModelError, match="nothing was installed"):
        install(entry, tmp_path / "models", given=str(brought))
    assert brought.exists()
    with pytest.raises(UsageError, match="no such file"):
        install(entry, tmp_path / "models", given=str(tmp_path / "none.zip"))


def test_the_network_alone_may_be_brought(tmp_path: Path) -> None:
    brought = tmp_path / "mine.onnx"
    brought.write_bytes(NETWORK)
    entry = detector_entry("https://unreachable.invalid/Zoo.zip", download_sha256="0" * 64)
    result = install(entry, tmp_path / "models", given=str(brought))
    assert any("no checksum of this file is published" in note for note in result.notes)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Zoo/../../evil": b"x"}, "points outside"),
        ({"/etc/evil": b"x"}, "points outside"),
        ({"C:/evil": b"x"}, "points outside"),
        ({"Zoo/1/model.onnx": b"\0" * 30_000_000}, "at most"),
        ({"Zoo/manifest.toml": b"\0" * 5_000_000}, "at most"),
        ({"Zoo/1/model.onnx": b"<html>no such file</html>"}, "is a web page or XML"),
        ({"Zoo/manifest.toml": b"[model"}, "not valid TOML"),
        ({"Zoo/manifest.toml": b"[model]\n"}, "preprocessing"),
        ({"Zoo/labels.txt": b"animal\n"}, "without a number"),
        ({"Zoo/labels.txt": b"\xff\xfe,0\n"}, "UTF-8"),
    ],
)
def test_a_hostile_archive_is_refused(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    package = sparrow_detector(NETWORK, onnx_sha256='"' + sha256_of(members.get("Zoo/1/model.onnx", NETWORK)) + '"')  # noqa: E501  # fmt: skip
    path = tmp_path / "Zoo.zip"
    path.write_bytes(zip_of({**package, **members}))
    with pytest.raises(ModelError, match=message):
        install(detector_entry("https://x.invalid/Zoo.zip"), tmp_path / "models", str(path))
    assert files_of(tmp_path / "models") == set()
    assert not list(tmp_path.glob("**/evil"))


def _changed(archive: bytes, old: bytes, new: bytes) -> bytes:
    assert old in archive
    return archive.replace(old, new)


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(
            _changed(
                zip_of({"Z\u00e9": b"x", **sparrow_detector(NETWORK)}), b"\xc3\xa9", b"\xff\xfe"
            ),
            id="a name that is not UTF-8",
        ),
        pytest.param(PACKAGE[:-50], id="cut off"),
        pytest.param(
            PACKAGE[: PACKAGE.find(b"PK\x01\x02") + 42]
            + b"\xff\xff\xff\x7f"
            + PACKAGE[PACKAGE.find(b"PK\x01\x02") + 46 :],
            id="an offset behind the end",
        ),
        pytest.param(
            _changed(zip_of(sparrow_detector(NETWORK)), b"\x08\x00", b"\x0e\x00"), id="not LZMA"
        ),
        pytest.param(
            _changed(zip_of(sparrow_detector(NETWORK)), b"\x08\x00", b"\x0c\x00"), id="not BZ2"
        ),
    ],
)
def test_a_damaged_archive_is_an_error_and_its_download_is_deleted(
    server: ModelServer, tmp_path: Path, archive: bytes
) -> None:
    with pytest.raises(ModelError, match=r"is damaged|is not a zip archive|more than one|has no"):
        install(detector_entry(server.serve("/Zoo.zip", archive)), tmp_path)
    assert files_of(tmp_path) == set()


def test_two_members_of_one_name_are_refused(server: ModelServer, tmp_path: Path) -> None:
    import io
    import zipfile

    buffer = io.BytesIO(PACKAGE)
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("Zoo/1/model.onnx", NETWORK)
    with pytest.raises(ModelError, match=r"more than one file Zoo/1/model\.onnx"):
        install(detector_entry(server.serve("/Zoo.zip", buffer.getvalue())), tmp_path)
    assert files_of(tmp_path) == set()


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_is_no_model_is_not_replaced(server: ModelServer, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "test-detector"
    if kind == "file":
        place.write_text("mine")
    elif kind == "link":
        place.symlink_to(tmp_path / "none")
    else:
        place.mkdir()
        (place / "notes.txt").write_text("mine")
    before = {path.name for path in tmp_path.rglob("*")}
    with pytest.raises(StoreError, match="is not replaced; move it away"):
        install(detector_entry(server.serve("/Zoo.zip", PACKAGE)), tmp_path)
    assert before <= {path.name for path in tmp_path.rglob("*")}
    assert server.requests == []


def test_an_empty_folder_is_replaced(server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "test-detector").mkdir()
    install(detector_entry(server.serve("/Zoo.zip", PACKAGE)), tmp_path)
    verify(load_manifest("test-detector", str(tmp_path)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (".", "is a folder"),
        ("pipe", "is a named pipe"),
        ("none", "no such file"),
        ("~nouser/x.zip", "not the home of a user"),
        ("a\0b", "null character"),
        ("http://[::1/x", "is not an address"),
        ("s3://bucket/x.zip", "https:// addresses only"),
    ],
)
def test_what_cannot_be_given_is_named(tmp_path: Path, given: str, message: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    local = given in {".", "pipe", "none"}
    with pytest.raises(UsageError, match=message):
        install(
            detector_entry("https://x.invalid/Zoo.zip"),
            tmp_path / "models",
            str(tmp_path / given) if local else given,
        )


@pytest.mark.parametrize("name", ["megadetector-lite", "lite-ensemble"])
def test_the_name_of_a_shipped_model_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is shipped"):
        install(detector_entry("https://x.invalid/Zoo.zip", name=name), tmp_path)


def test_a_missing_member_is_named_with_what_is_there(tmp_path: Path) -> None:
    members = sparrow_detector(NETWORK)
    members["Zoo/2/network.onnx"] = members.pop("Zoo/1/model.onnx")
    path = tmp_path / "Zoo.zip"
    path.write_bytes(zip_of(members))
    with pytest.raises(ModelError, match=r"has no Zoo/1/model.onnx; it has Zoo/2/network.onnx"):
        install(detector_entry("https://x.invalid/Zoo.zip"), tmp_path / "models", str(path))


def test_a_download_larger_than_its_entry_says_is_refused(
    server: ModelServer, tmp_path: Path
) -> None:
    entry = detector_entry(server.serve("/Zoo.zip", PACKAGE), download_max_mb=0.0001)
    with pytest.raises(StoreError, match="more than the 0 MB of its catalogue entry"):
        install(entry, tmp_path)


def test_a_models_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    brought = tmp_path / "Zoo.zip"
    brought.write_bytes(PACKAGE)
    with pytest.raises(StoreError, match="cannot be written: Not a directory"):
        install(detector_entry("https://x.invalid/a"), tmp_path / "file" / "models", str(brought))


def test_a_full_disk_keeps_the_partial_download(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)
    with pytest.raises(StoreError, match="no space left"):
        install(detector_entry(server.serve("/Zoo.zip", PACKAGE)), tmp_path)
    assert (tmp_path / MODEL_DOWNLOADS_FOLDER / "test-detector.part").exists()
    assert not (tmp_path / "test-detector").exists()


def test_a_second_installation_finds_the_first(server: ModelServer, tmp_path: Path) -> None:
    entry = detector_entry(server.serve("/Zoo.zip", PACKAGE))
    install(entry, tmp_path)
    server.requests.clear()
    assert install(entry, tmp_path).unchanged
    assert server.requests == []
    network = tmp_path / "test-detector" / "model.onnx"
    network.write_bytes(b"damaged")
    assert not install(entry, tmp_path).unchanged
    assert network.read_bytes() == NETWORK


def _install_in_process(entry: CatalogueEntry, folder: Path, results: "multiprocessing.Queue[str]") -> None:  # noqa: E501  # fmt: skip
    try:
        results.put("present" if install(entry, folder).unchanged else "installed")
    except RavneError as error:
        results.put(str(error))


def test_two_installations_at_the_same_time_download_once(
    server: ModelServer, tmp_path: Path
) -> None:
    entry = detector_entry(server.serve("/Zoo.zip", PACKAGE))
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[str] = context.Queue()
    processes = [
        context.Process(target=_install_in_process, args=(entry, tmp_path, results))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    assert sorted(results.get(timeout=60) for _ in processes) == ["installed", "present"]
    for process in processes:
        process.join()
    assert len(server.requests) == 1


def test_what_the_package_says_has_precedence_and_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "Zoo.zip"
    path.write_bytes(zip_of(sparrow_detector(NETWORK, confidence_threshold="0.35")))
    result = install(detector_entry("https://x.invalid/Zoo.zip"), tmp_path, str(path))
    assert any("output.threshold is 0.35 by the package, 0.2" in note for note in result.notes)
    assert load_manifest("test-detector", str(tmp_path)).detector_output.threshold == 0.35


def classifier_entry(labels: dict[str, str]) -> CatalogueEntry:
    return detector_entry(
        "https://x.invalid/Zoo.zip",
        name="test-classifier",
        task="classifier",
        labels=labels,
        manifest={"crop": {"shape": "square", "margin": 0.0}},
    )


def test_a_classifier_is_described_by_its_package(tmp_path: Path) -> None:
    members = sparrow_detector(
        classifier_network(4), method='"resize"', post='"softmax"', normalization='"imagenet"'
    )
    members["Zoo/labels.txt"] = b"red fox,0\nblank,1\nMeles meles,2\nstrange, beast,3\n"
    path = tmp_path / "Zoo.zip"
    path.write_bytes(zip_of(members))
    entry = classifier_entry({"member": "Zoo/labels.txt"})
    result = install(entry, tmp_path, str(path))
    manifest = load_manifest("test-classifier", str(tmp_path))
    assert manifest.input.multiply == pytest.approx((1 / 255 / 0.229, 1 / 255 / 0.224, 1 / 255 / 0.225))  # noqa: E501  # fmt: skip
    assert manifest.input.add[0] == pytest.approx(-0.485 / 0.229)
    labels = load_labels(manifest)
    assert [each[:3] for each in labels] == [
        ("red fox", "Vulpes vulpes", True),
        ("blank", None, False),
        ("Meles meles", "Meles meles", True),
        ("strange, beast", None, True),
    ]  # fmt: skip
    assert any("1 of 4 labels have no known scientific name" in note for note in result.notes)


def test_labels_of_speciesnet_keep_their_ranks(tmp_path: Path) -> None:
    members = sparrow_detector(classifier_network(2), method='"resize"', post='"softmax"')
    fox = "u1;mammalia;carnivora;canidae;vulpes;vulpes;red fox"
    blank = "f1856211-cfb7-4a5b-9158-c0f72fd09ee6;;;;;;blank"
    members["Zoo/labels.txt"] = f"{fox},0\n{blank},1\n".encode()
    path = tmp_path / "Zoo.zip"
    path.write_bytes(zip_of(members))
    install(classifier_entry({"member": "Zoo/labels.txt"}), tmp_path, str(path))
    labels = load_labels(load_manifest("test-classifier", str(tmp_path)))
    assert labels[0].ranks is not None
    assert labels[0].ranks.family == "Canidae"


def test_a_network_without_its_package_needs_a_layout_and_labels_of_the_catalogue(
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(classifier_network(4))
    entry = classifier_entry({"member": "Zoo/labels.txt"})
    with pytest.raises(ModelError, match=r"pass the archive Zoo.zip"):
        install(entry, tmp_path, str(path))


@pytest.mark.parametrize("key", ["method", "post"])
def test_a_package_of_another_kind_says_what_is_supported(tmp_path: Path, key: str) -> None:
    path = tmp_path / "Zoo.zip"
    path.write_bytes(zip_of(sparrow_detector(NETWORK, **{key: '"tiled"'})))
    with pytest.raises(ModelError, match="tiled, which is not supported; supported are"):
        install(detector_entry("https://x.invalid/Zoo.zip"), tmp_path, str(path))
