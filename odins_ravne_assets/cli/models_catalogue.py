"""`munin models catalogue`, `add`, `use`, `list` and `remove`: models of the field."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from gpu_kernels.models.catalogue.entry import (
    CatalogueEntry,
    entries_for,
    find_entry,
    is_entry,
    load_entry,
)
from gpu_kernels.models.ensemble import load_all_manifests, load_ensemble
from gpu_kernels.models.manifest import (
    UNKNOWN,
    find_manifest,
    load_manifest,
    shipped_ensembles,
    shipped_models,
)
from gpu_kernels.models.models_folder import (
    installed_manifest,
    installed_models,
    local_models_folder,
)
from odins_ravne_assets.cameras.results_store import store_of
from odins_ravne_assets.cli.models_describe import verified_line
from odins_ravne_assets.cli.terminal import TransferBar, err, out, print_log
from odins_ravne_assets.model_library.used_models import add_command, shell_word, used_models
from resources.errors import ModelError, UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Profile
from resources.storage.object_store import S3_SCHEME, ObjectStore
from resources.user_path import user_path

# Columns of a terminal that the table of the catalogue needs.
CATALOGUE_WIDTH = 160


def show_catalogue(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="All that is known of this model.")] = None,
    region: Annotated[
        str | None,
        typer.Option(help="Only models for this region, as Africa or Tasmania; and for the world."),
    ] = None,
    country: Annotated[
        str | None, typer.Option(help="The same by the country's two letters, as SE.")
    ] = None,
) -> None:
    """List the models that can be installed, or what is known of one."""
    folder = load_profile(context.obj.name).models.folder
    if name is not None:
        _print_entry(find_entry(name), folder)
        return
    if country and not (len(country) == 2 and country.isalpha()):
        raise UsageError(f"--country {country}: must be two letters (ISO 3166), as SE")
    entries = entries_for(region, country)
    if out.width < CATALOGUE_WIDTH:
        _print_list(entries, folder)
    else:
        out.print(_catalogue_table(entries, folder))
    out.print("More on one: munin models catalogue NAME. To install one: munin models add NAME")
    if (region or country) and not any(entry.is_regional for entry in entries):
        print_log(f"No model for {region or country} in particular; these are for the world.")


def _print_list(entries: list[CatalogueEntry], folder: str | None) -> None:
    """Print two lines for each model, for a terminal that the table does not fit."""
    installed = installed_models(folder)
    heading = ""
    for entry in entries:
        if heading != (heading := _heading(entry)):
            out.print(f"\n{heading}")
        mark = ", installed" if entry.name in installed else ""
        out.print(f"[bold]{entry.name}[/]: {entry.finds}{mark}", soft_wrap=True)
        facts = [entry.region, entry.licence, _size(entry), entry.input, entry.speed]
        out.print(f"    {'; '.join(filter(None, facts))}", soft_wrap=True, markup=False)
    out.print()


def _heading(entry: CatalogueEntry) -> str:
    if entry.task == "detector":
        return "Detectors (models.detector)"
    return f"Classifiers (models.classifier) for {'a region' if entry.is_regional else 'the world'}"


def _catalogue_table(entries: list[CatalogueEntry], folder: str | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("task", "finds", "region", "licence", "size", "input", "speed", "installed"):
        table.add_column(heading)
    installed = installed_models(folder)
    for entry in entries:
        table.add_row(
            entry.name,
            entry.task,
            entry.finds,
            entry.region,
            entry.licence,
            _size(entry),
            entry.input,
            entry.speed,
            "yes" if entry.name in installed else "",
        )
    return table


def _size(entry: CatalogueEntry) -> str:
    return f"{entry.size_mb:.0f} MB" if entry.size_mb else ""


def _print_entry(entry: CatalogueEntry, folder: str | None) -> None:
    download = entry.download
    checked = (
        f"sha256 {download.sha256}"
        if download.sha256
        else f"md5 {download.md5}"
        if download.md5
        else f"MD5 of {download.md5_from}"
        if download.md5_from
        else "none published: recorded on first use"
    )
    network = download.member_sha256 or (
        "by its package, else recorded on first use" if download.member else checked
    )
    rows = {
        "task": entry.task,
        "finds": entry.finds,
        "region": entry.region + (f" ({' '.join(entry.countries)})" if entry.countries else ""),
        "licence": "; ".join(f"{each.name}: {each.meaning}" for each in entry.licences),
        "licence note": entry.licence_note or "",
        "size": _size(entry) or "not published",
        "input": entry.input,
        "speed": entry.speed,
        "description": entry.description,
        "limitations": entry.limitations,
        "home": entry.home,
        "citation": entry.citation,
        "download": download.url,
        "checksum": checked,
        "checksum of the network": network,
        "installed": str(installed_manifest(entry.name, folder) or "no"),
    }
    out.print(entry.name, markup=False)
    for key, value in rows.items():
        if value:
            out.print(f"  {key}: {value}", soft_wrap=True, markup=False)
    out.print("  sources:")
    for fact in entry.facts:
        out.print(f"    {fact.what}: {fact.source}, {fact.date}", soft_wrap=True, markup=False)
    out.print(f"To install it: {add_command(entry)}", soft_wrap=True, markup=False)


def add_model(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            help="A model of the catalogue; or the path of a catalogue entry, or of a manifest.",
        ),
    ],
    accept: Annotated[
        str | None, typer.Option(metavar="LICENCE", help="Accept this licence of the model.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Copy it there too, for jobs: s3://BUCKET/models, or a folder. Default: "
            "models.folder, if it is in a bucket."
        ),
    ] = None,
    given: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Use this file in place of the download; or download from this URL.",
        ),
    ] = None,
) -> None:
    """Install a model: download it, check it, write its manifest.

    An interrupted download continues where it ended.
    """
    profile = load_profile(context.obj.name)
    folder = profile.models.folder
    if to is None and folder and folder.startswith(S3_SCHEME):
        to = folder
    store = store_of(to, profile) if to else None
    target = _install_named(name, folder, accept, given)
    out.print(f"installed: {target}", soft_wrap=True, markup=False)
    if store is not None and to is not None:
        _copy_to(store, target, to, folder)
    key = _profile_key(str(target / f"{target.name}.toml"))
    _print_use(context, profile, target.name, key)


def _copy_to(store: ObjectStore, target: Path, to: str, folder: str | None) -> None:
    # Takes half a second, for which `munin --help` need not wait.
    from odins_ravne_assets.model_library.bucket import upload_model

    changed = upload_model(target, store)
    out.print(f"{'copied to' if changed else 'is in'} {to}", soft_wrap=True, markup=False)
    if folder != to:
        out.print(f"Jobs on AWS find it if the profile has models.folder: {to}", soft_wrap=True)


def _install_named(name: str, folder: str | None, accept: str | None, given: str | None) -> Path:
    """Install a model of the catalogue, or of an entry or a manifest by its path.

    Returns:
        The model's folder.
    """
    from odins_ravne_assets.model_library.own_model import install_own

    path = user_path(name)
    if path.suffix != ".toml":
        if path.is_file():
            raise UsageError(
                f"{name}: is no manifest; if it is an ONNX file, write one: munin models describe "
                f"{shell_word(name)} --write {shell_word(str(path.with_suffix('.toml')))}"
            )
        return _install_entry(find_entry(name), name, folder, accept, given)
    if not path.is_file():
        raise UsageError(
            f"{name}: no such file; name a model of `munin models catalogue`, or the path of a "
            "catalogue entry or a manifest"
        )
    if is_entry(path):
        return _install_entry(load_entry(path), name, folder, accept, given)
    if given or accept:
        raise UsageError(
            f"{name}: is a manifest, not a catalogue entry: it takes no --from and no --accept"
        )
    check = _Check(folder)
    target = install_own(name, local_models_folder(folder), check)
    check.print_lines()
    return target


class _Check:
    """Verifies a model before it is installed; those of an ensemble, too."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._lines: list[str] = []

    def __call__(self, manifest: Path) -> None:
        """Verify the models of a manifest; see `verified_line`."""
        self._lines += map(verified_line, load_all_manifests(str(manifest), self._folder))

    def print_lines(self) -> None:
        """Print what the models find: later than `__call__`, when no bar is in the way."""
        for line in self._lines:
            out.print(line, soft_wrap=True, markup=False)


