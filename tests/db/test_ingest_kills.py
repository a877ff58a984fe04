"""Ingests and their database are killed in the middle; the next ingest finishes what they began."""

from bench import kills


def test_what_kills_leave_behind_is_finished_by_the_next_ingest(settings):
    """A power cut or an out-of-memory kill must cost nobody their articles, nor half of them."""
    measured = kills.kill_rows(settings, n_kills=4, n_copies=2)

    assert [] == [row for row in measured if not row.holds]
    assert 6 == len(measured)
