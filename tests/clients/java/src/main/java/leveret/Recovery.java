package leveret;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.CountDownLatch;

/**
 * The Java client with topology recovery, as it comes: a queue of its own and a
 * durable one, both bound, both consumed with manual acks. Each message that
 * arrives is printed; "recovered" follows a restart of the broker. It ends with
 * the message "end".
 */
public final class Recovery {
  public static void main(String[] args) throws Exception {
    ConnectionFactory factory = new ConnectionFactory();
    factory.setUri(args[0]);
    factory.setNetworkRecoveryInterval(200);
    Connection connection = factory.newConnection("recovery");
    ((Recoverable) connection).addRecoveryListener(new RecoveryListener() {
      @Override public void handleRecovery(Recoverable r) {
        say("recovered");
      }
      @Override public void handleRecoveryStarted(Recoverable r) {}
    });
    Channel channel = connection.createChannel();
    channel.basicQos(10);
    channel.exchangeDeclare("java.events", "topic", true);
    channel.queueDeclare("java.durable", true, false, false, Map.of("x-max-length", 1000));
    channel.queueBind("java.durable", "java.events", "durable.#");
    String own = channel.queueDeclare("", false, true, true, null).getQueue();
    channel.queueBind(own, "java.events", "own.*");

    CountDownLatch ended = new CountDownLatch(1);
    for (String queue : new String[] {"java.durable", own}) {
      String name = queue.equals(own) ? "own" : "durable";
      channel.basicConsume(queue, false, (tag, d) -> {
        String body = new String(d.getBody(), StandardCharsets.UTF_8);
        say(name + " " + body);
        channel.basicAck(d.getEnvelope().getDeliveryTag(), false);
        if (body.equals("end")) {
          ended.countDown();
        }
      }, tag -> say("cancelled"));
    }

    Channel out = connection.createChannel();
    out.confirmSelect();
    AMQP.BasicProperties stored = new AMQP.BasicProperties.Builder().deliveryMode(2).build();
    out.basicPublish("java.events", "durable.x", stored, "first".getBytes(StandardCharsets.UTF_8));
    out.basicPublish("java.events", "own.x", null, "first".getBytes(StandardCharsets.UTF_8));
    out.waitForConfirmsOrDie(60_000);
    say("published");
    ended.await();
    connection.close();
    say("bye");
    System.exit(0); // Idle threads of pools would stay for a minute.
  }

  private static synchronized void say(String what) {
    System.out.println(what);
    System.out.flush();
  }
}
