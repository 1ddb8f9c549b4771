package sdk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/aws/aws-sdk-go-v2/aws"

	provider "relight/internal/provider/aws"
)

// signed makes a call of a service whose client would add megabytes for one or two
// calls. The answer's body is returned; an error of AWS is an *APIError.
func (c *Client) signed(ctx context.Context, service, method, path, op string, body []byte, header http.Header) ([]byte, error) {
	silent := func(err error) error { return &provider.APIError{Op: op, Unanswered: true, Message: err.Error()} }
	endpoint, region := place(service, c.cfg.Region)
	if own := aws.ToString(c.cfg.BaseEndpoint); own != "" {
		endpoint = own
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(endpoint, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, silent(err)
	}
	req.Header = header
	credentials, err := c.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, silent(err)
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), service, region, time.Now()); err != nil {
		return nil, silent(err)
	}
	var client aws.HTTPClient = http.DefaultClient
	if c.cfg.HTTPClient != nil {
		client = c.cfg.HTTPClient
	}
	reply, err := client.Do(req)
	if err != nil {
		return nil, silent(err)
	}
	defer func() { _ = reply.Body.Close() }() // it was read
	out, err := io.ReadAll(io.LimitReader(reply.Body, 16<<20))
	if err != nil {
		return nil, silent(err)
	}
	if reply.StatusCode == http.StatusOK {
		return out, nil
	}
	return nil, refused(op, reply.Header.Get("X-Amzn-Errortype"), out)
}

// place is where a service is reached from a region, and the region that its signature
// names. IAM has one place for all regions of a partition.
func place(service, region string) (endpoint, scope string) {
	china, gov := strings.HasPrefix(region, "cn-"), strings.HasPrefix(region, "us-gov-")
	switch {
	case service != "iam" && china:
		return "https://" + service + "." + region + ".amazonaws.com.cn", region
	case service != "iam":
		return "https://" + service + "." + region + ".amazonaws.com", region
	case china:
		return "https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"
	case gov:
		return "https://iam.us-gov.amazonaws.com", "us-gov-west-1"
	default:
		return "https://iam.amazonaws.com", "us-east-1"
	}
}

// refused reads the error of a JSON, a query or a REST service; kind is the last one's header.
func refused(op, kind string, body []byte) error {
	e := &provider.APIError{Op: op, Code: "Unknown", Message: strings.TrimSpace(string(body[:min(len(body), 200)]))}
	var j struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
		Other   string `json:"Message"`
	}
	var x struct {
		Code    string `xml:"Error>Code"`
		Message string `xml:"Error>Message"`
	}
	switch {
	case json.Unmarshal(body, &j) == nil && kind != "":
		e.Code, _, _ = strings.Cut(kind, ":") // an address of its documentation may follow
		e.Message = j.Message + j.Other
	case j.Type != "":
		e.Code, e.Message = j.Type[strings.LastIndexByte(j.Type, '#')+1:], j.Message+j.Other
	case xml.Unmarshal(body, &x) == nil && x.Code != "":
		e.Code, e.Message = x.Code, x.Message
	}
	return e
}

// json11 calls a service of AWS JSON 1.1.
func (c *Client) json11(ctx context.Context, service, target, op string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	raw, err := c.signed(ctx, service, http.MethodPost, "/", op, body, http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {target + "." + op}})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return &provider.APIError{Op: op, Unanswered: true, Message: err.Error()}
	}
	return nil
}

// query calls a service of the query protocol.
func (c *Client) query(ctx context.Context, service, version, op string, in url.Values, out any) error {
	in.Set("Action", op)
	in.Set("Version", version)
	raw, err := c.signed(ctx, service, http.MethodPost, "/", op, []byte(in.Encode()), http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}})
	if err != nil {
		return err
	}
	if err := xml.Unmarshal(raw, out); err != nil {
		return &provider.APIError{Op: op, Unanswered: true, Message: err.Error()}
	}
	return nil
}

// rest reads from a service of REST and JSON.
func (c *Client) rest(ctx context.Context, service, path, op string, in url.Values, out any) error {
	if q := in.Encode(); q != "" {
		path += "?" + q
	}
	raw, err := c.signed(ctx, service, http.MethodGet, path, op, nil, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return &provider.APIError{Op: op, Unanswered: true, Message: err.Error()}
	}
	return nil
}
