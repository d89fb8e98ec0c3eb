"""APIs that moto lacks: spot prices of EC2, the Pricing API, Service Quotas."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_DNS, uuid4, uuid5

from resources.clock import Clock
from resources.sandbox.fleet.capacity import Capacity
from resources.sandbox.model.prices import (
    ON_DEMAND,
    SPOT,
    TYPES,
    InstanceLifecycle,
    InstanceType,
    SpotMarket,
)
from resources.sandbox.wire.errors import AwsError
from resources.sandbox.wire.protocol import AwsRequest, Response, json_response

PRODUCT = "Linux/UNIX"
NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
QUOTAS: dict[str, tuple[str, InstanceLifecycle]] = {
    "L-3819A6DF": ("All G and VT Spot Instance Requests", SPOT),
    "L-DB2E81BA": ("Running On-Demand G and VT instances", ON_DEMAND),
}
# Term and rate codes of on-demand hours in the public price list.
ON_DEMAND_TERM = "JRTCKXETXF"
HOURLY_RATE = "6YS6EN2CT7"


class MarketApi:
    """Handles DescribeSpotPriceHistory, GetProducts and the requests of quotas."""

    def __init__(self, region: str, clock: Clock, market: SpotMarket, capacity: Capacity) -> None:
        self._region = region
        self._clock = clock
        self._market = market
        self._capacity = capacity
        self._operations = {
            ("ec2", "DescribeSpotPriceHistory"): self._spot_prices,
            ("pricing", "GetProducts"): self._products,
            ("service-quotas", "GetServiceQuota"): self._quota,
            ("service-quotas", "ListServiceQuotas"): self._quotas,
        }

    def handle(self, request: AwsRequest) -> Response | None:
        """Return the response, or None if the request is for another API."""
        operation = self._operations.get((request.service, request.operation))
        return operation(request) if operation is not None else None

    # spot prices

    def _spot_prices(self, request: AwsRequest) -> Response:
        form = {key: values[0] for key, values in request.form().items()}
        kinds = _listed(form, "InstanceType") + _filtered(form, "instance-type")
        zones = _listed(form, "AvailabilityZone") + _filtered(form, "availability-zone")
        if "AvailabilityZone" in form:
            zones.append(form["AvailabilityZone"])
        products = _listed(form, "ProductDescription") or [PRODUCT]
        items = [
            f"<item><instanceType>{point.kind}</instanceType>"
            f"<productDescription>{PRODUCT}</productDescription>"
            f"<spotPrice>{point.price:.6f}</spotPrice>"
            f"<timestamp>{_iso(point.time)}</timestamp>"
            f"<availabilityZone>{point.zone}</availabilityZone></item>"
            for point in self._points_between(form.get("StartTime"), form.get("EndTime"))
            if point.kind in (kinds or [point.kind]) and point.zone in (zones or [point.zone])
            if any(product.startswith(PRODUCT) for product in products)
        ]
        body = (
            f'<DescribeSpotPriceHistoryResponse xmlns="{NAMESPACE}"><requestId>{uuid4()}'
            f"</requestId><spotPriceHistorySet>{''.join(items)}</spotPriceHistorySet>"
            "<nextToken></nextToken></DescribeSpotPriceHistoryResponse>"
        )
        return Response(200, {"Content-Type": "text/xml"}, body.encode())

    def _points_between(self, start: str | None, end: str | None) -> list[Any]:
        """Return the prices in force in a span, newest first, including those at its start."""
        from_time = _seconds(start) if start else 0.0
        until = _seconds(end) if end else self._clock.now()
        points = [point for point in self._market.history if point.time <= until]
        in_force = {}
        for point in points:
            if point.time <= from_time:
                in_force[point.kind, point.zone] = point
        later = [point for point in points if point.time > from_time]
        return sorted([*in_force.values(), *later], key=lambda point: -point.time)

    # on-demand prices

    def _products(self, request: AwsRequest) -> Response:
        wanted = {f["Field"]: f["Value"] for f in request.json().get("Filters", [])}
        products = [_product(kind, self._region) for kind in TYPES.values()]
        found = [
            json.dumps(product)
            for product in products
            if all(product["product"]["attributes"].get(key) == v for key, v in wanted.items())
        ]
        return json_response({"FormatVersion": "aws_v1", "PriceList": found})

    # quotas

    def _quota(self, request: AwsRequest) -> Response:
        content = request.json()
        if content["ServiceCode"] != "ec2" or content["QuotaCode"] not in QUOTAS:
            raise AwsError("NoSuchResourceException", "The request failed: no such quota.")
        return json_response({"Quota": self._quota_of(content["QuotaCode"])})

    def _quotas(self, request: AwsRequest) -> Response:
        codes = QUOTAS if request.json()["ServiceCode"] == "ec2" else {}
        return json_response({"Quotas": [self._quota_of(code) for code in codes]})

    def _quota_of(self, code: str) -> dict[str, Any]:
        name, lifecycle = QUOTAS[code]
        return {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaCode": code,
            "QuotaName": name,
            "Value": float(self._capacity.quotas[lifecycle]),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }


def _product(kind: InstanceType, region: str) -> dict[str, Any]:
    """Return a product of the price list, with its on-demand term."""
    sku = uuid5(NAMESPACE_DNS, f"{kind.name}.{region}").hex[:16].upper()
    offer = f"{sku}.{ON_DEMAND_TERM}"
    rate = f"{offer}.{HOURLY_RATE}"
    dimension = {
        "unit": "Hrs",
        "beginRange": "0",
        "endRange": "Inf",
        "description": f"${kind.on_demand} per On Demand Linux {kind.name} Instance Hour",
        "rateCode": rate,
        "appliesTo": [],
        "pricePerUnit": {"USD": f"{kind.on_demand:.10f}"},
    }
    attributes = {
        "instanceType": kind.name,
        "regionCode": region,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "operation": "RunInstances",
        "vcpu": str(kind.vcpus),
        "gpu": str(kind.gpus),
        "memory": f"{kind.memory_mib // 1024} GiB",
    }
    term = {
        "offerTermCode": ON_DEMAND_TERM,
        "sku": sku,
        "effectiveDate": "2026-11-01T00:00:00Z",
        "priceDimensions": {rate: dimension},
        "termAttributes": {},
    }
    return {
        "serviceCode": "AmazonEC2",
        "product": {"productFamily": "Compute Instance", "sku": sku, "attributes": attributes},
        "terms": {"OnDemand": {offer: term}},
        "version": "20261101000000",
        "publicationDate": "2026-11-01T00:00:00Z",
    }


def _listed(form: dict[str, str], name: str) -> list[str]:
    """Return the members of a list in an EC2 form: Name.1, Name.2, …"""
    return [value for key, value in form.items() if key.rpartition(".")[0] == name]


def _filtered(form: dict[str, str], name: str) -> list[str]:
    """Return the values of a filter: Filter.N.Name, Filter.N.Value.M."""
    numbers = [
        key.split(".")[1]
        for key, value in form.items()
        if key.startswith("Filter.") and key.endswith(".Name") and value == name
    ]
    return [value for number in numbers for value in _listed(form, f"Filter.{number}.Value")]


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
