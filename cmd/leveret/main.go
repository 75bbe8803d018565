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
	"slices"
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
	exitConf  = 78 // A configuration file or variable is, as sysexits.h has it.
)

// commandLine is the grammar.
type commandLine struct {
	Version kong.VersionFlag `short:"V" help:"Print the version and exit."`

	Serve serveCmd `cmd:"" default:"withargs" help:"Serve clients until told to stop: what leveret does without a command."`
	Ctl   ctlCmd   `cmd:"" passthrough:"" help:"Look after a running broker, with rabbitmqctl's verbs; see leveret ctl help."`
	Perf  perf.Cmd `cmd:"" help:"Load a broker, this one or another, and measure it."`

	Completion completionCmd `cmd:"" help:"Print what makes a shell complete leveret's command lines: bash, fish or zsh."`
}

// serveCmd is `leveret serve`.
type serveCmd struct {
	config.Serve
	PrintConfig printFormat `name:"print-config" group:"configuration" placeholder:"FORMAT" help:"Print every setting with its value and where that comes from, and exit; --print-config=json for programs."`

	report *config.Report
	reload func() (*serveCmd, error) // Everything read again.
}

// printFormat is the value of a flag that can do without: --print-config or
// --print-config=json.
type printFormat string

// Decode is for kong.
func (p *printFormat) Decode(ctx *kong.DecodeContext) error {
	*p = "text"
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		v := ctx.Scan.Pop().String()
		if v != "text" && v != "json" {
			return fmt.Errorf("%q is neither text nor json", v)
		}
		*p = printFormat(v)
	}
	return nil
}

// IsBool makes the value optional.
func (printFormat) IsBool() bool { return true }

// ctlCmd stands in the help; main hands its arguments to package ctl unparsed.
type ctlCmd struct {
	Args []string `arg:"" optional:"" name:"verb"`
}

// completionCmd is `leveret completion`.
type completionCmd struct {
	Shell string `arg:"" help:"bash, fish or zsh."`
}

// Run prints the script.
func (c *completionCmd) Run(io streams) error {
	script, err := ctl.CompletionScript(c.Shell)
	if err != nil {
		return usageError{err}
	}
	fmt.Fprint(io.out, script)
	return nil
}

const description = "A message broker that speaks AMQP 0-9-1 and MQTT as RabbitMQ does."

// Help is the middle of `leveret --help`, which is about serving.
func (serveCmd) Help() string {
	return `Other commands:

    leveret ctl VERB     look after a running broker, with rabbitmqctl's verbs; see leveret ctl help
    leveret perf amqp    load a broker, this one or another, and measure it; see leveret perf amqp --help
    leveret perf stomp   the same over STOMP
    leveret completion   make bash, fish or zsh complete command lines: source <(leveret completion bash)

Examples:

    leveret
    leveret --amqp-addr localhost:5673 --mqtt-addr none --web-mqtt-addr none
    LEVERET_DEFAULT_PASS=secret leveret --loopback-users none
    leveret --load-definitions definitions.json --memory-limit 2GiB
    leveret --config rabbitmq.conf --strict
    leveret --print-config

Each setting is a key of the configuration file (leveret. and the flag's name with _ for -, and RabbitMQ's keys), an
environment variable, by the name behind the flag, and a flag; each beats those before it. RabbitMQ's variables work too.
guest, with the password guest, may log in from this machine only. SIGHUP reads files and certificates again. SIGTERM and SIGINT say goodbye to clients and end the broker within seconds.`
}

var helpGroups = []kong.Group{
	{Key: "configuration", Title: "Configuration"},
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
	if name := strings.TrimSuffix(filepath.Base(args[0]), ".exe"); slices.Contains(ctl.Names, name) {
		return ctl.Main(name, args[1:], stdin, stdout, stderr)
	}
	if len(args) > 1 && args[1] == "ctl" {
		return ctl.Main("leveret ctl", args[2:], stdin, stdout, stderr)
	}

	if len(args) > 2 && args[1] == "__complete" {
		complete(args[2:], stdout)
		return exitOK
	}
	words := args[1:]
	if len(words) == 1 && (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
		words = []string{"serve", "--help"} // Who asks about leveret wants to know how to start it.
	}
	parser, kctx, cl, err := parse(words, stdout, stderr)
	if parser == nil {
		fmt.Fprintln(stderr, "leveret:", err)
		return exitFail
	}
	if err != nil {
		fmt.Fprintf(stderr, "leveret: %v\nTry 'leveret --help'.\n", err)
		return exitUsage
	}
	if kctx.Selected().Name == "serve" {
		cl.Serve.reload = func() (*serveCmd, error) {
			_, kctx, cl, err := parse(words, stdout, stderr)
			if err == nil {
				cl.Serve.report, err = config.Load(&cl.Serve.Serve, given(kctx))
			}
			return &cl.Serve, err
		}
		if cl.Serve.report, err = config.Load(&cl.Serve.Serve, given(kctx)); err != nil {
			fmt.Fprintln(stderr, "leveret:", err)
			return exitConf
		}
		if cl.Serve.PrintConfig != "" {
			if err := config.Print(stdout, string(cl.Serve.PrintConfig), cl.Serve.Values(cl.Serve.report)); err != nil {
				return exitFail
			}
			return exitOK
		}
	}

	ctx := untilSignal(stderr)
	kctx.BindTo(ctx, (*context.Context)(nil))
	kctx.Bind(streams{stdout, stderr})
	if err := kctx.Run(); err != nil {
		fmt.Fprintln(stderr, "leveret:", err)
		if errors.As(err, new(*config.Refusal)) {
			return exitConf
		}
		if errors.As(err, new(usageError)) {
			return exitUsage
		}
		return exitFail
	}
	return exitOK
}

// parse reads the command line words, LEVERET_ variables and defaults. Without a
// parser the error is our own.
func parse(words []string, stdout, stderr io.Writer) (*kong.Kong, *kong.Context, *commandLine, error) {
	var cl commandLine
	parser, err := newParser(&cl, stdout, stderr)
	if err != nil {
		return nil, nil, nil, err
	}
	kctx, err := parser.Parse(words)
	return parser, kctx, &cl, err
}

// complete prints what the last of words, of a command line, may become.
func complete(words []string, stdout io.Writer) {
	if words[0] == "ctl" {
		ctl.Complete(words[1:], stdout)
		return
	}
	parser, err := newParser(&commandLine{}, io.Discard, io.Discard)
	if err != nil {
		return
	}
	last := len(words) - 1
	for _, found := range ctl.CompletionsOf(parser.Model.Node, words[:last], words[last], nil) {
		fmt.Fprintln(stdout, found)
	}
}

func newParser(cl *commandLine, stdout, stderr io.Writer) (*kong.Kong, error) {
	return kong.New(cl,
		kong.Name("leveret"),
		kong.Description(description),
		kong.Vars{"version": versionText()},
		kong.Writers(stdout, stderr),
		kong.ExplicitGroups(helpGroups),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 120}),
	)
}

// given has the names of the flags that stand on the command line.
func given(kctx *kong.Context) map[string]bool {
	names := map[string]bool{}
	for _, p := range kctx.Path {
		if p.Flag != nil && !p.Resolved {
			names[p.Flag.Name] = true
		}
	}
	return names
}

// streams are where output goes.
type streams struct{ out, err io.Writer }

// usageError is an error in the command line that parsing could not see.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

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
