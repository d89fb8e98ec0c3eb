"""The Dagster UI: the pages of cameras, and the actions on them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Munin, make_demo_footage
from dagster_ui import LOCATION, DagsterUI, wait_for
from media_files import write_picture
from selenium.webdriver.common.by import By
from ui_browser import Browser, button, missing_browser, open_browser

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog

pytestmark = pytest.mark.browser

ASSETS = ["footage", "detections", "classifications", "observations", "exports"]
# A run of the demo's footage on a busy machine, with its time in the queue.
RUN_TIMEOUT_SECONDS = 90.0
# Only the media in progress are finished.
STOP_TIMEOUT_SECONDS = 15.0
# Enough that a test can stop the run before its end.
BUSY_PICTURES = 200


@pytest.fixture(scope="module")
def munin(tmp_path_factory: pytest.TempPathFactory) -> Munin:
    return Munin(tmp_path_factory.mktemp("ui"))


@pytest.fixture(scope="module")
def ui(munin: Munin) -> Iterator[DagsterUI]:
    """The UI of an instance with runs of the cameras north and south, by the command line."""
    if missing := missing_browser():
        pytest.skip(missing)
    cameras = munin.folder / "cameras"
    make_demo_footage(cameras / "north")
    clips = shutil.ignore_patterns("*.MP4")
    shutil.copytree(cameras / "north", cameras / "south", ignore=clips)
    ui = DagsterUI(munin.home, munin.folder / "ui.log")
    try:
        ended = munin("batch", cameras, munin.folder / "results", "--cameras")
        assert ended.code == 0, ended.err
        ui.wait_until_ready()
        yield ui
    finally:
        ui.stop()
    assert munin.processes("") == []


@pytest.fixture(scope="module")
def browser(ui: DagsterUI) -> Iterator[Browser]:
    with open_browser(ui.url, 1900, 1200) as browser:
        yield browser


@pytest.fixture
def busy_camera(munin: Munin, ui: DagsterUI) -> Camera:
    """A known camera with more footage than a test can wait for."""
    folder = munin.folder / "busy"
    if not folder.exists():
        for number in range(BUSY_PICTURES):
            write_picture(folder / f"IMAG{number:04d}.JPG", (640, 480), shift=number)
    results = munin.folder / "results" / "busy"
    camera = Camera("busy", folder.as_uri(), results.as_uri())
    CameraCatalog(munin.home / "cameras").put(camera)
    return camera


def have_succeeded(ui: DagsterUI, run_ids: list[str]) -> bool:
    """Return True if all runs have succeeded; fail if one has not."""
    statuses = [run["status"] for run in ui.runs(runIds=run_ids)]
    assert not {"FAILURE", "CANCELED"} & set(statuses)
    return statuses == ["SUCCESS"] * len(run_ids)


def tags(run: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def test_the_graph_shows_the_assets_in_their_groups_from_footage_to_observations(
    browser: Browser,
) -> None:
    browser.open("/asset-groups?expanded=global@global:munin,global@global:hugin")
    places = {
        name: browser.see(f"//*[local-name()='foreignObject']//*[text()='{name}']").location
        for name in ["munin", *ASSETS[:3], "hugin", *ASSETS[3:]]
    }
    from_left_to_right = [places[name]["x"] for name in ASSETS]
    assert from_left_to_right == sorted(from_left_to_right)
    assert places["munin"]["x"] <= places["footage"]["x"]
    assert places["classifications"]["x"] < places["hugin"]["x"] <= places["observations"]["x"]


def test_each_asset_depends_on_the_one_before_it(ui: DagsterUI) -> None:
    nodes = ui.graphql(
        "{assetNodes {assetKey {path} groupName isPartitioned dependencyKeys {path}}}"
    )["assetNodes"]
    found = {
        node["assetKey"]["path"][0]: (
            node["groupName"],
            node["isPartitioned"],
            [key["path"][0] for key in node["dependencyKeys"]],
        )
        for node in nodes
    }
    assert found == {
        "footage": ("munin", True, []),
        "detections": ("munin", True, ["footage"]),
        "classifications": ("munin", True, ["detections"]),
        "observations": ("hugin", True, ["classifications"]),
        "exports": ("hugin", True, ["observations"]),
        "cost_report": ("odin", False, ["observations"]),
        "quarantine": ("arrivals", False, []),
    }


def metadata(browser: Browser, asset: str, camera: str) -> dict[str, str]:
    """Return the metadata on a camera's page of an asset, in the order of the page."""
    browser.open(f"/assets/{asset}?view=partitions&partition={camera}")
    table = browser.see("//table[tbody/tr/td[2]]")  # a table of one column is a placeholder
    rows = table.find_elements(By.XPATH, "./tbody/tr")
    cells = [row.find_elements(By.XPATH, "./td") for row in rows]
    return {key.text: value.text for key, value, *_ in cells}


