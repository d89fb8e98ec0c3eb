"""What launches of earlier versions have left in a bucket is read and added to, once."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from command_line import Munin, processed
from in_process import MuninInProcess
from stored_data import done, hashes, new_media, sha256, stored, unpack, usd

__all__ = ["stored"]  # pytest finds fixtures by their names

BUCKET = "ravne-data-123456789012"
HILL = f"s3://{BUCKET}/results/hill"
KEYS = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}


@dataclass(frozen=True)
class Account:
    """A sandbox with the bucket of an earlier version.

    Args:
        card: the footage of its camera.
        before: the results of its camera, as `hashes` tells them.
        usd: what they had cost.
    """

    munin: Munin
    s3: Any
    card: Path
    before: dict[str, str]
    usd: Decimal

    def results(self, folder: Path) -> Path:
        """The camera's results as files."""
        prefix = "results/hill/"
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            for found in page["Contents"]:
                path = folder / found["Key"].removeprefix(prefix)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.s3.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read())
        return folder


@pytest.fixture(scope="module")
def account(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    root = tmp_path_factory.mktemp(f"cloud-{stored.name}")
    bucket, card = root / "bucket", root / "footage" / "hill"
    unpack(stored / "cloud" / "bucket.tar.xz", bucket)
    unpack(stored / "cloud" / "dagster_home.tar.xz", root / "dagster")
    shutil.copytree(bucket / "footage" / "hill", card, ignore=shutil.ignore_patterns(".*"))
    known = root / "dagster" / "cameras" / "hill.json"
    known.write_text(known.read_text().replace(f"/tmp/results_{stored.name}/cloud", str(root)))
    munin = MuninInProcess(root, "sandbox", KEYS)
    done(munin("sandbox", "up", "--port", "0", "--scale", "120"))
    try:
        told = json.loads((root / "dagster" / "sandbox.json").read_text())
        s3 = fill_bucket(bucket, told["endpoint_url"])
        aws = {name: told[name.lower()] for name in ("ENDPOINT_URL", "CLOCK_URL")}
        variables = {f"MUNIN_CLOUD__AWS__{name}": url for name, url in aws.items()}
        munin = replace(munin, environment=KEYS | variables)
        done(munin("cost", "setup", "--job-count", "1"))
        hill = bucket / "results" / "hill"
        yield Account(munin, s3, card, hashes(hill), usd(hill / "ledger"))
    finally:
        munin("sandbox", "down")


def fill_bucket(bucket: Path, url: str) -> Any:
    """Put the objects of a folder into the bucket of that name; a client of S3."""
    session = boto3.Session("sandbox", "sandbox")
    s3 = session.client("s3", region_name="eu-north-1", endpoint_url=url)
    for key, told in json.loads((bucket / "objects.json").read_text()).items():
        body = (bucket / key).read_bytes()
        s3.put_object(Bucket=BUCKET, Key=key, Body=body, Metadata=told["metadata"])
    return s3


def test_one_more_picture_is_one_more_launch(
    account: Account, stored: Path, tmp_path: Path
) -> None:
    picture = stored / "later" / "IMAG0009.JPG"
    shutil.copy(picture, account.card)
    done(account.munin("batch", account.card, HILL))
    results = account.results(tmp_path)
    now = hashes(results)
    folders = ("journal/", "launches/", "plans/", "ledger/")
    kept = {key for key in account.before if key.startswith(folders) and ".lock" not in key}
    assert kept and all(now.get(key) == account.before[key] for key in kept)
    journal = {key.removeprefix("journal/"): "" for key in account.before}
    assert new_media(results / "journal", journal) == [sha256(picture)]
    assert processed(results) == {f"IMAG000{number}.JPG": ("done", None) for number in (0, 1, 9)}
    assert ends(results) == [["cancelled", "done"], ["done"], ["interrupted", "done"]]
    told = json.loads(done(account.munin("cost", "costs", "--json")))
    counted = ("done", "attempts", "interruptions", "moved")
    assert [told["jobs"][each] for each in counted] == [3, 5, 1, 1]
    assert told["computing"]["usd"] > float(account.usd) > 0.1
    assert [plan["camera_id"] for plan in told["plans"]] == ["hill"]


def test_an_unfinished_launch_of_it_continues_in_its_journal(
    account: Account, tmp_path: Path
) -> None:
    """Interrupted before its tables: all that tells its settings is the key of its journal."""
    before = hashes(account.results(tmp_path / "before"))
    for key in before:
        if key.startswith(("tables/", "stage3/", "journal/settings/")):
            account.s3.delete_object(Bucket=BUCKET, Key=f"results/hill/{key}")
        if key in account.before and key.endswith("/record.json"):
            record = json.loads((tmp_path / "before" / key).read_text())
            body = json.dumps(record | {"finished": False}).encode()
            account.s3.put_object(Bucket=BUCKET, Key=f"results/hill/{key}", Body=body)
    ended = account.munin("batch", account.card, HILL)
    done(ended)
    assert "3 media were analysed with megadetector-lite and ssd-mobilenet-v2-cam16" in ended.err
    assert "and new media are too; pass --update to" in ended.err
    now = hashes(account.results(tmp_path / "now"))
    parts = {key for key in before if key.startswith(("journal/stage1/", "journal/stage2/"))}
    assert {key for key in now if key.startswith(("journal/stage1/", "journal/stage2/"))} == parts
    assert {"journal/settings/stage1.json", "tables/detections.parquet"} <= now.keys()
    assert len(processed(tmp_path / "now")) == 3


def ends(results: Path) -> list[list[str]]:
    """How the attempts of each launch ended."""
    records = [json.loads(path.read_text()) for path in results.glob("launches/*/record.json")]
    return sorted(
        [
            [each["end"] for unit in record["units"] for each in unit["attempts"]]
            for record in records
        ]
    )
