"""S3's prices for storage classes, transitions between them, and transfer out of AWS."""

from dataclasses import dataclass
from decimal import Decimal

from resources.errors import RavneError
from resources.pricing.prices import GIB, PriceBook, Quote
from resources.retention.inventory import StoredDay
from resources.retention.rules import INDEX_IN_GLACIER, INDEX_IN_STANDARD, MIN_BILLED_BYTES

# Storage class -> its rate in price_table.yaml; in the order in which objects age.
STORAGE_CLASS_RATES = {
    "STANDARD": "s3-standard",
    "STANDARD_IA": "s3-standard-ia",
    "GLACIER": "s3-glacier",
}
TRANSITION_RATES = {
    "STANDARD_IA": "s3-transition-to-ia",
    "GLACIER": "s3-transition-to-glacier",
}


@dataclass(frozen=True)
class StoragePrices:
    """Prices of storage.

    Args:
        monthly: of a GB-month, by storage class.
        transitions: of a thousand transitions into a storage class.
        transfer_out: of a GB out of AWS.
    """

    monthly: dict[str, Quote]
    transitions: dict[str, Quote]
    transfer_out: Quote

    @property
    def quotes(self) -> tuple[Quote, ...]:
        """All prices."""
        return (*self.monthly.values(), *self.transitions.values(), self.transfer_out)

    def usd_per_month(self, day: StoredDay, storage_class: str) -> Decimal:
        """Return the monthly USD of objects in this class; 0 if its price is not known."""
        if storage_class not in self.monthly:
            return Decimal(0)
        usd = self.monthly[storage_class].usd
        if storage_class == "STANDARD_IA" and day.min_size < MIN_BILLED_BYTES:
            return _gb(day.objects * MIN_BILLED_BYTES) * usd
        if storage_class == "GLACIER":
            index = _gb(day.objects * INDEX_IN_STANDARD) * self.monthly["STANDARD"].usd
            return _gb(day.bytes + day.objects * INDEX_IN_GLACIER) * usd + index
        return _gb(day.bytes) * usd

    def transition_usd(self, day: StoredDay, storage_class: str) -> Decimal:
        """Return the USD for the transition of objects into this class."""
        return self.transitions[storage_class].usd * day.objects / 1000

    def transfer_out_usd(self, size: int) -> Decimal:
        """Return the USD for transferring bytes out of AWS.

        The first 100 GB of an account's month are free ("Amazon EC2 on-demand pricing", data
        transfer); this is the price past them.
        """
        return _gb(size) * self.transfer_out.usd


def find_storage_prices(book: PriceBook) -> StoragePrices | None:
    """Return the storage prices of a region; None if they are not known."""
    try:
        return StoragePrices(
            {name: book.rate(item) for name, item in STORAGE_CLASS_RATES.items()},
            {name: book.rate(item) for name, item in TRANSITION_RATES.items()},
            book.rate("transfer-out"),
        )
    except RavneError:
        return None


def _gb(size: int | Decimal) -> Decimal:
    return size / GIB
