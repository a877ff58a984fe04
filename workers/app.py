"""The Celery app: queues, limits, the beat's schedule; the broker is a doorbell, not the truth."""

from __future__ import annotations

from typing import Any

from celery import Celery

from core.settings import BROKER_PREFIX, Settings, get_settings

REAP_EVERY_S = 5.0  # a run queued by a button starts within this; what a broker lost, too
RECONCILE_EVERY_S = 10.0
THRESHOLD_EVERY_S = 60.0
PERIOD_EVERY_S = 3600.0
WORK_OFF_EVERY_S = 5.0  # a job that a page asks for begins within this
JOB_LIMIT_S = 120
WORK_LIMIT_S = 6 * 3600  # an ingest of a whole site
TRAIN_LIMIT_S = 6 * 3600
GRACE_S = 60  # between the soft limit, which cleans up, and the hard one


def make_app(settings: Settings) -> Celery:
    """Return the app for these settings; tasks are in workers.tasks."""
    app = Celery("ratchet", broker=settings.broker, include=["workers.tasks"])
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_default_queue="jobs",
        task_routes={"retrain": {"queue": "train"}},
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=200,
        task_soft_time_limit=JOB_LIMIT_S,
        task_time_limit=JOB_LIMIT_S + GRACE_S,
        task_annotations={
            "retrain": {"soft_time_limit": TRAIN_LIMIT_S, "time_limit": TRAIN_LIMIT_S + GRACE_S},
            "work_off": {"soft_time_limit": WORK_LIMIT_S, "time_limit": WORK_LIMIT_S + GRACE_S},
        },
        broker_connection_retry_on_startup=True,
        broker_transport_options=_transport_options(settings.broker),
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        timezone="UTC",
        beat_schedule={
            "reap": _every(REAP_EVERY_S),
            "reconcile": _every(RECONCILE_EVERY_S),
            "threshold": _every(THRESHOLD_EVERY_S),
            "period": _every(PERIOD_EVERY_S),
            "work_off": _every(WORK_OFF_EVERY_S),
        },
    )
    for name, entry in app.conf.beat_schedule.items():
        entry["task"] = name
    return app


def _every(seconds: float) -> dict[str, Any]:
    # A tick that nobody took in time is worth nothing: the next one does the same.
    return {"schedule": seconds, "options": {"expires": seconds}}


def _transport_options(broker: str) -> dict[str, Any]:
    if not broker.startswith(("redis", "rediss")):
        return {}
    return {
        "global_keyprefix": BROKER_PREFIX,
        # Longer than any task: an unacknowledged message is delivered again after it.
        "visibility_timeout": TRAIN_LIMIT_S + 2 * GRACE_S,
        "socket_keepalive": True,
    }


app = make_app(get_settings())
