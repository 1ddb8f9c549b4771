package aws

import (
	"context"
	"crypto"
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // what SNS signs with unless a topic asks for SHA-256; a forged message can do no more than have us look
	_ "crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// SNS takes notifications of SNS topics over HTTP and hands them to a Waker. It takes
// only those that SNS signed, of topics that were named, and not old ones.
type SNS struct {
	// Topics are the ARNs of the topics that may speak.
	Topics []string
	Waker  *Waker
	Now    func() time.Time
	// Fetch gets what lies under a URL of SNS: its signing certificate, or the page that
	// confirms a subscription.
	Fetch func(ctx context.Context, url string) ([]byte, error)
}

// snsMessage is what SNS posts.
type snsMessage struct {
	Type, Token, TopicArn, Subject, Message, SubscribeURL, Timestamp string
	SignatureVersion, Signature, SigningCertURL                      string
	ID                                                               string `json:"MessageId"`
}

const (
	// snsBody is more than SNS sends, snsAge how old it may be: an hour, as it retries.
	snsBody = 512 << 10
	snsAge  = time.Hour
)

// snsHost is whose URLs are asked: SNS itself, and nothing that a message may name.
var snsHost = regexp.MustCompile(`^sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$`)

var errNotSNS = errors.New("not a message of SNS")

// ServeHTTP implements http.Handler.
func (s *SNS) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(rw, "SNS posts its messages", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, snsBody))
	var m snsMessage
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err == nil {
		err = s.take(r.Context(), m)
	}
	switch {
	case err == nil:
		rw.WriteHeader(http.StatusNoContent)
	case errors.Is(err, errNotSNS):
		http.Error(rw, err.Error(), http.StatusForbidden)
	default:
		// SNS sends it again.
		http.Error(rw, err.Error(), http.StatusBadGateway)
	}
}

func (s *SNS) take(ctx context.Context, m snsMessage) error {
	if err := s.check(ctx, m); err != nil {
		return err
	}
	switch m.Type {
	case "SubscriptionConfirmation":
		if err := ofSNS(m.SubscribeURL); err != nil {
			return err
		}
		_, err := s.Fetch(ctx, m.SubscribeURL)
		return err
	case "Notification":
		s.Waker.Take(m.ID, m.Message)
		return nil
	default: // UnsubscribeConfirmation: somebody wanted it
		return nil
	}
}

// check verifies who sent a message and when.
func (s *SNS) check(ctx context.Context, m snsMessage) error {
	at, err := time.Parse(time.RFC3339, m.Timestamp)
	age := s.Now().Sub(at)
	switch {
	case !slices.Contains(s.Topics, m.TopicArn):
		return fmt.Errorf("%w: no topic %q is listened to", errNotSNS, m.TopicArn)
	case err != nil || age > snsAge || age < -snsAge:
		return fmt.Errorf("%w: its time is %q", errNotSNS, m.Timestamp)
	}
	if err := ofSNS(m.SigningCertURL); err != nil {
		return err
	}
	raw, err := s.Fetch(ctx, m.SigningCertURL)
	if err != nil {
		return fmt.Errorf("fetch the certificate of SNS: %w", err)
	}
	return m.signedBy(raw, s.Now())
}

// ofSNS refuses a URL that is not SNS's own: whoever may choose the certificate may
// sign anything.
func ofSNS(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" || !snsHost.MatchString(u.Hostname()) {
		return fmt.Errorf("%w: %q is no URL of SNS", errNotSNS, text)
	}
	return nil
}

// signedBy verifies the signature with the certificate in PEM.
func (m snsMessage) signedBy(raw []byte, now time.Time) error {
	block, _ := pem.Decode(raw)
	if block == nil {
		return fmt.Errorf("%w: its certificate is none", errNotSNS)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("%w: its certificate: %w", errNotSNS, err)
	}
	key, is := cert.PublicKey.(*rsa.PublicKey)
	hash, known := map[string]crypto.Hash{"1": crypto.SHA1, "2": crypto.SHA256}[m.SignatureVersion]
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	switch {
	case now.Before(cert.NotBefore) || now.After(cert.NotAfter):
		return fmt.Errorf("%w: its certificate is good from %s to %s", errNotSNS, cert.NotBefore, cert.NotAfter)
	case !is || !known || err != nil:
		return fmt.Errorf("%w: its signature is of version %q", errNotSNS, m.SignatureVersion)
	}
	sum := hash.New()
	sum.Write([]byte(m.signed()))
	if err := rsa.VerifyPKCS1v15(key, hash, sum.Sum(nil), signature); err != nil {
		return fmt.Errorf("%w: its signature is wrong", errNotSNS)
	}
	return nil
}

// signed is the text that SNS signs
// (docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).
func (m snsMessage) signed() string {
	var b strings.Builder
	add := func(name, value string) { b.WriteString(name + "\n" + value + "\n") }
	add("Message", m.Message)
	add("MessageId", m.ID)
	if m.Type == "Notification" {
		if m.Subject != "" {
			add("Subject", m.Subject)
		}
	} else {
		add("SubscribeURL", m.SubscribeURL)
	}
	add("Timestamp", m.Timestamp)
	if m.Type != "Notification" {
		add("Token", m.Token)
	}
	add("TopicArn", m.TopicArn)
	add("Type", m.Type)
	return b.String()
}

// FetchSNS gets a URL of SNS and follows no redirect to anybody else.
func FetchSNS(ctx context.Context, text string) ([]byte, error) {
	if err := ofSNS(text); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, text, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	reply, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reply.Body.Close() }() // it was read
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", text, reply.Status)
	}
	return io.ReadAll(io.LimitReader(reply.Body, snsBody))
}
