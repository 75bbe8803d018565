"""Exchanges that keep messages until they are due (x-delayed-message)."""
import pika
import pytest
from conftest import Consumer, closes_channel


@pytest.fixture
def later(channel, name):
    x = name()
    channel.exchange_declare(x, "x-delayed-message", durable=True, arguments={"x-delayed-type": "topic"})
    yield x
    channel.exchange_delete(x)


def delayed(channel, x, key, body, ms, **properties):
    channel.basic_publish(x, key, body, pika.BasicProperties(headers={"x-delay": ms}, **properties))


def test_they_come_in_the_order_of_their_times(channel, later, queue):
    channel.queue_bind(queue, later, "job.#")
    delayed(channel, later, "job.1", "last", 3000)
    delayed(channel, later, "job.2", "second", 1500)
    delayed(channel, later, "job.3", "first", "100")
    delayed(channel, later, "job.4", "at once", 0)
    c = Consumer(channel, queue)
    assert c.wait(4) == ["at once", "first", "second", "last"]
    last = c.messages[3]
    assert last.properties.headers == {"x-delay": -3000}
    assert (last.method.exchange, last.method.routing_key) == (later, "job.1")


def test_a_mandatory_one_is_returned_and_comes_nevertheless(channel, later, queue):
    channel.queue_bind(queue, later, "k")
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish(later, "k", "x", pika.BasicProperties(headers={"x-delay": 100}), mandatory=True)
    assert Consumer(channel, queue).wait(1) == ["x"]


def test_further_keys_and_expiration(channel, later, queue):
    channel.queue_bind(queue, later, "cc.key")
    channel.basic_publish(later, "k", "x", pika.BasicProperties(
        headers={"x-delay": 200, "CC": ["cc.key"]}, expiration="60000"))
    c = Consumer(channel, queue)
    c.wait(1)
    assert c.messages[0].properties.expiration == "60000"
    assert c.messages[0].properties.headers == {"x-delay": -200, "CC": ["cc.key"]}


def test_it_needs_a_type(channel, name):
    closes_channel(
        406, "PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type",
        lambda: channel.exchange_declare(name(), "x-delayed-message"))
