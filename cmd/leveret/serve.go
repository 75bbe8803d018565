package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"leveret/adapters/amqp"
	"leveret/adapters/events"
	"leveret/adapters/mgmt"
	"leveret/adapters/mgmt/prometheus"
	"leveret/adapters/mqtt"
	"leveret/adapters/shovel"
	"leveret/adapters/stomp"
	"leveret/cmd/internal/certs"
	"leveret/cmd/internal/config"
	"leveret/cmd/internal/logs"
	"leveret/core"
	"leveret/core/auth"
	"leveret/persist"
)

// Run serves until ctx ends, then says goodbye to the clients.
func (s *serveCmd) Run(ctx context.Context, io streams) error {
	began := time.Now()
	set, err := s.Resolve()
	if err != nil {
		return usageError{s.report.Explain(err)}
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(set.GoMemoryBytes)
	}
	tuned := os.Getenv("GOGC") == ""
	if tuned {
		holdCollector()
	}
	written, err := s.openLogs(io)
	if err != nil {
		return err
	}
	defer written.Close()
	logger, tee := logTee(&s.Serve, written)
	log, connectionLog, quiet := logger(logs.Default), logger(logs.Connection), written.Logger(logs.Default)
	s.report.Log(log)

	var secure *certs.Store
	if set.TLS {
		min, err := certs.ParseVersion(s.TLSMin)
		if err == nil {
			secure, err = certs.Open(certs.Options{Pairs: pairs(s.TLSCert, s.TLSKey), CA: s.TLSCA, Verify: certs.Verify(s.TLSVerify), Min: min, Logger: log})
		}
		if err != nil {
			return err
		}
	}
	listeners, err := listen(set, secure, s.HandshakeTimeout, connectionLog)
	if err != nil {
		return err
	}
	defer listeners.close()

	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stored, err := openStorage(&s.Serve, log, fail)
	if err != nil {
		return err
	}
	access, keepAccess, err := accessSteps(&s.Serve, set, log)
	if err != nil {
		return errors.Join(usageError{err}, stored.close())
	}
	broker, err := newBroker(ctx, &s.Serve, set, access, stored, logger)
	if err != nil {
		return err
	}
	defer broker.Close()
	audit, endAudit, err := auditLog(&s.Serve, log)
	if err != nil {
		return err
	}
	defer endAudit()
	told := newEvents(&s.Serve, broker, quiet, tee)

	places := listeners.places()
	amqpServer := amqp.NewServer(amqp.Options{
		Broker: broker,
		Logger: connectionLog,
		// Celery raises the prefetch of a worker that holds tasks for later only
		// where it sees RabbitMQ 3: else tasks due now wait behind those. The
		// copyright property says who we are.
		ServerProduct:    "RabbitMQ",
		ServerVersion:    "3.13.7",
		ClusterName:      set.ClusterName,
		Places:           places,
		Mechanisms:       s.AuthMechanisms,
		CertificateUser:  byCertificate(&s.Serve, true),
		ChannelMax:       s.AMQPChannelMax(),
		MaxChannels:      s.MaxChannels,
		MaxConsumers:     s.MaxConsumers,
		FrameMax:         uint32(s.FrameMax),
		Heartbeat:        uint16(s.Heartbeat / time.Second),
		NoHeartbeat:      s.Heartbeat == 0,
		MaxMessageSize:   uint64(s.MaxMessageSize),
		HandshakeTimeout: s.HandshakeTimeout,
	})
	stompServer := stomp.NewServer(stomp.Options{
		Broker:               broker,
		Logger:               connectionLog,
		ServerName:           "Leveret/" + version,
		Places:               places,
		CertificateUser:      byCertificate(&s.Serve, s.STOMPCertLogin),
		DefaultUser:          s.STOMPUser,
		DefaultPassword:      s.STOMPPass,
		NoDefaultUser:        s.STOMPUser == "none",
		DefaultVHost:         cmp.Or(s.STOMPVHost, s.DefaultVHost),
		AckAcross:            s.STOMPAckAcross,
		NackDiscards:         s.STOMPNackDiscards,
		ImplicitConnect:      s.STOMPImplicitConnect,
		HideServer:           s.STOMPHideServer,
		DefaultTopicExchange: s.STOMPTopicExchange,
		MaxMessageSize:       int64(s.MaxMessageSize),
		LoginTimeout:         s.HandshakeTimeout,
		Web:                  stomp.WebOptions{Origins: set.WebOrigins, BasicAuth: s.WebSTOMPAuth, Binary: s.WebSTOMPBinary},
	})
	mqttServer := mqtt.NewServer(mqtt.Options{
		Broker:           broker,
		Logger:           connectionLog,
		Version:          version,
		Places:           places,
		CertificateUser:  byCertificate(&s.Serve, s.MQTTCertLogin),
		Exchange:         s.MQTTExchange,
		VHost:            s.MQTTVHost,
		NoAnonymous:      !s.MQTTAnonymous,
		KeepUnauthorized: s.MQTTKeepRefused,
		MaxPacket:        int(s.MQTTMaxPacket),
		Prefetch:         s.MQTTPrefetch,
		SessionExpiryMax: s.MQTTSessionExpiryMax(),
		KeepAliveMax:     uint16(s.MQTTMaxKeepAlive / time.Second),
		SysInterval:      s.MQTTSys,
		SysUser:          s.DefaultUser,
		ConnectTimeout:   s.HandshakeTimeout,
		WebSocketOrigins: set.WebMQTTOrigins,
	})
	ops := &control{broker: broker, stop: fail, reset: func() error {
		if err := broker.Reset(s.LoadDefinitions != ""); err != nil {
			return err
		}
		return loadDefinitions(ctx, broker, &s.Serve, true, log)
	}}
	again := s.reloader(broker, written, secure, log, io)
	shovels := shovel.NewManager(shovel.Options{Broker: broker, Logger: log})
	mgmtServer := mgmt.NewServer(mgmt.Options{
		Broker:          broker,
		Logger:          log,
		Audit:           audit,
		Version:         version,
		Listeners:       listeners.described(),
		NoRates:         s.RatesMode == "none",
		NoStats:         s.HTTPDisableStats,
		QueueTotals:     s.HTTPQueueTotals,
		MaxBody:         int64(s.HTTPMaxBody),
		CertificateUser: byCertificate(&s.Serve, s.HTTPCertLogin),
		DataDir:         s.DataDir,
		Places:          places,
		Backup:          stored.backup(),
		SetMemoryLimit:  func(n int64) { setMemoryLimit(broker, n, set.MachineBytes) },
		MachineBytes:    set.MachineBytes,
		Control:         ops,
		Certificates:    certificates(secure),
		Web: mgmt.WebOptions{
			PathPrefix: s.HTTPPathPrefix, CORSOrigins: config.Unless(s.HTTPCORSOrigins, "none"), CORSMaxAge: s.HTTPCORSMaxAge,
			SessionTimeout: s.HTTPSessionTimeout,
		},
		Shovels: shovels,
		Config:  func() any { return again.values() },
	})
	metrics := prometheus.Options{
		Broker:        broker,
		Logger:        log,
		Version:       version,
		RabbitVersion: mgmt.RabbitVersion,
		Started:       began,
		Cluster:       mgmtServer.ClusterName,
		Path:          s.PrometheusPath,
		PerObject:     s.PrometheusPerObject,
		Rates:         mgmtServer.QueueRates,
		HistoryBytes:  mgmtServer.HistoryBytes,
	}
	if s.PrometheusAuth {
		metrics.Admit = mgmtServer.AdmitMonitor
	}
	metricsServer := prometheus.NewServer(metrics)

	// The broker's clock and the sampler outlive the adapters: what clients do
	// while they leave still counts.
	var background sync.WaitGroup
	inBackground, endBackground := context.WithCancel(context.WithoutCancel(ctx))
	background.Go(func() {
		if err := broker.Run(inBackground); err != nil {
			log.Error("the broker's clock stopped", slog.Any("error", err))
		}
	})
	background.Go(func() { mgmtServer.Run(inBackground) })
	background.Go(func() { keepAccess(inBackground) })
	background.Go(func() { told.Run(inBackground) })
	if stored.store != nil {
		broker.Alarms().SetDiskLimit(set.DiskFreeBytes)
	}
	background.Go(func() { watchDisk(inBackground, broker.Alarms(), diskDir(s.DataDir), log) })
	if secure != nil {
		background.Go(func() { secure.Run(inBackground) })
	}
	background.Go(func() { again.watch(inBackground) })
	if tuned {
		tuneCollector()
	}
	defer background.Wait()
	defer endBackground()

	for _, l := range listeners {
		fmt.Fprintf(io.out, "%-15s listening on %s\n", l.protocol, l.Addr())
	}
	if s.PidFile != "" {
		if err := os.WriteFile(s.PidFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
			return fmt.Errorf("--pid-file: %w", err)
		}
		defer os.Remove(s.PidFile)
	}
	systemd("READY=1")
	log.Info("started", slog.String("version", version), slog.String("node", set.NodeName),
		slog.Int64("memory_limit", set.MemoryBytes), slog.Duration("after", time.Since(began).Round(time.Microsecond)))

	adapters, serving := errgroup.WithContext(ctx)
	if path := s.SocketPath(); path != "" {
		if ln, err := listenSocket(path); err != nil {
			// A path may be longer than sockets allow; the management API stays.
			log.Warn("leveret ctl cannot come over a Unix socket", slog.String("path", path), slog.Any("error", err))
		} else {
			adapters.Go(func() error { return mgmtServer.Serve(serving, ln) })
		}
	}
	adapters.Go(func() error { return shovels.Run(serving) })
	for _, l := range listeners {
		adapters.Go(func() error {
			if !slices.Contains([]string{config.HTTP, config.Prometheus, protocolPprof}, l.speaks) { // Operators are not kept out.
				l.Listener = &gate{l.Listener, &ops.suspended}
			}
			switch l.speaks {
			case config.AMQP:
				return amqpServer.Serve(serving, l)
			case config.STOMP:
				return stompServer.Serve(serving, l)
			case config.WebSTOMP:
				return stompServer.ServeWeb(serving, l)
			case config.MQTT:
				return mqttServer.Serve(serving, l)
			case config.WebMQTT:
				return mqttServer.ServeWebSocket(serving, l)
			case config.HTTP:
				return mgmtServer.Serve(serving, l)
			case config.Prometheus:
				return metricsServer.Serve(serving, l)
			}
			return serveProfiles(serving, l)
		})
	}
	said := make(chan struct{})
	cancelSaying := context.AfterFunc(ctx, func() {
		defer close(said)
		systemd("STOPPING=1")
		if err := context.Cause(ctx); errors.Is(err, persist.ErrPoisoned) {
			log.Error("stopping", slog.String("why", "the message log has failed"), slog.Any("error", err))
			return
		}
		log.Info("stopping", slog.String("why", stopReason(ctx)))
	})
	err = adapters.Wait()
	if !cancelSaying() {
		<-said // It has begun, and the process must not end before.
	}
	if cause := context.Cause(ctx); err == nil && errors.Is(cause, persist.ErrPoisoned) {
		err = cause
	}
	log.Info("stopped", slog.Duration("served", time.Since(began).Round(time.Millisecond)))
	return err
}

