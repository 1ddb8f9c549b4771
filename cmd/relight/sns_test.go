package main

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/provider/aws/stage"
	"relight/internal/world"
)

// asProgram has the test's own binary be the program, for tests that need it as a process
// of its own: with another environment, or another trust in certificates.
const asProgram = "RELIGHT_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

const (
	snsName  = "sns.eu-west-1.amazonaws.com"
	snsTopic = "arn:aws:sns:eu-west-1:123456789012:relight"
	snsCert  = "https://" + snsName + "/SimpleNotificationService-test.pem"
)

// topic is SNS as a subscriber meets it: a host that serves the certificate of its
// signatures and the page that confirms a subscription, under its own name with TLS, and
// a sender that posts signed messages to whoever has confirmed.
type topic struct {
	t         *testing.T
	key       *rsa.PrivateKey
	cert      []byte
	host      *httptest.Server
	authority []byte // in PEM, of the host's certificate

	mu        sync.Mutex
	confirmed string // the token that a subscriber brought back
	fetched   int    // of the certificate
	sent      int
}

func newTopic(t *testing.T) *topic {
	t.Helper()
	s := &topic{t: t}
	var raw []byte
	s.key, raw = certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "sns.amazonaws.com"}})
	s.cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	hostKey, hostRaw := certificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: snsName}, DNSNames: []string{snsName}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	s.authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hostRaw})
	s.host = httptest.NewUnstartedServer(s)
	s.host.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{hostRaw}, PrivateKey: hostKey}}}
	s.host.StartTLS()
	t.Cleanup(s.host.Close)
	return s
}

// certificate signs one with its own key, good for an hour around now.
func certificate(t *testing.T, template *x509.Certificate) (*rsa.PrivateKey, []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return key, raw
}

// ServeHTTP serves the certificate and the page that confirms.
func (s *topic) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Host != snsName:
		http.Error(rw, "this is "+snsName, http.StatusMisdirectedRequest)
	case strings.HasSuffix(snsCert, r.URL.Path) && r.URL.Path != "/":
		s.fetched++
		_, _ = rw.Write(s.cert) // who hangs up misses it
	case r.URL.Query().Get("Action") == "ConfirmSubscription":
		s.confirmed = r.URL.Query().Get("Token")
		fmt.Fprint(rw, "<ConfirmSubscriptionResponse/>")
	default:
		http.NotFound(rw, r)
	}
}

// proxy leads the name of SNS to the topic, and nobody anywhere else: it is how a process
// on this machine meets a host on the internet.
func (s *topic) proxy() string {
	return httptestProxy(s.t, func(name string) string {
		if name == snsName+":443" {
			return s.host.Listener.Addr().String()
		}
		return ""
	})
}

func httptestProxy(t *testing.T, leads func(string) string) string {
	t.Helper()
	p := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		to := leads(r.Host)
		if r.Method != http.MethodConnect || to == "" {
			http.Error(rw, "no way to "+r.Host, http.StatusForbidden)
			return
		}
		var d net.Dialer
		far, err := d.DialContext(r.Context(), "tcp", to)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		near, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			_ = far.Close()
			return
		}
		fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(far, near); _ = far.Close() }() // either end ends both
		go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
	}))
	t.Cleanup(p.Close)
	return p.URL
}

// sign adds the signature of version 2, over the fields in the order of SNS's documents.
func sign(t *testing.T, key *rsa.PrivateKey, m map[string]string) map[string]string {
	t.Helper()
	fields := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if m["Type"] != "Notification" {
		fields = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	text := ""
	for _, f := range fields {
		if v, is := m[f]; is {
			text += f + "\n" + v + "\n"
		}
	}
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	m["Signature"] = base64.StdEncoding.EncodeToString(signature)
	return m
}

// message is one of the topic, still unsigned.
func (s *topic) message(kind, text string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent++
	return map[string]string{
		"Type": kind, "MessageId": fmt.Sprint("m-", s.sent), "TopicArn": snsTopic, "Message": text,
		"Timestamp": time.Now().UTC().Format(time.RFC3339), "SignatureVersion": "2", "SigningCertURL": snsCert,
	}
}

// subscription asks a subscriber whether it wants to be one.
func (s *topic) subscription(token string) map[string]string {
	m := s.message("SubscriptionConfirmation", "You have chosen to subscribe to the topic "+snsTopic)
	m["Token"], m["SubscribeURL"] = token, "https://"+snsName+"/?Action=ConfirmSubscription&TopicArn="+snsTopic+"&Token="+token
	return m
}

func (s *topic) isConfirmed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.confirmed
}

// post sends a message as SNS does, and returns the status of the answer.
func post(t *testing.T, to string, m map[string]string) int {
	t.Helper()
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+to+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "text/plain; charset=UTF-8")
	r.Header.Set("X-Amz-Sns-Message-Type", m["Type"])
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	return reply.StatusCode
}

// program starts the program as a process of its own until the test ends, and delivers
// what it logs.
func program(t *testing.T, env []string, args ...string) <-chan string {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...) //nolint:gosec,noctx // the test's own binary; ended below
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 4096)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(errs); s.Scan(); {
			select {
			case lines <- s.Text():
			default: // nobody waits for so many
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-read
		_ = cmd.Wait() // it was told to end
	})
	return lines
}

