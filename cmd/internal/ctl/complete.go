package ctl

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// completionScripts ask the program itself, by its hidden word __complete, what
// may come next.
var completionScripts = map[string]string{
	"bash": `_leveret() {
	local IFS=$'\n'
	COMPREPLY=($("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
	[ "${#COMPREPLY[@]}" -gt 0 ] || COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o filenames -F _leveret leveret
`,
	"zsh": `#compdef leveret
_leveret() {
	local -a found
	found=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	found=(${found:#})
	if (( ${#found} )); then compadd -a found; else _files; fi
}
compdef _leveret leveret
`,
	"fish": `function __leveret_complete
	set -l words (commandline -opc)
	$words[1] __complete $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c leveret -f -a '(__leveret_complete)'
`,
}

// Shells are those that CompletionScript knows.
func Shells() []string {
	return []string{"bash", "fish", "zsh"}
}

// CompletionScript is what a shell is to read so that it completes command
// lines of leveret. It is an error if the shell is not one of Shells.
func CompletionScript(shell string) (string, error) {
	script, ok := completionScripts[shell]
	if !ok {
		return "", fmt.Errorf("no completion for %q; there is one for %s", shell, strings.Join(Shells(), ", "))
	}
	return script, nil
}

// Complete prints what the last of words, of a command line after "leveret ctl",
// may become, one in a line.
func Complete(words []string, w io.Writer) {
	var g grammar
	parser, err := kong.New(&g)
	if err != nil || len(words) == 0 {
		return
	}
	given, partial := words[:len(words)-1], words[len(words)-1]
	names := connectionIn(&g.Connection, given)
	for _, c := range CompletionsOf(parser.Model.Node, given, partial, names) {
		fmt.Fprintln(w, c)
	}
}

// CompletionsOf lists what partial may become after given: commands, flags,
// values of a flag, and what values says of an argument called so.
func CompletionsOf(node *kong.Node, given []string, partial string, values func(arg string) []string) []string {
	var position int
	var pending *kong.Flag // Its value is next.
	flags := node.Flags
	if node.DefaultCmd != nil {
		flags = append(slices.Clone(flags), node.DefaultCmd.Flags...)
	}
	for _, word := range given {
		switch {
		case pending != nil:
			pending = nil
		case strings.HasPrefix(word, "-"):
			if f := findFlag(flags, word); f != nil && !f.IsBool() && !strings.Contains(word, "=") {
				pending = f
			}
		default:
			if i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == word }); i >= 0 {
				node, position = node.Children[i], 0
				flags = append(slices.Clone(flags), node.Flags...)
			} else {
				position++
			}
		}
	}
	var found []string
	switch {
	case pending != nil:
		if pending.Enum != "" {
			found = pending.EnumSlice()
		} else if values != nil {
			found = values(pending.Name)
		}
	case strings.HasPrefix(partial, "-"):
		for _, f := range flags {
			if !f.Hidden {
				found = append(found, "--"+f.Name)
			}
		}
	case len(node.Children) > 0:
		for _, n := range node.Children {
			if !n.Hidden {
				found = append(found, n.Name)
			}
		}
	case len(node.Positional) > 0 && values != nil:
		found = values(node.Positional[min(position, len(node.Positional)-1)].Name)
	}
	found = slices.DeleteFunc(found, func(s string) bool { return !strings.HasPrefix(s, partial) })
	slices.Sort(found)
	return slices.Compact(found)
}

func findFlag(flags []*kong.Flag, word string) *kong.Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	for _, f := range flags {
		if f.Name == name || !strings.HasPrefix(word, "--") && f.Short != 0 && string(f.Short) == name {
			return f
		}
	}
	return nil
}

// completeWithin is how long a shell waits for a broker's names.
const completeWithin = time.Second

// maxNames is how many names are worth being shown.
const maxNames = 200

// connectionIn returns what knows the names of the objects that arguments are
// called after, asking the broker that the command line given is about.
func connectionIn(o *Connection, given []string) func(arg string) []string {
	o.URL, o.Socket = os.Getenv("LEVERET_URL"), os.Getenv("LEVERET_CTL_SOCKET")
	o.User, o.Password = os.Getenv("LEVERET_USER"), os.Getenv("LEVERET_PASSWORD")
	vhost := "/"
	for i := 0; i+1 < len(given); i++ {
		switch given[i] {
		case "-p", "--vhost":
			vhost = given[i+1]
		case "--url":
			o.URL = given[i+1]
		case "--socket":
			o.Socket = given[i+1]
		}
	}
	lists := map[string]string{
		"username": "/users", "vhost": "/vhosts", "queue": path("queues", vhost), "exchange": path("exchanges", vhost),
		"connection": "/connections", "policy": path("policies", vhost),
	}
	return func(arg string) []string {
		list := lists[arg]
		c, err := newClient(o)
		if list == "" || err != nil {
			return nil
		}
		c.http.Timeout = completeWithin
		var rows []struct {
			Name string `json:"name"`
		}
		query := url.Values{"columns": {"name"}}
		if c.get(list+"?"+query.Encode(), &rows) != nil {
			return nil
		}
		var names []string
		for _, r := range rows[:min(len(rows), maxNames)] {
			names = append(names, printable(r.Name))
		}
		return names
	}
}
