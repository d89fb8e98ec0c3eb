"""Sources of prices: the price table of the package, AWS, and the cache of its answers."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY, Stubber
from compute_rig import running_sandbox
from moto import mock_aws

from resources.aws.clients import AwsClients
from resources.pricing.prices import PriceBook, price_remarks
from resources.pricing.sources import (
    PRICE_CACHE_SECONDS,
    PriceSource,
    fetch_on_demand_prices,
    fetch_spot_prices,
    shipped_prices,
)
from resources.sandbox.model.config import SandboxConfig
from resources.settings.profile import Aws

REGION = "eu-north-1"
ZONE = "eu-north-1a"
NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)
NOW = NINE.timestamp()
HOUR = 3600.0


# The price table


def test_the_price_table_has_all_machine_types_of_the_default_profile() -> None:
    book = shipped_prices(REGION)
    offers = book.offers(Aws().compute.instance_types, NOW)
    assert {(one.instance_type, str(one.spot), str(one.on_demand)) for one in offers} == {
        ("g4dn.xlarge", "0.1881", "0.558"),
        ("g4dn.xlarge", "0.1959", "0.558"),
        ("g4dn.xlarge", "0.1930", "0.558"),
        ("g5.xlarge", "0.4419", "1.067"),
        ("g5.xlarge", "0.4423", "1.067"),
        ("g6.xlarge", "0.3411", "0.8536"),
        ("g6.xlarge", "0.3183", "0.8536"),
    }


@pytest.mark.parametrize("region", [REGION, "us-east-1"])
def test_every_shipped_price_has_a_source_and_a_date(region: str) -> None:
    for one in shipped_prices(region).quotes:
        assert one.source and one.unit and one.as_of < NINE and one.usd > 0


@pytest.mark.parametrize("region", [REGION, "us-east-1"])
def test_every_shipped_machine_is_cheaper_on_spot(region: str) -> None:
    book = shipped_prices(region)
    offers = book.offers({one.item for one in book.quotes if one.market}, NOW)
    assert len({offer.instance_type for offer in offers}) == 4
    assert all(offer.spot < offer.on_demand for offer in offers)


def test_unverified_prices_are_marked() -> None:
    book = shipped_prices(REGION)
    assert book.rate("s3-standard").verified
    assert not book.rate("ebs-gp3").verified and not book.rate("transfer-out").verified
    remarks = price_remarks(book.quotes, NOW)
    assert any("unverified" in remark for remark in remarks)


def test_a_region_without_prices_has_a_remark_that_names_the_known_regions() -> None:
    book = shipped_prices("ap-south-1")
    assert book.quotes == ()
    assert book.remarks == (
        "the price table has no prices of ap-south-1, only of eu-north-1, us-east-1",
    )


# Answers of AWS


@pytest.fixture(scope="module")
def clients() -> Iterator[AwsClients]:
    """Created once: loading EC2's service model takes a second."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "nobody")
        environment.delenv("AWS_PROFILE", raising=False)
        yield AwsClients(Aws(region=REGION))


@pytest.fixture
def ec2(clients: AwsClients) -> Iterator[Stubber]:
    with Stubber(clients.of("ec2")) as stub:
        yield stub


@pytest.fixture
def pricing(clients: AwsClients) -> Iterator[Stubber]:
    with Stubber(clients.of("pricing")) as stub:
        yield stub


def change(usd: str, at: datetime, zone: str = ZONE) -> dict[str, Any]:
    """A price change in the form of DescribeSpotPriceHistory."""
    return {
        "AvailabilityZone": zone,
        "InstanceType": "g4dn.xlarge",
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": usd,
        "Timestamp": at,
    }


def product(usd: str) -> str:
    """A product in the form of GetProducts, shortened."""
    sku = "2S4RUEPYJWPYRV2W"
    term = f"{sku}.JRTCKXETXF"
    dimension = {
        "unit": "Hrs",
        "description": f"${usd} per On Demand Linux g4dn.xlarge Instance Hour",
        "pricePerUnit": {"USD": usd},
        "beginRange": "0",
        "endRange": "Inf",
    }
    terms = {term: {"sku": sku, "priceDimensions": {f"{term}.6YS6EN2CT7": dimension}}}
    attributes = {"instanceType": "g4dn.xlarge", "regionCode": REGION, "vcpu": "4"}
    return json.dumps(
        {
            "product": {"productFamily": "Compute Instance", "attributes": attributes, "sku": sku},
            "serviceCode": "AmazonEC2",
            "terms": {"OnDemand": terms},
            "version": "20261120000000",
            "publicationDate": "2026-11-20T00:00:00Z",
        }
    )


