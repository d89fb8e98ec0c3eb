"""Instance types, their zones and prices, and the spot market.

On-demand prices, spot prices by zone and sizes are those of Linux machines in eu-north-1
in SkyPilot's public catalog (skypilot-org/skypilot-catalog, catalogs/v9/aws/vms.csv at
commit 2c3d7ea7, late 2026), in USD per hour.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from math import floor
from typing import NamedTuple

ANY = "*"


class InstanceLifecycle(StrEnum):
    """The purchase option of a machine, as EC2 names it."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"


SPOT, ON_DEMAND = InstanceLifecycle.SPOT, InstanceLifecycle.ON_DEMAND


class InstanceType(NamedTuple):
    """An instance type. `spot` holds its spot prices, by the letter of the zone."""

    name: str
    vcpus: int
    gpus: int
    memory_mib: int
    on_demand: float
    spot: dict[str, float]


TYPES = {
    kind.name: kind
    for kind in (
        InstanceType("g4dn.xlarge", 4, 1, 16384, 0.558, {"a": 0.1881, "b": 0.1959, "c": 0.1930}),
        InstanceType("g5.xlarge", 4, 1, 16384, 1.067, {"b": 0.4419, "c": 0.4423}),
        InstanceType("g6.xlarge", 4, 1, 16384, 0.8536, {"a": 0.3411, "b": 0.3183}),
        InstanceType("g6e.xlarge", 4, 1, 32768, 1.974, {"a": 0.9487, "b": 0.7357}),
    )
}


class PricePoint(NamedTuple):
    """The spot price of `kind` in `zone` from `time` on, in USD per hour."""

    time: float
    kind: str
    zone: str
    price: float


class SpotMarket:
    """The spot market: prices, which a surge multiplies, and their history.

    Args:
        now: the account's time, in seconds since 1970 UTC.
    """

    def __init__(self, region: str, now: Callable[[], float]) -> None:
        self._region = region
        self._now = now
        self._factors: dict[tuple[str, str], float] = {}
        self.history: list[PricePoint] = []
        self._record(TYPES)

    def offers(self, kind: str, zone: str) -> bool:
        """True if a zone offers the type."""
        return zone.removeprefix(self._region) in TYPES[kind].spot

    def price(self, kind: str, zone: str, lifecycle: InstanceLifecycle) -> float:
        """Return the present price in USD per hour; spot never costs more than on-demand."""
        offered = TYPES[kind]
        if lifecycle == ON_DEMAND:
            return offered.on_demand
        factor = self._factors.get((kind, zone), self._factors.get((kind, ANY), 1.0))
        letter = zone.removeprefix(self._region)
        return round(min(offered.spot[letter] * factor, offered.on_demand), 6)

    def surge(self, kind: str, factor: float, zone: str = ANY) -> None:
        """Multiply the spot price of a type, in one zone or all; a factor of 1 ends the surge."""
        if zone == ANY:
            self._factors = {key: at for key, at in self._factors.items() if key[0] != kind}
        self._factors[kind, zone] = factor
        self._record([kind])

    def _record(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            for letter in TYPES[kind].spot:
                zone = self._region + letter
                price = self.price(kind, zone, SPOT)
                self.history.append(PricePoint(floor_seconds(self._now()), kind, zone, price))


def floor_seconds(moment: float) -> float:
    """Round down to whole seconds, as EC2 does for launches, terminations and prices."""
    return float(floor(moment))