def test_a_camera_s_footage_is_counted(browser: Browser) -> None:
    shown = metadata(browser, "footage", "north")
    assert shown["media/files"] == "6"
    assert shown["media/videos"] == "1"
    assert shown["media/failed"] == "0"
    assert shown["time/first"] == "2026-05-14 21:40:12"
    assert shown["footage"].endswith("/cameras/north")


def test_a_camera_s_detections_have_counts_and_throughput(
    browser: Browser,
) -> None:
    shown = metadata(browser, "detections", "north")
    assert int(shown["boxes/animal"]) > 0
    assert shown["media/done"] == shown["media/newly_looked_at"] == "6"
    assert float(shown["throughput/frames_per_second"]) > 0


def test_the_best_crops_are_a_picture(browser: Browser) -> None:
    shown = metadata(browser, "detections", "north")
    assert next(iter(shown)) == "best crops"
    browser.click("//tr[contains(., 'best crops')]//*[contains(text(), 'Show Markdown')]")
    picture = browser.see("//img[@alt='the best crops']")
    size = "return [arguments[0].naturalWidth, arguments[0].naturalHeight]"
    wait_for("it drawn", lambda: min(browser.driver.execute_script(size, picture)) > 100, 10)


def test_a_camera_s_species_are_a_table(browser: Browser) -> None:
    shown = metadata(browser, "observations", "north")
    assert next(iter(shown)) == "species"
    row = browser.see("//table//table//tr[contains(., 'domestic cat')]")
    cells = [cell.text.replace("\n", " ") for cell in row.find_elements(By.XPATH, "./td")]
    assert cells[:3] == ["domestic cat", "Felis catus", "2"]
    assert shown["visits/total"] == "3"
    assert list(shown)[1:3] == ["visits/total", "report"]
    assert Path(shown["report"]).is_file()


def test_work_without_costs_has_one_cost_entry(browser: Browser) -> None:
    shown = metadata(browser, "classifications", "north")
    assert [key for key in shown if key.startswith("cost/")] == ["cost/usd_total"]


def test_a_run_s_log_has_the_result_of_each_stage(munin: Munin, ui: DagsterUI) -> None:
    (run,) = ui.runs(tags=[{"key": "dagster/partition", "value": "north"}])
    lines = log(munin, run["runId"]).splitlines()
    report = munin.folder / "results" / "north" / "stage3" / "report.html"
    expected = [
        "camera north: a worker on this machine runs footage",
        "footage: 5 pictures, 1 video, 0 unusable; 2026-05-14 21:40:12 to 2026-05-15 05:40:12",
        f"observations: 3 visits, 1 to review; report: {report}",
    ]
    assert [line for line in lines if line in expected] == expected


@pytest.mark.parametrize(
    ("asset", "checks"),
    [
        ("footage", ["times_present"]),
        ("detections", ["detections_sane", "nothing_lost"]),
        ("classifications", ["every_box_labelled"]),
        ("observations", ["rows_accounted_for"]),
    ],
)
def test_the_checks_have_passed_for_each_camera(
    browser: Browser, asset: str, checks: list[str]
) -> None:
    for check in checks:
        browser.open(f"/assets/{asset}?view=checks&checkDetail={check}")
        browser.read(check, "Succeeded", "Passed")
        browser.click("//button[normalize-space()='Partitions']")
        browser.read("Passed (2)", "Failed (0)", "north", "south")


def test_runs_of_the_command_line_are_listed(browser: Browser, ui: DagsterUI) -> None:
    browser.open("/runs")
    page = browser.read("partition: north", "partition: south")
    assert page.count("Success") == 2
    browser.open("/locations/odins_ravne_assets.definitions/jobs/camera/runs")
    browser.read("partition: north", "partition: south")


def test_a_camera_can_be_materialized(browser: Browser, ui: DagsterUI) -> None:
    before = {run["runId"] for run in ui.runs()}
    browser.open("/assets/observations?view=partitions&partition=north")
    browser.click(button("Materialize"))
    browser.click(button("Launch 1 run"))
    wait_for("a new run", lambda: len(ui.runs()) > len(before), 30)
    (run,) = (run for run in ui.runs() if run["runId"] not in before)
    assert tags(run)["dagster/partition"] == "north"
    wait_for("its success", lambda: have_succeeded(ui, [run["runId"]]), RUN_TIMEOUT_SECONDS)


