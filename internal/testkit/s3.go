package testkit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// S3 is a server of S3's protocol on loopback, with one empty bucket, that ends with its test.
type S3 struct {
	// Endpoint is its address, as http://127.0.0.1:4321; Bucket the name of the bucket.
	Endpoint, Bucket string
	// Dir is the folder in which the server keeps the objects.
	Dir     string
	t       testing.TB
	program string
	process *exec.Cmd
	ended   chan error // what became of it
}

// Credentials of every S3 server of the tests.
const (
	s3User   = "strata"
	s3Secret = "strata-secret"
	s3Bucket = "bucket"
)

// s3Pause is how often the start of the server is looked at.
const s3Pause = 10 * time.Millisecond

// StartS3 starts a server (versitygw), and sets the environment by which the SDK finds the credentials. It skips
// the test where there is none.
func StartS3(t testing.TB) *S3 {
	t.Helper()
	program := findS3(t)
	s := &S3{Bucket: s3Bucket, Dir: t.TempDir(), t: t, program: program, Endpoint: "http://" + freeAddress(t)}
	for _, dir := range []string{"objects/" + s3Bucket, "versions"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	setenv(t, map[string]string{"AWS_ACCESS_KEY_ID": s3User, "AWS_SECRET_ACCESS_KEY": s3Secret, "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true"})
	t.Cleanup(s.Stop)
	s.Start()
	return s
}

// Start starts the server again, at the same address and with what it had. It must not be running.
func (s *S3) Start() {
	s.t.Helper()
	s.process = exec.Command(s.program, "--quiet", "--port", strings.TrimPrefix(s.Endpoint, "http://"), "posix",
		"--versioning-dir", filepath.Join(s.Dir, "versions"), filepath.Join(s.Dir, "objects"))
	s.process.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+s3User, "ROOT_SECRET_ACCESS_KEY="+s3Secret)
	var output strings.Builder
	s.process.Stdout, s.process.Stderr = &output, &output
	runAs(s.process, account{})
	if err := s.process.Start(); err != nil {
		s.process = nil
		s.t.Fatal(err)
	}
	ended, process := make(chan error, 1), s.process
	s.ended = ended
	go func() { ended <- process.Wait() }()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for !answers(ctx, s.Endpoint) {
		select {
		case err := <-ended:
			ended <- err
			s.t.Fatalf("the S3 server ended (%v): %s", err, output.String())
		case <-ctx.Done():
			s.t.Fatalf("the S3 server does not answer within %s", startTimeout)
		case <-time.After(s3Pause):
		}
	}
}

// Stop kills the server, in the middle of whatever it does. Requests are refused until Start.
func (s *S3) Stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	<-s.ended
	s.process = nil
}

// answers reports whether a server speaks HTTP at an address.
func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return res.Body.Close() == nil
}

func setenv(t testing.TB, vars map[string]string) {
	for name, value := range vars {
		t.Setenv(name, value)
	}
}

// freeAddress gives an address of loopback at which nobody listens. Its port is none of those that systems give to who connects
// somewhere, so that a server that was stopped can start there again: clients that ask for it meanwhile do not take it.
func freeAddress(t testing.TB) string {
	t.Helper()
	const first, ports, tries = 10_000, 20_000, 100
	var err error
	for range tries {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(ports))); err == nil {
			_ = l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal(err)
	return ""
}

// findS3 looks for the program in the places to which scripts/s3server.sh builds it.
func findS3(t testing.TB) string {
	t.Helper()
	dirs := []string{os.Getenv("STRATA_S3_DIR"), "/var/cache/strata/s3"}
	if d, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, filepath.Join(d, "strata", "s3"))
	}
	for _, dir := range dirs {
		if p := filepath.Join(dir, "versitygw"); dir != "" && isExecutable(p) {
			return p
		}
	}
	Skip(t, "no S3 server on this machine: run make servers, which builds one")
	return ""
}
