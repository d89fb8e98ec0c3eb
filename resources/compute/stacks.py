"""CloudFormation stacks of the foundation and of the budget alert: deployment and polling."""

from collections.abc import Mapping
from typing import Any

from resources.aws.clients import AwsClients
from resources.aws.errors import one_line, translate_aws_errors
from resources.compute.foundation import TEMPLATES, describe_stack, stack_name
from resources.compute.parts import OnStep, Poller
from resources.errors import RavneError
from resources.settings.profile import Aws

# AWS Budgets has a single region; its budgets count the costs of all regions.
BUDGET_REGION = "us-east-1"
DEPLOYED_STATUSES = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
DELETED_STATUS = "DELETE_COMPLETE"
REMEDY = "an administrator who may create roles in the account has to run this once"


def template(name: str) -> str:
    """Return the text of a template, `foundation` or `budget`."""
    return (TEMPLATES / f"{name}.yaml").read_text(encoding="utf-8")


def deploy_foundation(aws: Aws, on_step: OnStep) -> bool:
    """Create or update the foundation of a profile; return True if anything changed.

    Raises:
        RavneError: the deployment failed; the message names the first failure.
    """
    with translate_aws_errors("cost foundation", REMEDY):
        stack = Stack(AwsClients(aws), stack_name(aws), on_step)
        return stack.deploy(template("foundation"), {"Name": aws.name}, aws.name)


def deploy_budget(aws: Aws, monthly_usd: float, email: str, on_step: OnStep) -> bool:
    """Create or update the budget alert of a profile; return True if anything changed.

    Raises:
        RavneError: the deployment failed; the message names the first failure.
    """
    with translate_aws_errors("cost budget", REMEDY):
        clients = AwsClients(aws.model_copy(update={"region": BUDGET_REGION}))
        stack = Stack(clients, f"{aws.name}-budget", on_step)
        given = {"Name": aws.name, "MonthlyUsd": f"{monthly_usd:g}", "Email": email}
        return stack.deploy(template("budget"), given, aws.name)


class Stack:
    """One CloudFormation stack, which need not exist yet."""

    def __init__(self, clients: AwsClients, name: str, on_step: OnStep) -> None:
        self._clients = clients
        self._client = clients.of("cloudformation")
        self._poller = Poller(clients.clock, on_step)
        self._name = name
        self._on_step = on_step

    def deploy(self, body: str, parameters: Mapping[str, str], project: str) -> bool:
        """Create or update the stack and wait for the end; return True if anything changed.

        Args:
            body: the template.
            parameters: new values; others keep their present value, or the template's default.
            project: value of the tag Project of all resources.

        Raises:
            RavneError: the deployment failed; the message names the first failure.
        """
        existing = describe_stack(self._clients, self._name)
        if existing is not None and existing["StackStatus"].endswith("_IN_PROGRESS"):
            self._wait_for_end(existing["StackId"])
            existing = describe_stack(self._clients, self._name)
        request: dict[str, Any] = {
            "StackName": self._name,
            "TemplateBody": body,
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Tags": [{"Key": "Project", "Value": project}],
        }
        if existing is None:
            # Otherwise a failed creation would leave a stack that can only be deleted.
            stack_id = self._client.create_stack(**request, OnFailure="DELETE")["StackId"]
        else:
            request["Parameters"] += _previous_parameters(existing, parameters)
            if not self._update(request):
                self._on_step(f"stack {self._name}: nothing to change")
                return False
            stack_id = existing["StackId"]
        self._on_step(f"stack {self._name}: {'creating' if existing is None else 'updating'}")
        self._require_success(stack_id)
        return True

    def _update(self, request: dict[str, Any]) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._client.update_stack(**request)
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return False
            raise
        return True

    def _wait_for_end(self, stack_id: str) -> str:
        """Wait for the end of a change, and return the final status."""
        status = ""

        def check() -> str | None:
            nonlocal status
            stack = describe_stack(self._clients, stack_id)
            status = DELETED_STATUS if stack is None else stack["StackStatus"]
            return status if status.endswith("_IN_PROGRESS") else None

        self._poller.wait(f"stack {self._name}", check)
        return status

    def _require_success(self, stack_id: str) -> None:
        status = self._wait_for_end(stack_id)
        if status not in DEPLOYED_STATUSES:
            raise RavneError(
                f"stack {self._name} is {status}: {self._first_failure(stack_id)}; correct it and "
                "deploy again"
            )
        self._on_step(f"stack {self._name}: done")

    def _first_failure(self, stack_id: str) -> str:
        pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
        events = [event for page in pages for event in page["StackEvents"]]
        for event in sorted(events, key=lambda event: event["Timestamp"]):
            reason = event.get("ResourceStatusReason", "")
            if event["ResourceStatus"].endswith("_FAILED"):
                return one_line(f"{event['LogicalResourceId']}: {reason}")
        return "its events give no reason"


def _previous_parameters(
    existing: dict[str, Any], given: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the parameters that are not given: an administrator may have set them by hand."""
    return [
        {"ParameterKey": each["ParameterKey"], "UsePreviousValue": True}
        for each in existing.get("Parameters", [])
        if each["ParameterKey"] not in given
    ]
