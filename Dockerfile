# The broker alone in an image: no shell, no library, not root.
#
#	docker build -t leveret .
#	docker run -p 5672:5672 -p 15672:15672 -e RABBITMQ_DEFAULT_USER=app -e RABBITMQ_DEFAULT_PASS=secret -v data:/var/lib/rabbitmq leveret
#
# Paths, variables and the user's number are those of RabbitMQ's image, so that
# what starts that one starts this one: configuration in /etc/rabbitmq, data below
# /var/lib/rabbitmq, in a directory of its own.

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS=linux
ARG TARGETARCH=amd64
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags='-s -w' -o /image/usr/bin/leveret ./cmd/leveret
RUN packaging/docker/layout.sh /image

FROM scratch
COPY --from=build /image/usr /usr
COPY --from=build /image/etc /etc
COPY --from=build --chown=999:999 /image/tmp /tmp
COPY --from=build --chown=999:999 /image/var/lib/rabbitmq /var/lib/rabbitmq
USER 999:999
WORKDIR /var/lib/rabbitmq
ENV PATH=/usr/bin \
    RABBITMQ_CONFIG_FILE=/etc/rabbitmq/rabbitmq.conf \
    RABBITMQ_ENABLED_PLUGINS_FILE=/etc/rabbitmq/enabled_plugins \
    RABBITMQ_MNESIA_BASE=/var/lib/rabbitmq \
    LEVERET_CTL_SOCKET=/var/lib/rabbitmq/leveret.sock
VOLUME /var/lib/rabbitmq
# AMQP, MQTT, STOMP, the API, STOMP and MQTT over WebSocket, metrics; with TLS
# the same, where they are configured.
EXPOSE 5672 1883 61613 15672 15674 15675 15692 5671 8883 61614 15671 15673 15676 15691
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s CMD ["/usr/bin/leveret", "ctl", "-q", "ping"]
ENTRYPOINT ["/usr/bin/leveret"]
