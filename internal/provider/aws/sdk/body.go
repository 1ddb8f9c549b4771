package sdk

import (
	"bytes"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// ownBody sends each request with a body that nobody else has. The SDK closes its own
// as soon as the answer begins; a transport that still looks whether there is more to
// read then breaks the connection, and with it the answer. On a busy machine that
// happens to calls of a server nearby.
type ownBody struct{ aws.HTTPClient }

// Do implements aws.HTTPClient.
func (c ownBody) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return c.HTTPClient.Do(r)
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	own := r.Clone(r.Context())
	own.Body = io.NopCloser(bytes.NewReader(raw))
	own.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
	return c.HTTPClient.Do(own)
}
