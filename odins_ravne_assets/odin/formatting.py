"""Money, durations and sizes as text."""

from decimal import Decimal

from resources.pricing.prices import CostKind, Market

HOUR_SECONDS, MINUTE_SECONDS = 3600, 60
# The part of a report for idle machines, next to the parts by kind of cost; stored in its JSON.
IDLE_PART = "waited"
KIND_LABELS: dict[str, str] = {
    CostKind.ATTEMPT: "processing",
    CostKind.OVERHEAD: "boot and idle time",
    CostKind.DISK: "disks",
    CostKind.ADDRESS: "public addresses",
    CostKind.REQUESTS: "requests to S3",
    CostKind.TRANSFER: "transfer out of AWS",
    CostKind.LOGS: "logs in CloudWatch",
    IDLE_PART: "idle machines without a job",
}
MARKET_LABELS: dict[str, str] = {Market.ON_DEMAND: "on-demand", Market.LOCAL: "this machine"}
STORAGE_CLASS_LABELS = {
    "STANDARD": "Standard",
    "STANDARD_IA": "Infrequent Access",
    "GLACIER": "Glacier",
}


def format_usd(amount: Decimal | float | None) -> str:
    """Format USD with two decimals, amounts below a dollar with four; "-" for None."""
    if amount is None:
        return "-"
    if amount and -1 < amount < 1:
        return f"${amount:.4f}"
    return f"${amount:,.2f}"


def format_share(share: float | None) -> str:
    """Format a share of 1 in percent; "-" for None."""
    return "-" if share is None else f"{share:.1%}"


def format_duration(seconds: float) -> str:
    """Format a duration, as 2 h 05 min, 9.5 min or 40 s."""
    if seconds >= HOUR_SECONDS:
        minutes = round(seconds / MINUTE_SECONDS)
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return (
        f"{seconds / MINUTE_SECONDS:.1f} min" if seconds >= MINUTE_SECONDS else f"{seconds:.0f} s"
    )


def format_size(size: int) -> str:
    """Format bytes in binary units, as S3 counts them."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def format_count(count: int, noun: str) -> str:
    """Format a count with its noun, as 1 job or 2 jobs."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
