//go:build clients

package clients

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestTokens has clients log in with tokens that expire soon. The signing key is
// a shared secret here; cmd/leveret tests the other kinds.
func TestTokens(t *testing.T) {
	t.Parallel()
	binary := broker.binary
	if binary == "" {
		t.Log("the broker under test has settings of its own: a leveret is built")
		var err error
		if binary, err = buildLeveret(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	const secret = "0123456789abcdef0123456789abcdef"
	keys := filepath.Join(t.TempDir(), "keys.json")
	set := `{"keys":[{"kty":"oct","kid":"k","alg":"HS256","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}]}`
	if err := os.WriteFile(keys, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	token := func(lives time.Duration, scopes string) string {
		j := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"sub": "anna", "aud": []string{"other", "broker"}, "exp": time.Now().Add(lives).Unix(), "scope": scopes,
		})
		j.Header["kid"] = "k"
		text, err := j.SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	addrs, err := freeAddrs(addrCount)
	if err != nil {
		t.Fatal(err)
	}
	b, err := startLeveretOn(binary, filepath.Join(t.TempDir(), "broker.log"), ":memory:", addrs,
		"--auth-backends", "oauth2,internal", "--oauth2-jwks", keys, "--oauth2-resource-server-id", "broker")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.kill)
	for protocol, want := range map[string][]string{
		"amqp": {"AMQP ended: 320 CONNECTION_FORCED - credential expired", "AMQP fresh: 403", "AMQP expired: refused"},
		"mqtt": {"MQTT connected: Success", "MQTT published: No matching subscribers", "MQTT ended: Maximum connect time", "MQTT connected: Bad user name or password"},
		"stomp": {"STOMP CONNECTED", "STOMP CONNECTED", "STOMP RECEIPT", "STOMP fresh: RECEIPT",
			"STOMP ended: ERROR CONNECTION_FORCED - credential expired", "STOMP fresh: RECEIPT", "STOMP ERROR Access refused for user ''"},
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			const all = "broker.configure:*/* broker.read:*/*/* broker.write:*/*/*"
			// Long enough for an interpreter to start on a slow machine.
			tokens, err := json.Marshal(map[string]string{
				"short": token(20*time.Second, all), "long": token(time.Hour, all), "expired": token(-time.Minute, all),
				"narrow": token(time.Hour, "broker.configure:*/jobs-* broker.read:*/jobs-* broker.write:*/amq.default"),
			})
			if err != nil {
				t.Fatal(err)
			}
			p := program{argv: []string{pythonPath(t), "tokens.py", protocol}, dir: filepath.Join(repository(), "tests", "clients", "python")}
			out := p.with(fmt.Sprintf("TOKENS=%s", tokens), "HTTP_URL="+b.http.String(), "STOMP_ADDR="+b.stomp, "MQTT_ADDR="+b.mqtt).run(t, b.amqp.String()+"/%2F")
			wantLines(t, out, want...)
		})
	}
}
