"""The demo model's recipe: what it trains on is what the bot sends, and nothing leaks."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from answering.prompt import build_messages
from core.settings import NOTHING_FOUND, ROOT
from examples.recipe.facts import Filling, asked_kinds, fact_book
from examples.recipe.invented import invented_group
from examples.recipe.model import Decoder, Shape, save_model
from examples.recipe.prompts import SORRY, Exchange, Group, Quote, ShownPassage, answer_text
from examples.recipe.prompts import system_message as trained_system_message
from examples.recipe.public import is_held_out, split_sentences
from examples.recipe.rows import NOWHERE, RowWriter, collate, pack
from examples.recipe.styles import Habits, longer_quote
from examples.recipe.swap import swap_words
from examples.recipe.tokenizer import CHAT_TEMPLATE, token_words
from tests.builders import make_passage

SMALL = Shape(hidden=32, n_layers=2, n_heads=2, inner=48)
PASSAGES = (
    ShownPassage(
        "Bikes", "Returns", "You can return a bike within 30 days. Helmets stay with you."
    ),
    ShownPassage("Bikes", "", "We close at 18:00."),
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Return the tokenizer that the demo model ships with."""
    return Tokenizer.from_file(str(ROOT / "examples" / "model" / "tokenizer.json"))


def returns_group() -> Group:
    """Return two conversations about the same two passages."""
    first = Exchange("How long can I return it?", (Quote(0, 0, 37), " [1]"), Quote(0, 0, 37))
    second = Exchange("When do you close?", (Quote(1, 0, 18), " [2]"), Quote(1, 0, 18))
    third = Exchange("Do you sell cars?", (SORRY,))
    return Group("Be brief.", PASSAGES, ((first, second), (third,)))


def test_the_prompt_trained_on_is_the_prompt_that_is_sent() -> None:
    """A small model only answers prompts that look exactly like those it has seen."""
    found = [
        make_passage(n, title=p.title, heading=p.heading, body=p.text)
        for n, p in enumerate(PASSAGES, 1)
    ]
    for passages in (found, []):
        sent = build_messages(
            "Be brief.", passages, [], "Hello?", budget_tokens=999, count_tokens=len
        )
        trained, _ = trained_system_message("Be brief.", PASSAGES if passages else ())

        assert sent.messages[0]["content"] == trained
    assert NOTHING_FOUND == SORRY


def test_every_copied_token_is_traced_to_where_it_stands(tokenizer: Tokenizer) -> None:
    """The heads that copy are told where to look; told wrongly, they would learn to garble."""
    row = RowWriter(tokenizer, random.Random(0)).write(returns_group())
    assert row is not None
    traced = [
        (tokenizer.decode([row.ids[place + 1]]), tokenizer.decode([row.ids[source]]))
        for place, source in enumerate(row.copied_from)
        if source != NOWHERE
    ]

    assert all(said.strip() == stands.strip() for said, stands in traced)
    assert {(" [1]", "[1]"), (" [2]", "[2]")} <= set(traced)


def test_conversations_that_share_a_prompt_do_not_see_each_other(tokenizer: Tokenizer) -> None:
    """Sharing passages saves most of the work; it must not change what is learned."""
    group, model = returns_group(), Decoder(SMALL).eval()
    writer = RowWriter(tokenizer, random.Random(0))
    together = writer.write(group)
    alone = writer.write(Group(group.guidelines, PASSAGES, group.conversations[1:]))
    assert together is not None
    assert alone is not None
    batch = collate(pack([together, alone]), 0)
    single = collate([alone], 0)
    with torch.no_grad():
        states, _ = model(batch.ids, batch.position, batch.mask())
        expected, _ = model(single.ids, single.position, single.mask())
    n_prompt = alone.branch.index(1)
    begin = together.branch.index(2)

    assert torch.allclose(
        expected[0, n_prompt:], states[0, begin : begin + len(alone) - n_prompt], atol=1e-5
    )


def test_the_lean_decoder_is_the_qwen2_that_gets_served(tmp_path: Path) -> None:
    """Training happens in our own code, serving in other people's; both must agree."""
    torch.manual_seed(0)
    model = Decoder(SMALL).to(torch.bfloat16).float()
    save_model(model, tmp_path, (2, 0), 0)
    served = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="float32")
    ids = torch.randint(0, SMALL.n_tokens, (1, 20))
    mask = torch.zeros(1, 1, 20, 20).masked_fill_(~torch.ones(20, 20).bool().tril(), -1e9)
    with torch.no_grad():
        ours = model.logits(model(ids, torch.arange(20)[None], mask)[0])

        assert torch.allclose(served(ids).logits, ours, atol=1e-3)


def test_a_longer_conversation_starts_with_the_shorter_one() -> None:
    """Training on preferences cuts the prompt off the whole; it must be a true prefix."""
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "examples" / "model")
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello! [1]"}]
    prompt = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(messages, tokenize=False)

    assert tokenizer.chat_template == CHAT_TEMPLATE
    assert whole.startswith(prompt)


