package ctl

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// The exit codes of rabbitmqctl, which are those of sysexits.h.
const (
	exitOK          = 0
	exitUsage       = 64 // The command line is wrong.
	exitData        = 65 // An argument's value is.
	exitNoUser      = 67
	exitUnavailable = 69 // No broker there, or it refuses.
	exitSoftware    = 70
	exitTimeout     = 75
)

// exitError ends the program with a code; its text goes to standard error.
type exitError struct {
	code int
	text string
}

func (e *exitError) Error() string { return e.text }

func exitf(code int, format string, args ...any) error {
	return &exitError{code, fmt.Sprintf(format, args...)}
}

// tool is what a verb works with.
type tool struct {
	*client
	print  printer
	vhost  string
	stdin  io.Reader
	stderr io.Writer
}

// Names are those of RabbitMQ's programs that Main stands in for.
var Names = []string{"rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-plugins", "rabbitmq-queues", "rabbitmq-streams", "rabbitmq-upgrade"}

// Main runs one command line (without the program's name, which is name) and
// returns the exit code.
func Main(name string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var g grammar
	if name == "rabbitmq-plugins" {
		var p pluginsGrammar
		return mainOf(&p, &p.options, pluginGroups, name, args, stdin, stdout, stderr)
	}
	return mainOf(&g, &g.options, groups, name, args, stdin, stdout, stderr)
}

// mainOf is Main for a grammar whose options are o.
func mainOf(g any, o *options, groups []kong.Group, name string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	done := -1
	parser, err := kong.New(g,
		kong.Name(name),
		kong.Description("Looks after a running broker, as rabbitmqctl does: same verbs, same output, same exit codes.\n\n"+
			"It talks to the management API. Try: ping, status, list_queues name messages consumers, "+
			"add_user app secret, add_vhost shop, set_permissions -p shop app '.*' '.*' '.*'."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { done = code; panic(exiting{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 110}),
		kong.ExplicitGroups(groups),
	)
	if err != nil {
		fmt.Fprintln(stderr, "Error:", err)
		return exitSoftware
	}
	return run(parser, o, name, args, stdin, stdout, stderr, &done)
}

// exiting unwinds kong, which expects its exit function not to return.
type exiting struct{}

func run(parser *kong.Kong, o *options, name string, args []string, stdin io.Reader, stdout, stderr io.Writer, done *int) (code int) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exiting); !ok {
				panic(r)
			}
			code = *done
		}
	}()
	if len(args) == 0 || args[0] == "help" {
		help := []string{"--help"}
		if len(args) > 1 {
			help = []string{args[1], "--help"}
		}
		code := exitOK
		if len(args) == 0 {
			code = exitUsage
		}
		parser.Exit = func(int) { *done = code; panic(exiting{}) }
		args = help
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "Error: %v\nTry '%s --help'.\n", err, name)
		return exitUsage
	}
	t, err := o.tool(stdin, stdout, stderr)
	if err == nil {
		err = kctx.Run(t)
	}
	if err == nil {
		err = t.print.err
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "Error:\n%v\n", err)
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitSoftware
}

// tool prepares what verbs work with.
func (o *options) tool(stdin io.Reader, stdout, stderr io.Writer) (*tool, error) {
	c, err := newClient(&o.Connection)
	if err != nil {
		return nil, err
	}
	return &tool{
		client: c,
		vhost:  o.VHost,
		stdin:  stdin,
		stderr: stderr,
		print: printer{
			w: stdout, format: o.Formatter,
			quiet: o.Quiet || o.Silent, headless: o.Silent || o.NoTableHeaders,
		},
	}, nil
}

// password returns given or, if that is empty, a line from standard input.
func (t *tool) password(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	if f, ok := t.stdin.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			t.print.line("Password: ")
		}
	}
	var b strings.Builder
	for one := make([]byte, 1); b.Len() < 4096; {
		n, err := t.stdin.Read(one)
		if n == 1 && one[0] == '\n' {
			break
		}
		b.Write(one[:n])
		if err != nil {
			break
		}
	}
	p := strings.TrimSuffix(b.String(), "\r")
	if p == "" {
		return "", exitf(exitData, "password cannot be empty")
	}
	return p, nil
}
