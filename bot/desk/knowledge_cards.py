"""Articles, their chunks and what a question finds as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from bot.desk.articles import MAX_CHUNKS_SHOWN, Article, ArticlePage, IndexedChunk
from bot.desk.markup import empty, figure_list, moment, ordinal, pill, text, written
from core.types import EVERYONE, Passage
from retrieval.options import SearchOptions
from retrieval.search import Found


def article_table(found: ArticlePage, words: str) -> str:
    """Return one page of the articles; a click on a title opens it below."""
    if not found.n_all:
        return empty(
            "No articles yet",
            "Bring in the articles folder, a site or files above; each appears here with its "
            "passages, and the chat answers from them at once.",
        )
    if not found.articles:
        return empty("No such article", f"None of {found.n_all} articles holds “{words[:80]}”.")
    head = "".join(
        f"<th>{name}</th>"
        for name in ("Article", "Source", "Collection", "For", "Passages", "Updated")
    )
    rows = "".join(_article_row(article) for article in found.articles)
    return (
        '<div class="scroll articles" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _article_row(article: Article) -> str:
    return (
        f'<tr><td class="long"><button type="button" data-article="{article.id}">'
        f"{text(article.title)}</button></td><td>{source_link(article)}</td>"
        f"<td>{text(article.collection)}</td><td>{_audience(article.audience)}</td>"
        f"<td>{article.n_chunks}</td><td>{moment(article.updated_at)}</td></tr>"
    )


def source_link(article: Article) -> str:
    """Return where the article came from: a site's page as a link, a file by its name."""
    if article.uri.startswith(("http://", "https://")):
        shown = article.uri.split("://", 1)[1]
        return (
            f'<a href="{text(article.uri)}" target="_blank" rel="noopener noreferrer">'
            f"{text(_middle_cut(shown))}</a>"
        )
    return (
        f'<span title="{text(article.uri)}">{text(_middle_cut(article.uri.rsplit("/")[-1]))}</span>'
    )


def _middle_cut(name: str, n_chars: int = 40) -> str:
    half = n_chars // 2
    return name if len(name) <= n_chars else f"{name[:half]}…{name[-half:]}"


def _audience(audience: str) -> str:
    return "everyone" if audience == EVERYONE else pill(audience, "busy")


def page_line(found: ArticlePage) -> str:
    """Return how many articles match and which page of them is shown."""
    of_all = "" if found.n_found == found.n_all else f" of {found.n_all:,}"
    pages = f"page {found.page + 1} of {found.n_pages}" if found.n_pages > 1 else ""
    noun = "article" if found.n_found == 1 and not of_all else "articles"
    return (
        f'<p class="queue-line" aria-live="polite"><strong>{found.n_found:,}{of_all} {noun}'
        f"</strong><span>{pages}</span></p>"
    )


def article_card(article: Article, chunks: Sequence[IndexedChunk]) -> str:
    """Return one article as the search has it, passage by passage."""
    facts = figure_list(
        [
            ("Collection", article.collection),
            ("For", article.audience),
            ("Passages", str(article.n_chunks)),
            ("Tokens", f"{sum(chunk.n_tokens for chunk in chunks):,}"),
            ("Updated", moment(article.updated_at)),
        ]
    )
    more = (
        f'<p class="faint">The first {MAX_CHUNKS_SHOWN} passages.</p>'
        if article.n_chunks > len(chunks)
        else ""
    )
    return (
        f'<article class="review indexed"><h2 class="desk-h2">{text(article.title)}</h2>'
        f'<p class="faint">{text(article.uri)} · <a href="/documents/{article.id}" '
        f'target="_blank">the whole article</a></p>{facts}'
        f"{''.join(map(_chunk, chunks))}{more}</article>"
    )


def _chunk(chunk: IndexedChunk) -> str:
    place = " > ".join(chunk.heading_path) or "under the title"
    return (
        f'<section class="chunk"><h3>{chunk.position + 1} · {text(place)} · '
        f"{chunk.n_tokens} tokens</h3>{written(chunk.body)}</section>"
    )


def tried_card(question: str, found: Found, chat: SearchOptions) -> str:
    """
    Return what a question finds, and for each passage why it stands where it stands.

    The chat would give the model the first `chat.limit` of them, if they are relevant.
    """
    if not found.passages:
        return empty("Nothing found", f"{found.why.capitalize()}.")
    reranked = chat.rerank_ms > 0
    order = " The best were then read again, word by word, for their order." if reranked else ""
    n_given = min(chat.limit, len(found.passages))
    told = (
        f'<p class="faint">The model is given {_first(n_given)}.{order}</p>'
        if found.relevant
        else '<p class="why bad">The bot would say that it found nothing: even the best of these '
        f"has too little to do with the question; {text(found.why)}.</p>"
    )
    shown = "".join(_passage(passage) for passage in found.passages)
    head = f"<h3>Found for “{text(question)}”</h3>"
    return f'<article class="review tried">{head}{told}{shown}</article>'


def _first(n_given: int) -> str:
    return "the first of these" if n_given == 1 else f"the first {n_given} of these"


def _passage(passage: Passage) -> str:
    title = text(passage.place)
    if passage.document_id is not None:
        address = f"/documents/{passage.document_id}?chunk={passage.chunk_id}#passage"
        title = f'<a href="{address}" target="_blank">{title}</a>'
    return (
        f'<section class="chunk"><h3>{passage.rank} · {title}</h3>'
        f'<p class="why-here">{_why(passage)}</p>{written(passage.body)}</section>'
    )


def _why(passage: Passage) -> str:
    by_meaning = _place(passage.dense_rank, "by meaning", "not found by meaning")
    by_words = _place(passage.text_rank, "by words", "not found by words")
    cosine = pill(f"cosine {passage.similarity:.2f}")
    return f"{by_meaning}{by_words}{cosine}"


def _place(rank: int | None, found: str, missing: str) -> str:
    return pill(missing) if rank is None else pill(f"{ordinal(rank)} {found}", "good")
