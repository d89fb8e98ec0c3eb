"""Cost Explorer (API version 2017-10-25) over the true bill: GetCostAndUsage, a day late."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from resources.clock import Clock
from resources.sandbox.fleet.bill import BillLine
from resources.sandbox.wire.errors import AwsError
from resources.sandbox.wire.protocol import AwsRequest, Response, json_response

SERVICE = "Amazon Elastic Compute Cloud - Compute"
# What a line of the bill is, by Cost Explorer's dimensions.
DIMENSIONS: dict[str, Callable[[BillLine], str]] = {
    "SERVICE": lambda line: SERVICE,
    "USAGE_TYPE": lambda line: line.usage_type,
    "INSTANCE_TYPE": lambda line: line.instance_type,
    "REGION": lambda line: line.zone[:-1],
}
COSTS = {"UnblendedCost", "BlendedCost", "AmortizedCost", "NetUnblendedCost", "NetAmortizedCost"}
QUANTITY = "UsageQuantity"
MAXIMUM_GROUPS = 2

Keys = tuple[str, ...]


class CostExplorer:
    """Answers from the bill as it was `lag_seconds` ago.

    Args:
        bill: what all machines cost until now.
    """

    def __init__(
        self, clock: Clock, bill: Callable[[], list[BillLine]], lag_seconds: float
    ) -> None:
        self._clock = clock
        self._bill = bill
        self._lag_seconds = lag_seconds

    def answer(self, request: AwsRequest) -> Response | None:
        """The answer, or None if the request is another.

        Raises:
            AwsError: it asks for what Cost Explorer, or this one, does not have.
        """
        if (request.service, request.operation) != ("ce", "GetCostAndUsage"):
            return None
        asked = request.json()
        _check(asked)
        spans = _spans(asked["TimePeriod"], asked["Granularity"])
        results = [self._result(asked, start, end) for start, end in spans]
        answer: dict[str, Any] = {"ResultsByTime": results, "DimensionValueAttributes": []}
        if asked.get("GroupBy"):
            answer["GroupDefinitions"] = asked["GroupBy"]
        return json_response(answer)

    def _result(self, asked: dict[str, Any], start: datetime, end: datetime) -> dict[str, Any]:
        sums: dict[Keys, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for line in self._bill():
            share = self._share(line, start, end)
            if share > 0 and _passes(asked.get("Filter"), line):
                keys = tuple(_key(group, line) for group in asked.get("GroupBy", []))
                sums[keys][0] += line.cost * share
                sums[keys][1] += line.seconds / 3600 * share
        grouped = bool(asked.get("GroupBy"))
        groups = [
            {"Keys": list(keys), "Metrics": _metrics(asked["Metrics"], *both)}
            for keys, both in sorted(sums.items())
        ]
        return {
            "TimePeriod": {
                "Start": _format_time(start, asked["Granularity"]),
                "End": _format_time(end, asked["Granularity"]),
            },
            "Total": {} if grouped else _metrics(asked["Metrics"], *sums[()]),
            "Groups": groups if grouped else [],
            "Estimated": True,
        }

    def _share(self, line: BillLine, start: datetime, end: datetime) -> float:
        """How much of a machine's time lies in a span and is long enough ago."""
        known_until = self._clock.now() - self._lag_seconds
        ended = line.launched + line.seconds
        until = min(ended, end.timestamp(), known_until)
        since = max(line.launched, start.timestamp())
        return max(0.0, until - since) / line.seconds if line.seconds else 0.0


def _validation_error(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def _check(asked: dict[str, Any]) -> None:
    if len(asked.get("GroupBy", [])) > MAXIMUM_GROUPS:
        raise _validation_error(f"GroupBy: at most {MAXIMUM_GROUPS} groups.")
    for metric in asked["Metrics"]:
        if metric not in COSTS | {QUANTITY}:
            raise _validation_error(f"Metrics: {metric} is not known.")
    if asked["TimePeriod"]["Start"] >= asked["TimePeriod"]["End"]:
        raise _validation_error("Start date (and hour) should be before end date (and hour)")


def _spans(period: dict[str, str], granularity: str) -> Iterator[tuple[datetime, datetime]]:
    """The days, hours or months of a period, whose end is not part of it."""
    start, end = (datetime.fromisoformat(period[key]) for key in ("Start", "End"))
    start, end = start.replace(tzinfo=UTC), end.replace(tzinfo=UTC)
    while start < end:
        if granularity == "MONTHLY":
            after = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        else:
            after = start + (timedelta(hours=1) if granularity == "HOURLY" else timedelta(days=1))
        yield start, min(after, end)
        start = after


def _format_time(moment: datetime, granularity: str) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ" if granularity == "HOURLY" else "%Y-%m-%d")


def _metrics(wanted: list[str], cost: float, hours: float) -> dict[str, dict[str, str]]:
    return {
        metric: {"Amount": f"{hours:.10f}", "Unit": "Hrs"}
        if metric == QUANTITY
        else {"Amount": f"{cost:.10f}", "Unit": "USD"}
        for metric in wanted
    }


def _dimension(name: str, line: BillLine) -> str:
    if name not in DIMENSIONS:
        raise _validation_error(
            f"the sandbox has no dimension {name}; it has {', '.join(DIMENSIONS)}"
        )
    return DIMENSIONS[name](line)


def _key(group: dict[str, str], line: BillLine) -> str:
    if group["Type"] == "TAG":
        return f"{group['Key']}${line.tags.get(group['Key'], '')}"
    return _dimension(group["Key"], line)


def _passes(expression: dict[str, Any] | None, line: BillLine) -> bool:
    """Whether a filter lets a line through."""
    if not expression:
        return True
    [(kind, inner)] = expression.items()
    if kind == "And":
        return all(_passes(part, line) for part in inner)
    if kind == "Or":
        return any(_passes(part, line) for part in inner)
    if kind == "Not":
        return not _passes(inner, line)
    if kind == "Tags":
        return line.tags.get(inner["Key"], "") in inner["Values"]
    return _dimension(inner["Key"], line) in inner["Values"]
