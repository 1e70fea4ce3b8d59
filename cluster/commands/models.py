"""`shopkeeper models`: the registry of bundles and releases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.home import home
from cluster.output import Output, command
from training.contracts.errors import InputError, Problem, nearest

if TYPE_CHECKING:
    from training.bundles.manifest import Manifest
    from training.bundles.registry import Registry
    from training.bundles.store import BundleStore

app = typer.Typer(help="Look at bundles and decide which one is served.", no_args_is_help=True)

ShopOption = Annotated[str | None, typer.Option("--shop-id", help="Which shop, where this home has several shops.")]
Version = Annotated[str, typer.Argument(help="A version that `models list` shows.")]
JobName = Annotated[str, typer.Argument(help="The job, e.g. recommender.")]


@app.command("list")
@command
def list_models(output: Output, shop: ShopOption = None) -> None:
    """Every bundle, newest last, with its metric and the aliases that point to it.

    Example: shopkeeper models list
    """
    store, registry = _open(shop)
    rows = [_row(manifest, _aliases(registry, manifest)) for manifest in _manifests(store, registry.shop_id)]
    text = "\n".join(
        f"{row['job']:<12} {row['version']}  {row['model']:<22} {_metric(row)}  {', '.join(row['aliases'])}"
        for row in rows
    )
    output.answer(
        {"shop_id": registry.shop_id, "models": rows},
        text or "no bundles yet: shopkeeper train recommender --data SHOP",
    )


@app.command("show")
@command
def show(output: Output, version: Version, shop: ShopOption = None) -> None:
    """One bundle's manifest: data, config, metrics, baselines, checksums.

    Example: shopkeeper models show 20260131-142233-9f3a
    """
    store, registry = _open(shop)
    manifest = _find(store, registry.shop_id, version)
    document = {**manifest.model_dump(mode="json"), "aliases": _aliases(registry, manifest)}
    output.answer(document, manifest.model_dump_json(indent=1))


@app.command("compare")
@command
def compare(output: Output, a: Version, b: Version, shop: ShopOption = None) -> None:
    """Two bundles' metrics and what differs in their configs.

    Example: shopkeeper models compare 20260131-142233-9f3a 20260201-090000-1c2d
    """
    from cluster.commands.train import metrics_text

    store, registry = _open(shop)
    first, second = (_find(store, registry.shop_id, version) for version in (a, b))
    shared = [name for name in first.metrics if name in second.metrics]
    difference = {name: second.metrics[name] - first.metrics[name] for name in shared}
    config = {
        name: [first.config.get(name), second.config.get(name)]
        for name in {**first.config, **second.config}
        if first.config.get(name) != second.config.get(name)
    }
    same_data = first.data.fingerprint == second.data.fingerprint
    output.answer(
        {
            "a": _row(first, []),
            "b": _row(second, []),
            "difference": difference,
            "config": config,
            "same_data": same_data,
        },
        metrics_text({a: first.metrics, b: second.metrics, "difference": difference})
        + f"\nconfig: {config or 'the same'}; data: {'the same' if same_data else 'not the same'}",
    )


@app.command("promote")
@command
def promote(output: Output, job: JobName, version: Version, shop: ShopOption = None) -> None:
    """Serve this version from now on, by a new release that differs in this job only.

    Example: shopkeeper models promote recommender 20260131-142233-9f3a
    """
    store, registry = _open(shop)
    store.fetch(registry.shop_id, job, version)
    release = registry.promote(job, version)
    output.answer(release.model_dump(mode="json"), f"release {release.release}: {job} {version} is champion")


@app.command("rollback")
@command
def rollback(output: Output, job: JobName, shop: ShopOption = None) -> None:
    """Serve the version of this job that served before.

    Example: shopkeeper models rollback recommender
    """
    _, registry = _open(shop)
    release = registry.rollback(job)
    output.answer(release.model_dump(mode="json"), f"release {release.release}: {job} {release.jobs[job]} is champion")


def _open(shop_id: str | None) -> tuple[BundleStore, Registry]:
    from training.bundles.registry import Registry
    from training.bundles.store import BundleStore

    place = home()
    known = sorted(path.name for path in place.bundles.glob("*") if path.is_dir())
    chosen = shop_id or (known[0] if len(known) == 1 else None)
    if chosen is None or (known and chosen not in known):
        raise InputError(
            Problem(
                field="--shop-id", problem="name one shop of this home" if known else "no bundles yet",
                found=shop_id,
                allowed=", ".join(known) or "shopkeeper train recommender --data SHOP",
                nearest=nearest(shop_id or "", known),
            )
        )  # fmt: skip
    return BundleStore(place.bundles), Registry(place.releases, chosen)


def _manifests(store: BundleStore, shop_id: str) -> list[Manifest]:
    jobs = sorted(path.name for path in (Path(store.root) / shop_id).iterdir() if path.is_dir())
    return [store.manifest(shop_id, job, version) for job in jobs for version in store.versions(shop_id, job)]


def _find(store: BundleStore, shop_id: str, version: str) -> Manifest:
    manifests = {manifest.version: manifest for manifest in _manifests(store, shop_id)}
    if version not in manifests:
        raise InputError(
            Problem(
                field="VERSION", problem="no such bundle", found=version, allowed=", ".join(list(manifests)[-5:]),
                nearest=nearest(version, manifests),
            )
        )  # fmt: skip
    return manifests[version]


def _aliases(registry: Registry, manifest: Manifest) -> list[str]:
    releases = {alias: registry.get(alias) for alias in ("champion", "candidate", "previous")}
    return [
        alias for alias, release in releases.items() if release and release.jobs.get(manifest.job) == manifest.version
    ]


def _row(manifest: Manifest, aliases: list[str]) -> dict[str, Any]:
    return {
        "job": manifest.job,
        "version": manifest.version,
        "model": manifest.model,
        "created_at": manifest.created_at.isoformat(),
        "metrics": manifest.metrics,
        "aliases": aliases,
    }


def _metric(row: dict[str, Any]) -> str:
    from training.jobs.registry import JOBS

    name = JOBS[row["job"]].selection_metric if row["job"] in JOBS else next(iter(row["metrics"]))
    return f"{name} {row['metrics'].get(name, float('nan')):.4f}"
