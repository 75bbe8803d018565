package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
)

// Field says where in a client's certificate its user name stands.
type Field string

// The fields that RabbitMQ knows, in its words (ssl_cert_login_from).
const (
	DistinguishedName      Field = "distinguished_name"
	CommonName             Field = "common_name"
	SubjectAlternativeName Field = "subject_alternative_name"
)

// SANType says which of the alternative names counts, in RabbitMQ's words
// (ssl_cert_login_san_type).
type SANType string

// The types of alternative names.
const (
	SANDNS       SANType = "dns"
	SANIP        SANType = "ip"
	SANEmail     SANType = "email"
	SANURI       SANType = "uri"
	SANOtherName SANType = "other_name"
)

// UserName is how a certificate names its user. The zero value takes the whole
// subject.
type UserName struct {
	From     Field
	SANType  SANType // Of SubjectAlternativeName.
	SANIndex int     // Among those of that type, from 0.
}

// errNoName is why a certificate logs nobody in.
var errNoName = errors.New("the certificate has no such name")

// Of is the user that c is for. Its length is as bounded as c.
func (u UserName) Of(c *x509.Certificate) (string, error) {
	switch u.From {
	case CommonName:
		return commonName(c)
	case SubjectAlternativeName:
		return u.alternative(c)
	}
	return SubjectName(c)
}

// SubjectName prints c's subject as RabbitMQ does: RFC 4514 with the last name
// first, what is not printable ASCII as \XX: "CN=app,O=shop".
func SubjectName(c *x509.Certificate) (string, error) {
	names, err := subject(c)
	if err != nil {
		return "", err
	} else if len(names) == 0 {
		return "", errNoName
	}
	var b strings.Builder
	for i := len(names) - 1; i >= 0; i-- {
		if i < len(names)-1 {
			b.WriteByte(',')
		}
		for j, part := range names[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			b.WriteString(attributeName(part.Type))
			b.WriteByte('=')
			escapeValue(&b, fmt.Sprint(part.Value))
		}
	}
	return b.String(), nil
}

func subject(c *x509.Certificate) (pkix.RDNSequence, error) {
	var names pkix.RDNSequence
	if rest, err := asn1.Unmarshal(c.RawSubject, &names); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("the certificate's subject cannot be read: %v", err)
	}
	return names, nil
}

// attributeNames are those that RabbitMQ prints by name.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "SERIALNUMBER", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET",
	"2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "TITLE", "2.5.4.42": "GIVENNAME", "2.5.4.43": "INITIALS",
	"2.5.4.44": "GENERATIONQUALIFIER", "2.5.4.65": "PSEUDONYM", "0.9.2342.19200300.100.1.25": "DC",
	"0.9.2342.19200300.100.1.1": "UID", "1.2.840.113549.1.9.1": "EMAILADDRESS",
}

const commonNameOID = "2.5.4.3"

func attributeName(oid asn1.ObjectIdentifier) string {
	if name, ok := attributeNames[oid.String()]; ok {
		return name
	}
	return oid.String()
}

// escapeValue appends v to b as RFC 4514 says in 2.4, and everything that is not
// printable ASCII as \XX too.
func escapeValue(b *strings.Builder, v string) {
	for i := range len(v) {
		switch ch := v[i]; {
		case i == 0 && (ch == ' ' || ch == '#'), i == len(v)-1 && ch == ' ', strings.IndexByte(`"+,;<>\`, ch) >= 0:
			b.WriteByte('\\')
			b.WriteByte(ch)
		case ch < 32 || ch >= 126:
			fmt.Fprintf(b, `\%02X`, ch)
		default:
			b.WriteByte(ch)
		}
	}
}

// commonName is c's, or all of them with commas between.
func commonName(c *x509.Certificate) (string, error) {
	names, err := subject(c)
	if err != nil {
		return "", err
	}
	var all []string
	for _, parts := range names {
		for _, part := range parts {
			if part.Type.String() == commonNameOID {
				all = append(all, fmt.Sprint(part.Value))
			}
		}
	}
	return named(strings.Join(all, ","))
}

func named(name string) (string, error) {
	if name == "" {
		return "", errNoName
	}
	return name, nil
}

func (u UserName) alternative(c *x509.Certificate) (string, error) {
	var all []string
	switch u.SANType {
	case SANIP:
		for _, ip := range c.IPAddresses {
			all = append(all, ip.String())
		}
	case SANEmail:
		all = c.EmailAddresses
	case SANURI:
		for _, uri := range c.URIs {
			all = append(all, uri.String())
		}
	case SANOtherName:
		var err error
		if all, err = otherNames(c); err != nil {
			return "", err
		}
	default:
		all = c.DNSNames
	}
	if u.SANIndex < 0 || u.SANIndex >= len(all) {
		return "", errNoName
	}
	return named(all[u.SANIndex])
}

var sanOID = asn1.ObjectIdentifier{2, 5, 29, 17}

// otherNames are the alternative names of types that X.509 does not know, such
// as the principal names of Active Directory, as far as they are strings:
//
//	GeneralName ::= otherName [0] SEQUENCE { type OID, value [0] EXPLICIT ANY }
func otherNames(c *x509.Certificate) (all []string, err error) {
	for _, x := range c.Extensions {
		if !x.Id.Equal(sanOID) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(x.Value, &names); err != nil || len(rest) > 0 {
			return nil, fmt.Errorf("the certificate's alternative names cannot be read: %v", err)
		}
		for _, n := range names {
			if n.Class != asn1.ClassContextSpecific || n.Tag != 0 {
				continue
			}
			var oid asn1.ObjectIdentifier
			var outer, value asn1.RawValue
			rest, err := asn1.Unmarshal(n.Bytes, &oid)
			if err == nil {
				_, err = asn1.Unmarshal(rest, &outer)
			}
			if err == nil {
				_, err = asn1.Unmarshal(outer.Bytes, &value)
			}
			if err != nil {
				return nil, fmt.Errorf("the certificate's alternative names cannot be read: %w", err)
			}
			switch value.Tag {
			case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String:
				all = append(all, string(value.Bytes))
			}
		}
	}
	return all, nil
}
