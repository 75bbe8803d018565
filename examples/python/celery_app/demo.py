"""Uses each part of the application once and prints what came of it.

    python -m celery_app.demo [PART...]
"""
import sys
import threading
import time

from celery import chain, chord, group

from celery_app import tasks
from celery_app.tasks import app

TIMEOUT_S = 60


def results():
    print("add:", tasks.add.delay(2, 3).get(timeout=TIMEOUT_S))
    many = [tasks.add.delay(n, n) for n in range(20)]
    print("twenty:", sum(result.get(timeout=TIMEOUT_S) for result in many))
    steps = []
    tasks.progress.delay(3).get(
        timeout=TIMEOUT_S,
        on_message=lambda message: steps.append((message["result"] or {}).get("step"))
        if message["status"] == "PROGRESS"
        else None,
    )
    print("progress:", steps)


def failures():
    try:
        tasks.fail.delay("on purpose").get(timeout=TIMEOUT_S)
    except ValueError as e:
        print("fail:", repr(e))


def retries():
    print("flaky: tried", tasks.flaky.delay(3).get(timeout=TIMEOUT_S), "times")


def later():
    asked = time.time()
    # More of them than the worker prefetches: a worker that holds tasks for
    # later asks the broker for a higher prefetch, and must get it.
    waiting = [tasks.started_at.apply_async(countdown=4) for _ in range(30)]
    at_once = tasks.started_at.apply_async().get(timeout=TIMEOUT_S) - asked
    waited = [result.get(timeout=TIMEOUT_S) - asked for result in waiting]
    print("countdown:", "kept" if min(waited) >= 4 and at_once < min(waited) else f"broken {waited} {at_once}")


def workflows():
    print("chain:", chain(tasks.add.s(1, 2), tasks.add.s(10), tasks.add.s(100))().get(timeout=TIMEOUT_S))
    joined = group(tasks.add.s(n, 1) for n in range(5))()
    print("group:", joined.get(timeout=TIMEOUT_S))


def joined():
    """A chord needs a result backend that keeps results: rpc:// delivers each to
    one reader, so Celery refuses chords over it with any broker."""
    result = chord((tasks.add.s(n, n) for n in range(10)), tasks.total.s())()
    print("chord:", result.get(timeout=TIMEOUT_S))


def control():
    inspect = app.control.inspect(timeout=10, limit=1)
    pongs = inspect.ping() or {}
    print("ping:", sorted(answer["ok"] for answer in pongs.values()))
    registered = next(iter((inspect.registered() or {}).values()), [])
    print("registered:", "celery_app.tasks.add" in registered)
    queues = next(iter((inspect.active_queues() or {}).values()), [])
    print("queues:", [queue["name"] for queue in queues])
    app.control.rate_limit("celery_app.tasks.add", "1000/s")


def events():
    """Watches the worker's events while it does a task."""
    seen = []
    watching, done = threading.Event(), threading.Event()

    def watch():
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(
                connection, handlers={"*": lambda event: seen.append(event["type"])}
            )
            # The first event is the worker's answer to being woken up.
            for _ in receiver.itercapture(timeout=TIMEOUT_S, wakeup=True):
                watching.set()
                if "task-succeeded" in seen:
                    break
        done.set()

    app.control.enable_events()
    threading.Thread(target=watch, daemon=True).start()
    watching.wait(TIMEOUT_S)
    tasks.add.delay(1, 1).get(timeout=TIMEOUT_S)
    done.wait(TIMEOUT_S)
    wanted = ("task-received", "task-started", "task-succeeded")
    print("events:", [kind for kind in wanted if kind in seen])


def slow():
    """Takes long enough for somebody to kill the worker meanwhile."""
    result = tasks.slow.delay(3)
    print("slow: done, redelivered", result.get(timeout=TIMEOUT_S))


PARTS = {
    part.__name__: part
    for part in (results, failures, retries, later, workflows, control, events, joined, slow)
}
USUAL = [name for name in PARTS if name not in ("joined", "slow")]

for name in sys.argv[1:] or USUAL:
    PARTS[name]()
