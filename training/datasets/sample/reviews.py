"""Reviews: what people write about what they rated; the words agree with the stars."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from training.datasets.sample import columns
from training.datasets.sample.catalogue import Catalogue
from training.datasets.sample.events import Log
from training.datasets.sample.taxonomy import LEAVES

SENTIMENTS = ("negative", "neutral", "positive")
SPLITS = ("train", "valid", "test")
WRITES = 0.65
OPENINGS = {
    "positive": ("Love this {noun}.", "Exactly what I hoped for.", "Could not be happier with it.", "Great {noun}!"),
    "neutral": ("It is an ordinary {noun}.", "Does what it says, no more.", "Not bad, not special.", "Fine so far."),
    "negative": ("Very disappointed.", "I regret buying this {noun}.", "Would not buy it again.", "Sent it back."),
}
ASPECTS = {
    "positive": ("The quality is excellent", "Delivery was quick", "It looks beautiful", "Worth every cent"),
    "neutral": (
        "The quality is average",
        "Delivery took the usual time",
        "It looks like the picture",
        "The price is fair",
    ),
    "negative": ("The quality is poor", "It arrived late and damaged", "It looks cheap", "Far too expensive for this"),
}
CLOSINGS = {
    "positive": ("I would buy it again.", "Highly recommended.", "My whole family likes it.", ""),
    "neutral": ("Let us see how it lasts.", "There may be better ones.", "Okay for the money.", ""),
    "negative": ("Avoid it.", "Waiting for my refund.", "It broke after a week.", ""),
}


def reviews_table(log: Log, first_event: int, catalogue: Catalogue, rng: np.random.Generator) -> pa.Table:
    """A text for most ratings; review ids carry the number of the rating event."""
    row = log.of_type("rating")
    row = row[rng.random(len(row)) < WRITES]
    stars = log.value_E[row]
    feeling = np.digitize(stars, (2.5, 3.5))
    picks = rng.integers(4, size=(len(row), 3))
    nouns = [LEAVES[leaf].noun for leaf in catalogue.leaf_N[log.item_E[row]]]
    texts = [_text(SENTIMENTS[code], noun, pick) for code, noun, pick in zip(feeling, nouns, picks, strict=True)]
    split = rng.choice(len(SPLITS), len(row), p=(0.7, 0.1, 0.2))
    return pa.table(
        {
            "review_id": columns.ids("v", first_event + row, 9),
            "item_id": columns.ids("i", log.item_E[row]),
            "user_id": columns.ids("u", log.user_E[row]),
            "timestamp": columns.times(log.time_E[row] + 1_000_000),
            "text": pa.array(texts, pa.string()),
            "rating": stars,
            "sentiment": columns.words(SENTIMENTS, feeling),
            "language": columns.words(("en",), np.zeros(len(row), int)),
            "split": columns.words(SPLITS, split),
        }
    )


def _text(feeling: str, noun: str, pick: np.ndarray) -> str:
    opening = OPENINGS[feeling][pick[0]].format(noun=noun)
    return f"{opening} {ASPECTS[feeling][pick[1]]}. {CLOSINGS[feeling][pick[2]]}".strip()