func pairs(certificates, keys []string) []certs.Pair {
	all := make([]certs.Pair, len(certificates))
	for i := range all {
		all[i] = certs.Pair{Cert: certificates[i], Key: keys[i]}
	}
	return all
}

// byCertificate finds the users of certificates, if it is wanted and those of
// our own authorities are asked for: others may name whom they like.
func byCertificate(s *config.Serve, wanted bool) func(*x509.Certificate) (string, error) {
	if !wanted || s.TLSCA == "" || certs.Verify(s.TLSVerify) == certs.VerifyNone {
		return nil
	}
	return certs.UserName{From: certs.Field(s.CertLoginFrom), SANType: certs.SANType(s.CertLoginSANType), SANIndex: s.CertLoginSANIndex}.Of
}

// newBroker makes the broker and imports --load-definitions.
func newBroker(ctx context.Context, s *config.Serve, set *config.Settings, access []core.AccessStep, stored *storage, logger func(category string) *slog.Logger) (*core.Broker, error) {
	o := core.Options{
		Definitions:       stored.definitions,
		Log:               stored.log,
		Streams:           stored.streams,
		QueueMemory:       int64(s.QueueMemory),
		ConsumerTimeoutMS: s.ConsumerTimeout.Milliseconds(),
		NodeName:          set.NodeName,
		SystemExchanges:   events.SystemExchanges(s.EventExchangeVHost(), logVHost(s)),
		MemoryLimit:       set.MemoryBytes,
		RefuseAfter:       s.RefuseAfter,
		MaxClients:        s.MQTTMaxSessions,
		MaxConnections:    s.MaxConnections,
		MaxVHosts:         s.MaxVHosts,
		MaxQueues:         s.MaxQueues,
		DefaultQueueType:  core.QueueType(s.DefaultQueueType),
		Access:            access,
		Logger:            logger(logs.Queue),
		LoopbackUsers:     set.LoopbackUsers,
		DefaultUser:       s.DefaultUser,
		DefaultPassword:   s.DefaultPass,
		DefaultVHost:      s.DefaultVHost,
		// As RabbitMQ: who brings definitions brings users with them.
		SkipDefaults: s.LoadDefinitions != "",
		DefaultTags:  s.Boot.UserTags,
		NewVHost:     newVHost(&s.Boot),
	}
	if p := s.Boot.Permission; p != nil {
		o.DefaultPermission = &auth.Permission{Configure: p.Configure, Write: p.Write, Read: p.Read}
	}
	if stored.store != nil {
		o.KeepUnknownQueues = stored.store.MayLackQueues
	}
	broker, err := core.New(o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the broker: %w", err), stored.close())
	}
	err = setClusterName(broker, s.ClusterName)
	if err == nil {
		err = loadDefinitions(ctx, broker, s, false, logger(logs.Default))
	}
	if err != nil {
		return nil, errors.Join(err, broker.Close())
	}
	return broker, nil
}

