"""Policies, set over the management API while clients are at work."""
import pika
import pytest
from conftest import (
    VHOST, Consumer, api, closes_channel, eventually, get, get_all, publish, quoted, ready,
)

HERE = quoted(VHOST)


@pytest.fixture
def policy(name):
    """Sets policies that match the names of this test, and removes them."""
    made = []

    def put(pattern, definition, priority=0, kind="policies", **more):
        path = f"/api/{kind}/{HERE}/{quoted(name())}"
        api("PUT", path, {"pattern": pattern, "definition": definition, "priority": priority, **more})
        made.append(path)
        return path

    yield put
    for path in made:
        try:
            api("DELETE", path)
        except OSError:
            pass  # The test has removed it.


def test_ttl_of_a_policy_counts_for_later_messages(channel, name, policy):
    q = channel.queue_declare(name()).method.queue
    publish(channel, q, "before")
    eventually(lambda: ready(channel, q) == 1, "it to be there")
    path = policy(f"^{q}$", {"message-ttl": 1})
    publish(channel, q, *["short"] * 10)
    eventually(lambda: ready(channel, q) == 1, "those under the policy to expire")
    api("DELETE", path)
    publish(channel, q, "after")
    eventually(lambda: ready(channel, q) == 2, "the last to stay")
    assert get_all(channel, q) == ["before", "after"]
    channel.queue_delete(q)


def test_length_limit_comes_and_goes_under_load(connect, connection, name, policy):
    q = name()
    channel = connection.channel()
    channel.queue_declare(q, durable=True)
    channel.confirm_delivery()
    publish(channel, q, *map(str, range(200)))
    assert ready(channel, q) == 200
    path = policy(f"^{q}$", {"max-length": 50}, **{"apply-to": "queues"})
    # What is too much goes at once, from the head.
    eventually(lambda: ready(channel, q) == 50, "the queue to shrink")
    publish(channel, q, *map(str, range(200, 300)))
    assert ready(channel, q) == 50
    api("DELETE", path)
    publish(channel, q, *map(str, range(300, 400)))
    assert ready(channel, q) == 150
    assert get_all(channel, q) == [str(n) for n in range(250, 400)]
    channel.queue_delete(q)


def test_overflow_by_policy_refuses_publishes(connection, name, policy):
    q = name()
    channel = connection.channel()
    channel.queue_declare(q, durable=True)
    channel.confirm_delivery()
    policy(f"^{q}$", {"max-length": 2, "overflow": "reject-publish"})
    publish(channel, q, "a", "b")
    with pytest.raises(pika.exceptions.NackError):
        publish(channel, q, "c")
    assert get(channel, q).body == b"a"
    publish(channel, q, "d")
    assert get_all(channel, q) == ["b", "d"]
    channel.queue_delete(q)


def test_operator_policy_is_the_lower_limit(connection, name, policy):
    q = name()
    channel = connection.channel()
    channel.queue_declare(q, durable=True, arguments={"x-max-length": 8})
    channel.confirm_delivery()
    policy(f"^{q}$", {"max-length": 5})
    operator = policy(f"^{q}$", {"max-length": 3}, kind="operator-policies")
    publish(channel, q, *map(str, range(10)))
    assert get_all(channel, q) == ["7", "8", "9"]
    api("DELETE", operator)
    publish(channel, q, *map(str, range(10)))
    assert get_all(channel, q) == ["5", "6", "7", "8", "9"]
    channel.queue_delete(q)


def test_dead_lettering_by_policy(channel, name, policy):
    q, dead = name(), name()
    channel.queue_declare(q)
    channel.queue_declare(dead)
    policy(f"^{q}$", {"dead-letter-exchange": "", "dead-letter-routing-key": dead})
    publish(channel, q, "m")
    eventually(lambda: ready(channel, q) == 1, "it to be there")
    channel.basic_reject(get(channel, q, auto_ack=False).method.delivery_tag, requeue=False)
    eventually(lambda: ready(channel, dead) == 1, "it to be dead-lettered")
    assert get(channel, dead).properties.headers["x-first-death-queue"] == q
    channel.queue_delete(q)
    channel.queue_delete(dead)


def test_alternate_exchange_by_policy(channel, queue, name, policy):
    x, rest = name(), name()
    channel.confirm_delivery()  # The policy changes between the publishes, not beside them.
    channel.exchange_declare(x, "direct")
    channel.exchange_declare(rest, "fanout")
    channel.queue_bind(queue, rest)
    channel.basic_publish(x, "none", b"lost")
    path = policy(f"^{x}$", {"alternate-exchange": rest}, **{"apply-to": "exchanges"})
    channel.basic_publish(x, "none", b"found")
    eventually(lambda: ready(channel, queue) == 1, "it to be routed")
    api("DELETE", path)
    channel.basic_publish(x, "none", b"lost")
    channel.basic_publish("", queue, b"last")
    eventually(lambda: ready(channel, queue) == 2, "the last to be there")
    assert get_all(channel, queue) == ["found", "last"]
    channel.exchange_delete(x)
    channel.exchange_delete(rest)


def test_nothing_is_lost_or_reordered_by_changing_policies(connection, channel, name, policy):
    """Policies that drop nothing change all the time while messages flow."""
    q = name()
    channel.queue_declare(q)
    consumer = Consumer(connection.channel(), q, auto_ack=True)
    for n in range(20):
        policy(f"^{q}$", {"message-ttl": 3600000 + n, "max-length": 100000 + n}, priority=n)
        publish(channel, q, *map(str, range(50 * n, 50 * n + 50)))
    assert consumer.wait(1000) == [str(n) for n in range(1000)]
    channel.queue_delete(q)


def test_limit_on_queues(channel, connect, name):
    path = f"/api/vhost-limits/{HERE}/max-queues"
    api("PUT", path, {"value": 0})
    try:
        q = name()
        closes_channel(
            406,
            f"PRECONDITION_FAILED - cannot declare queue '{q}': queue limit in vhost '{VHOST}' (0) is reached",
            lambda: channel.queue_declare(q),
        )
    finally:
        api("DELETE", path)
    connect().channel().queue_declare(name(), exclusive=True)
