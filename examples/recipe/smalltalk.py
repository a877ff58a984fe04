"""Greetings, thanks, goodbyes and bare calls for help, which need no passage."""

from __future__ import annotations

import random

from .prompts import Exchange

HELLO = (
    "hello|hi|hey|Hello!|Hi there|good morning|Good evening|hi!|Hey there!|hello there|"
    "Good afternoon|hiya|Hi, anyone there?|yo|greetings|Hello?"
)
THANKS = (
    "thanks|thank you|Thanks!|thx|Thank you so much|great, thanks|cheers|ok thanks|"
    "perfect, thank you|Thanks a lot!|that helps, thanks|cool thanks|awesome|ok great"
)
BYE = "bye|goodbye|Bye!|see you|that's all|bye bye|have a nice day|see you later|no, that's all"
HELP = (
    "help|help!|help me|I need help|Can you help me?|can you help|support|i have a question|"
    "I have a problem|question|Help please|something is wrong"
)
WHO = "who are you?|are you a robot|what can you do?|Am I talking to a person?|are you human"
OKAY = "ok|okay|yes|no|alright|I see|got it"

REPLIES = {
    HELLO: (
        "Hello! How can I help you?",
        "Hi there! What can I do for you today?",
        "Hello and welcome! What would you like to know?",
    ),
    THANKS: (
        "You're welcome!",
        "You're welcome! Let me know if you need anything else.",
        "Glad I could help!",
    ),
    BYE: ("Goodbye and have a nice day!", "Bye! Come back any time."),
    HELP: (
        "Happy to help! What is your question about?",
        "Of course! What do you need help with?",
        "Sure, what would you like to know?",
    ),
    WHO: (
        "I'm the support assistant and I answer from our help articles. "
        "What would you like to know?",
    ),
    OKAY: ("Is there anything else I can help you with?",),
}
SHARES = (6, 5, 3, 5, 1, 1)


def small_talk(rng: random.Random) -> Exchange:
    """Return a short message and a reply that cites nothing."""
    said = rng.choices(list(REPLIES), SHARES)[0]
    words = rng.choice(said.split("|"))
    if rng.random() < 0.2:
        words = words.capitalize()
    return Exchange(words, (rng.choices(REPLIES[said], (5, 2, 1)[: len(REPLIES[said])])[0],))
