package mgmt

import (
	"cmp"
	"strings"

	"leveret/core"
)

// The retained messages of MQTT as a tree of topics. The exchange is the one
// that MQTT publishes to, amq.topic unless the query names another.

const (
	// retainedFound and retainedScan bound a search.
	retainedFound = 1000
	retainedScan  = 500_000
)

func (c *call) retainedExchange() string {
	return cmp.Or(c.r.URL.Query().Get("exchange"), "amq.topic")
}

// listRetained shows one level of the tree, or what a search finds below it.
func (c *call) listRetained() error {
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	q := c.r.URL.Query()
	var under *string
	if q.Has("under") {
		key := topicKey.Replace(q.Get("under"))
		under = &key
	}
	exchange := c.retainedExchange()
	var levels []core.RetainedLevel
	if text := strings.ToLower(q.Get("search")); text != "" {
		levels, err = s.RetainedMatching(exchange, under, func(key string) bool {
			return strings.Contains(strings.ToLower(topicKey.Replace(key)), text)
		}, retainedFound, retainedScan)
	} else {
		levels, err = s.RetainedUnder(exchange, under)
	}
	if err != nil {
		return err
	}
	rows := []row{}
	for _, l := range levels {
		rows = append(rows, row{"", topicKey.Replace(l.Key), func() object { return retainedObject(s, exchange, &l) }})
	}
	return c.list(rows)
}

func retainedObject(s *core.Session, exchange string, l *core.RetainedLevel) object {
	out := object{"topic": topicKey.Replace(l.Key), "level": topicKey.Replace(l.Word), "children": l.Children, "message": nil}
	if !l.Retained {
		return out
	}
	if m, err := s.RetainedMessage(exchange, l.Key); err == nil {
		o := object{"size": len(m.Body), "qos": formQoS(m.Form, m.Encoded), "expires_at": nil, "published_at": nil}
		if l.ExpiresMS != 0 {
			o["expires_at"] = l.ExpiresMS
		}
		if m.ArrivedMS != 0 {
			o["published_at"] = m.ArrivedMS
		}
		out["message"] = o
	}
	return out
}

// retainedTopic is the routing key of the query's topic.
func (c *call) retainedTopic() (string, error) {
	q := c.r.URL.Query()
	if !q.Has("topic") {
		return "", badRequest("[{key_missing,topic}]")
	}
	return topicKey.Replace(q.Get("topic")), nil
}

func (c *call) getRetained() error {
	key, err := c.retainedTopic()
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	m, err := s.RetainedMessage(c.retainedExchange(), key)
	if err != nil {
		return err
	}
	size := len(m.Body)
	m.Body = m.Body[:min(size, peekMaxBytes)]
	out := messageRow(m, size)
	out["topic"], out["qos"] = topicKey.Replace(key), formQoS(m.Form, m.Encoded)
	return c.ok(out)
}

func (c *call) deleteRetained() error {
	key, err := c.retainedTopic()
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.ClearRetained(c.retainedExchange(), key); err != nil {
		return err
	}
	return c.done(false)
}
