package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

//go:embed dist
var dist embed.FS

// policy is what the pages may load and do: their own files and the API. Nothing
// inline runs, no other site may show them in a frame, and no form leaves them.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// file is one of the files, ready to be sent.
type file struct {
	contentType   string
	plain, packed []byte
	etag          string
}

// types are the files there are and what they are.
var types = map[string]string{
	"index.html": "text/html; charset=utf-8",
	"app.js":     "text/javascript; charset=utf-8",
	"app.css":    "text/css; charset=utf-8",
}

// Paths are where Handler answers.
func Paths() []string { return []string{"/", "/index.html", "/app.js", "/app.css"} }

// files reads and compresses what is embedded, once and when first asked for.
var files = sync.OnceValue(func() map[string]*file {
	out := map[string]*file{}
	for name, contentType := range types {
		plain, err := dist.ReadFile("dist/" + name)
		if err != nil {
			panic("console: " + err.Error()) // Embedded, so it is there.
		}
		var packed bytes.Buffer
		w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // The level is a valid one.
		w.Write(plain)
		w.Close()
		sum := sha256.Sum256(plain)
		out[name] = &file{contentType, plain, packed.Bytes(), `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
	}
	return out
})

// Handler serves the console. Browsers keep its files but ask each time whether
// they are still current, so that a new release is seen at once.
func Handler() http.Handler { return http.HandlerFunc(serve) }

func serve(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	f := files()[name]
	if f == nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	h.Set("Etag", f.etag)
	if strings.Contains(r.Header.Get("If-None-Match"), f.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := f.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		body = f.packed
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", f.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		w.Write(body)
	}
}
