//go:build clients

package clients

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leveret/tests/internal/brokertest"
)

// TestPythonOverTLS has pika, paho and stomp.py connect with TLS and log in by
// certificate.
func TestPythonOverTLS(t *testing.T) {
	t.Parallel()
	if broker.binary == "" {
		t.Log("the certificates of a broker that is not ours are not ours to make")
		return
	}
	dir := t.TempDir()
	ca := newIssuer(t, dir, "ca")
	newIssuer(t, dir, "other")
	ca.issue(t, dir, "server", pkix.Name{CommonName: "localhost"})
	ca.issue(t, dir, "app", pkix.Name{CommonName: "app", Organization: []string{"shop"}})
	addrs, err := brokertest.FreeAddrs(3)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	b, err := brokertest.Start(brokertest.Options{Binary: broker.binary, Log: file("broker.log"), Args: []string{
		"--amqp-tls-addr", addrs[0], "--mqtt-tls-addr", addrs[1], "--stomp-tls-addr", addrs[2],
		"--tls-cert", file("server.pem"), "--tls-key", file("server.key"), "--tls-ca", file("ca.pem"), "--tls-verify", "peer",
		"--mqtt-cert-login", "--stomp-cert-login", "--no-mqtt-anonymous", "--stomp-default-user", "none",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Kill)
	for _, put := range [][2]string{
		{"/api/users/", `{"password":"secret","tags":""}`},
		{"/api/permissions/%2F/", `{"configure":".*","write":".*","read":".*"}`},
	} {
		r, err := http.NewRequest("PUT", "http://"+b.HTTP+put[0]+url.PathEscape("CN=app,O=shop"), strings.NewReader(put[1]))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("guest", "guest")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %s", put[0], resp.Status)
		}
	}
	p := program{argv: []string{pythonPath(t), "-m", "pytest", "certificates.py"}, dir: filepath.Join(repository(), "tests", "clients", "python")}
	out := p.with("TLS_DIR="+dir, "AMQPS_ADDR="+addrs[0], "MQTTS_ADDR="+addrs[1], "STOMPS_ADDR="+addrs[2]).start(t, "amqp://guest:guest@"+b.AMQP+"/")
	out.finish()
	t.Log(out.waitLine(`^\d+ passed.*$`)[0])
	if err := b.CheckLog(); err != nil {
		t.Error(err)
	}
}

// issuer is an authority.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newIssuer makes one and writes its certificate to NAME.pem.
func newIssuer(t *testing.T, dir, name string) *issuer {
	t.Helper()
	i := &issuer{cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}}
	i.key = i.sign(t, dir, name, i.cert)
	return i
}

// issue makes a certificate for servers and clients, NAME.pem and NAME.key.
func (i *issuer) issue(t *testing.T, dir, name string, subject pkix.Name) {
	t.Helper()
	i.sign(t, dir, name, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: subject, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	})
}

// sign signs a certificate, with its own key if i has none yet, and returns that.
func (i *issuer) sign(t *testing.T, dir, name string, c *x509.Certificate) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := i.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, i.cert, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if parsed, err := x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	} else if c == i.cert {
		i.cert = parsed // With the key's identifier, which strict clients look for.
	}
	return key
}
