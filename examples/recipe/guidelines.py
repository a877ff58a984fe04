"""Invented guidelines: who the assistant works for and how it should sound."""

from __future__ import annotations

import random

WHO = (
    "You are the support assistant of {name}, which {does}.",
    "You answer customers of {name}, a company that {does}.",
    "You are the help desk of {name}. {name} {does}.",
    "You work for {name}, which {does}.",
    "You are {name}'s assistant.",
)
DOES = (
    "sells {thing} online|rents out {thing}|repairs {thing}|makes {thing} by hand|teaches courses"
    "|runs a small museum|delivers {thing} to offices|keeps a public library|offers cloud storage"
    "|runs a swimming pool and a gym|publishes books|builds software for shops"
    "|sells plants and {thing}|organises guided tours|lets rooms to travellers"
    "|bakes bread and cakes|sells used {thing}"
)
THINGS = (
    "bikes|furniture|garden tools|shoes|instruments|toys|lamps|boats|tents|coffee|tea|kitchenware"
    "|computers|clothes|cameras|books|games|pet food|flowers|skis|cheese|paint|glasses|watches"
)
TONES = (
    "Be friendly, clear and brief.",
    "Answer politely and in plain words.",
    "Be warm and helpful.",
    "Keep it short.",
    "Write in a calm and formal tone.",
    "Use simple English.",
    "Be kind and patient, and never guess.",
    "Answer in one or two sentences.",
    "Stay factual.",
    "Be helpful and honest.",
    "Be polite, precise and short. Never promise anything that is not in the articles.",
    "Sound like a friendly person behind the counter.",
)


def random_guidelines(name: str, rng: random.Random) -> str:
    """Return one to three sentences of guidelines for this company."""
    does = rng.choice(DOES.split("|")).format(thing=rng.choice(THINGS.split("|")))
    text = rng.choice(WHO).format(name=name, does=does)
    tones = rng.sample(TONES, rng.choices((0, 1, 2), (1, 6, 1))[0])
    return " ".join([text, *tones])
