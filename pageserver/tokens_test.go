package pageserver_test

import (
	"maps"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/stratapg/strata/page"
)

// tokenCase is a kind of token.
type tokenCase struct {
	name, token string
	unknown     string // what is wrong with the token itself, nothing if it is believed
	denied      string // what is wrong with what it is for
}

// allTokens gives each scope's token, good, expired, not valid yet and signed by another's key. Of a token that is not believed it does
// not matter what it is for.
func allTokens(t *testing.T, sign func(jwt.MapClaims) string, own page.TenantID) []tokenCase {
	t.Helper()
	foreign, _ := signer(t)
	all := []tokenCase{{name: "none", unknown: "a token is wanted"}}
	for _, scope := range []struct {
		name   string
		claims jwt.MapClaims
		denied string
	}{
		{"for everything", jwt.MapClaims{"scope": "pageserverapi", "aud": []string{"a", "b"}, "exp": time.Now().Add(24 * time.Hour).Unix()}, ""},
		{"of the tenant", jwt.MapClaims{"scope": "tenant", "tenant_id": own.String()}, ""},
		{"of another tenant", jwt.MapClaims{"scope": "tenant", "tenant_id": page.TenantID{7}.String()}, "it is for tenant"},
		{"of safekeepers", jwt.MapClaims{"scope": "safekeeperdata"}, "its scope is"},
		{"of generations", jwt.MapClaims{"scope": "generations_api"}, "its scope is"},
		{"of operators", jwt.MapClaims{"scope": "admin"}, "its scope is"},
	} {
		for _, state := range []struct {
			name    string
			sign    func(jwt.MapClaims) string
			times   jwt.MapClaims
			unknown string
		}{
			{"", sign, nil, ""},
			{", expired", sign, jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()}, "expired"},
			{", not valid yet", sign, jwt.MapClaims{"nbf": time.Now().Add(time.Hour).Unix()}, "not valid yet"},
			{", signed by another's key", foreign, nil, "no key here"},
		} {
			claims := maps.Clone(scope.claims)
			maps.Copy(claims, state.times)
			all = append(all, tokenCase{scope.name + state.name, state.sign(claims), state.unknown, scope.denied})
		}
	}
	return all
}
