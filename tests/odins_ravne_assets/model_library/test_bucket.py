"""Models in a bucket: copied there by `models add --to`, copied from there by jobs."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from model_files import copy_model
from model_server import detector_entry, end2end_network, sparrow_detector, zip_of
from s3_rig import s3, s3_server
from s3_store_rig import make_store

from gpu_kernels.models.manifest import load_manifest, verify
from gpu_kernels.models.models_folder import local_models_folder
from odins_ravne_assets.model_library.bucket import fetch_models, named_models, upload_model
from odins_ravne_assets.model_library.install import install
from odins_ravne_assets.model_library.own_model import install_own
from odins_ravne_assets.model_library.reachable import require_reachable_models
from resources.errors import ModelError, StoreError, UsageError
from resources.settings.profile import Aws, Cloud, Models, Profile
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore
from resources.storage.s3.store import S3Store

__all__ = ["make_store", "s3", "s3_server"]
MakeStore = Callable[[], S3Store]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A model of the catalogue in a models folder."""
    path = tmp_path / "Zoo.zip"
    path.write_bytes(zip_of(sparrow_detector(end2end_network())))
    entry = detector_entry("https://x.invalid/Zoo.zip")
    return install(entry, tmp_path / "models", str(path)).folder


def fetch(store: ObjectStore, models: Models) -> list[str]:
    """Fetch the models of a profile, and return the log."""
    log: list[str] = []

    def open_store(url: str) -> ObjectStore:
        assert url == models.folder
        return store

    fetch_models(models, open_store, log.append)
    return log


def models_of(store: ObjectStore, **names: str) -> Models:
    return Models.model_validate({"folder": "s3://bucket/models", **names})


def test_a_job_gets_the_model_by_its_name_once(installed: Path, make_store: MakeStore) -> None:
    store = make_store()
    assert upload_model(installed, store)
    assert not upload_model(installed, store)
    models = models_of(store, detector="test-detector")
    assert fetch(store, models) == [f"model test-detector copied from {store.url}"]
    manifest = load_manifest("test-detector", models.folder)
    verify(manifest)
    assert manifest.path.parent == local_models_folder(models.folder) / "test-detector"
    assert fetch(store, models) == []


def test_another_model_under_the_name_replaces_the_copy(
    installed: Path, make_store: MakeStore
) -> None:
    store = make_store()
    upload_model(installed, store)
    models = models_of(store, detector="test-detector")
    fetch(store, models)
    path = installed / "test-detector.toml"
    path.write_text(path.read_text().replace("threshold = 0.2", "threshold = 0.4"))
    assert upload_model(installed, store)
    assert len(fetch(store, models)) == 1
    assert load_manifest("test-detector", models.folder).detector_output.threshold == 0.4


def test_a_damaged_copy_is_fetched_again(installed: Path, make_store: MakeStore) -> None:
    store = make_store()
    upload_model(installed, store)
    models = models_of(store, detector="test-detector")
    fetch(store, models)
    network = load_manifest("test-detector", models.folder).path
    network.write_bytes(b"damaged")
    assert len(fetch(store, models)) == 1
    verify(load_manifest("test-detector", models.folder))


def test_a_model_that_is_not_there_says_how_to_put_it_there(make_store: MakeStore) -> None:
    store = make_store()
    with pytest.raises(ModelError, match="munin models add none --to s3://"):
        fetch(store, models_of(store, classifier="none"))


def test_a_damaged_network_in_the_bucket_is_refused(installed: Path, make_store: MakeStore) -> None:
    store = make_store()
    upload_model(installed, store)
    store.write_bytes("test-detector/model.onnx", b"other")
    models = models_of(store, detector="test-detector")
    with pytest.raises(ModelError, match="does not match the manifest"):
        fetch(store, models)
    with pytest.raises(ModelError, match="unknown"):
        load_manifest("test-detector", models.folder)


