"""Switches as a person and a worker make them together: the row is written, then brought there."""

from training import deploy, promotion


def promote(database, settings, name):
    """Promote an adapter, whatever the gate found, and return the row as it is then."""
    with database.connect() as conn:
        row = promotion.request_promotion(conn, settings, name, actor="test", overrule=True)
    deploy.bring(database, settings)
    return deploy.wait_until_live(database, row.id, 0)


def rollback(database, settings):
    """Roll back and return the new row."""
    with database.connect() as conn:
        return promotion.request_rollback(conn, settings, actor="test")
