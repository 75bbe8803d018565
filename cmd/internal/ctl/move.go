package ctl

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// moveMessages takes messages of a queue elsewhere, or home.
type moveMessages struct {
	Queue      string        `arg:"" name:"queue"`
	ToQueue    string        `name:"to-queue" xor:"to" required:"" placeholder:"QUEUE" help:"To this queue, as they are."`
	ToExchange *string       `name:"to-exchange" xor:"to" required:"" placeholder:"EXCHANGE" help:"Publish them to this exchange."`
	RoutingKey *string       `name:"routing-key" placeholder:"KEY" help:"With this routing key instead of their own."`
	ToOrigin   bool          `name:"to-origin" xor:"to" required:"" help:"Dead-lettered and parked messages go back to the queue in which they first died, as they were."`
	Filter     string        `name:"filter" placeholder:"TEXT" help:"Only those that contain this, in any case."`
	In         string        `name:"in" placeholder:"PARTS" help:"Where the filter looks: body,headers,key. [all]"`
	Reason     string        `name:"reason" placeholder:"REASON" help:"Only those that died of this last: rejected, expired, maxlen, delivery_limit."`
	OlderThan  time.Duration `name:"older-than" placeholder:"DURATION" help:"Only those that arrived before so long ago."`
	NewerThan  time.Duration `name:"newer-than" placeholder:"DURATION" help:"Only those that arrived since then."`
	Limit      int           `name:"limit" placeholder:"N" help:"So many at most."`
	Preview    bool          `name:"preview" help:"Say what would be moved, and move nothing."`
}

// moveEvery is how often the broker is asked how far it is.
const moveEvery = 200 * time.Millisecond

// movement is a job as the API shows it.
type movement struct {
	State   string `json:"state"`
	Moved   int64  `json:"moved"`
	Scanned int64  `json:"scanned"`
	Skipped int64  `json:"skipped"`
	Total   int64  `json:"total"`
	Error   string `json:"error"`
}

func (v *moveMessages) request() map[string]any {
	filter := map[string]any{}
	put := func(name string, value any, given bool) {
		if given {
			filter[name] = value
		}
	}
	put("search", v.Filter, v.Filter != "")
	put("in", v.In, v.In != "")
	put("reason", v.Reason, v.Reason != "")
	put("older_than_ms", v.OlderThan.Milliseconds(), v.OlderThan > 0)
	put("newer_than_ms", v.NewerThan.Milliseconds(), v.NewerThan > 0)
	body := map[string]any{"filter": filter, "preview": v.Preview}
	switch {
	case v.ToOrigin:
		body["to"] = "origin"
	case v.ToExchange != nil:
		to := map[string]any{"exchange": *v.ToExchange}
		if v.RoutingKey != nil {
			to["routing_key"] = *v.RoutingKey
		}
		body["to"] = to
	default:
		body["to"] = map[string]any{"queue": v.ToQueue}
	}
	if v.Limit > 0 {
		body["limit"] = v.Limit
	}
	return body
}

// Run starts a job and waits for it.
func (v *moveMessages) Run(t *tool) error {
	at := path("queues", t.vhost, v.Queue, "move")
	if v.Preview {
		return v.preview(t, at)
	}
	t.print.banner("Moving messages of queue '%s' in vhost '%s' ...", v.Queue, t.vhost)
	var job struct {
		ID string `json:"id"`
	}
	if err := t.call(http.MethodPost, at, v.request(), &job); err != nil {
		return t.explain(err, exitUnavailable)
	}
	bar := t.progress("Moving")
	defer bar.end()
	for {
		var m movement
		if err := t.get(path("moves", job.ID), &m); err != nil {
			return t.explain(err, exitUnavailable)
		}
		if m.State == "running" {
			bar.show(m.Scanned, m.Total)
			time.Sleep(moveEvery)
			continue
		}
		bar.end()
		t.print.line("Moved %d messages, left %d of those that matched", m.Moved, m.Skipped)
		if m.State != "done" {
			if m.Error == "" {
				m.Error = m.State
			}
			return exitf(exitUnavailable, "%s", m.Error)
		}
		return nil
	}
}

