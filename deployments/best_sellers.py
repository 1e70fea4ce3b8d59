"""What sells best of what may be shown: one mask over the catalogue, in an order that is kept."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deployments.catalogue import CatalogueView
from deployments.popular import Popular
from deployments.selection import Selection


class Shelf(NamedTuple):
    """The items of one view, best first by one release, then those that it does not know; `rows_I` in the view."""

    view: CatalogueView
    popular: Popular
    item_ids: list[str]
    rows_I: npt.NDArray[np.int64]


class BestSellers:
    """Remembers the order for the newest view and release."""

    def __init__(self) -> None:
        self._shelf: Shelf | None = None

    def allowed(self, popular: Popular, selection: Selection, most: int) -> list[str]:
        """At most `most` items, best first; blocking."""
        view = selection.live.view
        shelf = self._shelf
        if shelf is None or shelf.view is not view or shelf.popular is not popular:
            shelf = self._shelf = _shelf(view, popular)
        places = np.flatnonzero(selection.row_mask(view)[shelf.rows_I])
        shown = (shelf.item_ids[place] for place in places)
        return list(islice((item_id for item_id in shown if not selection.left_out(item_id)), most))


def _shelf(view: CatalogueView, popular: Popular) -> Shelf:
    known = [item_id for item_id in popular.order if item_id in view]
    item_ids = [*known, *(item_id for item_id in view.row_of if item_id not in popular.popularity)]
    return Shelf(view, popular, item_ids, view.rows(item_ids))