// certificates is what tells the API of the certificates in use, or nil.
func certificates(secure *certs.Store) func() []mgmt.Certificate {
	if secure == nil {
		return nil
	}
	return func() []mgmt.Certificate {
		var all []mgmt.Certificate
		for file, c := range secure.Shown() {
			all = append(all, mgmt.Certificate{File: file, Subject: c.Subject.String(), NotAfter: c.NotAfter})
		}
		return all
	}
}

// protocolPprof is what listeners of profiles are called.
const protocolPprof = "pprof"

// listener is an open port and what is spoken there.
type listener struct {
	net.Listener
	protocol string // As the API calls it.
	speaks   string // The same without regard to TLS.
}

type listenerList []listener

// listen opens every port before anything else is done: one that is taken is
// the most frequent reason not to start. secure is nil if none is served over
// TLS; proxies have the time patience for their headers.
func listen(set *config.Settings, secure *certs.Store, patience time.Duration, log *slog.Logger) (listenerList, error) {
	var all listenerList
	open := func(l config.Listener, forPeople string) error {
		ln, err := mgmt.Listen(l.Addr, forPeople, l.Flag)
		if err != nil {
			return errors.Join(err, all.close())
		}
		if l.Proxied {
			ln = mgmt.Proxied(ln, patience, log)
		}
		protocol := l.Protocol
		if l.TLS {
			ln, protocol = tls.NewListener(ln, secure.Config()), tlsNames[protocol]
		}
		all = append(all, listener{ln, protocol, l.Protocol})
		return nil
	}
	for _, l := range set.Listeners {
		if err := open(l, namesForPeople[l.Protocol]); err != nil {
			return nil, err
		}
	}
	if set.PprofAddr != "" {
		if err := open(config.Listener{Protocol: protocolPprof, Flag: "--pprof", Addr: set.PprofAddr}, "profiles"); err != nil {
			return nil, err
		}
	}
	return all, nil
}

