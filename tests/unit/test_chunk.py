"""Chunks are bounded, keep their headings, and cut where a reader would."""

from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.chunk import contextual_text, split
from retrieval.load import LoadedDocument


def count_words(text):
    return len(text.split())


def document(body, title="Returns"):
    return LoadedDocument("/articles/a.md", title, "text/markdown", body)


def bodies(body, max_tokens=16):
    return [chunk.body for chunk in split(document(body), count_words, max_tokens)]


def test_each_short_section_is_one_chunk():
    """A citation must point at one topic, not at half of two."""
    chunks = split(document("# Returns\n\nFree.\n\n## Time\n\n30 days.\n"), count_words, 16)

    assert [((), "Free."), (("Time",), "30 days.")] == [(c.heading_path, c.body) for c in chunks]


def test_a_chunk_knows_the_headings_above_it():
    """ "It costs $5" says nothing without its headings."""
    body = "# Returns\n\n## Online\n\n### Cost\n\nIt costs $5.\n\n## In the store\n\nIt is free.\n"

    paths = [chunk.heading_path for chunk in split(document(body), count_words, 16)]

    assert [("Online", "Cost"), ("In the store",)] == paths


def test_headings_are_embedded_with_the_body():
    """The words of a heading must find what stands under it."""
    [chunk] = split(document("# Returns\n\n## Cost\n\nIt is $5.\n"), count_words, 16)

    assert "Returns > Cost\nIt is $5." == contextual_text("Returns", chunk, count_words)


def test_setext_headings_and_emphasis_in_headings_are_understood():
    """Articles come from many editors."""
    chunks = split(document("Time *limit*\n------------\n\n30 days.\n"), count_words, 16)

    assert ("Time limit",) == chunks[0].heading_path


def test_a_number_sign_in_code_is_no_heading():
    """A comment in a snippet must not tear the section apart."""
    assert ["```\n# not a heading\n```"] == bodies("```\n# not a heading\n```\n")


def test_long_text_is_cut_between_sentences():
    """Half a sentence can say the opposite of the whole."""
    sentence = "You can return it within thirty days of delivery."

    assert [sentence, sentence, sentence] == bodies(" ".join([sentence] * 3), max_tokens=16)


def test_a_sentence_longer_than_a_chunk_is_cut_between_words():
    """What the model can't read whole is still found."""
    words = [f"word{n}" for n in range(40)]

    parts = bodies(" ".join(words), max_tokens=16)

    assert words == " ".join(parts).split()
    assert max(map(count_words, parts)) <= 16


def test_a_word_without_end_is_cut_too():
    """Pasted base64 is one unknown token to the model and a megabyte to the prompt."""
    parts = bodies("x" * 100_000, max_tokens=16)

    assert "x" * 100_000 == "".join(parts)
    assert max(map(len, parts)) <= 16 * 9


def test_text_without_spaces_is_cut_after_its_full_stops():
    """Chinese and Japanese put no space between sentences."""
    sentence = "您可以在三十天内退回。"

    assert all(part.endswith("。") for part in bodies(sentence * 40, max_tokens=16))


def test_every_part_of_a_long_table_repeats_its_header():
    """A row of bare numbers answers nothing."""
    rows = [f"| item {n} | ${n} |" for n in range(6)]
    header = "| Thing | Price |\n|---|---|"

    parts = bodies("\n".join([header, *rows]), max_tokens=20)

    assert all(part.startswith(header) for part in parts)
    assert rows == [row for part in parts for row in part.split("\n")[2:]]


def test_list_steps_stay_whole():
    """A step cut in two can't be followed."""
    steps = [f"{n}. Do the thing number {n} with great care" for n in range(1, 5)]

    parts = bodies("\n".join(steps), max_tokens=20)

    assert steps == [line for part in parts for line in part.split("\n")]
    assert len(parts) > 1


def test_what_is_indented_stays_with_its_step():
    """A remark belongs to the step above it."""
    text = "1. Print the label from the page\n   - in colour\n2. Pack the box with plenty of paper"

    assert [
        "1. Print the label from the page\n   - in colour",
        "2. Pack the box with plenty of paper",
    ] == bodies(text, max_tokens=16)


def test_over_long_headings_leave_room_for_the_body():
    """The embedding model reads 256 tokens; the body must be among them."""
    body = f"## {'very ' * 300}long\n\n" + "Sentence of five words here. " * 60
    for chunk in split(document(body), count_words, 250):
        assert count_words(contextual_text("Returns", chunk, count_words)) <= 254


def test_headings_alone_make_no_chunk():
    """An article without text has nothing to cite."""
    assert [] == split(document("# Returns\n\n## Soon\n"), count_words, 16)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab .!#-|1\n\t`é字", max_size=400))
def test_chunks_are_bounded_and_never_blank(body):
    """Whatever an article holds, each chunk fits the model and says something."""
    chunks = split(document(body), count_words, 16)

    assert list(range(len(chunks))) == [chunk.position for chunk in chunks]
    assert all(chunk.body.strip() and 0 < chunk.n_tokens <= 16 for chunk in chunks)