def _install_entry(
    entry: CatalogueEntry, typed: str, folder: str | None, accept: str | None, given: str | None
) -> Path:
    """Install a model of the catalogue, and return its folder.

    Args:
        typed: the name or path by which the user names the entry.
    """
    from odins_ravne_assets.model_library.install import install

    _require_accepted(entry, typed, accept, given)
    meanings = "; ".join(f"{each.name}: {each.meaning}" for each in entry.licences)
    out.print(f"licence {meanings}", soft_wrap=True, markup=False)
    if entry.licence_note:
        out.print(f"note: {entry.licence_note}", soft_wrap=True, markup=False)
    check, title = _Check(folder), f"downloading {entry.name}"
    if not err.is_interactive and (given is None or "://" in given):
        print_log(f"{title} from {given or entry.download.url}")
    with TransferBar(title) as bar:
        result = install(
            entry,
            local_models_folder(folder),
            given,
            accept is not None,
            bar.on_bytes,
            print_log,
            check,
        )
    if result.unchanged:
        out.print(f"{entry.name} is installed already", markup=False)
        check(result.folder / f"{entry.name}.toml")
    for note in result.notes:
        out.print(f"note: {note}", soft_wrap=True, markup=False)
    check.print_lines()
    return result.folder


def _require_accepted(
    entry: CatalogueEntry, typed: str, accept: str | None, given: str | None
) -> None:
    """Check that a licence that binds the user is accepted.

    Raises:
        UsageError: it is not, or another licence is.
    """
    if accept is not None and accept.casefold() != entry.licence.casefold():
        raise UsageError(
            f"--accept {accept}: the licence of {entry.name} is {entry.licence}; pass --accept "
            f"{shell_word(entry.licence)}"
        )
    if entry.binds and accept is None:
        meanings = "; ".join(f"{each.name}: {each.meaning}" for each in entry.licences)
        with_file = f" --from {shell_word(given)}" if given else ""
        raise UsageError(
            f"model {entry.name}: its licence must be accepted. {meanings}. If you accept it: "
            f"{add_command(entry, typed)}{with_file}"
        )


