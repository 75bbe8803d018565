package leveret;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.springframework.amqp.core.AcknowledgeMode;
import org.springframework.amqp.core.Binding;
import org.springframework.amqp.core.BindingBuilder;
import org.springframework.amqp.core.Declarables;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.core.TopicExchange;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.DirectMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.context.support.GenericApplicationContext;

/**
 * Spring AMQP as applications use it: an admin that declares what it finds in
 * the context, a template with correlated confirms and returns, one container
 * of each kind. Each message that arrives is printed. It ends with "end".
 */
public final class Spring {
  public static void main(String[] args) throws Exception {
    CachingConnectionFactory factory = new CachingConnectionFactory();
    factory.setUri(args[0]);
    factory.setPublisherConfirmType(CachingConnectionFactory.ConfirmType.CORRELATED);
    factory.setPublisherReturns(true);

    TopicExchange exchange = new TopicExchange("spring.events", true, false);
    Queue durable = QueueBuilder.durable("spring.durable").quorum().build();
    Queue plain = QueueBuilder.durable("spring.plain").withArgument("x-message-ttl", 600_000).build();
    Binding one = BindingBuilder.bind(durable).to(exchange).with("durable.#");
    Binding two = BindingBuilder.bind(plain).to(exchange).with("plain.#");

    GenericApplicationContext context = new GenericApplicationContext();
    context.registerBean("topology", Declarables.class, () -> new Declarables(exchange, durable, plain, one, two));
    context.refresh();
    RabbitAdmin admin = new RabbitAdmin(factory);
    admin.setApplicationContext(context);
    admin.afterPropertiesSet();

    CountDownLatch ended = new CountDownLatch(2);
    SimpleMessageListenerContainer simple = new SimpleMessageListenerContainer(factory);
    simple.setQueueNames("spring.durable");
    simple.setPrefetchCount(5);
    simple.setRecoveryInterval(200);
    simple.setAcknowledgeMode(AcknowledgeMode.AUTO);
    simple.setMessageListener(m -> got("durable", m.getBody(), ended));
    DirectMessageListenerContainer direct = new DirectMessageListenerContainer(factory);
    direct.setQueueNames("spring.plain");
    direct.setRecoveryInterval(200);
    direct.setFailedDeclarationRetryInterval(200);
    direct.setMessageListener(m -> got("plain", m.getBody(), ended));
    simple.start();
    direct.start();

    RabbitTemplate template = new RabbitTemplate(factory);
    template.setMandatory(true);
    CountDownLatch returned = new CountDownLatch(1);
    template.setReturnsCallback(r -> {
      say("returned " + r.getReplyCode() + " " + r.getReplyText());
      returned.countDown();
    });
    for (String key : new String[] {"durable.x", "plain.x"}) {
      CorrelationData data = new CorrelationData(key);
      template.convertAndSend("spring.events", key, "first", data);
      say("confirmed " + data.getFuture().get(60, TimeUnit.SECONDS).isAck());
    }
    template.convertAndSend("spring.events", "nowhere", "lost", new CorrelationData("nowhere"));
    if (!returned.await(60, TimeUnit.SECONDS)) {
      throw new IllegalStateException("nothing was returned");
    }
    say("published");
    ended.await();
    direct.stop();
    simple.stop();
    factory.destroy();
    context.close();
    say("bye");
    System.exit(0); // Idle threads of pools would stay for a minute.
  }

  private static void got(String queue, byte[] body, CountDownLatch ended) {
    String text = new String(body, StandardCharsets.UTF_8);
    say(queue + " " + text);
    if (text.equals("end")) {
      ended.countDown();
    }
  }

  private static synchronized void say(String what) {
    System.out.println(what);
    System.out.flush();
  }
}