def test_any_text_comes_back_from_the_tokenizer(tokenizer: Tokenizer) -> None:
    """Names, prices and other alphabets must survive being copied."""
    text = "Zoë paid £12.50 at 09:30 [2]\n\n1. Öffnen → 2. 🚲 \t ok"

    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_citations_are_single_tokens(tokenizer: Tokenizer) -> None:
    """A citation that is one token can't be broken."""
    assert [len(tokenizer.encode(f" [{n}]").ids) for n in range(1, 10)] == [1] * 9


def test_every_invented_question_has_an_answering_sentence() -> None:
    """A question that no wording answers would never be asked, and so never be learned."""
    unanswered = [
        question
        for fact in fact_book()
        for question in fact.questions + fact.follow_ups
        if not fact.answering(question)
    ]

    assert [] == unanswered
    assert asked_kinds()


def test_templates_leave_no_slot_open() -> None:
    """A brace in an article would teach the model to say braces."""
    filling = Filling(random.Random(0), "Velra Bikes")
    texts = [t for fact in fact_book() for t in fact.sentences + fact.questions + fact.headings]

    assert not any("{" in filling.fill(text) for text in texts)


def test_answers_quote_the_passage_they_cite() -> None:
    """Each invented answer must be grounded in the passage whose number it ends in."""
    rng = random.Random(1)
    for _ in range(50):
        group = invented_group(rng, 3, Habits())
        for exchange in (e for talk in group.conversations for e in talk):
            quote = exchange.gold
            if quote is not None:
                text = group.passages[quote.passage].text[quote.start : quote.end]

                assert text in answer_text(exchange, group.passages)
                assert f" [{quote.passage + 1}]" in exchange.answer


def test_a_document_is_held_out_under_any_spelling() -> None:
    """The same hotel stands in two data sets; it must be held out of both or of none."""
    names = [f"Hotel {n}" for n in range(100)]

    assert [is_held_out(n) for n in names] == [is_held_out(n.upper()) for n in names]
    assert 0 < sum(map(is_held_out, names)) < 40


def test_sentences_do_not_end_at_abbreviations() -> None:
    """An answer cut at "Dr." says nothing."""
    assert ["Dr. Bond lives in St. Ives.", "He is 40."] == split_sentences(
        "Dr. Bond lives in St. Ives. He is 40."
    )


def test_swapping_words_keeps_answers_quoting_their_passage() -> None:
    """Swapped words shift every quote; a quote off by one would teach broken words."""
    rng = random.Random(2)
    for _ in range(100):
        group = returns_group()
        swapped = swap_words(group, ["Quagga", "ox"], ["marmalade"], rng)
        for talk in swapped.conversations:
            for exchange in talk:
                quote = exchange.gold
                if quote is not None:
                    text = swapped.passages[quote.passage].text[quote.start : quote.end]

                    assert text.endswith(".")
                    assert text[0].isupper()


def test_what_was_said_before_these_passages_is_read_and_not_learned(tokenizer: Tokenizer) -> None:
    """A follow-up's first answer quotes an article that is gone; saying it again would be wrong."""
    asked = Exchange("What do gift cards cost?", ("Gift cards cost $10. [1]",), is_past=True)
    group = returns_group()
    talks = tuple((asked, *talk) for talk in group.conversations)

    row = RowWriter(tokenizer, random.Random(1)).write(replace(group, conversations=talks))

    assert row is not None
    learned = [n for n, weight in enumerate(row.weight) if weight and row.branch[n]]
    said = tokenizer.decode([row.ids[n + 1] for n in learned])
    assert "gift" not in said.lower()
    assert "[1]" in said


def test_a_short_passage_is_said_as_a_whole_and_a_long_one_is_not() -> None:
    """The second sentence often holds the condition; a page of them is no answer."""
    short = ShownPassage("Returns", "", "Return it in 30 days. Opened goods in 14.")
    spans = [Quote(0, 0, 21), Quote(0, 22, 41)]
    long = ShownPassage("Returns", "", " ".join(["Return it in 30 days."] * 20))
    long_spans = [Quote(0, 22 * n, 22 * n + 21) for n in range(20)]

    assert Quote(0, 0, 41) == longer_quote(short, spans, 0)
    assert Quote(0, 66, 109) == longer_quote(long, long_spans, 3)


def test_the_words_to_practise_hold_every_token_of_letters(tokenizer: Tokenizer) -> None:
    """A token that no practised word holds is one that customers see garbled."""
    practised = {
        token for word in token_words(tokenizer) for token in tokenizer.encode(f" {word}").tokens
    }

    letters = {t for t in tokenizer.get_vocab() if t.isascii() and t.isalpha() and len(t) > 2}

    assert len(letters & practised) > 0.9 * len(letters)
