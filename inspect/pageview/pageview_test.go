package pageview_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/inspect/pageview"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

func heapPage(t *testing.T) bufpage.Page {
	t.Helper()
	p := bufpage.Page(make([]byte, pg.BlockSize))
	p.Init(0)
	_, err := p.AddItem(make([]byte, 32), 0, 0)
	require.NoError(t, err)
	require.NoError(t, p.SetItemID(1, bufpage.NewItemID(p.Upper(), bufpage.Normal, 32)))
	p.SetLSN(0x16B3748)
	p.SetFlag(bufpage.AllVisible)
	return p
}

func TestTextAndJSONShowTheSame(t *testing.T) {
	p := heapPage(t)
	var text, js bytes.Buffer
	require.NoError(t, pageview.Text(&text, p, page.ForkMain))
	require.NoError(t, pageview.JSON(&js, p, page.ForkMain))
	var v pageview.View
	require.NoError(t, json.Unmarshal(js.Bytes(), &v))
	require.Equal(t, page.LSN(0x16B3748), v.LSN)
	require.Equal(t, "heap", v.Kind)
	require.Equal(t, []string{"all-visible"}, v.Flags)
	require.Equal(t, []pageview.Item{{Number: 1, State: "normal", Offset: pg.BlockSize - 32, Length: 32}}, v.Items)
	require.Contains(t, text.String(), "lsn 0/16B3748")
	require.Equal(t, []string{"1", "normal", "8160", "32"}, strings.Fields(strings.Split(text.String(), "\n")[2]))
}

func TestOddPages(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, pageview.Text(&b, make([]byte, pg.BlockSize), page.ForkMain))
	require.Contains(t, b.String(), "never written")
	require.Error(t, pageview.Text(&b, make([]byte, 100), page.ForkMain))
	// A page of noise is shown, not refused.
	require.NoError(t, pageview.Text(&b, bytes.Repeat([]byte{0xA5}, pg.BlockSize), page.ForkMain))
}
