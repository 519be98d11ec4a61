package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

const tenant = "3aa8fcc61f6d357410b7de754b1d9001"

var now = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func clock() time.Time { return now }

// writeKey puts a public key into a file as others make them.
func writeKey(t testing.TB, name string, public any) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
}

func newEd25519(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return public, private
}

func sign(t testing.TB, m jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(m, claims).SignedString(key)
	require.NoError(t, err)
	return s
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	public, private := newEd25519(t)
	_, foreign := newEd25519(t)
	private2, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	writeKey(t, filepath.Join(dir, "a.pem"), public)
	writeKey(t, filepath.Join(dir, "b.pem"), &private2.PublicKey)
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".hidden"), []byte("no key"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	k, err := Open(dir, Options{Clock: clock, Audience: "pages"})
	require.NoError(t, err)

	id, err := page.ParseTenantID(tenant)
	require.NoError(t, err)
	with := func(more jwt.MapClaims) jwt.MapClaims {
		c := jwt.MapClaims{"scope": "tenant", "tenant_id": tenant, "aud": "pages"}
		for k, v := range more {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return c
	}
	publicPEM, err := os.ReadFile(filepath.Join(dir, "b.pem"))
	require.NoError(t, err)
	ed, rs := jwt.SigningMethodEdDSA, jwt.SigningMethodRS256
	good := sign(t, ed, private, with(nil))
	for _, c := range []struct {
		name, token string
		wrong       string // part of the error, none if the token is good
	}{
		{"EdDSA", good, ""},
		{"RS256", sign(t, rs, private2, with(nil)), ""},
		{"a list of audiences", sign(t, ed, private, with(jwt.MapClaims{"aud": []string{"others", "pages"}})), ""},
		{"times that hold", sign(t, ed, private, with(jwt.MapClaims{"exp": now.Unix() + 1, "nbf": now.Unix() - 1})), ""},
		{"a clock that is half a minute off", sign(t, ed, private, with(jwt.MapClaims{"exp": now.Unix() - 30, "nbf": now.Unix() + 30})), ""},
		{"none", "", "a token is wanted"},
		{"too long", strings.Repeat("x", maxToken+1), "are the most"},
		{"no token", "hello", "no JSON Web Token"},
		{"expired", sign(t, ed, private, with(jwt.MapClaims{"exp": now.Unix() - 61})), "expired"},
		{"not yet valid", sign(t, ed, private, with(jwt.MapClaims{"nbf": now.Unix() + 61})), "not valid yet"},
		{"another's key", sign(t, ed, foreign, with(nil)), "no key here"},
		{"another audience", sign(t, ed, private, with(jwt.MapClaims{"aud": []string{"others"}})), "aud does not name"},
		{"no audience", sign(t, ed, private, with(jwt.MapClaims{"aud": nil})), "no aud"},
		{"unsigned", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, with(nil)), "no key here"},
		{"a public key as secret", sign(t, jwt.SigningMethodHS256, publicPEM, with(nil)), "no key here"},
		{"RSA with another hash", sign(t, jwt.SigningMethodRS512, private2, with(nil)), "no key here"},
		{"changed", good[:len(good)-8] + "AAAAAAAA", "no key here"},
		{"no scope", sign(t, ed, private, with(jwt.MapClaims{"scope": nil})), "no scope"},
		{"no tenant", sign(t, ed, private, with(jwt.MapClaims{"tenant_id": nil})), "tenant_id"},
		{"a tenant too much", sign(t, ed, private, with(jwt.MapClaims{"scope": "pageserverapi"})), "names a tenant"},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims, err := k.Verify(c.token)
			if c.wrong == "" {
				require.NoError(t, err)
				require.Equal(t, Claims{ScopeTenant, id}, claims)
				return
			}
			require.ErrorIs(t, err, ErrToken)
			require.ErrorContains(t, err, c.wrong)
			require.Equal(t, Claims{}, claims)
			if c.token != "" {
				require.NotContains(t, err.Error(), c.token)
			}
		})
	}
}

