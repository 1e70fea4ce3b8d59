"""What customers ask the service desk, by intent, and how they feel when they do."""

from __future__ import annotations

OUT_OF_SCOPE = "out_of_scope"

# Placeholders in braces are filled from FILLERS; the last phrasing of each intent appears in the test split only.
INTENTS: dict[str, tuple[str, ...]] = {
    "track_order": (
        "where is my order {order}", "when will my {product} arrive", "track parcel {order}",
        "my {product} has not come yet", "has order {order} shipped", "is the {product} on its way",
    ),
    "cancel_order": (
        "cancel order {order}", "i want to cancel my {product}", "please stop order {order}",
        "i ordered the {product} by mistake", "can i still cancel {order}", "do not send the {product} any more",
    ),
    "change_address": (
        "deliver {order} to {city} instead", "i moved to {city}, change my address", "wrong address on order {order}",
        "update the delivery address for my {product}", "can you ship to {city}", "send it to my office in {city}",
    ),
    "return_item": (
        "i want to return the {product}", "how do i send back my {product}", "return label for {order}",
        "the {product} does not fit, return it", "start a return for {order}", "let me give back the {product}",
    ),
    "refund_status": (
        "where is my refund for {order}", "i returned the {product}, no money yet", "refund for {order} please",
        "how long does a refund take", "when do i get my money back for the {product}", "{order} is still not refunded",
    ),
    "damaged_item": (
        "my {product} arrived broken", "the {product} is damaged", "{order} came with a scratched {product}",
        "a part of the {product} is missing", "the {product} stopped working", "the box of {order} was torn open",
    ),
    "product_question": (
        "is the {product} available in {colour}", "what material is the {product}", "how big is the {product}",
        "does the {product} come with a warranty", "can i wash the {product}", "more about the {colour} {product}",
    ),
    "stock_question": (
        "when is the {product} back in stock", "do you have the {colour} {product}", "is the {product} sold out",
        "notify me when the {product} is available", "how many {product} are left", "will you restock the {product}",
    ),
    "payment_problem": (
        "my card was declined for {order}", "i was charged twice for the {product}", "payment for {order} failed",
        "can i pay by invoice", "paypal does not work", "checkout will not take my card",
    ),
    "discount_code": (
        "my coupon does not work", "do you have a discount for the {product}", "how do i use a voucher",
        "the promo code was not applied to {order}", "is there a sale on the {product}", "add my gift card to {order}",
    ),
    "account_access": (
        "i forgot my password", "i cannot log in", "reset my password please",
        "change the email of my account", "my account is locked", "delete my account",
    ),
    "recommend_product": (
        "i need a {product} for my {need}", "which {product} do you recommend", "something for {need} please",
        "help me find a {colour} {product}", "what helps with {need}", "suggest a gift for {need}",
    ),
    "talk_to_human": (
        "let me talk to a person", "i want a human agent", "connect me to customer service",
        "this bot does not help", "can someone call me", "give me a real employee",
    ),
    "opening_hours": (
        "when are you open", "what are your opening hours", "is your shop in {city} open on sunday",
        "how late can i call you", "do you have a shop in {city}", "are you closed on holidays",
    ),
    OUT_OF_SCOPE: (
        "what is the weather in {city}", "who won the match yesterday", "tell me a joke",
        "how do i cook rice", "what time is it in {city}", "play some music",
        "translate good morning into french", "how tall is the eiffel tower", "book me a flight to {city}",
        "what is the meaning of life",
    ),
}  # fmt: skip
FILLERS: dict[str, tuple[str, ...]] = {
    "product": (
        "desk chair", "lamp", "duvet set", "stroller", "romper", "saucepan", "jacket", "dress", "sneakers", "yoga mat",
        "running shoes", "backpack", "heat pad", "face cream", "headphones", "keyboard", "pet bed", "barbecue",
    ),
    "colour": ("red", "green", "blue", "black", "white", "grey", "yellow"),
    "city": ("Berlin", "Lyon", "Utrecht", "Torino", "Valencia", "Graz", "Leipzig"),
    "need": ("back pain", "better sleep", "newborn", "new home", "marathon", "garden", "puppy"),
}  # fmt: skip
EMOTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "neutral": (("", ""), ("hello, ", ""), ("", " please"), ("hi ", ", thanks")),
    "happy": (("great shop! ", ""), ("", ", thank you so much"), ("love it here, ", " :)")),
    "angry": (("this is outrageous, ", ""), ("", "!! unacceptable"), ("for the third time: ", "!")),
    "anxious": (("i am worried, ", ""), ("", ", i really need it soon"), ("please help, ", "")),
    "sad": (("sadly, ", ""), ("", ", i am so disappointed"), ("unfortunately ", " :(")),
}
# How often each emotion comes with complaints and with everything else.
COMPLAINTS = ("damaged_item", "refund_status", "payment_problem", "track_order", "talk_to_human")
EMOTION_MIX = {True: (0.35, 0.02, 0.3, 0.18, 0.15), False: (0.62, 0.2, 0.05, 0.08, 0.05)}
