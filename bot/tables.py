"""Markdown's tables, bounded: what is too wide or too long to be read is shown as text."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block import table as parse_table

MAX_COLUMNS = 40
MAX_CELLS = 20_000  # of all tables of a text: two characters can ask for a row of 40
CELLS_LEFT = "cells_left"


def bound_tables(markdown: MarkdownIt) -> MarkdownIt:
    """
    Return the parser, whose tables have at most so many columns and cells from now on.

    A row is filled up to the header's width: 1.5 KB of Markdown could become 650 KB of HTML.
    """
    markdown.block.ruler.at("table", _bounded_table, {"alt": ["paragraph", "reference"]})
    return markdown


def _bounded_table(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    n_columns = _max_columns(state, start_line, end_line)
    left = state.env.get(CELLS_LEFT, MAX_CELLS)
    if n_columns > MAX_COLUMNS or n_columns > left:
        return False
    # The rows beyond are no rows of it; like any other lines they make a paragraph.
    end_line = min(end_line, max(start_line + 1 + left // n_columns, start_line + 2))
    if not parse_table(state, start_line, end_line, silent):
        return False
    if not silent:
        state.env[CELLS_LEFT] = left - n_columns * (state.line - start_line)
    return True


def _max_columns(state: StateBlock, start_line: int, end_line: int) -> int:
    """Return how many columns the line under the header can separate at most."""
    if start_line + 1 >= end_line:
        return 1
    line = state.src[state.bMarks[start_line + 1] : state.eMarks[start_line + 1]]
    return line.strip().strip("|").count("|") + 1
