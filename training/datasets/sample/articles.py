"""Help articles: what the service desk answers with."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from training.datasets.sample import columns
from training.datasets.sample.spec import HISTORY_END_US

ARTICLES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Where is my parcel?", "Open 'My orders' and choose the order: the carrier's tracking is updated every two hours. "
     "Most parcels arrive within three working days.", ("track_order",)),
    ("Cancelling an order", "An order can be cancelled until it is packed. Choose 'Cancel' in 'My orders'; "
     "the payment is released at once.", ("cancel_order",)),
    ("Changing the delivery address", "Until the parcel is handed to the carrier, the address can be changed in "
     "'My orders'. Afterwards the carrier's link lets you redirect it.", ("change_address",)),
    ("Returning something", "You have 30 days. Print the label in 'My orders', pack the item and drop it at any "
     "parcel shop. Returns are free within the EU.", ("return_item",)),
    ("When will I get my refund?", "We refund within five working days after the parcel reached us, to the payment "
     "method you used.", ("refund_status", "return_item")),
    ("Something arrived broken", "We are sorry. Send a photo in the chat within 14 days and choose between a "
     "replacement and your money back.", ("damaged_item",)),
    ("Product details and care", "Material, size and care stand on each product page under 'Details'. "
     "Textiles are washable at 30 degrees unless the label says otherwise.", ("product_question",)),
    ("Sold out: what now?", "Press 'Tell me' on the product page. We write to you as soon as it is back; most items "
     "return within three weeks.", ("stock_question",)),
    ("Ways to pay", "Card, PayPal, invoice and bank transfer. A declined card is usually a missing confirmation in "
     "your bank's app.", ("payment_problem",)),
    ("Vouchers and promotions", "Enter the code in the cart. One code per order; gift cards can be combined with it.",
     ("discount_code",)),
    ("Signing in", "Use 'Forgotten password' to get a new one. After five wrong tries the account is locked for an "
     "hour.", ("account_access",)),
    ("Finding the right product", "Tell the assistant what you need it for and what you like; it knows the whole shop.",
     ("recommend_product", "product_question")),
    ("Talking to a person", "Our people are in the chat from 8:00 to 20:00, Monday to Saturday.",
     ("talk_to_human", "opening_hours")),
    ("Shops and opening hours", "Our shops in Berlin, Lyon and Utrecht are open from 10:00 to 19:00, not on Sundays "
     "and holidays.", ("opening_hours",)),
)  # fmt: skip
CHANNELS = ("app", "mini_program", "web")


def articles_table() -> pa.Table:
    count = len(ARTICLES)
    return pa.table(
        {
            "article_id": columns.ids("a", np.arange(count), 3),
            "title": [title for title, _, _ in ARTICLES],
            "body": [body for _, body, _ in ARTICLES],
            "intents": [list(intents) for _, _, intents in ARTICLES],
            "channels": [list(CHANNELS)] * count,
            "language": ["en"] * count,
            "updated_at": columns.times(np.full(count, HISTORY_END_US)),
        }
    )