func TestMay(t *testing.T) {
	id, other := page.TenantID{1}, page.TenantID{2}
	for _, c := range []struct {
		Claims
		own, others, manage bool
	}{
		{Claims{ScopeTenant, id}, true, false, false},
		{Claims{Scope: ScopePageserver}, true, true, true},
		{Claims{Scope: "safekeeperdata"}, false, false, false},
		{Claims{Scope: "admin"}, false, false, false},
		{Claims{}, false, false, false},
	} {
		for i, err := range []error{c.MayUse(id), c.MayUse(other), c.MayManage()} {
			require.Equal(t, []bool{c.own, c.others, c.manage}[i], err == nil, "%v: %v", c.Claims, err)
			require.True(t, err == nil || errors.Is(err, ErrDenied))
		}
		require.Equal(t, c.others, c.MayUse(page.TenantID{}) == nil, "the tenant that none is named by: %v", c.Claims)
	}
}

// TestKeysFollowFiles: a key that is put beside the old one counts at once, and one that is taken away no more; what
// cannot be read changes nothing.
func TestKeysFollowFiles(t *testing.T) {
	dir, at := t.TempDir(), now
	public, private := newEd25519(t)
	public2, private2 := newEd25519(t)
	claims := jwt.MapClaims{"scope": "pageserverapi"}
	old, next := sign(t, jwt.SigningMethodEdDSA, private, claims), sign(t, jwt.SigningMethodEdDSA, private2, claims)
	writeKey(t, filepath.Join(dir, "1"), public)
	k, err := Open(dir, Options{Clock: func() time.Time { return at }})
	require.NoError(t, err)
	require.ErrorIs(t, verify(k, next), ErrToken)

	writeKey(t, filepath.Join(dir, "2"), public2)
	require.ErrorIs(t, verify(k, next), ErrToken, "within a second files are not looked at")
	require.NoError(t, k.Reload())
	require.NoError(t, verify(k, next))
	require.NoError(t, verify(k, old))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "3"), []byte("half of a k"), 0o600))
	at = at.Add(time.Minute)
	require.NoError(t, verify(k, next))
	require.ErrorContains(t, k.Reload(), "there is no key in PEM form")

	require.NoError(t, os.Remove(filepath.Join(dir, "3")))
	require.NoError(t, os.Remove(filepath.Join(dir, "1")))
	at = at.Add(time.Minute)
	require.NoError(t, verify(k, next))
	require.ErrorIs(t, verify(k, old), ErrToken)
}

func verify(k *Keys, token string) error {
	_, err := k.Verify(token)
	return err
}

func TestBadKeys(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err == nil { // where the library makes one at all
		name := filepath.Join(t.TempDir(), "weak")
		writeKey(t, name, &weak.PublicKey)
		_, err = Open(name, Options{})
		require.ErrorContains(t, err, "too weak")
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "key")
	writeKey(t, name, &curve.PublicKey)
	_, err = Open(name, Options{})
	require.ErrorContains(t, err, "Ed25519 and RSA keys are used here")

	_, private := newEd25519(t)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	_, err = Open(name, Options{})
	require.ErrorContains(t, err, "a public key is wanted, not a PRIVATE KEY")

	require.NoError(t, os.WriteFile(name, make([]byte, maxKeyFile+1), 0o600))
	_, err = Open(name, Options{})
	require.ErrorContains(t, err, "at most")
	_, err = Open(t.TempDir(), Options{})
	require.ErrorContains(t, err, "there is no key in it")
	_, err = Open(name+"no", Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzVerify(f *testing.F) {
	public, private := newEd25519(f)
	name := filepath.Join(f.TempDir(), "key")
	writeKey(f, name, public)
	k, err := Open(name, Options{Clock: clock})
	require.NoError(f, err)
	good := sign(f, jwt.SigningMethodEdDSA, private, jwt.MapClaims{"scope": "pageserverapi"})
	f.Add(good)
	f.Add("..")
	f.Add("eyJhbGciOiJFZERTQSJ9.eyJzY29wZSI6MX0.AA")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := k.Verify(token)
		if err != nil {
			require.ErrorIs(t, err, ErrToken)
			return
		}
		require.Equal(t, ScopePageserver, c.Scope)
		require.Equal(t, good[:strings.LastIndexByte(good, '.')], token[:strings.LastIndexByte(token, '.')], "signed by nobody")
	})
}
