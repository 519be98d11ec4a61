package auth

import (
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	"github.com/stratapg/strata/page"
)

// Scope is what a token is for.
type Scope string

// The scopes that a page server admits. Tokens of Neon's other services have other ones.
const (
	ScopeTenant     Scope = "tenant"
	ScopePageserver Scope = "pageserverapi"
)

// ErrDenied means that a token is good but not for this.
var ErrDenied = errors.New("the token does not allow this")

// Claims are what a token that was verified says.
type Claims struct {
	Scope Scope
	// Tenant is the one that a token of ScopeTenant is for.
	Tenant page.TenantID
}

// MayUse says whether the bearer may read a tenant's timelines: nil, or an error that wraps ErrDenied.
func (c Claims) MayUse(tenant page.TenantID) error {
	switch {
	case c.Scope == ScopePageserver:
		return nil
	case c.Scope != ScopeTenant:
		return fmt.Errorf("%w: its scope is %q; %q or %q is wanted", ErrDenied, c.Scope, ScopeTenant, ScopePageserver)
	case c.Tenant != tenant:
		return fmt.Errorf("%w: it is for tenant %s, not %s", ErrDenied, c.Tenant, tenant)
	}
	return nil
}

// MayManage says whether the bearer may create, change and remove tenants: nil, or an error that wraps ErrDenied.
func (c Claims) MayManage() error {
	if c.Scope != ScopePageserver {
		return fmt.Errorf("%w: its scope is %q; %q is wanted", ErrDenied, c.Scope, ScopePageserver)
	}
	return nil
}

// body is a token's claims as they are written.
type body struct {
	jwt.RegisteredClaims
	Scope  Scope  `json:"scope"`
	Tenant string `json:"tenant_id"`
}

// claims are those of a body whose signature and times are good.
func (b *body) claims() (c Claims, err error) {
	c.Scope = b.Scope
	switch {
	case b.Scope == "":
		return c, errors.New("it has no scope")
	case b.Scope == ScopeTenant:
		if c.Tenant, err = page.ParseTenantID(b.Tenant); err != nil {
			return c, fmt.Errorf("its tenant_id: %w", err)
		}
	case b.Tenant != "":
		return c, fmt.Errorf("it names a tenant, which scope %q does not", b.Scope)
	}
	return c, nil
}
