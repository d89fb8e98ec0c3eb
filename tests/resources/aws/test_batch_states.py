"""The states of AWS Batch are those of its API, by the service model that botocore ships."""

from enum import StrEnum

import botocore.session
import pytest

from resources.aws.batch_states import (
    ENDED_STATUSES,
    LIVE_STATUSES,
    JobStatus,
    ResourceState,
    ResourceStatus,
)


@pytest.mark.parametrize(
    ("values", "shapes"),
    [
        (JobStatus, ["JobStatus"]),
        (ResourceState, ["CEState", "JQState"]),
        (ResourceStatus, ["CEStatus", "JQStatus"]),
    ],
)
def test_the_values_are_those_of_the_api(values: type[StrEnum], shapes: list[str]) -> None:
    model = botocore.session.get_session().get_service_model("batch")
    for name in shapes:
        assert set(values) == set(model.shape_for(name).enum)


def test_a_job_is_live_until_it_has_ended() -> None:
    assert set(LIVE_STATUSES) | set(ENDED_STATUSES) == set(JobStatus)
    assert LIVE_STATUSES == ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
