package mgmt

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"

	"leveret/core"
)

func (c *call) getDefinitions() error {
	all, err := c.s.broker.ExportDefinitions(c.param("vhost"))
	if err != nil {
		return err
	}
	if name := c.r.URL.Query().Get("download"); name != "" {
		c.w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	}
	sum := sha256.Sum256(all)
	tag := fmt.Sprintf(`"%x"`, sum[:16])
	c.w.Header().Set("Etag", tag)
	if slices.Contains(strings.Split(strings.ReplaceAll(c.r.Header.Get("If-None-Match"), " ", ""), ","), tag) {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return c.ok(json.RawMessage(all))
}

// postDefinitions imports. RabbitMQ answers 204 whatever became of the items;
// where some are not served, we say which with a 200.
func (c *call) postDefinitions() error {
	data, err := c.uploaded()
	if err != nil {
		return err
	}
	v, err := decodeJSON(data)
	if _, ok := v.(map[string]any); err != nil || !ok {
		return badRequest("failed_to_parse_json")
	}
	if err := usersHaveTags(v); err != nil {
		return err
	}
	return c.importDefinitions(data, c.param("vhost"))
}

func (c *call) importDefinitions(data []byte, vhost string) error {
	report, err := c.acting().ImportDefinitions(data, vhost)
	if err != nil {
		var ce *core.Error
		if errors.As(err, &ce) && ce.Kind == core.NotFound {
			return badRequest(ce.Why) // Something that the file refers to, not the resource.
		}
		return err
	}
	if len(report.Skipped)+len(report.Idle) == 0 {
		return c.done(false)
	}
	c.s.log.Warn("definitions imported in part", slog.Any("skipped", report.Skipped), slog.Any("without_effect", report.Idle))
	return c.ok(object{"skipped": append([]string{}, report.Skipped...), "without_effect": append([]string{}, report.Idle...)})
}

// planned compares the uploaded file with what is declared.
func (c *call) planned() ([]byte, *core.DefinitionsPlan, error) {
	data, err := c.uploaded()
	if err != nil {
		return nil, nil, err
	}
	v, err := decodeJSON(data)
	if _, ok := v.(map[string]any); err != nil || !ok {
		return nil, nil, badRequest("failed_to_parse_json")
	}
	if err := usersHaveTags(v); err != nil {
		return nil, nil, err
	}
	plan, err := c.s.broker.PlanDefinitions(data, c.r.URL.Query().Get("vhost"))
	return data, plan, err
}

// planDefinitions says what an import would do. With ?vhost= the file is one of
// that virtual host.
func (c *call) planDefinitions() error {
	_, plan, err := c.planned()
	if err != nil {
		return err
	}
	return c.ok(plan)
}

// applyDefinitions is an import that does nothing at all if something would be
// refused, unless that is forced.
func (c *call) applyDefinitions() error {
	data, plan, err := c.planned()
	if err != nil {
		return err
	}
	if n := len(plan.Refuse); n > 0 && !c.flag("force") {
		first := &plan.Refuse[0]
		c.json(http.StatusBadRequest, object{
			"error": "bad_request", "refuse": plan.Refuse,
			"reason": fmt.Sprintf("nothing was imported: %d items are refused, the first of them %s '%s': %s", n, first.Kind, first.Name, first.Reason),
		})
		return nil
	}
	return c.importDefinitions(data, c.r.URL.Query().Get("vhost"))
}

// usersHaveTags refuses a user without tags before anything is imported: it is
// more likely to be a mistake than to be meant.
func usersHaveTags(definitions any) error {
	users, _ := definitions.(map[string]any)["users"].([]any)
	for _, u := range users {
		if user, ok := u.(map[string]any); ok && !body(user).has("tags") {
			return badRequest("tags_not_present")
		}
	}
	return nil
}

// uploaded is the body, or the field called file of a form.
func (c *call) uploaded() ([]byte, error) {
	if !strings.HasPrefix(c.r.Header.Get("Content-Type"), "multipart/form-data") {
		return c.bytes(maxDefinitionsBody)
	}
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, maxDefinitionsBody)
	parts, err := c.r.MultipartReader()
	if err != nil {
		return nil, badRequest("the form cannot be read")
	}
	for {
		part, err := parts.NextPart()
		if err != nil {
			return nil, badRequest("the form has no field called file")
		}
		if part.FormName() == "file" {
			data, err := io.ReadAll(part)
			if err != nil {
				return nil, badRequest("the form cannot be read")
			}
			return data, nil
		}
	}
}