def _profile_key(path: str) -> str:
    """Return the key of the profile's section `models` that a model belongs to."""
    if load_ensemble(path):
        return "detector"
    manifest = load_manifest(path)
    return "category_detector" if manifest.category_refinement else manifest.task


def _print_use(context: typer.Context, profile: Profile, name: str, key: str) -> None:
    """Say which lines of the profile use the model."""
    using = [key for key, used in used_models(profile.models).items() if used == name]
    if using:
        out.print(
            f"Profile {context.obj.name} uses it: models.{using[0]}: {name}",
            soft_wrap=True,
            markup=False,
        )
        return
    out.print(
        f"To use it: munin models use {name} --profile mine.yaml, which writes these lines:",
        soft_wrap=True,
    )
    out.print(f"  models:\n    {key}: {name}", markup=False)


def use_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A shipped or installed model.")],
    profile: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Your profile; it is created if it does not exist."),
    ] = None,
) -> None:
    """Name a model in your profile's YAML file; comments and other lines stay."""
    from odins_ravne_assets.model_library.profile_file import set_models_key

    path = user_path(profile or context.obj.name)
    if path.suffix not in {".yaml", ".yml"}:
        raise UsageError(
            f"profile {path}: is not a YAML file of yours; name one, which is created if it does "
            f"not exist: munin models use {name} --profile mine.yaml"
        )
    folder = load_profile(str(path)).models.folder if path.is_file() else None
    key = _profile_key(str(find_manifest(name, folder)))
    before = set_models_key(path, key, name)
    load_profile(str(path))
    changed = f" (was {before})" if before not in {None, name} else ""
    out.print(f"{path}: models.{key}: {name}{changed}", soft_wrap=True, markup=False)


def remove_installed(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="An installed model.")],
) -> None:
    """Remove an installed model, and what is left of its download."""
    from odins_ravne_assets.model_library.removal import ensembles_with, remove_model

    profile = load_profile(context.obj.name)
    folder = profile.models.folder
    for path in remove_model(name, folder):
        out.print(f"removed: {path}", soft_wrap=True, markup=False)
    if folder and folder.startswith(S3_SCHEME):
        out.print(f"The copy in {folder} stays; jobs use it.", soft_wrap=True, markup=False)
    using = [key for key, used in used_models(profile.models).items() if used == name]
    for key in using:
        print_log(
            f"profile {context.obj.name} names it: models.{key}: {name}; name another: munin "
            f"models use NAME --profile {context.obj.name}"
        )
    for ensemble in ensembles_with(name, folder):
        print_log(f"the installed ensemble {ensemble} has it as a part, and cannot be used now")


def print_models(profile: Profile, profile_name: str) -> None:
    """Print the shipped and the installed models, and the roles that the profile gives them."""
    folder = profile.models.folder
    roles: dict[str, list[str]] = {}
    for key, used in used_models(profile.models).items():
        roles.setdefault(used, []).append(f"models.{key}")
    shipped = [*shipped_models(), *shipped_ensembles()]
    for name in dict.fromkeys([*shipped, *installed_models(folder), *roles]):
        facts, description = _facts(name, folder, "shipped" if name in shipped else "installed")
        if name in roles:
            facts.append(f"used by profile {profile_name}: {', '.join(roles[name])}")
        out.print(f"[bold]{escape(name)}[/]: {escape('; '.join(facts))}", soft_wrap=True)
        out.print(f"    {description}", soft_wrap=True, markup=False)


def _facts(name: str, folder: str | None, origin: str) -> tuple[list[str], str]:
    """Return the task, the origin and the licence of a model, and its description."""
    if name.endswith(".json"):
        return ["predictions of SpeciesNet"], "They label boxes in place of a classifier."
    try:
        if ensemble := load_ensemble(name, folder):
            licences = {each.licence for each in load_all_manifests(name, folder)}
            return ["ensemble", origin, "; ".join(sorted(licences))], ensemble.description
        manifest = load_manifest(name, folder)
    except ModelError as error:
        return ["cannot be used"], str(error)
    licence = "licence not stated" if manifest.licence == UNKNOWN else manifest.licence
    description = manifest.description
    if description == UNKNOWN:
        description = f"No description in {find_manifest(name, folder)}"
    return [manifest.task, origin, licence], description
