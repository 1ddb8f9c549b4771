package aws_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"relight/internal/provider/aws"
)

const (
	topic   = "arn:aws:sns:eu-west-1:123456789012:relight"
	certURL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem"
)

// notary signs as SNS does.
type notary struct {
	key  *rsa.PrivateKey
	cert []byte
}

func newNotary(t *testing.T, until time.Time) notary {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until},
		&x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return notary{key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})}
}

// sign adds the signature; the order of fields is the one of SNS's documents.
func (n notary) sign(m map[string]string) map[string]string {
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
	hash, sum := crypto.SHA256, sha256.Sum256([]byte(text))
	digest := sum[:]
	if m["SignatureVersion"] == "1" {
		old := sha1.Sum([]byte(text))
		hash, digest = crypto.SHA1, old[:]
	}
	signature, _ := rsa.SignPKCS1v15(rand.Reader, n.key, hash, digest)
	m["Signature"] = base64.StdEncoding.EncodeToString(signature)
	return m
}

func TestSNS(t *testing.T) {
	now := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	good, stranger, old := newNotary(t, now.Add(time.Hour)), newNotary(t, now.Add(time.Hour)), newNotary(t, now.Add(-time.Hour))
	note := func(change ...string) map[string]string {
		m := map[string]string{
			"Type": "Notification", "MessageId": "m-1", "TopicArn": topic, "Subject": "ALARM", "Message": alarmSNS,
			"Timestamp": now.Add(-time.Minute).Format(time.RFC3339), "SignatureVersion": "2", "SigningCertURL": certURL,
		}
		for n := 0; n < len(change); n += 2 {
			m[change[n]] = change[n+1]
		}
		return m
	}
	without := func(m map[string]string, field string) map[string]string { delete(m, field); return m }
	after := func(m map[string]string, field, value string) map[string]string { m[field] = value; return m }
	confirm := func(url string) map[string]string {
		return without(note("Type", "SubscriptionConfirmation", "Token", "tok", "SubscribeURL", url, "Message", "You have chosen to subscribe"), "Subject")
	}
	page := "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=tok"
	for _, row := range []struct {
		name  string
		m     map[string]string
		code  int
		wakes string
		asked string
	}{
		{"a notification", good.sign(note()), 204, `"lic-1"`, ""},
		{"signed with SHA-1", good.sign(note("SignatureVersion", "1")), 204, `"lic-1"`, ""},
		{"without a subject", good.sign(without(note(), "Subject")), 204, `"lic-1"`, ""},
		{"a confirmation", good.sign(confirm(page)), 204, "", page},
		{"a confirmation that leads elsewhere", good.sign(confirm("https://example.com/")), 403, "", ""},
		{"changed after it was signed", after(good.sign(note()), "Message", stateChange), 403, "", ""},
		{"a stranger's signature", stranger.sign(note()), 403, "", ""},
		{"a certificate that has ended", old.sign(note("SigningCertURL", strings.Replace(certURL, "-1.pem", "-old.pem", 1))), 403, "", ""},
		{"a certificate of somebody else's", stranger.sign(note("SigningCertURL", "https://sns.eu-west-1.amazonaws.com.example.com/c.pem")), 403, "", ""},
		{"one of an open bucket", stranger.sign(note("SigningCertURL", "https://s3.eu-west-1.amazonaws.com/b/c.pem")), 403, "", ""},
		{"one without TLS", stranger.sign(note("SigningCertURL", strings.Replace(certURL, "https", "http", 1))), 403, "", ""},
		{"one on another port", stranger.sign(note("SigningCertURL", strings.Replace(certURL, ".com/", ".com:8443/", 1))), 403, "", ""},
		{"one with a user", stranger.sign(note("SigningCertURL", "https://sns.eu-west-1.amazonaws.com@example.com/c.pem")), 403, "", ""},
		{"another topic", good.sign(note("TopicArn", topic+"-2")), 403, "", ""},
		{"an old one", good.sign(note("Timestamp", now.Add(-2*time.Hour).Format(time.RFC3339))), 403, "", ""},
		{"an unknown version", good.sign(note("SignatureVersion", "3")), 403, "", ""},
		{"a certificate that is not there now", good.sign(note("SigningCertURL", strings.Replace(certURL, "-1.pem", "-none.pem", 1))), 502, "", ""},
	} {
		w, asked := newWaker(), ""
		s := &aws.SNS{Topics: []string{topic}, Waker: w, Now: func() time.Time { return now }, Fetch: func(_ context.Context, url string) ([]byte, error) {
			switch {
			case url == certURL:
				return good.cert, nil
			case strings.HasSuffix(url, "-old.pem"):
				return old.cert, nil
			case strings.HasSuffix(url, ".pem"):
				return nil, errors.New("not found")
			}
			asked = url
			return nil, nil
		}}
		body, _ := json.Marshal(row.m)
		out := httptest.NewRecorder()
		s.ServeHTTP(out, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body))))
		if out.Code != row.code || woken(w) != row.wakes || asked != row.asked {
			t.Errorf("%s: %d %s; asked %q", row.name, out.Code, out.Body, asked)
		}
	}
	if _, err := aws.FetchSNS(t.Context(), "http://169.254.169.254/latest/meta-data"); err == nil {
		t.Error("any URL is fetched")
	}
}
