"""`munin batch --with-compute`: compute that exists for one command only."""

from collections.abc import Iterator

import pytest
from compute_rig import aws_settings, remaining_parts, running_sandbox, submit

from odins_ravne_assets.cli.temporary_compute import temporary_compute
from resources.aws.clients import AwsClients
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import SandboxConfig
from resources.settings.profile import Aws


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with running_sandbox(SandboxConfig(scale=300)) as sandbox:
        aws = aws_settings(sandbox)
        prepare_foundation(AwsClients(aws), aws.name, aws.region)
        yield aws


def test_compute_exists_during_the_block_and_is_deleted_after_it(aws: Aws) -> None:
    assert not remaining_parts(aws)
    with temporary_compute(aws, 2):
        assert remaining_parts(aws)
    assert not remaining_parts(aws)


def test_compute_is_deleted_when_the_block_fails_with_jobs_left(aws: Aws) -> None:
    with pytest.raises(KeyboardInterrupt), temporary_compute(aws, 2):
        submit(aws, seconds=100_000)
        raise KeyboardInterrupt
    assert not remaining_parts(aws)
