"""What S3 charges for objects in a storage class, for moving them into one, and out of AWS."""

from dataclasses import dataclass
from decimal import Decimal

from resources.errors import RavneError
from resources.pricing.prices import GIB, PriceBook, Quote
from resources.retention.inventory import StoredDay
from resources.retention.rules import INDEX_IN_GLACIER, INDEX_IN_STANDARD, LEAST_BILLED

# Storage class -> its price in price_table.yaml; from the first to the last as objects age.
STORAGE_CLASS_RATES = {
    "STANDARD": "s3-standard",
    "STANDARD_IA": "s3-standard-ia",
    "GLACIER": "s3-glacier",
}
TRANSITION_RATES = {"STANDARD_IA": "s3-transition-to-ia", "GLACIER": "s3-transition-to-glacier"}


@dataclass(frozen=True)
class StoragePrices:
    """Of a GB-month in each class, of a thousand moves into it, and of a GB that leaves AWS."""

    month: dict[str, Quote]
    move: dict[str, Quote]
    out: Quote

    @property
    def quotes(self) -> tuple[Quote, ...]:
        return (*self.month.values(), *self.move.values(), self.out)

    def usd_per_month(self, day: StoredDay, storage_class: str) -> Decimal:
        """USD for some objects, were they in this class; nothing if it has no known price."""
        if storage_class not in self.month:
            return Decimal(0)
        usd = self.month[storage_class].usd
        if storage_class == "STANDARD_IA" and day.at_least < LEAST_BILLED:
            return _gb(day.objects * LEAST_BILLED) * usd
        if storage_class == "GLACIER":
            extra = _gb(day.objects * INDEX_IN_STANDARD) * self.month["STANDARD"].usd
            return _gb(day.bytes + day.objects * INDEX_IN_GLACIER) * usd + extra
        return _gb(day.bytes) * usd

    def usd_to_move(self, day: StoredDay, storage_class: str) -> Decimal:
        """USD for moving some objects into this class."""
        return self.move[storage_class].usd * day.objects / 1000

    def usd_to_take_out(self, size: int) -> Decimal:
        """USD for copying so many bytes out of AWS, past the first 100 GB of an account's month,
        which are free ("Amazon EC2 on-demand pricing", data transfer)."""
        return _gb(size) * self.out.usd


def find_storage_prices(book: PriceBook) -> StoragePrices | None:
    """The prices of a region; None where they are not known."""
    try:
        return StoragePrices(
            {storage_class: book.rate(item) for storage_class, item in STORAGE_CLASS_RATES.items()},
            {storage_class: book.rate(item) for storage_class, item in TRANSITION_RATES.items()},
            book.rate("transfer-out"),
        )
    except RavneError:
        return None


def _gb(size: int | Decimal) -> Decimal:
    return size / GIB