@pytest.mark.parametrize("file", ["../../evil.onnx", "/etc/passwd", "sub/model.onnx"])
def test_a_manifest_in_the_bucket_cannot_name_files_elsewhere(
    installed: Path, make_store: MakeStore, file: str
) -> None:
    store = make_store()
    upload_model(installed, store)
    text = store.read_bytes("test-detector/test-detector.toml").decode()
    text = text.replace('file = "model.onnx"', f'file = "{file}"')
    store.write_bytes("test-detector/test-detector.toml", text.encode())
    with pytest.raises(ModelError, match="must be in the folder"):
        fetch(store, models_of(store, detector="test-detector"))


def test_a_models_folder_on_this_machine_is_not_copied(installed: Path) -> None:
    models = Models(folder=str(installed.parent), detector="test-detector")
    assert fetch(LocalStore(installed.parent), models) == []
    fetch_models(Models(), lambda _: pytest.fail("no store is needed"), print)


def test_an_incomplete_upload_is_completed(installed: Path, make_store: MakeStore) -> None:
    store = make_store()
    upload_model(installed, store)
    store.delete("test-detector/model.onnx")
    assert upload_model(installed, store)
    assert store.exists("test-detector/model.onnx")


def test_a_damaged_model_is_not_uploaded(installed: Path, make_store: MakeStore) -> None:
    (installed / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="does not match"):
        upload_model(installed, make_store())


def test_shipped_models_paths_and_predictions_are_not_looked_for() -> None:
    names = ["megadetector-lite", "auto", None, "/a/b.toml", "x.toml", "speciesnet.json", "mine"]
    assert named_models(names) == ["mine"]


def test_own_models_and_ensembles_can_be_copied_with_their_parts(
    tmp_path: Path, make_store: MakeStore
) -> None:
    own = copy_model(tmp_path / "own", change=('name = "megadetector-lite"', 'name = "mine"'))
    ensemble = tmp_path / "both.toml"
    ensemble.write_text(
        """
        name = "both"
        task = "ensemble"
        description = "Two detectors."
        overlap = 0.5
        [[parts]]
        detector = "mine"
        [[parts]]
        detector = "ssd-mobilenet-v2-cam16"
        """
    )
    store, folder = make_store(), tmp_path / "models"
    for path in (own, ensemble):
        upload_model(install_own(str(path), folder), store)
    models = models_of(store, detector="both")
    assert len(fetch(store, models)) == 2
    verify(load_manifest("mine", models.folder))


def test_an_own_model_needs_a_free_name_and_its_files_beside_it(tmp_path: Path) -> None:
    path = copy_model(tmp_path / "own")
    with pytest.raises(UsageError, match="is that of another model"):
        install_own(str(path), tmp_path / "models")
    path = copy_model(tmp_path / "bad", change=('"megadetector-lite"', '"Mine Own"'))
    with pytest.raises(UsageError, match="lower-case letters"):
        install_own(str(path), tmp_path / "models")
    path = copy_model(tmp_path / "far", change=('"megadetector-lite"', '"mine"'))
    text = path.read_text().replace('file = "mega', 'file = "sub/mega')
    (path.parent / "sub").mkdir()
    shutil.move(path.parent / "megadetector_lite_yolox_tiny_640.onnx", path.parent / "sub")
    path.write_text(text)
    with pytest.raises(ModelError, match="must be in the folder of the manifest"):
        install_own(str(path), tmp_path / "models")


def test_a_launch_on_aws_refuses_models_of_this_machine(installed: Path, tmp_path: Path) -> None:
    folder = str(installed.parent)

    def check(cloud: Cloud | None, **models: str) -> None:
        require_reachable_models(Profile(cloud=cloud, models=Models.model_validate(models)))

    path = str(installed / "test-detector.toml")
    with pytest.raises(UsageError, match=r"models.detector .*file of this machine.*--to s3://"):
        check(Cloud(), detector=path)
    with pytest.raises(UsageError, match=r"installed on this machine only.*models.folder"):
        check(Cloud(), detector="test-detector", folder=folder)
    check(Cloud(), detector="test-detector", folder="s3://bucket/models")
    check(Cloud(), detector="megadetector-lite")
    check(None, detector=path)
    check(Cloud(aws=Aws(endpoint_url="http://127.0.0.1:5000")), detector=path)


def test_a_cache_that_cannot_be_written_is_named(
    installed: Path, make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store()
    upload_model(installed, store)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="cannot be written"):
        fetch(store, models_of(store, detector="test-detector"))
