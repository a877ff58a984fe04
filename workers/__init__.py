"""Celery: a clock and hands; Postgres holds the truth."""