def expect_history(ec2: Stubber, *pages: list[dict[str, Any]]) -> None:
    for number, page in enumerate(pages):
        last = number == len(pages) - 1
        request = {
            "InstanceTypes": ["g4dn.xlarge"],
            "ProductDescriptions": ["Linux/UNIX"],
            "StartTime": ANY,
            "EndTime": ANY,
        } | ({"NextToken": f"page {number}"} if number else {})
        answer = {"SpotPriceHistory": page, "NextToken": "" if last else f"page {number + 1}"}
        ec2.add_response("describe_spot_price_history", answer, request)


def expect_product(pricing: Stubber, *products: str) -> None:
    pricing.add_response("get_products", {"FormatVersion": "aws_v1", "PriceList": list(products)})


def test_spot_price_changes_are_read_from_every_page(clients: AwsClients, ec2: Stubber) -> None:
    expect_history(
        ec2,
        [change("0.193100", NINE + timedelta(minutes=5))],
        [change("0.188100", NINE - timedelta(hours=7)), change("0.2", NINE, "eu-north-1b")],
    )
    book = PriceBook(REGION, tuple(fetch_spot_prices(clients, ["g4dn.xlarge"], NOW, NOW + HOUR)))
    assert book.spot("g4dn.xlarge", ZONE, NOW).usd == Decimal("0.188100")
    assert book.spot("g4dn.xlarge", ZONE, NOW + 300).usd == Decimal("0.193100")
    assert book.spot("g4dn.xlarge", "eu-north-1b", NOW).source.startswith("Amazon EC2")
    ec2.assert_no_pending_responses()


@mock_aws
def test_spot_prices_of_an_ec2_server_are_parsed(clients: AwsClients) -> None:
    found = fetch_spot_prices(clients, ["g4dn.xlarge"], NOW, NOW + HOUR)
    assert {one.zone for one in found} == {f"{REGION}{letter}" for letter in "abc"}
    assert all(one.usd > 0 and one.as_of.tzinfo for one in found)


def test_on_demand_prices_are_those_of_plain_linux_machines(
    clients: AwsClients, pricing: Stubber
) -> None:
    fields = {
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "instanceType": "g4dn.xlarge",
        "regionCode": REGION,
    }
    filters = [{"Type": "TERM_MATCH", "Field": key, "Value": fields[key]} for key in fields]
    pricing.add_response(
        "get_products",
        {"PriceList": [product("0.5580000000")]},
        {"ServiceCode": "AmazonEC2", "FormatVersion": "aws_v1", "Filters": filters},
    )
    (found,) = fetch_on_demand_prices(clients, REGION, ["g4dn.xlarge"], NOW)
    assert found.usd == Decimal("0.558") and found.as_of == NINE and found.verified


def test_a_type_that_a_region_does_not_offer_has_no_price(
    clients: AwsClients, pricing: Stubber
) -> None:
    expect_product(pricing)
    assert fetch_on_demand_prices(clients, REGION, ["g4dn.xlarge"], NOW) == []


def test_the_most_expensive_of_several_products_counts(
    clients: AwsClients, pricing: Stubber
) -> None:
    expect_product(pricing, product("0.6"), product("0.7"), product("0.5"))
    (found,) = fetch_on_demand_prices(clients, REGION, ["g4dn.xlarge"], NOW)
    assert found.usd == Decimal("0.7")


# The cache


@pytest.fixture
def source(clients: AwsClients, tmp_path: Path) -> PriceSource:
    return PriceSource(clients, REGION, ("g4dn.xlarge",), tmp_path / "prices.json")


def test_answers_of_aws_take_precedence_over_the_price_table(
    source: PriceSource, ec2: Stubber, pricing: Stubber
) -> None:
    expect_history(ec2, [change("0.21", NINE)])
    expect_product(pricing, product("0.6"))
    book = source.book(NOW, NOW)
    (offer,) = book.offers(["g4dn.xlarge"], NOW)
    assert (offer.zone, offer.spot, offer.on_demand) == (ZONE, Decimal("0.21"), Decimal("0.6"))
    assert book.remarks == ()
    assert book.rate("s3-standard").usd == Decimal("0.023")
    assert book.on_demand("g5.xlarge").usd == Decimal("1.067")


