"""`munin models catalogue`, `add`, `use`, `list`: what a user types and reads."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from model_files import copy_model
from model_server import (
    ModelServer,
    end2end_network,
    model_server,
    sha256_of,
    sparrow_detector,
    zip_of,
)
from typer.testing import CliRunner

from gpu_kernels.models.manifest import load_manifest, verify
from odins_ravne_assets.cli.main import app
from odins_ravne_assets.model_library import download
from resources.errors import RavneError

PACKAGE = zip_of(sparrow_detector(end2end_network()))
ENTRY = """
name = "own-detector"
task = "detector"
finds = "animals"
region = "world"
licence = "LICENCE"
input = "64 x 64"
speed = "fast"
description = "A detector of an institute."
limitations = "None."
home = "https://example.org/x"

[download]
url = "URL"
sha256 = "SHA"
max_mb = 8
member = "Zoo/1/model.onnx"
package = "sparrow"

[manifest]

[[facts]]
what = "all"
source = "https://example.org/x"
date = 2026-11-28
"""

ENSEMBLE = """
name = "both"
task = "ensemble"
description = "Two detectors."
overlap = 0.5
"""

Run = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder of the user."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data" / "odins-ravne" / "models"


@pytest.fixture
def munin(data: Path) -> Run:
    """Run a command; return its output, or the code and the message of its error."""

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, list(words))
        error = result.exception
        if isinstance(error, RavneError):
            return f"[{error.exit_code}] {error}"
        if result.exit_code and error is not None:
            raise error
        return result.output

    return run


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


def write_entry(server: ModelServer, licence: str = "MIT", sha256: str = "") -> str:
    url = server.serve("/Zoo.zip", PACKAGE, break_after=[500])
    text = ENTRY.replace("LICENCE", licence).replace("URL", url)
    Path("entry.toml").write_text(text.replace("SHA", sha256 or sha256_of(PACKAGE)))
    return "entry.toml"


def test_the_catalogue_names_task_region_licence_size_input_and_speed(munin: Run) -> None:
    listed = munin("models", "catalogue")
    assert "megadetector-v6-mit-yolov9-c" in listed
    assert "    world; MIT; 640 x 640; fast\n" in listed
    assert "    Europe; CC-BY-SA-4.0; 1200 MB; 182 x 182; very slow\n" in listed
    headings = [line for line in listed.splitlines() if "(models." in line]
    assert headings == [
        "Detectors (models.detector)",
        "Classifiers (models.classifier) for the world",
        "Classifiers (models.classifier) for a region",
    ]
    assert "  size: not published" in munin("models", "catalogue", "iran")


def test_the_catalogue_of_a_country(munin: Run) -> None:
    listed = munin("models", "catalogue", "--country", "SE")
    assert "deepfaune-europe" in listed
    assert "awc135" not in listed
    assert munin("models", "catalogue", "--country", "Sweden").startswith("[2] --country Sweden")
    assert munin("models", "catalogue", "--country", "QQ").startswith("[2] --country QQ")


def test_the_catalogue_of_a_continent_and_of_a_place_that_is_none(munin: Run) -> None:
    assert "\nnamibian: " in munin("models", "catalogue", "--region", "africa")
    unknown = munin("models", "catalogue", "--region", "Atlantis")
    assert unknown.startswith("[2] --region Atlantis: not known; use one of Africa, Asia, ")
    without = munin("models", "catalogue", "--region", "Polynesia").splitlines()
    assert without[-1] == "No model for Polynesia in particular; these are for the world."


def test_the_catalogue_says_all_about_one(munin: Run) -> None:
    shown = munin("models", "catalogue", "deepfaune-europe")
    assert "limitations: Birds are one class" in shown
    assert "share adaptations under the same licence" in shown
    assert "2026-08-20" in shown
    assert "munin models add deepfaune-europe --accept CC-BY-SA-4.0" in shown


def test_add_says_what_uses_it_and_use_writes_it(
    munin: Run, data: Path, server: ModelServer
) -> None:
    added = munin("models", "add", write_entry(server))
    assert "licence MIT: any use" in added
    assert f"installed: {data / 'own-detector'}" in added
    assert "models:\n    detector: own-detector" in added
    assert server.ranges == [None, "bytes=500-"]
    verify(load_manifest("own-detector"))
    munin("models", "use", "own-detector", "--profile", "mine.yaml")
    assert yaml.safe_load(Path("mine.yaml").read_text()) == {"models": {"detector": "own-detector"}}
    listed = munin("--profile", "mine.yaml", "models", "list")
    assert "own-detector: detector; installed; MIT; used by profile mine.yaml: models.detector" in (
        listed
    )
    again = munin("--profile", "mine.yaml", "models", "add", "entry.toml")
    assert "own-detector is installed already" in again
    assert "Profile mine.yaml uses it: models.detector: own-detector" in again


def test_an_ensemble_is_listed_used_as_the_detector_and_verified_by_its_models(munin: Run) -> None:
    munin("models", "use", "lite-ensemble", "--profile", "mine.yaml")
    assert yaml.safe_load(Path("mine.yaml").read_text()) == {
        "models": {"detector": "lite-ensemble"}
    }
    listed = munin("--profile", "mine.yaml", "models", "list")
    assert "lite-ensemble: ensemble; shipped; " in listed
    verified = munin("models", "verify", "lite-ensemble").splitlines()
    names = [line.partition(":")[0] for line in verified]
    assert names == ["megadetector-lite", "ssd-mobilenet-v2-cam16"]


def test_a_licence_that_binds_must_be_accepted_by_its_name(
    munin: Run, data: Path, server: ModelServer
) -> None:
    entry = write_entry(server, "AGPL-3.0")
    refused = munin("models", "add", entry)
    assert refused.startswith("[2] ")
    assert "whole work's source under the AGPL" in refused
    assert "munin models add entry.toml --accept AGPL-3.0" in refused
    other = munin("models", "add", entry, "--accept", "MIT")
    assert other.startswith("[2] --accept MIT: the licence of own-detector is AGPL-3.0")
    assert not data.exists()
    assert server.requests == []
    assert "installed:" in munin("models", "add", entry, "--accept", "AGPL-3.0")


def test_a_wrong_checksum_is_an_error_of_one_line(
    munin: Run, data: Path, server: ModelServer
) -> None:
    refused = munin("models", "add", write_entry(server, sha256="0" * 64))
    assert refused.startswith("[1] Zoo.zip: is not the published file: sha256 expected 0000")
    assert f"found {sha256_of(PACKAGE)}" in refused
    assert "\n" not in refused
    assert not (data / "own-detector").exists()


def test_a_file_for_an_entry_of_the_catalogue_is_compared_with_its_checksum(
    munin: Run, tmp_path: Path
) -> None:
    brought = tmp_path / "brought.zip"
    brought.write_bytes(PACKAGE)
    name = "megadetector-v6-mit-yolov9-c"
    assert "expected da4aa4505f83" in munin("models", "add", name, "--from", str(brought))
    without = munin("models", "add", "megadetector-v6-mit-yolov9-e", "--from", str(brought))
    assert "has no MDV6-mit-yolov9-e/" in without


def test_add_to_a_folder_copies_the_model(munin: Run, tmp_path: Path, server: ModelServer) -> None:
    target = tmp_path / "shared" / "models"
    added = munin("models", "add", write_entry(server), "--to", str(target))
    assert f"copied to {target}" in added
    assert f"models.folder: {target}" in added
    verify(load_manifest("own-detector", str(target)))
    assert f"is in {target}" in munin("models", "add", "entry.toml", "--to", str(target))


def test_a_bucket_needs_a_cloud_profile(munin: Run, server: ModelServer) -> None:
    refused = munin("models", "add", write_entry(server), "--to", "s3://bucket/models")
    assert refused.startswith("[2] s3://bucket/models: is on S3")
    assert server.requests == []


def test_an_own_manifest_is_added_by_its_path(munin: Run, data: Path, tmp_path: Path) -> None:
    own = copy_model(tmp_path / "own", change=('name = "megadetector-lite"', 'name = "mine"'))
    assert f"installed: {data / 'mine'}" in munin("models", "add", str(own))
    assert munin("models", "add", str(own), "--accept", "MIT").startswith("[2] ")


def test_models_folder_of_the_profile_is_used(
    munin: Run, tmp_path: Path, server: ModelServer
) -> None:
    Path("mine.yaml").write_text(f"models:\n  folder: {tmp_path / 'here'}\n")
    munin("--profile", "mine.yaml", "models", "add", write_entry(server))
    assert (tmp_path / "here" / "own-detector" / "own-detector.toml").exists()
    munin("--profile", "mine.yaml", "models", "use", "own-detector")
    assert "  detector: own-detector\n" in Path("mine.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["models", "add", "none"], "[2] model none: not in the catalogue"),
        (["models", "add", "none.toml"], "[2] none.toml: no such file; name a model"),
        (["models", "catalogue", "none"], "[2] model none: not in the catalogue"),
        (["models", "use", "megadetector-lite"], "[2] profile local: is not a YAML file of yours"),
        (["models", "use", "none", "--profile", "a.yaml"], "[1] model none: unknown"),
        (
            ["models", "use", "speciesnet-crop", "--profile", "a.yaml"],
            "[1] model speciesnet-crop: is not installed; install it: munin models add species",
        ),
        (["models", "remove", "megadetector-lite"], "[2] model megadetector-lite: is shipped"),
        (["models", "remove", "lite-ensemble"], "[2] model lite-ensemble: is shipped"),
        (["models", "remove", "none"], "[2] model none: is not installed in "),
        (["models", "remove", "../x"], "[2] model ../x: is not installed in "),
        (["models", "remove", "."], "[2] model .: is not installed in "),
    ],
)
def test_what_is_not_there_is_said(munin: Run, words: list[str], message: str) -> None:
    assert munin(*words).startswith(message)
    assert not Path("a.yaml").exists()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("megadetector-lite", "detector"),
        ("lite-ensemble", "detector"),
        ("ssd-mobilenet-v2-cam16", "category_detector"),
        ("efficientnet-lite3", "classifier"),
    ],
)
def test_a_model_goes_to_the_key_of_its_task(munin: Run, name: str, key: str) -> None:
    munin("models", "use", name, "--profile", "mine.yaml")
    assert yaml.safe_load(Path("mine.yaml").read_text()) == {"models": {key: name}}


def test_a_model_that_cannot_be_verified_is_not_installed_and_its_download_stays(
    munin: Run, data: Path, server: ModelServer
) -> None:
    package = zip_of(sparrow_detector(end2end_network()[:-40]))
    text = ENTRY.replace("LICENCE", "MIT").replace("URL", server.serve("/Zoo.zip", package))
    Path("entry.toml").write_text(text.replace("SHA", sha256_of(package)))
    refused = munin("models", "add", "entry.toml")
    assert refused.startswith("[1] model model.onnx: is incomplete or not an ONNX file")
    assert refused.endswith("; nothing was installed")
    assert not (data / "own-detector").exists()
    assert "own-detector" not in munin("models", "list")
    left = [each.name for each in (data / ".downloads").iterdir() if each.suffix != ".lock"]
    assert sorted(left) == ["own-detector.part", "own-detector.part.json"]
    removed = munin("models", "remove", "own-detector")
    assert removed == f"removed: {data / '.downloads' / 'own-detector.part'}\n"
    assert [each.suffix for each in (data / ".downloads").iterdir()] == [".lock"]


def test_an_own_model_that_cannot_be_verified_is_not_installed(
    munin: Run, data: Path, tmp_path: Path
) -> None:
    own = copy_model(tmp_path / "own", change=('name = "megadetector-lite"', 'name = "mine"'))
    own.write_text(own.read_text().replace("yolo-objectness", "yolo-anchor-free"))
    refused = munin("models", "add", str(own))
    assert refused.startswith("[1] model mine: ")
    assert refused.endswith("nothing was installed")
    assert not (data / "mine").exists()
    ensemble = tmp_path / "both.toml"
    part = '[[parts]]\ndetector = "megadetector-v5a"\n'
    ensemble.write_text(ENSEMBLE + part)
    assert "munin models add megadetector-v5a --accept AGPL-3.0" in munin(
        "models", "add", str(ensemble)
    )
    assert not (data / "both").exists()


def test_remove_says_who_names_the_model(munin: Run, data: Path, server: ModelServer) -> None:
    munin("models", "add", write_entry(server))
    munin("models", "use", "own-detector", "--profile", "mine.yaml")
    ensemble = '[[parts]]\ndetector = "own-detector"\n[[parts]]\ndetector = "megadetector-lite"\n'
    Path("both.toml").write_text(ENSEMBLE + ensemble)
    assert "installed:" in munin("models", "add", "./both.toml")
    removed = munin("--profile", "mine.yaml", "models", "remove", "own-detector")
    assert removed.startswith(f"removed: {data / 'own-detector'}\n")
    assert "profile mine.yaml names it: models.detector: own-detector" in removed
    assert "the installed ensemble both has it as a part" in removed
    assert sorted(each.name for each in data.iterdir()) == [".downloads", "both"]
    listed = munin("--profile", "mine.yaml", "models", "list")
    assert "own-detector: cannot be used" in listed
    assert f"removed: {data / 'both'}" in munin("models", "remove", "both")


def test_a_licence_may_be_accepted_in_small_letters(munin: Run, server: ModelServer) -> None:
    entry = write_entry(server, "AGPL-3.0")
    assert "installed:" in munin("models", "add", entry, "--accept", "agpl-3.0")


def test_without_a_network_the_file_to_bring_is_named(
    munin: Run, monkeypatch: pytest.MonkeyPatch, server: ModelServer
) -> None:
    monkeypatch.setattr(download, "FIRST_PAUSE", 0.01)
    with model_server() as gone:
        url = gone.serve("/Zoo.zip", PACKAGE)
    text = ENTRY.replace("LICENCE", "MIT").replace("URL", url)
    Path("entry.toml").write_text(text.replace("SHA", sha256_of(PACKAGE)))
    assert munin("models", "add", "entry.toml") == (
        f"[1] 127.0.0.1 cannot be reached; download {url} elsewhere and pass --from Zoo.zip"
    )
    by_record = text.replace('sha256 = "SHA"', f'md5_from = "{gone.url}/record"')
    Path("entry.toml").write_text(by_record)
    assert munin("models", "add", "entry.toml") == (
        f"[1] 127.0.0.1 cannot be reached; download {url} elsewhere and pass --from Zoo.zip"
    )


def test_a_described_model_is_listed_without_unknown(munin: Run, tmp_path: Path) -> None:
    network = tmp_path / "my_net.onnx"
    network.write_bytes(load_manifest("megadetector-lite").path.read_bytes())
    refused = munin("models", "add", str(network))
    assert refused.startswith(f"[2] {network}: is no manifest; if it is an ONNX file, write one: ")
    assert refused.endswith(f"munin models describe {network} --write {tmp_path}/my_net.toml")
    munin("models", "describe", str(network), "--write", f"{tmp_path}/my_net.toml")
    munin("models", "add", f"{tmp_path}/my_net.toml")
    listed = munin("models", "list").splitlines()
    line = listed.index("my-net: detector; installed; licence not stated")
    assert listed[line + 1].startswith("    No description in ")


def test_ctrl_c_says_how_to_continue(data: Path) -> None:
    """A server that accepts the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/Zoo.zip"
        text = ENTRY.replace("LICENCE", "MIT").replace("URL", url)
        Path("entry.toml").write_text(text.replace("SHA", "0" * 64))
        munin = subprocess.Popen(
            [Path(sys.executable).parent / "munin", "models", "add", "entry.toml"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert munin.stderr is not None
        assert munin.stderr.readline() == f"downloading own-detector from {url}\n"
        with silent.accept()[0] as connection:
            connection.recv(1)
            munin.send_signal(signal.SIGINT)
            assert munin.communicate()[1] == "stopped; run the same command again to continue\n"
        assert munin.returncode == 130
