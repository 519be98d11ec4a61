package auth

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Limits on what is read.
const (
	maxKeyFile  = 64 << 10
	maxKeys     = 64
	maxToken    = 16 << 10
	minRSABits  = 2048
	leeway      = time.Minute
	lookForKeys = time.Second // how often files are looked at again
)

// ErrToken means that there is no token, or one that is not to be believed.
var ErrToken = errors.New("not authenticated")

// Options say more about which tokens are good.
type Options struct {
	// Audience, if set, is a name that tokens have to be for.
	Audience string
	// Clock gives the time; default time.Now.
	Clock func() time.Time
}

// Keys verify tokens. They may be used from many goroutines.
type Keys struct {
	path   string
	clock  func() time.Time
	parser *jwt.Parser

	mu     sync.Mutex
	looked time.Time
	files  []keyFile
	keys   jwt.VerificationKeySet
}

// keyFile tells whether a file has changed.
type keyFile struct {
	name    string
	size    int64
	changed time.Time
}

// Open reads public keys in PEM form from a file, or from all files of a folder but hidden ones. They are read again when
// they have changed; while what is there then cannot be read the old ones stay in use.
func Open(path string, o Options) (*Keys, error) {
	k := &Keys{path: path, clock: o.Clock}
	if k.clock == nil {
		k.clock = time.Now
	}
	options := []jwt.ParserOption{jwt.WithValidMethods([]string{"EdDSA", "RS256"}), jwt.WithLeeway(leeway), jwt.WithTimeFunc(k.clock)}
	if o.Audience != "" {
		options = append(options, jwt.WithAudience(o.Audience))
	}
	k.parser = jwt.NewParser(options...)
	return k, k.Reload()
}

// Reload reads the keys again, whether files have changed or not.
func (k *Keys) Reload() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reload(nil)
}

// reload reads the keys unless the files are those of old.
func (k *Keys) reload(old []keyFile) error {
	k.looked = k.clock()
	files, err := listKeys(k.path)
	if err != nil {
		return err
	}
	if old != nil && slices.Equal(files, old) {
		return nil
	}
	var keys jwt.VerificationKeySet
	for _, f := range files {
		more, err := readKeys(f.name)
		if err != nil {
			return err
		}
		if keys.Keys = append(keys.Keys, more...); len(keys.Keys) > maxKeys {
			return fmt.Errorf("%s: there are more than %d keys", k.path, maxKeys)
		}
	}
	if len(keys.Keys) == 0 {
		return fmt.Errorf("%s: there is no key in it", k.path)
	}
	k.files, k.keys = files, keys
	return nil
}

func (k *Keys) present() jwt.VerificationKeySet {
	k.mu.Lock()
	defer k.mu.Unlock()
	if since := k.clock().Sub(k.looked); since >= lookForKeys || since < 0 {
		_ = k.reload(k.files) // those that there were stay
	}
	return k.keys
}

// Verify checks a token and says what it claims. Errors wrap ErrToken, and do not repeat the token.
func (k *Keys) Verify(token string) (Claims, error) {
	if token == "" {
		return Claims{}, fmt.Errorf("%w: a token is wanted, as password or as bearer", ErrToken)
	}
	if len(token) > maxToken {
		return Claims{}, fmt.Errorf("%w: the token has %d bytes, %d are the most", ErrToken, len(token), maxToken)
	}
	var b body
	if _, err := k.parser.ParseWithClaims(token, &b, func(*jwt.Token) (any, error) { return k.present(), nil }); err != nil {
		return Claims{}, fmt.Errorf("%w: %s", ErrToken, reason(err))
	}
	c, err := b.claims()
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return c, nil
}

// reason says what is wrong without what the library quotes of the token.
func reason(err error) string {
	for _, r := range []struct {
		is   error
		text string
	}{
		{jwt.ErrTokenMalformed, "that is no JSON Web Token"},
		{jwt.ErrTokenSignatureInvalid, "no key here has signed the token (Ed25519 by EdDSA, RSA by RS256)"},
		{jwt.ErrTokenExpired, "the token has expired"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet"},
		{jwt.ErrTokenInvalidAudience, "the token is for somebody else: its aud does not name this server"},
		{jwt.ErrTokenRequiredClaimMissing, "the token does not say whom it is for: it has no aud"},
	} {
		if errors.Is(err, r.is) {
			return r.text
		}
	}
	return "the token cannot be verified"
}

// listKeys gives the files of keys in the order of their names.
func listKeys(path string) ([]keyFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []keyFile{{path, info.Size(), info.ModTime()}}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []keyFile
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		info, err := os.Stat(name) // of what a link leads to: mounted secrets are links
		if err != nil {
			return nil, err
		}
		if e.Name()[0] != '.' && info.Mode().IsRegular() {
			files = append(files, keyFile{name, info.Size(), info.ModTime()})
		}
	}
	return files, nil
}

// readKeys gives the public keys of a file.
func readKeys(name string) ([]jwt.VerificationKey, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%s: a file of keys has at most %d bytes", name, maxKeyFile)
	}
	var keys []jwt.VerificationKey
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		key, err := parseKey(block)
		if err != nil {
			return nil, fmt.Errorf("%s: key %d: %w", name, len(keys)+1, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: there is no key in PEM form in it", name)
	}
	return keys, nil
}

// parseKey takes an Ed25519 or RSA key, or the one of a certificate.
func parseKey(block *pem.Block) (jwt.VerificationKey, error) {
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = c.PublicKey
		}
	default:
		err = fmt.Errorf("a public key is wanted, not a %s", cmp.Or(block.Type, "block without a type"))
	}
	if err != nil {
		return nil, err
	}
	switch key := key.(type) {
	case ed25519.PublicKey:
		return key, nil
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSABits {
			return nil, fmt.Errorf("an RSA key of %d bits is too weak: %d are the least", n, minRSABits)
		}
		return key, nil
	}
	return nil, fmt.Errorf("%T: Ed25519 and RSA keys are used here", key)
}
