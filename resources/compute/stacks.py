"""Making and changing the long-lived part: CloudFormation stacks, deployed and waited for."""

from collections.abc import Mapping
from typing import Any

from resources.aws.clients import AwsClients
from resources.aws.errors import one_line, translate_aws_errors
from resources.compute.foundation import TEMPLATES, describe_stack, stack_name
from resources.compute.parts import OnStep, Poller
from resources.errors import RavneError
from resources.settings.profile import Aws

# Budgets are one region's resource, for the costs of all.
BUDGET_REGION = "us-east-1"
REMEDY = "this is done once, by somebody who may make roles in the account"


def template(name: str) -> str:
    """The text of a template, `foundation` or `budget`."""
    return (TEMPLATES / f"{name}.yaml").read_text(encoding="utf-8")


def deploy_foundation(aws: Aws, on_step: OnStep) -> bool:
    """Make or change the foundation of a profile; tells whether anything changed.

    Raises:
        RavneError: CloudFormation could not do it, with the first thing that failed.
    """
    with translate_aws_errors("cost foundation", REMEDY):
        stack = Stack(AwsClients(aws), stack_name(aws), on_step)
        return stack.deploy(template("foundation"), {"Name": aws.name}, aws.name)


def deploy_budget(aws: Aws, monthly_usd: float, email: str, on_step: OnStep) -> bool:
    """Make or change the budget alert of a profile; tells whether anything changed.

    Raises:
        RavneError: CloudFormation could not do it, with the first thing that failed.
    """
    with translate_aws_errors("cost budget", REMEDY):
        clients = AwsClients(aws.model_copy(update={"region": BUDGET_REGION}))
        stack = Stack(clients, f"{aws.name}-budget", on_step)
        given = {"Name": aws.name, "MonthlyUsd": f"{monthly_usd:g}", "Email": email}
        return stack.deploy(template("budget"), given, aws.name)


class Stack:
    """One stack of CloudFormation, which may be there or not."""

    def __init__(self, clients: AwsClients, name: str, on_step: OnStep) -> None:
        self._clients = clients
        self._client = clients.of("cloudformation")
        self._waiting = Poller(clients.clock, on_step)
        self._name = name
        self._on_step = on_step

    def deploy(self, body: str, parameters: Mapping[str, str], project: str) -> bool:
        """Make it so, and wait for the end; tells whether anything changed.

        Args:
            body: the template.
            parameters: those that are given; others stay as they are, or are the template's.
            project: the tag Project of all of it.

        Raises:
            RavneError: it could not be done, with the first thing that failed.
        """
        there = describe_stack(self._clients, self._name)
        if there is not None and there["StackStatus"].endswith("_IN_PROGRESS"):
            self._finished(there["StackId"])
            there = describe_stack(self._clients, self._name)
        asked: dict[str, Any] = {
            "StackName": self._name,
            "TemplateBody": body,
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Tags": [{"Key": "Project", "Value": project}],
        }
        if there is None:
            # A failed first try would otherwise leave a stack that can only be deleted.
            stack_id = self._client.create_stack(**asked, OnFailure="DELETE")["StackId"]
        else:
            asked["Parameters"] += _previous_parameters(there, parameters)
            if not self._update(asked):
                self._on_step(f"stack {self._name}: nothing to change")
                return False
            stack_id = there["StackId"]
        self._on_step(f"stack {self._name}: {'being made' if there is None else 'changing'}")
        self._succeeded(stack_id)
        return True

    def _update(self, asked: dict[str, Any]) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._client.update_stack(**asked)
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return False
            raise
        return True

    def _finished(self, stack_id: str) -> str:
        """Wait for the end of what is going on; the status then."""
        last = [""]

        def in_the_way() -> str | None:
            stack = describe_stack(self._clients, stack_id)
            last[0] = "DELETE_COMPLETE" if stack is None else stack["StackStatus"]
            return last[0] if last[0].endswith("_IN_PROGRESS") else None

        self._waiting.until(f"stack {self._name}", in_the_way)
        return last[0]

    def _succeeded(self, stack_id: str) -> None:
        status = self._finished(stack_id)
        if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            raise RavneError(
                f"stack {self._name} is {status}: {self._first_failure(stack_id)}; put it right "
                "and deploy again"
            )
        self._on_step(f"stack {self._name}: done")

    def _first_failure(self, stack_id: str) -> str:
        pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
        events = [event for page in pages for event in page["StackEvents"]]
        for event in sorted(events, key=lambda event: event["Timestamp"]):
            reason = event.get("ResourceStatusReason", "")
            if event["ResourceStatus"].endswith("_FAILED"):
                return one_line(f"{event['LogicalResourceId']}: {reason}")
        return "its events do not say why"


def _previous_parameters(there: dict[str, Any], given: Mapping[str, str]) -> list[dict[str, Any]]:
    """Parameters that an administrator set by other means stay as they are."""
    return [
        {"ParameterKey": each["ParameterKey"], "UsePreviousValue": True}
        for each in there.get("Parameters", [])
        if each["ParameterKey"] not in given
    ]