func (v *moveMessages) preview(t *tool, at string) error {
	var p struct {
		Matched      int  `json:"matched"`
		Total        int  `json:"total"`
		Complete     bool `json:"complete"`
		Destinations []struct {
			Exchange string   `json:"exchange"`
			Key      string   `json:"routing_key"`
			Queues   []string `json:"queues"`
			Count    int      `json:"count"`
		} `json:"destinations"`
	}
	t.print.banner("Looking at messages of queue '%s' in vhost '%s' ...", v.Queue, t.vhost)
	if err := t.call(http.MethodPost, at, v.request(), &p); err != nil {
		return t.explain(err, exitUnavailable)
	}
	if !p.Complete {
		fmt.Fprintln(t.stderr, "There are more than could be looked at.")
	}
	rows := [][]any{}
	for _, d := range p.Destinations {
		queues := strings.Join(d.Queues, ",")
		if queues == "" {
			queues = "(stay)"
		}
		rows = append(rows, []any{json.Number(fmt.Sprint(d.Count)), queues, d.Exchange, d.Key})
	}
	t.print.table([]string{"messages", "to", "exchange", "routing_key"}, rows)
	return nil
}

// listDelayed lists what an x-delayed-message exchange keeps.
type listDelayed struct {
	Exchange string `arg:"" name:"exchange"`
	Limit    int    `name:"limit" default:"1000" placeholder:"N" help:"So many at most, by due time. [1000]"`
}

func (v *listDelayed) Run(t *tool) error {
	t.print.banner("Listing delayed messages of exchange '%s' in vhost '%s' ...", v.Exchange, t.vhost)
	rows, after := [][]any{}, ""
	for len(rows) < v.Limit {
		var page struct {
			Next  string `json:"next"`
			Items []struct {
				ID    string      `json:"id"`
				Due   json.Number `json:"due_ms"`
				Bytes json.Number `json:"payload_bytes"`
			} `json:"items"`
		}
		query := url.Values{"page_size": {fmt.Sprint(min(500, v.Limit-len(rows)))}, "after": {after}}
		if err := t.get(path("exchanges", t.vhost, v.Exchange, "delayed")+"?"+query.Encode(), &page); err != nil {
			return t.explain(err, exitUnavailable)
		}
		for _, m := range page.Items {
			rows = append(rows, []any{m.ID, m.Due, m.Bytes})
		}
		if after = page.Next; after == "" {
			break
		}
	}
	t.print.table([]string{"id", "due_ms", "payload_bytes"}, rows)
	return nil
}

// cancelDelayed drops one of them.
type cancelDelayed struct {
	Exchange string `arg:"" name:"exchange"`
	ID       string `arg:"" name:"id" help:"As list_delayed shows it."`
}

func (v *cancelDelayed) Run(t *tool) error {
	t.print.banner("Cancelling delayed message '%s' of exchange '%s' ...", v.ID, v.Exchange)
	return t.explain(t.delete(path("exchanges", t.vhost, v.Exchange, "delayed", v.ID)), exitUnavailable)
}

// retimeDelayed makes one of them due at another time.
type retimeDelayed struct {
	Exchange string        `arg:"" name:"exchange"`
	ID       string        `arg:"" name:"id" help:"As list_delayed shows it."`
	In       time.Duration `arg:"" name:"in" help:"How long from now it is due: 0s is at once."`
}

func (v *retimeDelayed) Run(t *tool) error {
	t.print.banner("Changing when delayed message '%s' of exchange '%s' is due ...", v.ID, v.Exchange)
	var is struct {
		ID string `json:"id"`
	}
	err := t.call(http.MethodPut, path("exchanges", t.vhost, v.Exchange, "delayed", v.ID), map[string]any{"delay_ms": v.In.Milliseconds()}, &is)
	if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.print.line("%s", is.ID)
	return nil
}
