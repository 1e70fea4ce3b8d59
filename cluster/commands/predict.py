"""`shopkeeper predict`: batch inference with Ray Data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.home import home
from cluster.output import Output, command


@command
def predict(
    output: Output,
    job: Annotated[str, typer.Argument(help="The job: recommender, ranker, vision or forecaster.")],
    data: Annotated[Path, typer.Option(help="The shop folder.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    version: Annotated[
        str | None, typer.Option(help="As `models list` shows it, of any shop. Default: champion.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Predictions per user or image.")] = 10,
    workers: Annotated[int, typer.Option(min=1, help="Actors that predict side by side.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT.")] = False,
) -> None:
    """Predict for every user of a shop, e.g. tonight's mails: user_id, rank, item_id, score.

    Vision finds the items nearest to every image: image_id, rank, item_id, score, or the problem of an unreadable one.

    Example: shopkeeper predict recommender --data shops/beauty --out tonight.parquet
    """
    from cluster.bundle_fit import refuse_misfit
    from cluster.checked_shop import open_checked
    from cluster.jobs import find_job, resolve_bundle
    from cluster.local.ray_session import joined_ray
    from training.contracts.atomic import refuse_occupied

    found, shop = find_job(job), open_checked(data, progress=output.progress)
    refuse_occupied(out, force=force)
    bundle = resolve_bundle(home(), shop.info.shop_id, job, version)
    refuse_misfit(home(), bundle.folder, shop)
    with joined_ray(home()):
        from training.jobs.batch import predict_to_file

        rows = predict_to_file(
            found.name, bundle.folder, shop, out, limit=limit, workers=workers, progress=output.progress
        )
    output.answer({"job": job, "version": bundle.version, "rows": rows, "file": str(out)}, f"{rows:,} rows in {out}")
