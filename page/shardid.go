package page

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strings"
)

// String gives four hex digits, number and count: "0104" is shard 1 of 4.
func (x ShardIndex) String() string { return hex.EncodeToString([]byte{x.Number, x.Count}) }

// Suffix is what the names of a shard's folders have behind the tenant's id: "-0104", and nothing for a tenant that was
// never sharded.
func (x ShardIndex) Suffix() string {
	if x.Count == 0 {
		return ""
	}
	return "-" + x.String()
}

// ParseShardIndex reads four hex digits.
func ParseShardIndex(s string) (ShardIndex, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 2 {
		return ShardIndex{}, fmt.Errorf("shard %.20q: want four hex digits, number and count", s)
	}
	x := ShardIndex{b[0], b[1]}
	if x.Number >= max(x.Count, 1) {
		return ShardIndex{}, fmt.Errorf("shard %q: there is no shard %d of %d", s, x.Number, x.Count)
	}
	return x, nil
}

// MarshalText gives the four digits.
func (x ShardIndex) MarshalText() ([]byte, error) { return []byte(x.String()), nil }

// UnmarshalText reads the four digits.
func (x *ShardIndex) UnmarshalText(b []byte) (err error) {
	*x, err = ParseShardIndex(string(b))
	return err
}

// TenantShardID names one shard of a tenant. That of a tenant which was never sharded has no more than the tenant's id,
// and its text is the same.
type TenantShardID struct {
	Tenant TenantID
	Shard  ShardIndex
}

// tenantShardBytes is the length of the binary form.
const tenantShardBytes = 18

// String gives the tenant's 32 hex digits, and for a shard "-" and four more.
func (t TenantShardID) String() string { return t.Tenant.String() + t.Shard.Suffix() }

// ParseTenantShardID reads what String gives, digits of either case.
func ParseTenantShardID(s string) (TenantShardID, error) {
	tenant, shard, sharded := strings.Cut(s, "-")
	id, err := ParseTenantID(tenant)
	if err != nil {
		return TenantShardID{}, err
	}
	t := TenantShardID{Tenant: id}
	if !sharded {
		return t, nil
	}
	if t.Shard, err = ParseShardIndex(shard); err != nil {
		return TenantShardID{}, fmt.Errorf("tenant %q: %w", s, err)
	}
	if t.Shard.Count == 0 {
		return TenantShardID{}, fmt.Errorf("tenant %q: one without shards has no digits for them", s)
	}
	return t, nil
}

// MarshalText gives the text form.
func (t TenantShardID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the text form.
func (t *TenantShardID) UnmarshalText(b []byte) (err error) {
	*t, err = ParseTenantShardID(string(b))
	return err
}

// MarshalBinary gives the 18-byte form: the tenant's 16 bytes, number, count. One without shards has two zeros.
func (t TenantShardID) MarshalBinary() ([]byte, error) {
	return append(append(make([]byte, 0, tenantShardBytes), t.Tenant[:]...), t.Shard.Number, t.Shard.Count), nil
}

// UnmarshalBinary reads the 18-byte form.
func (t *TenantShardID) UnmarshalBinary(b []byte) error {
	if len(b) != tenantShardBytes {
		return fmt.Errorf("tenant shard id of %d bytes: want %d", len(b), tenantShardBytes)
	}
	x := ShardIndex{b[16], b[17]}
	if x.Number >= max(x.Count, 1) {
		return fmt.Errorf("tenant shard id %x: there is no shard %d of %d", b, x.Number, x.Count)
	}
	copy(t.Tenant[:], b)
	t.Shard = x
	return nil
}

// Compare orders by tenant, number, count.
func (t TenantShardID) Compare(o TenantShardID) int {
	return cmp.Or(strings.Compare(string(t.Tenant[:]), string(o.Tenant[:])),
		cmp.Compare(t.Shard.Number, o.Shard.Number), cmp.Compare(t.Shard.Count, o.Shard.Count))
}
