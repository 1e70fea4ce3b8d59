"""Customer service: utterances with intents and emotions, and dialogues with their state."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from training.datasets.sample import columns
from training.datasets.sample.service_words import (
    COMPLAINTS,
    EMOTION_MIX,
    EMOTIONS,
    FILLERS,
    INTENTS,
)
from training.datasets.sample.spec import SizeSpec, stream

Slots = dict[str, str]
SPLIT_SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}
ASKS = {
    "order": "Which order is it about?",
    "product": "Which product do you mean?",
    "city": "Which city is it?",
    "colour": "Which colour would you like?",
    "need": "What do you need it for?",
}
DIALOGUE_INTENTS = (
    "track_order",
    "cancel_order",
    "change_address",
    "return_item",
    "product_question",
    "recommend_product",
)
SLOTS_OF = {
    "track_order": ("order",),
    "cancel_order": ("order", "product"),
    "change_address": ("order", "city"),
    "return_item": ("order", "product"),
    "product_question": ("product", "colour"),
    "recommend_product": ("need", "product"),
}


def utterances_table(spec: SizeSpec, seed: int) -> pa.Table:
    """Distinct texts; the test split has phrasings that training never saw."""
    rng = stream(seed, 5)
    seen: set[str] = set()
    rows: list[tuple[str, str, str, str]] = []
    for intent in INTENTS:
        for _ in range(spec.utterances_per_intent):
            row = _utterance(intent, rng)
            if row[0] not in seen:
                seen.add(row[0])
                rows.append(row)
    text, intent_, emotion, split = ([row[part] for row in rows] for part in range(4))
    language = columns.words(("en",), np.zeros(len(rows), int))
    return pa.table({"text": text, "intent": intent_, "emotion": emotion, "language": language, "split": split})


def _utterance(intent: str, rng: np.random.Generator) -> tuple[str, str, str, str]:
    phrasings = INTENTS[intent]
    split = str(rng.choice(list(SPLIT_SHARES), p=list(SPLIT_SHARES.values())))
    known = len(phrasings) - (split != "test")
    text, _ = fill(phrasings[rng.integers(known)], rng)
    emotion = str(rng.choice(list(EMOTIONS), p=EMOTION_MIX[intent in COMPLAINTS]))
    before, after = EMOTIONS[emotion][rng.integers(len(EMOTIONS[emotion]))]
    return f"{before}{text}{after}", intent, emotion, split


def fill(phrasing: str, rng: np.random.Generator) -> tuple[str, Slots]:
    """The phrasing with its placeholders filled, and what they were filled with."""
    slots = {name: words[rng.integers(len(words))] for name, words in FILLERS.items()}
    slots["order"] = f"o{rng.integers(10**8):08d}"
    return phrasing.format(**slots), {name: value for name, value in slots.items() if f"{{{name}}}" in phrasing}


def dialogues_table(spec: SizeSpec, seed: int) -> pa.Table:
    """Turns of customer and agent until every slot of the intent is known; `state` is what is known after the turn."""
    rng = stream(seed, 6)
    rows = [row for number in range(spec.dialogues) for row in _dialogue(f"d{number:06d}", rng)]
    return pa.Table.from_pylist(rows).cast(
        pa.schema([(name, pa.int32() if name == "turn" else pa.string()) for name in rows[0]])
    )


def _dialogue(dialogue_id: str, rng: np.random.Generator) -> list[dict[str, object]]:
    intent = DIALOGUE_INTENTS[rng.integers(len(DIALOGUE_INTENTS))]
    phrasings = INTENTS[intent]
    text, slots = fill(phrasings[rng.integers(len(phrasings))], rng)
    split = str(rng.choice(list(SPLIT_SHARES), p=list(SPLIT_SHARES.values())))
    state = {name: value for name, value in slots.items() if name in SLOTS_OF[intent]}
    turns: list[tuple[str, str, Slots, Slots]] = [("customer", text, dict(state), {"inform": intent})]
    for slot in SLOTS_OF[intent]:
        if slot not in state:
            turns.append(("agent", ASKS[slot], dict(state), {"request": slot}))
            value = (
                f"o{rng.integers(10**8):08d}" if slot == "order" else FILLERS[slot][rng.integers(len(FILLERS[slot]))]
            )
            state[slot] = value
            turns.append(("customer", value, dict(state), {"inform": slot}))
    turns.append(("agent", "Thank you, that is done.", dict(state), {"confirm": intent}))
    return [
        {
            "dialogue_id": dialogue_id,
            "turn": turn,
            "speaker": speaker,
            "text": said,
            "state": json.dumps({"intent": intent, "slots": known}),
            "acts": json.dumps(acts),
            "split": split,
        }
        for turn, (speaker, said, known, acts) in enumerate(turns)
    ]
