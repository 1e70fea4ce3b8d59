"""`shopkeeper evaluate`: the held-out evaluation of a bundle on any shop it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.home import home
from cluster.output import Output, command


@command
def evaluate(
    output: Output,
    job: Annotated[str, typer.Argument(help="The job: recommender, ranker, vision or forecaster.")],
    data: Annotated[Path, typer.Option(help="The shop folder.")],
    version: Annotated[
        str | None, typer.Option(help="As `models list` shows it, of any shop. Default: champion.")
    ] = None,
) -> None:
    """Evaluate a published bundle on the held-out split of a shop, beside the baselines fitted on that shop.

    Example: shopkeeper evaluate recommender --data shops/beauty
    """
    from cluster.bundle_fit import refuse_misfit
    from cluster.checked_shop import open_checked
    from cluster.commands.train import metrics_text
    from cluster.jobs import find_job, resolve_bundle

    found, shop = find_job(job), open_checked(data, progress=output.progress)
    bundle = resolve_bundle(home(), shop.info.shop_id, job, version)
    refuse_misfit(home(), bundle.folder, shop)
    result = found.evaluate(bundle.folder, shop, progress=output.progress)
    output.answer(
        {"job": job, "version": bundle.version, **result},
        metrics_text({f"{job} {bundle.version}": result["metrics"], **result["baselines"]}),
    )