// A real controller with --aws-sns-listen, in a process of its own: it confirms the
// subscription that SNS asks for, fetches and believes the certificate of the signatures,
// and looks at the server that a notification names without waiting for its next sweep.
// What is not signed by SNS confirms nothing and wakes nobody.
func TestSNSEndToEnd(t *testing.T) {
	sns, dir := newTopic(t), t.TempDir()
	st := stage.New(50, 1)
	srv := httptest.NewServer(st.Endpoint)
	t.Cleanup(srv.Close)
	authority, ready := filepath.Join(dir, "authority.pem"), filepath.Join(dir, "ready.json")
	if err := os.WriteFile(authority, sns.authority, 0o600); err != nil {
		t.Fatal(err)
	}
	lines := program(t, []string{
		"AWS_ENDPOINT_URL=" + srv.URL, "AWS_REGION=" + stage.Region, "AWS_ACCESS_KEY_ID=fake", "AWS_SECRET_ACCESS_KEY=fake",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		"HTTPS_PROXY=" + sns.proxy(), "https_proxy=", "NO_PROXY=", "no_proxy=", "SSL_CERT_FILE=" + authority, "SSL_CERT_DIR=" + dir,
	}, "controller", "--dir", filepath.Join(dir, "controller"), "--listen", "127.0.0.1:0", "--beat-listen", "127.0.0.1:0",
		"--aws-region", stage.Region, "--aws-sweep", "8s", "--aws-sns-listen", "127.0.0.1:0", "--aws-sns-topic", snsTopic, "--ready-file", ready)
	to := listensForSNS(t, lines)
	names := living(t, st, ready, dir)

	stranger, _ := certificate(t, &x509.Certificate{})
	if code := post(t, to, sign(t, stranger, sns.subscription("forged"))); code != http.StatusForbidden || sns.isConfirmed() != "" {
		t.Errorf("a forged subscription: %d, confirmed with %q", code, sns.isConfirmed())
	}
	if code := post(t, to, sign(t, sns.key, sns.subscription("tok-1"))); code != http.StatusNoContent || sns.isConfirmed() != "tok-1" {
		t.Fatalf("the subscription: %d, confirmed with %q", code, sns.isConfirmed())
	}
	var ids []string
	st.Do(func(w *world.World) {
		for _, n := range names {
			ids = append(ids, w.Find(n, 1).ID)
		}
	})
	alarm := func(id string) string {
		return fmt.Sprintf(`{"AlarmName":"a","NewStateValue":"ALARM","Trigger":{"MetricName":"StatusCheckFailed_System","Dimensions":[{"value":%q,"name":"InstanceId"}]}}`, id)
	}
	before, ownBefore := len(looks(st, names[0])), len(looks(st, names[1]))
	if code := post(t, to, sign(t, stranger, sns.message("Notification", alarm(ids[0])))); code != http.StatusForbidden {
		t.Errorf("a stranger's notification: %d", code)
	}
	changed := sign(t, sns.key, sns.message("Notification", alarm(ids[1])))
	changed["Message"] = alarm(ids[0])
	if code := post(t, to, changed); code != http.StatusForbidden {
		t.Errorf("one that was changed on its way: %d", code)
	}
	if code := post(t, to, sign(t, sns.key, sns.message("Notification", alarm(ids[1])))); code != http.StatusNoContent {
		t.Fatalf("a notification: %d", code)
	}
	// A sweep names both servers, the look that an event has done one of them.
	eventually(t, "the server is looked at by itself", func() (bool, string) { l := looks(st, names[1]); return len(l) > ownBefore, fmt.Sprint(l) })
	if n := len(looks(st, names[0])); n != before {
		t.Errorf("the other one was looked at %d times, for messages that SNS did not sign", n-before)
	}
	sns.mu.Lock()
	defer sns.mu.Unlock()
	if sns.fetched == 0 {
		t.Error("the certificate was never fetched")
	}
}

// listensForSNS reads from the log where notifications are taken.
func listensForSNS(t *testing.T, lines <-chan string) string {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case line := <-lines:
			if _, rest, is := strings.Cut(line, `"takes messages of SNS" addr=`); is {
				return strings.Fields(rest)[0]
			}
		case <-limit:
			t.Fatal("the controller never said where it takes messages of SNS")
		}
	}
}

// living declares two servers to the controller, waits until they work and nothing more
// is done about them, and returns their names.
func living(t *testing.T, st *stage.Stage, ready, dir string) []string {
	t.Helper()
	var who struct {
		Contexts map[string]struct{ Server, TokenFile, CA string }
	}
	eventually(t, "the controller serves", func() (bool, string) {
		data, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(data, &who) == nil && who.Contexts["local"].Server != "", string(data)
	})
	local := who.Contexts["local"]
	var names []string
	for range 2 {
		name, spec := st.AddServer("a")
		names = append(names, name)
		doc := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(doc, []byte(strings.TrimSpace(spec)+"\n  mode: auto\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, errs := relight(t, "apply", "-f", doc, "--server", local.Server, "--ca", local.CA, "--token-file", local.TokenFile); code != client.ExitOK {
			t.Fatal(out, errs)
		}
	}
	ca, err := os.ReadFile(local.CA)
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(local.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.New(client.Config{Server: local.Server, CA: ca, Token: strings.TrimSpace(string(token))})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		eventually(t, name+" works", func() (bool, string) {
			w, err := api.Why(t.Context(), name)
			return err == nil && w.Finding.Verdict == fleet.Healthy && w.Status.Recovery == nil, fmt.Sprint(w.Finding, err)
		})
	}
	return names
}

// looks are the reads of the ledger that ask for the instances of this server alone and
// belong to no step: after them nothing was changed.
func looks(st *stage.Stage, name string) (out []string) {
	for _, e := range st.Endpoint.Ledger() {
		switch {
		case !strings.HasPrefix(e.Action, "Describe") && !strings.HasPrefix(e.Action, "GET"):
			out = nil
		case e.Action == "DescribeInstances" && e.Form.Get("Filter.1.Value.1") == name && !e.Form.Has("Filter.1.Value.2"):
			out = append(out, e.At.Format(time.TimeOnly))
		}
	}
	return out
}