def test_prices_are_cached_for_some_minutes(
    source: PriceSource, ec2: Stubber, pricing: Stubber
) -> None:
    expect_history(ec2, [change("0.21", NINE)])
    expect_product(pricing, product("0.6"))
    first = source.book(NOW, NOW)
    assert source.book(NOW, NOW + PRICE_CACHE_SECONDS - 1) == first
    expect_history(ec2, [change("0.22", NINE)])
    expect_product(pricing, product("0.6"))
    later = source.book(NOW, NOW + PRICE_CACHE_SECONDS)
    assert later.spot("g4dn.xlarge", ZONE, NOW).usd == Decimal("0.22")
    ec2.assert_no_pending_responses()


def test_the_cache_is_not_used_for_an_earlier_time(
    source: PriceSource, ec2: Stubber, pricing: Stubber
) -> None:
    expect_history(ec2, [change("0.21", NINE)])
    expect_product(pricing, product("0.6"))
    source.book(NOW, NOW)
    expect_history(ec2, [change("0.19", NINE - timedelta(hours=2))])
    expect_product(pricing, product("0.6"))
    earlier = source.book(NOW - HOUR, NOW)
    assert earlier.spot("g4dn.xlarge", ZONE, NOW - HOUR).usd == Decimal("0.19")


def test_cached_prices_are_used_with_a_remark_when_aws_denies_access(
    source: PriceSource, ec2: Stubber, pricing: Stubber
) -> None:
    expect_history(ec2, [change("0.21", NINE)])
    expect_product(pricing, product("0.6"))
    source.book(NOW, NOW)
    ec2.add_client_error("describe_spot_price_history", "UnauthorizedOperation", "no", 403)
    pricing.add_client_error("get_products", "AccessDeniedException", "no", 400)
    book = source.book(NOW, NOW + HOUR)
    assert book.spot("g4dn.xlarge", ZONE, NOW).usd == Decimal("0.21")
    assert book.on_demand("g4dn.xlarge").usd == Decimal("0.6")
    spot, on_demand = book.remarks
    assert "UnauthorizedOperation" in spot and "allow ec2:DescribeSpotPriceHistory" in spot
    assert "AccessDeniedException" in on_demand and "allow pricing:GetProducts" in on_demand


def test_the_price_table_is_used_when_aws_never_answered(
    source: PriceSource, ec2: Stubber, pricing: Stubber
) -> None:
    ec2.add_client_error("describe_spot_price_history", "UnauthorizedOperation", "no", 403)
    expect_product(pricing, product("0.6"))
    book = source.book(NOW, NOW)
    assert book.spot("g4dn.xlarge", "eun1-az1", NOW).usd == Decimal("0.1881")
    assert book.on_demand("g4dn.xlarge").usd == Decimal("0.6")
    assert len(book.remarks) == 1


def test_a_damaged_cache_is_replaced(source: PriceSource, ec2: Stubber, pricing: Stubber) -> None:
    source.cache_path.write_text('{"region": "eu-no', encoding="utf-8")
    expect_history(ec2, [change("0.21", NINE)])
    expect_product(pricing, product("0.6"))
    assert source.book(NOW, NOW).spot("g4dn.xlarge", ZONE, NOW).usd == Decimal("0.21")
    json.loads(source.cache_path.read_text(encoding="utf-8"))


def test_price_changes_of_the_sandbox_are_read_with_their_history(tmp_path: Path) -> None:
    with running_sandbox(SandboxConfig(scale=3600, seed=1)) as sandbox:
        clients = AwsClients(Aws(endpoint_url=sandbox.endpoint_url))
        source = PriceSource(clients, REGION, ("g4dn.xlarge", "g5.xlarge"), tmp_path / "p.json")
        before = sandbox.clock.now() + 1
        sandbox.clock.sleep(3600)
        sandbox.surge("g4dn.xlarge", 2.0)
        sandbox.clock.sleep(3600)
        book = source.book(before, sandbox.clock.now())
    assert book.remarks == ()
    assert book.spot("g4dn.xlarge", ZONE, before).usd == Decimal("0.1881")
    now = {
        (one.instance_type, one.zone): one.spot
        for one in book.offers(source.instance_types, before + 7200)
    }
    assert now == {
        ("g4dn.xlarge", "eu-north-1a"): Decimal("0.3762"),
        ("g4dn.xlarge", "eu-north-1b"): Decimal("0.3918"),
        ("g4dn.xlarge", "eu-north-1c"): Decimal("0.3860"),
        ("g5.xlarge", "eu-north-1b"): Decimal("0.4419"),
        ("g5.xlarge", "eu-north-1c"): Decimal("0.4423"),
    }
    assert book.on_demand("g5.xlarge").usd == Decimal("1.067")
