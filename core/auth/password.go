package auth

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
)

// The algorithms of password hashes, by RabbitMQ's names.
const (
	SHA256 = "rabbit_password_hashing_sha256" // The default.
	SHA512 = "rabbit_password_hashing_sha512"
	MD5    = "rabbit_password_hashing_md5" // For hashes made long ago.
)

// saltSize is how many bytes of salt stand before the digest in a hash:
//
//	0               4                              4 + digest size
//	+---------------+------------------------------+
//	| salt          | digest of salt ‖ password    |   in base64
//	+---------------+------------------------------+
const saltSize = 4

// ErrEmptyPassword is what HashPassword returns for "", with which nobody may
// log in.
var ErrEmptyPassword = errors.New("password must not be empty")

// HashPassword hashes password by algorithm, one of the names above or "" for
// SHA256, with a salt of its own.
func HashPassword(password, algorithm string) (string, error) {
	var salt [saltSize]byte
	rand.Read(salt[:]) // Never fails.
	return hashPassword(salt, password, algorithm)
}

func hashPassword(salt [saltSize]byte, password, algorithm string) (string, error) {
	if password == "" {
		return "", ErrEmptyPassword
	}
	digest, ok := digester(algorithm)
	if !ok {
		return "", fmt.Errorf("unknown password hashing algorithm '%s'", algorithm)
	}
	return base64.StdEncoding.EncodeToString(append(salt[:], digest(salt, password)...)), nil
}

// digester returns the function that computes the digest of algorithm.
func digester(algorithm string) (func(salt [saltSize]byte, password string) []byte, bool) {
	switch algorithm {
	case "", SHA256:
		return func(salt [saltSize]byte, password string) []byte {
			d := sha256.Sum256(append(salt[:], password...))
			return d[:]
		}, true
	case SHA512:
		return func(salt [saltSize]byte, password string) []byte {
			d := sha512.Sum512(append(salt[:], password...))
			return d[:]
		}, true
	case MD5:
		return func(salt [saltSize]byte, password string) []byte {
			d := md5.Sum(append(salt[:], password...))
			return d[:]
		}, true
	}
	return nil, false
}

// verifier is a password hash taken apart, ready to be compared with.
type verifier struct {
	salt   [saltSize]byte
	digest func(salt [saltSize]byte, password string) []byte
	want   []byte // Nil if no password is the right one.
}

// nobody is the verifier of users that do not exist. Refusing them takes as long
// as refusing a wrong password.
var nobody, _ = newVerifier("", "")

// newVerifier takes hash apart. Its error never contains the hash. A hash of the
// wrong length is one no password has, as in RabbitMQ, where definitions with
// such hashes can be imported.
func newVerifier(hash, algorithm string) (verifier, error) {
	digest, ok := digester(algorithm)
	if !ok {
		return verifier{}, fmt.Errorf("unknown password hashing algorithm '%s'", algorithm)
	}
	raw, err := base64.StdEncoding.DecodeString(hash)
	if err != nil {
		return verifier{}, errors.New("password hash is not valid base64")
	}
	v := verifier{digest: digest}
	if len(raw) > saltSize {
		copy(v.salt[:], raw)
		v.want = raw[saltSize:]
	}
	return v, nil
}

// accepts reports whether password is the right one. How long it takes depends
// on the length of password and the algorithm only.
func (v verifier) accepts(password string) bool {
	got := v.digest(v.salt, password)
	want := v.want
	if len(want) != len(got) {
		want = make([]byte, len(got))
	}
	same := subtle.ConstantTimeCompare(got, want) == 1
	return same && len(v.want) == len(got) && password != ""
}
