package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"leveret/cmd/internal/config"
	"leveret/cmd/internal/ctl"
	"leveret/cmd/internal/perf"
)

// version is what this source calls itself.
const version = "0.1.0"

// Exit codes; ctl has more of its own.
const (
	exitOK    = 0
	exitFail  = 1  // It could not serve, or what perf verifies does not hold.
	exitUsage = 64 // The command line is wrong.
)

// commandLine is the grammar.
type commandLine struct {
	Version kong.VersionFlag `short:"V" help:"Print the version and exit."`

	Serve serveCmd `cmd:"" default:"withargs" help:"Serve clients until told to stop: what leveret does without a command."`
	Ctl   ctlCmd   `cmd:"" passthrough:"" help:"Look after a running broker, with rabbitmqctl's verbs; see leveret ctl help."`
	Perf  perf.Cmd `cmd:"" help:"Load a broker, this one or another, and measure it."`
}

// serveCmd is `leveret serve`.
type serveCmd struct {
	config.Serve
}

// ctlCmd stands in the help; main hands its arguments to package ctl unparsed.
type ctlCmd struct {
	Args []string `arg:"" optional:"" name:"verb"`
}

const description = "A message broker that speaks AMQP 0-9-1 and MQTT as RabbitMQ does."

// Help is the middle of `leveret --help`, which is about serving.
func (serveCmd) Help() string {
	return `Other commands:

    leveret ctl VERB     look after a running broker, with rabbitmqctl's verbs; see leveret ctl help
    leveret perf amqp    load a broker, this one or another, and measure it; see leveret perf amqp --help
    leveret perf stomp   the same over STOMP

Examples:

    leveret
    leveret --amqp-addr localhost:5673 --mqtt-addr none --web-mqtt-addr none
    LEVERET_DEFAULT_PASS=secret leveret --loopback-users none
    leveret --load-definitions definitions.json --memory-limit 2GiB

Each flag can be set in the environment too, by the name behind it; flags win. guest, with the password guest, may log
in from this machine only. SIGTERM and SIGINT say goodbye to clients and end the broker within seconds.`
}

var helpGroups = []kong.Group{
	{Key: "listeners", Title: "Listeners"},
	{Key: "tls", Title: "TLS"},
	{Key: "users", Title: "Users and definitions"},
	{Key: "limits", Title: "Limits"},
	{Key: "mqtt", Title: "MQTT"},
	{Key: "storage", Title: "Storage"},
	{Key: "node", Title: "Identity"},
	{Key: "logging", Title: "Logging and profiling"},
}

func main() {
	os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments; it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if name := strings.TrimSuffix(filepath.Base(args[0]), ".exe"); name == "rabbitmqctl" {
		return ctl.Main(name, args[1:], stdin, stdout, stderr)
	}
	if len(args) > 1 && args[1] == "ctl" {
		return ctl.Main("leveret ctl", args[2:], stdin, stdout, stderr)
	}

	var cl commandLine
	parser, err := kong.New(&cl,
		kong.Name("leveret"),
		kong.Description(description),
		kong.Vars{"version": versionText()},
		kong.Writers(stdout, stderr),
		kong.ExplicitGroups(helpGroups),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 120}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "leveret:", err)
		return exitFail
	}
	words := args[1:]
	if len(words) == 1 && (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
		words = []string{"serve", "--help"} // Who asks about leveret wants to know how to start it.
	}
	kctx, err := parser.Parse(words)
	if err != nil {
		fmt.Fprintf(stderr, "leveret: %v\nTry 'leveret --help'.\n", err)
		return exitUsage
	}

	ctx := untilSignal(stderr)
	kctx.BindTo(ctx, (*context.Context)(nil))
	kctx.Bind(streams{stdout, stderr})
	if err := kctx.Run(); err != nil {
		fmt.Fprintln(stderr, "leveret:", err)
		if errors.As(err, new(usageError)) {
			return exitUsage
		}
		return exitFail
	}
	return exitOK
}

// streams are where output goes.
type streams struct{ out, err io.Writer }

// usageError is an error in the command line that parsing could not see.
type usageError struct{ error }

// untilSignal returns a context that ends at the first SIGINT or SIGTERM. The
// second one ends the process at once: somebody is impatient.
func untilSignal(stderr io.Writer) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() { // Ends with the process.
		<-signals
		cancel()
		s := <-signals
		fmt.Fprintf(stderr, "leveret: %v again, leaving at once\n", s)
		os.Exit(exitFail)
	}()
	return ctx
}

// versionText is what --version prints.
func versionText() string {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				revision = ", commit " + s.Value[:12]
			}
		}
	}
	return fmt.Sprintf("leveret %s (%s %s/%s%s)", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, revision)
}
