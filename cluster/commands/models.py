"""`shopkeeper models`: the registry of bundles and releases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.home import Home, home
from cluster.output import Output, command
from training.contracts.errors import InputError, Problem, nearest

if TYPE_CHECKING:
    from training.bundles.manifest import Manifest

app = typer.Typer(help="Look at bundles and decide which one is served.", no_args_is_help=True)

ShopOption = Annotated[str | None, typer.Option("--shop-id", help="Which shop, where this home has several shops.")]
Version = Annotated[str, typer.Argument(help="A version that `models list` shows.")]
JobName = Annotated[str, typer.Argument(help="The job, e.g. recommender.")]


@app.command("list")
@command
def list_models(output: Output, shop: ShopOption = None) -> None:
    """Every bundle by shop, newest last, with its metric and the aliases that point to it.

    Example: shopkeeper models list
    """
    place = home()
    rows = [_row(place, manifest) for manifest in _manifests(place) if shop in (None, manifest.shop_id)]
    text = "\n".join(
        f"{row['shop_id']:<16} {row['job']:<12} {row['version']}  {row['model']:<22} {_metric(row)}  "
        + ", ".join(row["aliases"])
        for row in rows
    )
    output.answer({"models": rows}, text or "no bundles yet: shopkeeper train recommender --data SHOP")


@app.command("show")
@command
def show(output: Output, version: Version) -> None:
    """One bundle's manifest: data, config, metrics, baselines, checksums.

    Example: shopkeeper models show 20260131-142233-9f3a
    """
    place = home()
    manifest = _find(place, version)
    document = {**manifest.model_dump(mode="json"), "aliases": _aliases(place, manifest)}
    output.answer(document, manifest.model_dump_json(indent=1))


@app.command("compare")
@command
def compare(output: Output, a: Version, b: Version) -> None:
    """Two bundles' metrics and what differs in their configs.

    Example: shopkeeper models compare 20260131-142233-9f3a 20260201-090000-1c2d
    """
    from cluster.commands.train import metrics_text

    place = home()
    first, second = _find(place, a), _find(place, b)
    shared = [name for name in first.metrics if name in second.metrics]
    difference = {name: second.metrics[name] - first.metrics[name] for name in shared}
    config = {
        name: [first.config.get(name), second.config.get(name)]
        for name in {**first.config, **second.config}
        if first.config.get(name) != second.config.get(name)
    }
    same_data = first.data.fingerprint == second.data.fingerprint
    output.answer(
        {"a": _row(place, first), "b": _row(place, second), "difference": difference, "config": config,
         "same_data": same_data},
        metrics_text({a: first.metrics, b: second.metrics, "difference": difference})
        + f"\nconfig: {config or 'the same'}; data: {'the same' if same_data else 'not the same'}",
    )  # fmt: skip


@app.command("promote")
@command
def promote(output: Output, job: JobName, version: Version) -> None:
    """Serve this version from now on, by a new release that differs in this job only.

    Example: shopkeeper models promote recommender 20260131-142233-9f3a
    """
    from cluster.bundle_fit import RECOMMENDER, refuse_misfit_to_state
    from training.bundles.registry import Registry
    from training.bundles.store import BundleStore

    place = home()
    manifest = _find(place, version, job)
    folder = BundleStore(place.bundles).fetch(manifest.shop_id, job, version)
    if job == RECOMMENDER:
        refuse_misfit_to_state(place, folder, manifest.shop_id)
    release = Registry(place.releases, manifest.shop_id).promote(job, version)
    output.answer(
        release.model_dump(mode="json"), f"{manifest.shop_id}: release {release.release}, {job} {version} is champion"
    )


@app.command("rollback")
@command
def rollback(output: Output, job: JobName, shop: ShopOption = None) -> None:
    """Serve the version of this job that served before; of the shop that runs, where a home has several.

    Example: shopkeeper models rollback recommender
    """
    from training.bundles.registry import Registry

    place = home()
    chosen = _shop(place, shop)
    release = Registry(place.releases, chosen).rollback(job)
    output.answer(
        release.model_dump(mode="json"), f"{chosen}: release {release.release}, {job} {release.jobs[job]} is champion"
    )


def _shop(place: Home, asked: str | None) -> str:
    """The shop asked for, else the one that runs or ran last, else the only one."""
    from cluster.jobs import shop_ids
    from cluster.local.run_state import load_run_state

    known, state = shop_ids(place), load_run_state(place)
    running = state.shop_id if state and state.shop_id in known else None
    chosen = asked or running or (known[0] if len(known) == 1 else None)
    if chosen in known:
        return str(chosen)
    raise InputError(
        Problem(
            field="--shop-id", problem="name one shop of this home" if known else "no bundles yet", found=asked,
            allowed=", ".join(known) or "shopkeeper train recommender --data SHOP", nearest=nearest(asked or "", known),
        )
    )  # fmt: skip


def _manifests(place: Home) -> Iterator[Manifest]:
    """Of every bundle of this home, by shop, job and age."""
    from cluster.jobs import shop_ids
    from training.bundles.store import BundleStore

    store = BundleStore(place.bundles)
    for shop_id in shop_ids(place):
        for job in sorted(folder.name for folder in (place.bundles / shop_id).iterdir() if folder.is_dir()):
            yield from (store.manifest(shop_id, job, version) for version in store.versions(shop_id, job))


def _find(place: Home, version: str, job: str | None = None) -> Manifest:
    manifests = {manifest.version: manifest for manifest in _manifests(place) if job in (None, manifest.job)}
    if version not in manifests:
        raise InputError(
            Problem(
                field="VERSION", problem=f"no such {job or ''} bundle".replace("  ", " "), found=version,
                allowed=", ".join(list(manifests)[-5:]) or "none yet", nearest=nearest(version, manifests),
            )
        )  # fmt: skip
    return manifests[version]


def _aliases(place: Home, manifest: Manifest) -> list[str]:
    from training.bundles.registry import Registry

    registry = Registry(place.releases, manifest.shop_id)
    releases = {alias: registry.get(alias) for alias in ("champion", "candidate", "previous")}
    return [
        alias for alias, release in releases.items() if release and release.jobs.get(manifest.job) == manifest.version
    ]


def _row(place: Home, manifest: Manifest) -> dict[str, Any]:
    return {
        "shop_id": manifest.shop_id,
        "job": manifest.job,
        "version": manifest.version,
        "model": manifest.model,
        "created_at": manifest.created_at.isoformat(),
        "metrics": manifest.metrics,
        "aliases": _aliases(place, manifest),
    }


def _metric(row: dict[str, Any]) -> str:
    from training.jobs.registry import JOBS

    name = JOBS[row["job"]].selection_metric if row["job"] in JOBS else next(iter(row["metrics"]))
    return f"{name} {row['metrics'].get(name, float('nan')):.4f}"
