"""`munin cost lifecycle` and `restore`: storage classes of footage, and its restore."""

import json
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from odins_ravne_assets.cli.cloud_profile import load_cloud_profile
from odins_ravne_assets.cli.terminal import out, print_log
from resources.aws.clients import AwsClients
from resources.errors import UsageError
from resources.pricing.sources import shipped_prices
from resources.retention.archive import RESTORE_HOURS, ObjectStorageClass, Tier, restore_usd

app = typer.Typer()


@app.command()
def lifecycle(
    context: typer.Context,
    apply: Annotated[
        bool, typer.Option("--apply", help="Apply the profile's rules to the bucket.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show when footage moves to cheaper storage classes, by the profile and in the bucket.

    Results and models never move. Rules that were created elsewhere are not changed.
    """
    cloud = load_cloud_profile(context.obj.name, "cost lifecycle")
    from resources.retention.bucket_policy import StorageLifecycle

    policy = StorageLifecycle(cloud.aws, cloud.profile.storage.lifecycle)
    if apply:
        policy.apply(print_log)
    found = policy.status()
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
        return
    table = Table()
    for heading in ("rule", "what it does", "now"):
        table.add_column(heading, overflow="fold")
    for rule in found.rules:
        now = f"{rule.state}: {rule.detail}" if rule.detail else rule.state
        table.add_row(rule.name, rule.what, now)
    out.print(f"bucket {found.bucket}", soft_wrap=True)
    out.print(table)
    if found.others:
        out.print(f"Other rules, unchanged: {', '.join(found.others)}", soft_wrap=True)
    for remark in (*found.dangers, *found.remarks):
        out.print(remark, soft_wrap=True, markup=False)
    if found.drift:
        command = f"munin --profile {context.obj.name} cost lifecycle --apply"
        out.print(f"To apply the profile's rules: {command}", soft_wrap=True)


@app.command()
def restore(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="s3:// URL of archived footage: a folder or a file.")],
    days: Annotated[
        int, typer.Option(min=1, help="Days for which the restored copy is readable.")
    ] = 7,
    tier: Annotated[
        Tier, typer.Option(help="bulk takes 5 to 12 hours, standard 3 to 5 and costs more.")
    ] = "bulk",
    start: Annotated[
        bool, typer.Option("--start", help="Request the restore, not only its price.")
    ] = (False),
) -> None:
    """Show the price and the progress of restoring archived footage; with --start, request it."""
    cloud = load_cloud_profile(context.obj.name, f"cost restore {url}")
    from resources.retention.archive import list_storage_classes, request_restore

    if not url.startswith("s3://"):
        raise UsageError(f"{url}: is a local path, where nothing is archived; name an s3:// URL")
    clients = AwsClients(cloud.aws)
    found = list(list_storage_classes(clients, url))
    wanted = [each for each in found if each.is_archived and not each.restoring]
    _print_availability(url, found)
    if not wanted:
        return
    usd = restore_usd(shipped_prices(cloud.aws.region), wanted, days, tier)
    hours = RESTORE_HOURS[wanted[0].storage_class][tier]
    price = f"{_count_objects(len(wanted))} for {days} days: about ${usd:.2f}, in {hours} hours"
    if not start:
        out.print(f"{price} ({tier}). With --start, they are requested.", soft_wrap=True)
        return
    requested = request_restore(clients, url, wanted, days, tier)
    out.print(f"Requested {_count_objects(requested)}; {price}.", soft_wrap=True)
    out.print("The same command shows the progress; then run the camera again.")


def _print_availability(url: str, found: Sequence[ObjectStorageClass]) -> None:
    """Print the number of objects, and of those that cannot be read."""
    archived = [each for each in found if each.is_archived]
    restoring = sum(each.restoring for each in archived)
    until = min((each.readable_until for each in found if each.readable_until), default=None)
    parts = [f"{url}: {_count_objects(len(found))}"]
    if archived:
        size = sum(each.size for each in archived) / 1e9
        parts.append(f"{len(archived)} archived ({size:.2f} GB), of which {restoring} requested")
    else:
        parts.append("all readable")
    if until:
        parts.append(f"restored ones readable until at least {until:%Y-%m-%d %H:%M} UTC")
    out.print(", ".join(parts), soft_wrap=True, markup=False)


def _count_objects(number: int) -> str:
    return f"{number} object{'s' * (number != 1)}"
