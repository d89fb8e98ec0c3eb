"""`munin cost lifecycle`: how stored footage ages."""

import json
from typing import Annotated

import typer
from rich.table import Table

from odins_ravne_assets.cloud_named import cloud_named
from odins_ravne_assets.terminal import out, say

app = typer.Typer()


@app.command()
def lifecycle(
    context: typer.Context,
    apply: Annotated[
        bool, typer.Option("--apply", help="Make the rules what the profile says.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """When stored footage moves to cheaper classes, and whether the bucket's rules say so.

    Results and models never move. Rules that others made stay as they are.
    """
    cloud = cloud_named(context.obj.name, "cost lifecycle")
    from resources.storage_lifecycle import StorageLifecycle

    policy = StorageLifecycle(cloud.aws, cloud.profile.storage.lifecycle)
    if apply:
        policy.apply(say)
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
        out.print(f"Rules of others, left as they are: {', '.join(found.others)}", soft_wrap=True)
    for remark in (*found.dangers, *found.remarks):
        out.print(remark, soft_wrap=True, markup=False)
    if found.drift:
        command = f"munin --profile {context.obj.name} cost lifecycle --apply"
        out.print(f"`{command}` makes them what the profile says.", soft_wrap=True)
