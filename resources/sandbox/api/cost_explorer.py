"""Cost Explorer (API version 2017-10-25): GetCostAndUsage of the true bill, with a delay."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from resources.clock import Clock
from resources.sandbox.fleet.bill import BillLine
from resources.sandbox.wire.errors import AwsError
from resources.sandbox.wire.protocol import AwsRequest, Response, json_response

SERVICE = "Amazon Elastic Compute Cloud - Compute"
# The values of a line of the bill by dimension.
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
    """Serves the bill as it was `lag_seconds` ago.

    Args:
        bill: returns the present bill of all machines.
    """

    def __init__(
        self, clock: Clock, bill: Callable[[], list[BillLine]], lag_seconds: float
    ) -> None:
        self._clock = clock
        self._bill = bill
        self._lag_seconds = lag_seconds

    def handle(self, request: AwsRequest) -> Response | None:
        """Return the response, or None if the request is for another API.

        Raises:
            AwsError: Cost Explorer refuses the request, or the sandbox does not support it.
        """
        if (request.service, request.operation) != ("ce", "GetCostAndUsage"):
            return None
        query = request.json()
        _check(query)
        spans = _spans(query["TimePeriod"], query["Granularity"])
        results = [self._result(query, start, end) for start, end in spans]
        content: dict[str, Any] = {"ResultsByTime": results, "DimensionValueAttributes": []}
        if query.get("GroupBy"):
            content["GroupDefinitions"] = query["GroupBy"]
        return json_response(content)

    def _result(self, query: dict[str, Any], start: datetime, end: datetime) -> dict[str, Any]:
        sums: dict[Keys, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for line in self._bill():
            share = self._share(line, start, end)
            if share > 0 and _matches(query.get("Filter"), line):
                keys = tuple(_key(group, line) for group in query.get("GroupBy", []))
                sums[keys][0] += line.cost * share
                sums[keys][1] += line.seconds / 3600 * share
        grouped = bool(query.get("GroupBy"))
        groups = [
            {"Keys": list(keys), "Metrics": _metrics(query["Metrics"], *both)}
            for keys, both in sorted(sums.items())
        ]
        return {
            "TimePeriod": {
                "Start": _format_time(start, query["Granularity"]),
                "End": _format_time(end, query["Granularity"]),
            },
            "Total": {} if grouped else _metrics(query["Metrics"], *sums[()]),
            "Groups": groups if grouped else [],
            "Estimated": True,
        }

    def _share(self, line: BillLine, start: datetime, end: datetime) -> float:
        """Return the fraction of a machine's time that is in a span and before the delay."""
        known_until = self._clock.now() - self._lag_seconds
        ended = line.launched + line.seconds
        until = min(ended, end.timestamp(), known_until)
        since = max(line.launched, start.timestamp())
        return max(0.0, until - since) / line.seconds if line.seconds else 0.0


def _validation_error(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def _check(query: dict[str, Any]) -> None:
    if len(query.get("GroupBy", [])) > MAXIMUM_GROUPS:
        raise _validation_error(f"GroupBy: at most {MAXIMUM_GROUPS} groups.")
    for metric in query["Metrics"]:
        if metric not in COSTS | {QUANTITY}:
            raise _validation_error(f"Metrics: {metric} is not known.")
    if query["TimePeriod"]["Start"] >= query["TimePeriod"]["End"]:
        raise _validation_error("Start date (and hour) should be before end date (and hour)")


def _spans(period: dict[str, str], granularity: str) -> Iterator[tuple[datetime, datetime]]:
    """Yield the hours, days or months of a period; its end is exclusive."""
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
            f"the sandbox does not support the dimension {name}; it has {', '.join(DIMENSIONS)}"
        )
    return DIMENSIONS[name](line)


def _key(group: dict[str, str], line: BillLine) -> str:
    if group["Type"] == "TAG":
        return f"{group['Key']}${line.tags.get(group['Key'], '')}"
    return _dimension(group["Key"], line)


def _matches(expression: dict[str, Any] | None, line: BillLine) -> bool:
    """True if a line matches a filter."""
    if not expression:
        return True
    [(kind, inner)] = expression.items()
    if kind == "And":
        return all(_matches(part, line) for part in inner)
    if kind == "Or":
        return any(_matches(part, line) for part in inner)
    if kind == "Not":
        return not _matches(inner, line)
    if kind == "Tags":
        return line.tags.get(inner["Key"], "") in inner["Values"]
    return _dimension(inner["Key"], line) in inner["Values"]
