"""A Celery application: tasks that return, fail and are tried again, run later,
and join their results.

    celery -A celery_app.tasks worker --loglevel INFO
    python -m celery_app.demo

Both are started in the folder above this one. AMQP_URL is the broker; results
come back over it as well (rpc://) unless RESULT_BACKEND names another place.
"""
import os
import time

from celery import Celery

app = Celery(
    "celery_app",
    broker=os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"),
    backend=os.environ.get("RESULT_BACKEND", "rpc://"),
)
app.conf.update(
    broker_connection_retry_on_startup=True,
    result_expires=3600,
    task_acks_late=True,
    worker_prefetch_multiplier=4,
)


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=5)
def flaky(self, failures):
    """Fails so many times before it returns how often it was tried."""
    if self.request.retries < failures:
        raise self.retry(countdown=0.2)
    return self.request.retries + 1


@app.task
def started_at():
    return time.time()


@app.task(bind=True)
def slow(self, seconds):
    """Returns whether an earlier worker had it before and did not finish."""
    time.sleep(seconds)
    return self.request.delivery_info["redelivered"]


@app.task(bind=True)
def progress(self, steps):
    """Tells its caller of each step."""
    for step in range(1, steps + 1):
        self.update_state(state="PROGRESS", meta={"step": step})
    return steps