def test_selected_cameras_can_be_backfilled(ui: DagsterUI) -> None:
    launched = ui.graphql(
        """mutation ($backfill: LaunchBackfillParams!) {
          launchPartitionBackfill(backfillParams: $backfill) {
            ... on LaunchBackfillSuccess {backfillId}
            ... on PythonError {message}
          }
        }""",
        backfill={
            "assetSelection": [{"path": [asset]} for asset in ASSETS],
            "partitionNames": ["north", "south"],
        },
    )["launchPartitionBackfill"]
    of_backfill = [{"key": "dagster/backfill", "value": launched["backfillId"]}]
    wait_for(
        "a run for each camera", lambda: len(ui.runs(tags=of_backfill)) == 2, RUN_TIMEOUT_SECONDS
    )
    started = ui.runs(tags=of_backfill)
    assert {tags(run)["dagster/partition"] for run in started} == {"north", "south"}
    run_ids = [run["runId"] for run in started]
    wait_for("their success", lambda: have_succeeded(ui, run_ids), RUN_TIMEOUT_SECONDS)


def test_terminating_a_run_ends_its_worker(
    munin: Munin, ui: DagsterUI, browser: Browser, busy_camera: Camera
) -> None:
    run_id = launch(ui, "camera", busy_camera.camera_id)
    worker = "odins_ravne_assets.worker"
    wait_for("detections", lambda: started(ui, run_id, "stages_1_to_3"), RUN_TIMEOUT_SECONDS)
    wait_for("its worker", lambda: munin.processes(worker), 10)
    terminate(browser, run_id)
    wait_for(
        "a line that says so", lambda: "stopped; finished work is kept" in log(munin, run_id), 30
    )
    wait_for("the worker's end", lambda: not munin.processes(worker), STOP_TIMEOUT_SECONDS)
    wait_for("the run's end", lambda: canceled(ui, run_id), STOP_TIMEOUT_SECONDS)


def test_a_run_of_the_command_line_can_be_terminated(
    munin: Munin, ui: DagsterUI, browser: Browser, busy_camera: Camera
) -> None:
    footage, results = munin.folder / "busy", munin.folder / "results" / "terminated"
    command = munin.start("batch", footage, results, "--camera", "terminated")
    of_camera = [{"key": "dagster/partition", "value": "terminated"}]
    wait_for("its run", lambda: ui.runs(tags=of_camera), RUN_TIMEOUT_SECONDS)
    (run,) = ui.runs(tags=of_camera)
    wait_for("detections", lambda: started(ui, run["runId"], "stages_1_to_3"), RUN_TIMEOUT_SECONDS)
    terminate(browser, run["runId"])
    wait_for("the run's end", lambda: canceled(ui, run["runId"]), STOP_TIMEOUT_SECONDS)
    ended = munin.wait(command)
    assert (ended.code, ended.errors) == (1, [])
    assert "terminated: stopped; run the same command again to continue" in ended.err


def test_a_run_of_the_command_line_can_be_re_executed(ui: DagsterUI, browser: Browser) -> None:
    *_, first = ui.runs()
    assert first["jobName"] == "camera"
    browser.open(f"/runs/{first['runId']}")
    browser.click(button("Re-execute all"))
    again = [{"key": "dagster/parent_run_id", "value": first["runId"]}]
    wait_for("its re-execution", lambda: ui.runs(tags=again), 30)
    (run,) = ui.runs(tags=again)
    wait_for("its success", lambda: have_succeeded(ui, [run["runId"]]), RUN_TIMEOUT_SECONDS)


def launch(ui: DagsterUI, job: str, camera: str) -> str:
    """Launch a job for a camera as the launchpad does; return the run's id."""
    ui.graphql(
        """mutation ($repository: RepositorySelector!, $camera: String!) {
          addDynamicPartition(
            repositorySelector: $repository, partitionsDefName: "camera", partitionKey: $camera
          ) {__typename}
        }""",
        repository=LOCATION,
        camera=camera,
    )
    launched = ui.graphql(
        """mutation ($execution: ExecutionParams!) {
          launchRun(executionParams: $execution) {... on LaunchRunSuccess {run {runId}}}
        }""",
        execution={
            "selector": {**LOCATION, "pipelineName": job},
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": camera}]},
        },
    )
    run_id: str = launched["launchRun"]["run"]["runId"]
    return run_id


def started(ui: DagsterUI, run_id: str, step: str) -> bool:
    """Return True if a step of a run has started."""
    query = """query ($run: ID!) {runOrError(runId: $run) {... on Run {stepStats {stepKey}}}}"""
    return step in {
        each["stepKey"] for each in ui.graphql(query, run=run_id)["runOrError"]["stepStats"]
    }


def terminate(browser: Browser, run_id: str) -> None:
    """Terminate a run on its page."""
    browser.open(f"/runs/{run_id}")
    browser.click(button("Terminate"))
    browser.click(button("Terminate 1 run"))


def log(munin: Munin, run_id: str) -> str:
    """Return the log of a run."""
    with munin.instance() as instance:
        return "\n".join(entry.user_message for entry in instance.all_logs(run_id))


def canceled(ui: DagsterUI, run_id: str) -> bool:
    return [run["status"] for run in ui.runs(runIds=[run_id])] == ["CANCELED"]
