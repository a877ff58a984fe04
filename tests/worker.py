"""What a worker does, without Celery: jobs taken and carried out, in this process."""

from core import learning
from core.jobs import claim_job, get_job, list_jobs
from core.learning.runs import RETRAIN
from workers.carry_out import carry_out_one
from workers.kinds import kinds


def hold(conn, kind=RETRAIN, lease_s=60):
    """Take the oldest job of a kind in a transaction of the test's own."""
    return claim_job(conn, kind, at_once=1, max_attempts=3, lease_s=lease_s)


def claim(database, settings, kind="ingest", lease_s=30):
    """Take the oldest job of a kind that may begin."""
    with database.connect() as conn:
        return kinds(settings)[kind].claim(conn, lease_s)


def carry_out(database, settings, kind="ingest"):
    """Carry out the oldest job of a kind and return it as it is then; None without one."""
    job = carry_out_one(database, settings, kinds(settings)[kind])
    if job is None:
        return None
    with database.connect() as conn:
        return get_job(conn, job.id)


def retrain(database, settings):
    """Carry out the run that waits and return its state after it."""
    job = carry_out(database, settings, "retrain")
    with database.connect() as conn:
        return learning.get_run(conn, job.id).state


def newest(database):
    """The newest job."""
    with database.connect() as conn:
        return list_jobs(conn)[0]


def let_leases_run_out(database):
    """Make every worker look as if it had vanished."""
    with database.connect() as conn:
        conn.execute("UPDATE jobs SET lease_expires_at = now() WHERE state = 'running'")
