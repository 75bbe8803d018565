package console

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func TestFilesAreServedWithAStrictPolicy(t *testing.T) {
	for _, path := range Paths() {
		res := get(t, "GET", path)
		if res.StatusCode != 200 || res.ContentLength == 0 {
			t.Errorf("%s: %d, %d bytes", path, res.StatusCode, res.ContentLength)
		}
		csp := res.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q has no %q", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	if res := get(t, "GET", "/nothing"); res.StatusCode != 404 {
		t.Errorf("a file that is not there: %d", res.StatusCode)
	}
	if res := get(t, "POST", "/"); res.StatusCode != 405 {
		t.Errorf("POST: %d", res.StatusCode)
	}
}

// The policy refuses inline script and style: the page must not rely on any, nor
// on anything that is not its own.
func TestPageHasNothingInlineOrForeign(t *testing.T) {
	b, err := io.ReadAll(get(t, "GET", "/").Body)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, bad := range []string{`(?i)<style`, `(?i) style=`, `(?i) on[a-z]+=`, `(?i)<script>`, `(?i)(src|href)="(https?:)?//`} {
		if m := regexp.MustCompile(bad).FindString(page); m != "" {
			t.Errorf("the page has %q", m)
		}
	}
}

func TestFilesAreCompressedAndRevalidated(t *testing.T) {
	res := get(t, "GET", "/app.js", "Accept-Encoding", "gzip, br")
	if res.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("header %v", res.Header)
	}
	z, err := gzip.NewReader(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(get(t, "GET", "/app.js").Body)
	if err != nil {
		t.Fatal(err)
	}
	if string(plain) != string(unpacked) {
		t.Error("compressed, it is another file")
	}
	again := get(t, "GET", "/app.js", "If-None-Match", res.Header.Get("Etag"))
	if again.StatusCode != 304 {
		t.Errorf("unchanged: %d", again.StatusCode)
	}
	if res := get(t, "HEAD", "/app.js"); res.Header.Get("Content-Length") == "" || res.StatusCode != 200 {
		t.Errorf("HEAD: %d %v", res.StatusCode, res.Header)
	}
}

// bundleMax is what all files may weigh compressed: it is what a browser loads
// before it shows anything.
const bundleMax = 200 << 10

func TestBundleIsSmall(t *testing.T) {
	total := 0
	for name, f := range files() {
		t.Logf("%s: %d bytes, %d compressed", name, len(f.plain), len(f.packed))
		total += len(f.packed)
	}
	if total > bundleMax {
		t.Errorf("the bundle has %d bytes compressed, more than %d", total, bundleMax)
	}
}
