"""Orders: the purchases of one session, delivered."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from training.datasets.sample import columns
from training.datasets.sample.events import Log
from training.datasets.sample.spec import DAY_US, HISTORY_END_US

CARRIERS = ("DHL", "GLS", "PostNL")
CITIES = ("Berlin", "Lyon", "Utrecht", "Torino", "Valencia", "Graz", "Leipzig", "Nantes")
STATUSES = ("processing", "shipped", "delivered", "returned")


def orders_table(log: Log, rng: np.random.Generator) -> pa.Table:
    """One order per session with purchases; the order id carries the session's number."""
    row = log.of_type("purchase")
    row = row[np.argsort(log.session_E[row], kind="stable")]
    session_O, first = np.unique(log.session_E[row], return_index=True)
    lines = pa.StructArray.from_arrays(
        [columns.ids("i", log.item_E[row]), pa.array(log.quantity_E[row]), pa.array(log.value_E[row])],
        names=["item_id", "quantity", "price"],
    )
    time_O, count = log.time_E[row[first]], len(session_O)
    status_O = _status(time_O, rng)
    tracking = columns.ids(" ", rng.integers(10**8, size=count), 9)
    carrier = columns.words(CARRIERS, np.where(status_O == 0, -1, rng.integers(len(CARRIERS), size=count)))
    address = columns.words(CITIES, log.user_E[row[first]] % len(CITIES))
    return pa.table(
        {
            "order_id": columns.ids("o", session_O, 8),
            "user_id": columns.ids("u", log.user_E[row[first]]),
            "timestamp": columns.times(time_O),
            "status": columns.words(STATUSES, status_O),
            "lines": columns.lists(np.append(first, len(row)), lines),
            "address": pa.compute.binary_join_element_wise("*** ", address, ""),
            "payment": columns.ids("card **** **** **** ", rng.integers(10_000, size=count), 4),
            "shipment": pa.compute.binary_join_element_wise(carrier, tracking, ""),
        }
    )


def _status(time_O: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Index into STATUSES by age: a day to ship, five to arrive, a twentieth comes back."""
    age_days = (HISTORY_END_US - time_O) / DAY_US
    returned = (age_days > 20) & (rng.random(len(time_O)) < 0.05)
    return np.select([returned, age_days > 5, age_days > 1], [3, 2, 1], 0)
