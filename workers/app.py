"""The Celery app: queues, limits, the beat's schedule; its messages only say that rows wait."""

from __future__ import annotations

from typing import Any

from celery import Celery

from core.settings import BROKER_PREFIX, Settings, get_settings

BEGIN_EVERY_S = 5.0  # a job begins within this of its row; what a broker lost, too
TICKS_S = {"begin": BEGIN_EVERY_S, "reconcile": 10.0, "threshold": 60.0, "period": 3600.0}
TICK_LIMIT_S = 120
WORK_LIMIT_S = 6 * 3600  # a crawl of a large site, a training
GRACE_S = 60  # between the soft limit, which stores why, and the hard one


def make_app(settings: Settings) -> Celery:
    """Return the app for these settings; tasks are in workers.tasks."""
    app = Celery("ratchet", broker=settings.broker, include=["workers.tasks"])
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_default_queue="jobs",
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=200,
        task_soft_time_limit=TICK_LIMIT_S,
        task_time_limit=TICK_LIMIT_S + GRACE_S,
        task_annotations={
            "carry_out": {"soft_time_limit": WORK_LIMIT_S, "time_limit": WORK_LIMIT_S + GRACE_S},
        },
        broker_connection_retry_on_startup=True,
        broker_transport_options=_transport_options(settings.broker),
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        timezone="UTC",
        # A tick that nobody took in time is worth nothing: the next one does the same.
        beat_schedule={
            name: {"task": name, "schedule": seconds, "options": {"expires": seconds}}
            for name, seconds in TICKS_S.items()
        },
    )
    return app


def _transport_options(broker: str) -> dict[str, Any]:
    if not broker.startswith(("redis", "rediss")):
        return {}
    return {
        "global_keyprefix": BROKER_PREFIX,
        # Longer than any task: an unacknowledged message is delivered again after it.
        "visibility_timeout": WORK_LIMIT_S + 2 * GRACE_S,
        "socket_keepalive": True,
    }


app = make_app(get_settings())
