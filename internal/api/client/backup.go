package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net/http"
)

// BackupType is the media type of a backup.
const BackupType = "application/vnd.relight.backup"

// Backup writes a backup of the engine to w and returns its size in bytes. It
// holds secrets. After an error what was written is worth nothing.
func (c *Client) Backup(ctx context.Context, w io.Writer) (int64, error) {
	resp, err := c.send(ctx, call{method: http.MethodPost, path: []string{"backup"}}, BackupType)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	check := &summed{w: w, sum: sha256.New()}
	n, err := io.Copy(check, resp.Body)
	switch {
	case check.err != nil:
		return n, check.err // the caller's own
	case ctx.Err() != nil:
		return n, context.Cause(ctx)
	case err != nil:
		return n, NewProblem(CodeUnreachable, "the backup was cut short after %d bytes: %v", n, err).WithNext("relight doctor")
	case !check.whole():
		return n, NewProblem(CodeInternal, "the backup came with a wrong checksum").WithNext("relight doctor")
	}
	return n, nil
}

// summed hashes all that passes but the last bytes, which must be the sum.
type summed struct {
	w    io.Writer
	sum  hash.Hash
	tail []byte
	err  error
}

// Write implements io.Writer.
func (s *summed) Write(b []byte) (int, error) {
	s.tail = append(s.tail, b...)
	if n := len(s.tail) - sha256.Size; n > 0 {
		s.sum.Write(s.tail[:n])
		s.tail = append(s.tail[:0], s.tail[n:]...)
	}
	n, err := s.w.Write(b)
	if err != nil {
		s.err = fmt.Errorf("write the backup: %w", err)
	}
	return n, err
}

func (s *summed) whole() bool { return bytes.Equal(s.tail, s.sum.Sum(nil)) }
