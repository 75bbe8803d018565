package ctl

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// authVerbs are about logins and permissions as the broker sees them, whoever
// keeps its users.
type authVerbs struct {
	Explain authExplain `cmd:"" name:"explain" help:"Say which rule lets a user do something, or refuses it. Exit code 0 if it may, 69 if not."`
}

type authExplain struct {
	Who       string `arg:"" name:"who" help:"A user's name, or @FILE with a token in it; @- reads the token from standard input."`
	Operation string `arg:"" name:"operation" enum:"login,vhost,configure,write,read,passive,write-topic,read-topic" help:"login, vhost, configure, write, read, passive, write-topic or read-topic."`
	Name      string `arg:"" name:"name" optional:"" help:"The queue or exchange that it is about."`
	Exchange  bool   `name:"exchange" help:"NAME is an exchange; without NAME, the default one."`
	Key       string `name:"key" placeholder:"KEY" help:"The routing key, of write-topic and read-topic."`
	ClientID  string `name:"client-id" placeholder:"ID" help:"The MQTT client, for topic permissions that name it."`
	Remote    bool   `name:"remote" help:"The user is on another machine."`
}

// explanation is what the API answers.
type explanation struct {
	Allowed bool     `json:"allowed"`
	User    string   `json:"user"`
	Tags    []string `json:"tags"`
	Reasons []struct {
		Allowed bool   `json:"allowed"`
		What    string `json:"what"`
		Backend string `json:"backend"`
		Rule    string `json:"rule"`
	} `json:"reasons"`
}

func (v *authExplain) Run(t *tool) error {
	ask := map[string]any{
		"operation": v.Operation, "vhost": t.vhost, "name": v.Name, "routing_key": v.Key, "client_id": v.ClientID, "remote": v.Remote,
	}
	if v.Exchange {
		ask["resource"] = "exchange"
	}
	if file, ok := strings.CutPrefix(v.Who, "@"); ok {
		token, err := t.token(file)
		if err != nil {
			return err
		}
		ask["token"] = token
	} else {
		ask["user"] = v.Who
	}
	var x explanation
	if err := t.post(path("auth", "explain"), ask, &x); err != nil {
		return t.explain(err, exitUnavailable)
	}
	verdict := map[bool]string{true: "allowed", false: "refused"}
	t.print.banner("Explaining %s for user \"%s\" [%s] in vhost \"%s\" ...", v.Operation, x.User, strings.Join(x.Tags, ", "), t.vhost)
	rows := [][]any{}
	for _, r := range x.Reasons {
		backend := r.Backend
		if backend == "" {
			backend = "broker"
		}
		rows = append(rows, []any{verdict[r.Allowed], r.What, backend, r.Rule})
	}
	t.print.table([]string{"answer", "what", "backend", "rule"}, rows)
	if !x.Allowed {
		return exitf(exitUnavailable, "User \"%s\" may not", x.User)
	}
	return nil
}

// tokenMax bounds what is read of a token.
const tokenMax = 1 << 20

// token reads a token from a file, - for standard input.
func (t *tool) token(file string) (string, error) {
	in := t.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", exitf(exitData, "%v", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, tokenMax))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", exitf(exitData, "the token cannot be empty")
	}
	return token, nil
}
