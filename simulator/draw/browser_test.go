package draw_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
)

// browser is a Chromium driven over its DevTools pipe, with one page open.
type browser struct {
	t       *testing.T
	in      io.WriteCloser
	replies chan reply
	next    int
	session string
	// events are what the browser told of itself.
	events []reply
}

// reply is an answer, or an event if ID is 0.
type reply struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Params json.RawMessage `json:"params"`
	Error  json.RawMessage `json:"error"`
}

// patience is how long a browser may take for one answer on a busy machine.
const patience = time.Minute

// startBrowser starts one that the test ends.
func startBrowser(t *testing.T) *browser {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		testkit.Skip(t, "no browser: apt-get install chromium (make servers does it)")
	}
	toBrowser, in, err := os.Pipe()
	require.NoError(t, err)
	out, fromBrowser, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{toBrowser, fromBrowser} // descriptors 3 and 4
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	require.NoError(t, cmd.Start())
	require.NoError(t, toBrowser.Close())
	require.NoError(t, fromBrowser.Close())
	b := &browser{t: t, in: in, replies: make(chan reply, 1024)}
	go func() {
		defer close(b.replies)
		s := bufio.NewScanner(out)
		s.Buffer(nil, 64<<20)
		s.Split(func(data []byte, eof bool) (int, []byte, error) {
			if i := bytes.IndexByte(data, 0); i >= 0 {
				return i + 1, data[:i], nil
			}
			return 0, nil, nil
		})
		for s.Scan() {
			var r reply
			if json.Unmarshal(s.Bytes(), &r) == nil {
				b.replies <- r
			}
		}
	}()
	t.Cleanup(func() {
		b.call("Browser.close", nil, nil)
		in.Close()
		for range b.replies { // until it has closed its end
		}
		_ = cmd.Wait() // how it ended says nothing of the page
		out.Close()
	})
	var target struct{ TargetID, SessionID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// call sends a command and waits for its answer.
func (b *browser) call(method string, params, result any) {
	b.next++
	msg := map[string]any{"id": b.next, "method": method}
	if params != nil {
		msg["params"] = params
	}
	if b.session != "" && method != "Browser.close" {
		msg["sessionId"] = b.session
	}
	raw, err := json.Marshal(msg)
	require.NoError(b.t, err)
	_, err = b.in.Write(append(raw, 0))
	require.NoError(b.t, err, method)
	for late := time.After(patience); ; {
		select {
		case r, ok := <-b.replies:
			require.True(b.t, ok, "the browser is gone during %s", method)
			if r.ID != b.next {
				b.events = append(b.events, r)
				continue
			}
			require.Empty(b.t, string(r.Error), method)
			if result != nil {
				require.NoError(b.t, json.Unmarshal(r.Result, result))
			}
			return
		case <-late:
			b.t.Fatalf("the browser did not answer %s", method)
		}
	}
}

// eval evaluates an expression in the page and decodes its value.
func (b *browser) eval(expression string, value any) {
	b.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	require.Empty(b.t, string(r.ExceptionDetails), expression)
	if value != nil {
		require.NoError(b.t, json.Unmarshal(r.Result.Value, value), expression)
	}
}

// open shows a file and waits until its scripts have run.
func (b *browser) open(file string) {
	abs, err := filepath.Abs(file)
	require.NoError(b.t, err)
	b.call("Page.navigate", map[string]any{"url": "file://" + abs}, nil)
	for range 600 {
		var state string
		b.eval(`location.protocol === "file:" && document.readyState === "complete" ? document.readyState : new Promise(done => setTimeout(() => done(""), 100))`, &state)
		if state == "complete" {
			return
		}
	}
	b.t.Fatal("the page did not load")
}

// faults are errors of scripts, what the page wrote to the log, and what it wanted from the network.
func (b *browser) faults() (all []string) {
	for _, e := range b.events {
		switch e.Method {
		case "Runtime.exceptionThrown", "Log.entryAdded":
			all = append(all, fmt.Sprintf("%s %s", e.Method, e.Params))
		case "Network.requestWillBeSent":
			var p struct{ Request struct{ URL string } }
			require.NoError(b.t, json.Unmarshal(e.Params, &p))
			if u := p.Request.URL; !bytes.HasPrefix([]byte(u), []byte("file:")) && !bytes.HasPrefix([]byte(u), []byte("data:")) {
				all = append(all, "wants "+u)
			}
		}
	}
	return all
}

// dark sets what the page takes for the user's wish.
func (b *browser) dark(on bool) {
	scheme := "light"
	if on {
		scheme = "dark"
	}
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// screenshot writes what the page looks like.
func (b *browser) screenshot(file string) {
	var shot struct{ Data []byte }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	require.NoError(b.t, os.WriteFile(file, shot.Data, 0o666))
}
