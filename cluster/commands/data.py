"""`shopkeeper data`: make, import, check and export a shop's tables."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cluster.home import Home, home
from cluster.output import EXIT_BAD_INPUT, Output, command, counts_text
from training.contracts.errors import InputError, Problem, nearest

app = typer.Typer(help="Make, import, check and export a shop's tables.")

OutOption = Annotated[Path, typer.Option("--out", help="The shop folder to write.", show_default=False)]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an existing --out.")]


class Size(StrEnum):
    """How large the sample shop is."""

    SMALL = "small"
    MEDIUM = "medium"


@app.command("sample")
@command
def sample(
    output: Output,
    out: OutOption,
    size: Annotated[
        Size, typer.Option(help="small: 2,000 items, 5,000 users; medium: 50,000 and 100,000.")
    ] = Size.SMALL,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    force: ForceOption = False,
) -> None:
    """Generate the sample shop, every table of it, with its hidden truth beside it.

    Example: shopkeeper data sample --out myshop --size small --seed 7
    """
    from training.datasets.sample import generate

    counts = generate(out, size=size.value, seed=seed, images=True, force=force, progress=output.progress)
    _answer_counts(output, out, counts)


@app.command("list")
@command
def list_(output: Output) -> None:
    """List the public data sets that can be imported, with origin and licence.

    Example: shopkeeper data list
    """
    from training.datasets.registry import DATASETS

    rows = [
        {
            "name": adapter.name,
            "description": adapter.description,
            "origin": adapter.origin,
            "licence": adapter.licence,
            "reads": adapter.reads,
        }
        for adapter in DATASETS.values()
    ]
    text = "\n\n".join(
        f"{row['name']}\n  {row['description']}\n  reads:   {row['reads']}\n"
        f"  origin:  {row['origin']}\n  licence: {row['licence']}"
        for row in rows
    )
    output.answer(rows, text)


@app.command("import")
@command
def import_(
    output: Output,
    name: Annotated[str, typer.Argument(help="A name of `shopkeeper data list`.", show_default=False)],
    folder: Annotated[Path, typer.Option("--from", help="The folder that holds the files.", show_default=False)],
    out: OutOption,
    force: ForceOption = False,
) -> None:
    """Turn a public data set into a shop.

    Example: shopkeeper data import amazon-sequences --from downloads/beauty --out beauty
    """
    from training.datasets.registry import dataset

    counts = dataset(name).read(folder, out, force=force, progress=output.progress)
    _answer_counts(output, out, counts)


@app.command("check")
@command
def check(output: Output, shop: Annotated[Path, typer.Argument(help="A shop folder.", show_default=False)]) -> None:
    """Validate every table of a shop; exit code 2 when there is an error among the problems.

    Example: shopkeeper data check myshop
    """
    from training.contracts.check import check_shop

    report = check_shop(shop, progress=output.progress)
    problems = [{"table": None, "row": None, "column": None} | problem.as_dict() for problem in report.problems]
    document = {"ok": report.ok, "tables": report.tables, "problems": problems}
    lines = [f"{problem.severity}: {problem}" for problem in report.problems]
    verdict = "ok" if report.ok else "not ok"
    text = "\n".join([f"{shop}", counts_text(report.tables), *lines, verdict])
    output.answer(document, text, exit_code=0 if report.ok else EXIT_BAD_INPUT)


@app.command("export")
@command
def export(
    output: Output,
    out: OutOption,
    shop_id: Annotated[str | None, typer.Option(help="Which shop of this home. Default: the one that runs.")] = None,
    force: ForceOption = False,
) -> None:
    """Write the live state as a shop folder, for the next training.

    Example: shopkeeper data export --out tonight
    """
    from deployments.state.exporting import export_shop
    from deployments.state.open import open_store

    place = home()
    chosen = _shop_with_state(place, shop_id)
    store = open_store(place.state_url(chosen), chosen)
    try:
        counts = export_shop(store, out, force=force, progress=output.progress)
    finally:
        store.close()
    _answer_counts(output, out, counts)


def _shop_with_state(place: Home, shop_id: str | None) -> str:
    """The shop asked for, else the one that runs or ran last, else the only one."""
    from cluster.local.run_state import load_run_state

    known = place.state_shop_ids()
    state = load_run_state(place)
    chosen = shop_id or (state.shop_id if state and state.shop_id in known else None)
    chosen = chosen or (known[0] if len(known) == 1 else None)
    if chosen in known:
        return str(chosen)
    raise InputError(
        Problem(
            field="--shop-id",
            problem="no state of that shop here" if known else f"no shop was ever served from {place.root}",
            found=shop_id,
            allowed=", ".join(known) or "shopkeeper up first",
            nearest=nearest(shop_id or "", known),
        )
    )


def _answer_counts(output: Output, out: Path, counts: dict[str, int]) -> None:
    from training.contracts.shop import Shop

    shop_id = Shop(out).info.shop_id
    text = f"{out}, shop_id {shop_id} in its shop.yaml: shops of one id share bundles and state in a home"
    text += f"\n{counts_text(counts)}\nNext: shopkeeper data check {out}"
    output.answer({"tables": counts, "shop": str(out), "shop_id": shop_id}, text)
