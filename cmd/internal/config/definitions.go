package config

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Definitions is one file to be imported at the start.
type Definitions struct {
	Name string
	Data []byte
}

const (
	maxDefinitionsBytes = 1 << 30
	downloadTimeout     = 30 * time.Second
)

// remote reports whether definitions are behind a URL.
func remote(name string) bool {
	return strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://")
}

// ReadDefinitions reads what --load-definitions names, in the order in which it
// is to be imported: nothing, one file, those of a directory whose names end in
// .json, or the answer of a URL.
func (s *Serve) ReadDefinitions(ctx context.Context) ([]Definitions, error) {
	name := s.LoadDefinitions
	if name == "" {
		return nil, nil
	}
	names := []string{name}
	if remote(name) {
		d, err := download(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("--load-definitions: %w", err)
		}
		return []Definitions{d}, nil
	}
	info, err := os.Stat(name)
	if err == nil && info.IsDir() {
		if names, err = filepath.Glob(filepath.Join(escapeGlob(name), "*.json")); err == nil && len(names) == 0 {
			err = fmt.Errorf("the directory %s has no file whose name ends in .json", name)
		}
	}
	var all []Definitions
	for _, name := range names {
		var data []byte
		if err == nil {
			data, err = os.ReadFile(name)
		}
		all = append(all, Definitions{name, data})
	}
	if err != nil {
		return nil, fmt.Errorf("--load-definitions: %w", err)
	}
	return all, nil
}

// download fetches definitions. The server must have a certificate that this
// machine trusts.
func download(ctx context.Context, url string) (Definitions, error) {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Definitions{}, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return Definitions{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return Definitions{}, fmt.Errorf("%s answers %s", req.URL.Redacted(), res.Status)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxDefinitionsBytes+1))
	if err == nil && len(data) > maxDefinitionsBytes {
		err = fmt.Errorf("%s answers more than %d bytes", req.URL.Redacted(), maxDefinitionsBytes)
	}
	return Definitions{req.URL.Redacted(), data}, err
}

// Digest tells sets of definitions apart.
func Digest(all []Definitions) string {
	h := sha256.New()
	for _, d := range all {
		fmt.Fprintf(h, "%d %s %d\n", len(d.Name), d.Name, len(d.Data))
		h.Write(d.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}