var namesForPeople = map[string]string{
	config.AMQP: "AMQP", config.MQTT: "MQTT", config.WebMQTT: "MQTT over WebSocket", config.HTTP: "HTTP",
	config.STOMP: "STOMP", config.WebSTOMP: "STOMP over WebSocket", config.Prometheus: "metrics",
}

// tlsNames are what the API calls protocols over TLS.
var tlsNames = map[string]string{
	config.AMQP: "amqp/ssl", config.MQTT: "mqtt/ssl", config.WebMQTT: "https/web-mqtt", config.HTTP: "https",
	config.STOMP: "stomp/ssl", config.WebSTOMP: "https/web-stomp", config.Prometheus: "https/prometheus",
}

// close closes all; a server that has stopped has done so already.
func (l listenerList) close() error {
	for _, ln := range l {
		ln.Close()
	}
	return nil
}

// described is what the API tells of the listeners.
func (l listenerList) described() []mgmt.Listener {
	var out []mgmt.Listener
	for _, ln := range l {
		if ln.protocol != protocolPprof {
			out = append(out, mgmt.Listener{Protocol: ln.protocol, Addr: ln.Addr()})
		}
	}
	return out
}

// places say where each protocol is spoken, for people.
func (l listenerList) places() map[string][]string {
	out := make(map[string][]string)
	for _, ln := range l {
		at := ln.Addr().String()
		if a, ok := ln.Addr().(*net.TCPAddr); ok && a.IP.IsUnspecified() {
			at = fmt.Sprintf("port %d", a.Port)
		}
		out[ln.protocol] = append(out[ln.protocol], at)
	}
	return out
}

// serveProfiles serves Go's profiles until ctx ends.
func serveProfiles(ctx context.Context, ln net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
