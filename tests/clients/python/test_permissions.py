"""What a user may not do, refused before it shows whether anything is there.

HTTP_URL is the management API, where the user is made."""
import pika
import pytest
from conftest import VHOST, api, closes_channel, parameters, quoted


@pytest.fixture(scope="module")
def user():
    name = f"limited-{VHOST}"
    api("PUT", f"/api/users/{quoted(name)}", {"password": "pw", "tags": ""})
    api(
        "PUT",
        f"/api/permissions/{quoted(VHOST)}/{quoted(name)}",
        {"configure": "^mine-", "write": "^(mine-|shared-|amq\\.default$)", "read": "^(mine-|public$)"},
    )
    yield name
    api("DELETE", f"/api/users/{quoted(name)}")


@pytest.fixture
def limited(user):
    connection = pika.BlockingConnection(parameters(credentials=pika.PlainCredentials(user, "pw")))
    yield connection
    if connection.is_open:
        connection.close()


@pytest.fixture
def refused(limited, user):
    """Checks that an action is refused for lack of a right to something."""
    properties = limited._impl.server_properties
    # RabbitMQ 3 does not say which right was missing. Leveret says it is one.
    names_right = "Leveret" in properties["copyright"] or properties["version"] >= "4"

    def check(right, what, action):
        right = f"{right} " if names_right else ""
        closes_channel(
            403,
            f"ACCESS_REFUSED - {right}access to {what} in vhost '{VHOST}' refused for user '{user}'",
            action,
        )

    return check


def test_refusals(limited, refused):
    def on(action):
        return lambda: action(limited.channel())

    refused("configure", "queue 'other'", on(lambda ch: ch.queue_declare("other")))
    refused("configure", "queue 'other'", on(lambda ch: ch.queue_delete("other")))
    refused("configure", "exchange 'other'", on(lambda ch: ch.exchange_declare("other")))
    refused("read", "queue 'shared-q'", on(lambda ch: ch.basic_get("shared-q")))
    refused("read", "queue 'shared-q'", on(lambda ch: ch.queue_purge("shared-q")))
    refused("read", "queue 'shared-q'", on(lambda ch: ch.basic_consume("shared-q", print)))

    channel = limited.channel()
    channel.queue_declare("mine-q")
    refused("read", "exchange 'amq.direct'", on(lambda ch: ch.queue_bind("mine-q", "amq.direct", "k")))
    refused("write", "queue 'public'", on(lambda ch: ch.queue_bind("public", "amq.direct", "k")))

    publisher = limited.channel()
    publisher.basic_publish("amq.direct", "k", "x")
    refused("write", "exchange 'amq.direct'", lambda: publisher.basic_qos(prefetch_count=1))
    channel.queue_delete("mine-q")


def test_what_is_granted_works(limited):
    channel = limited.channel()
    channel.exchange_declare("mine-x", "fanout")
    channel.queue_declare("mine-q")
    channel.queue_bind("mine-q", "mine-x")
    channel.confirm_delivery()
    channel.basic_publish("mine-x", "", "x", mandatory=True)
    channel.basic_publish("", "mine-q", "y", mandatory=True)
    assert [channel.basic_get("mine-q", auto_ack=True)[2] for _ in range(2)] == [b"x", b"y"]
    channel.queue_delete("mine-q")
    channel.exchange_delete("mine-x")


def test_revoked_permissions_count_at_once_for_new_channels(limited, user, refused):
    channel = limited.channel()
    channel.queue_declare("mine-q")
    path = f"/api/permissions/{quoted(VHOST)}/{quoted(user)}"
    api("PUT", path, {"configure": "", "write": "", "read": ""})
    refused("configure", "queue 'mine-q'", lambda: limited.channel().queue_delete("mine-q"))
    api("PUT", path, {"configure": "^mine-", "write": ".*", "read": ".*"})
    limited.channel().queue_delete("mine-q")
