"""Money, times and sizes as people write them."""

from decimal import Decimal

HOUR_SECONDS, MINUTE_SECONDS = 3600, 60
# What a kind of row of the ledger is, and what a market is.
KIND_LABELS = {
    "attempt": "processing",
    "overhead": "boot and idle time",
    "disk": "disks",
    "address": "public addresses",
    "requests": "requests to S3",
    "transfer": "transfer out of AWS",
    "logs": "logs in CloudWatch",
    "waited": "machines that waited for work",
}
MARKET_LABELS = {"ondemand": "on-demand", "local": "this machine"}
STORAGE_CLASS_LABELS = {
    "STANDARD": "Standard",
    "STANDARD_IA": "infrequent access",
    "GLACIER": "Glacier",
}


def format_usd(amount: Decimal | None) -> str:
    """USD: cents, and small amounts in four digits after the point, as prices of a job need."""
    if amount is None:
        return "-"
    if amount and abs(amount) < 1:
        return f"${amount:.4f}"
    return f"${amount:,.2f}"


def format_share(part: float | None) -> str:
    """A share of 1 in percent."""
    return "-" if part is None else f"{part:.1%}"


def format_duration(seconds: float) -> str:
    """A duration, as 2 h 05 min, 9.5 min or 40 s."""
    if seconds >= HOUR_SECONDS:
        minutes = round(seconds / MINUTE_SECONDS)
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return (
        f"{seconds / MINUTE_SECONDS:.1f} min" if seconds >= MINUTE_SECONDS else f"{seconds:.0f} s"
    )


def format_size(number: int) -> str:
    """Bytes, by powers of 1024 as S3 counts them."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def format_count(number: int, thing: str) -> str:
    """A number of things, as 1 job or 2 jobs."""
    return f"{number:,} {thing}{'s' * (number != 1)}"
