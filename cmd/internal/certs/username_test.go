package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"net/url"
	"testing"

	"leveret/cmd/internal/certs/certstest"
)

func TestUserName(t *testing.T) {
	ca := certstest.NewAuthority(t, "ours")
	attribute := func(oid asn1.ObjectIdentifier, value string) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: oid, Value: value}
	}
	cn, o, dc := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 10}, asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	// subject makes a certificate whose names are in this order, each of some parts.
	subject := func(names ...pkix.RelativeDistinguishedNameSET) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			raw, err := asn1.Marshal(pkix.RDNSequence(names))
			if err != nil {
				t.Fatal(err)
			}
			c.RawSubject = raw
		}
	}
	// upn is a principal name of Active Directory among the alternative names.
	upn := func(c *x509.Certificate) {
		value, err := asn1.MarshalWithParams("app@shop.example", "utf8,explicit,tag:0")
		if err != nil {
			t.Fatal(err)
		}
		oid, err := asn1.Marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		names, err := asn1.Marshal([]asn1.RawValue{
			{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("app.example")},
			{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: append(oid, value...)},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: sanOID, Value: names})
		c.DNSNames, c.IPAddresses = nil, nil
	}
	alternatives := func(c *x509.Certificate) {
		c.DNSNames = []string{"a.example", "b.example"}
		c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1).To4(), net.ParseIP("2001:db8::1")}
		c.EmailAddresses = []string{"app@shop.example"}
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "shop", Path: "/app"}}
	}
	type parts = pkix.RelativeDistinguishedNameSET
	for _, c := range []struct {
		name   string
		how    UserName
		change func(*x509.Certificate)
		want   string // "" if there is none.
	}{
		{"a subject", UserName{}, subject(parts{attribute(o, "shop")}, parts{attribute(cn, "app")}), "CN=app,O=shop"},
		{"components of a domain", UserName{}, subject(parts{attribute(dc, "example")}, parts{attribute(dc, "shop")}, parts{attribute(cn, "app")}), "CN=app,DC=shop,DC=example"},
		{"two parts", UserName{}, subject(parts{attribute(cn, "app"), attribute(o, "shop")}), "CN=app+O=shop"},
		{"what is to be escaped", UserName{}, subject(parts{attribute(cn, ` #a,b+c"d\e<f>g;h=i `)}), `CN=\ #a\,b\+c\"d\\e\<f\>g\;h=i\ `},
		{"a hash", UserName{}, subject(parts{attribute(cn, "#1")}), `CN=\#1`},
		{"what is not ASCII", UserName{}, subject(parts{attribute(cn, "caf\u00e9~\n")}), `CN=caf\C3\A9\7E\0A`},
		{"a name of another kind", UserName{}, subject(parts{attribute(asn1.ObjectIdentifier{1, 2, 3}, "x")}), "1.2.3=x"},
		{"no subject", UserName{}, subject(), ""},
		{"the subject", UserName{From: DistinguishedName}, nil, "CN=app"},
		{"a common name", UserName{From: CommonName}, subject(parts{attribute(o, "shop")}, parts{attribute(cn, "a,pp")}), "a,pp"},
		{"two common names", UserName{From: CommonName}, subject(parts{attribute(cn, "a")}, parts{attribute(cn, "b")}), "a,b"},
		{"no common name", UserName{From: CommonName}, subject(parts{attribute(o, "shop")}), ""},
		{"a DNS name", UserName{From: SubjectAlternativeName, SANType: SANDNS}, alternatives, "a.example"},
		{"the second", UserName{From: SubjectAlternativeName, SANType: SANDNS, SANIndex: 1}, alternatives, "b.example"},
		{"a third", UserName{From: SubjectAlternativeName, SANType: SANDNS, SANIndex: 2}, alternatives, ""},
		{"an address", UserName{From: SubjectAlternativeName, SANType: SANIP}, alternatives, "192.0.2.1"},
		{"an address of IPv6", UserName{From: SubjectAlternativeName, SANType: SANIP, SANIndex: 1}, alternatives, "2001:db8::1"},
		{"an e-mail address", UserName{From: SubjectAlternativeName, SANType: SANEmail}, alternatives, "app@shop.example"},
		{"a URI", UserName{From: SubjectAlternativeName, SANType: SANURI}, alternatives, "spiffe://shop/app"},
		{"a principal name", UserName{From: SubjectAlternativeName, SANType: SANOtherName}, upn, "app@shop.example"},
		{"the second of one", UserName{From: SubjectAlternativeName, SANType: SANOtherName, SANIndex: 1}, upn, ""},
	} {
		pair := ca.Issue(t, certstest.Leaf{Name: "app", Change: c.change})
		got, err := c.how.Of(pair.Leaf)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

func FuzzUserName(f *testing.F) {
	ca := certstest.NewAuthority(f, "ours")
	f.Add(ca.Issue(f, certstest.Leaf{Name: "app"}).Certificate[0])
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		for _, how := range []UserName{{}, {From: CommonName}, {From: SubjectAlternativeName}, {From: SubjectAlternativeName, SANType: SANOtherName}} {
			if name, err := how.Of(c); (name == "") != (err != nil) {
				t.Errorf("%v: %q, %v", how, name, err)
			}
		}
		// Printable whatever it was.
		name, _ := SubjectName(c)
		for _, ch := range []byte(name) {
			if ch < 32 || ch > 126 {
				t.Errorf("%q is not printable", name)
			}
		}
	})
}
