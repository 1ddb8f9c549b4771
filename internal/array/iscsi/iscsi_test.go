package iscsi

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// fake is a target that answers each PDU with what the script says.
func fake(t *testing.T, script func(n int, in *pdu) []*pdu) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for n := 0; ; n++ {
			in, err := readPDU(conn)
			if err != nil {
				return
			}
			for _, out := range script(n, in) {
				if out.write(conn) != nil {
					return
				}
			}
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// welcome lets in whoever asks, in two steps, and hands commands on.
func welcome(script func(in *pdu) []*pdu) func(int, *pdu) []*pdu {
	return func(n int, in *pdu) []*pdu {
		if in.opcode() != opLogin {
			return script(in)
		}
		out := newPDU(opLoginReply, in.head[1])
		out.put16(14, 7)
		out.data = []byte("MaxRecvDataSegmentLength=1024\x00ImmediateData=Yes\x00FirstBurstLength=512\x00")
		return []*pdu{out}
	}
}

func dial(t *testing.T, portal string) (*Session, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := Dial(ctx, Config{Portal: portal, Target: "iqn.x:t", Initiator: "iqn.x:i"})
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

// TestIsRefused: only a no to this initiator is a refusal. A complaint about the
// form of the request would come for one that is mapped as well.
func TestIsRefused(t *testing.T) {
	for _, c := range []struct {
		class, detail byte
		want          bool
	}{{2, 1, true}, {2, 2, true}, {2, 3, true}, {2, 4, true}, {2, 0, false}, {2, 7, false}, {2, 11, false}, {3, 0, false}, {3, 1, false}, {1, 1, false}} {
		portal := fake(t, func(int, *pdu) []*pdu {
			out := newPDU(opLoginReply, 0)
			out.head[36], out.head[37] = c.class, c.detail
			return []*pdu{out}
		})
		_, err := dial(t, portal)
		var login *LoginError
		if IsRefused(err) != c.want || (c.class != 0 && !errors.As(err, &login)) {
			t.Errorf("class %d, detail %d: %v, refused %v", c.class, c.detail, err, IsRefused(err))
		}
	}
	for _, err := range []error{nil, errors.New("x"), context.DeadlineExceeded} {
		if IsRefused(err) {
			t.Errorf("%v is a refusal", err)
		}
	}
	if _, err := dial(t, "127.0.0.1:1"); err == nil || IsRefused(err) {
		t.Errorf("a closed port: %v", err)
	}
}

func status(in *pdu, b byte) *pdu {
	out := newPDU(opResponse, final)
	copy(out.head[16:20], in.head[16:20])
	out.head[3] = b
	return out
}

// TestWrite: data beyond the first burst goes when the target asks, in pieces that
// it can take; a ping in between is answered.
func TestWrite(t *testing.T) {
	var got []byte
	var sizes []int
	pongs := 0
	data := bytes.Repeat([]byte("0123456789abcdef"), 160) // 2560 bytes
	s, err := dial(t, fake(t, welcome(func(in *pdu) []*pdu {
		switch in.opcode() {
		case opCommand:
			got = append(got, in.data...)
			ping := newPDU(opNopIn, final)
			ping.put32(16, noTag)
			ping.put32(20, 99)
			ready := newPDU(opReady, final)
			copy(ready.head[16:20], in.head[16:20])
			ready.put32(20, 5)
			ready.put32(40, uint32(len(in.data)))
			ready.put32(44, uint32(len(data)-len(in.data)))
			return []*pdu{ping, ready}
		case opNopOut:
			pongs++
		case opDataOut:
			got, sizes = append(got, in.data...), append(sizes, len(in.data))
			if in.head[1]&final != 0 {
				return []*pdu{status(in, Good)}
			}
		}
		return nil
	})))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Do(t.Context(), s, "write", Write16(3, 0, data)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) || len(sizes) != 2 || sizes[0] != 1024 || pongs != 1 {
		t.Errorf("%d bytes in pieces of %v, %d pongs", len(got), sizes, pongs)
	}
}

// TestWrongAnswers: none of them is taken for data or for a status.
func TestWrongAnswers(t *testing.T) {
	tagged := func(op byte, in *pdu) *pdu {
		out := newPDU(op, final)
		copy(out.head[16:20], in.head[16:20])
		return out
	}
	for what, script := range map[string]func(in *pdu) []*pdu{
		"another command's status": func(in *pdu) []*pdu { out := status(in, Good); out.put32(16, 4711); return []*pdu{out} },
		"a rejection":              func(in *pdu) []*pdu { return []*pdu{tagged(opReject, in)} },
		"an asynchronous message":  func(in *pdu) []*pdu { return []*pdu{tagged(opAsync, in)} },
		"a target's failure":       func(in *pdu) []*pdu { out := status(in, Good); out.head[2] = 1; return []*pdu{out} },
		"too much data": func(in *pdu) []*pdu {
			out := tagged(opDataIn, in)
			out.head[1] |= 1
			out.data = make([]byte, 1024)
			return []*pdu{out}
		},
		"data past the end": func(in *pdu) []*pdu {
			out := tagged(opDataIn, in)
			out.data = make([]byte, 512)
			out.put32(40, 1<<31)
			return []*pdu{out}
		},
		"a wish for data that there is not": func(in *pdu) []*pdu {
			out := tagged(opReady, in)
			out.put32(44, 512)
			return []*pdu{out}
		},
	} {
		s, err := dial(t, fake(t, welcome(script)))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := s.Execute(t.Context(), Read16(1, 0, 1)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
	if _, err := readPDU(bytes.NewReader(append([]byte{opDataIn, 0, 0, 0, 0, 0xff, 0xff, 0xff}, make([]byte, 100)...))); err == nil {
		t.Error("a data segment of 16 MB was taken")
	}
}

func TestSense(t *testing.T) {
	for what, sense := range map[string][]byte{
		"fixed":      append([]byte{0, 18, 0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 1}, make([]byte, 4)...),
		"descriptor": {0, 8, 0x72, 5, 0x24, 1, 0, 0, 0, 0},
	} {
		s, err := dial(t, fake(t, welcome(func(in *pdu) []*pdu {
			out := status(in, CheckCondition)
			out.data = sense
			return []*pdu{out}
		})))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Do(t.Context(), s, "read", Read16(1, 0, 1))
		var e *StatusError
		if !errors.As(err, &e) || e.Reply.Key != 5 || e.Reply.ASC != 0x24 || e.Reply.ASCQ != 1 || !strings.Contains(err.Error(), "sense 5/24/01") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestContext: a target that says nothing holds nobody.
func TestContext(t *testing.T) {
	s, err := dial(t, fake(t, welcome(func(*pdu) []*pdu { return nil })))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := s.Execute(ctx, Read16(1, 0, 1)); err == nil {
		t.Error("an answer from nowhere")
	}
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	portal := fake(t, func(int, *pdu) []*pdu { return nil })
	if _, err := Dial(ctx, Config{Portal: portal, Target: "t", Initiator: "i"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent target: %v", err)
	}
}

func TestEncodeLUN(t *testing.T) {
	for n, want := range map[int]string{1: "\x00\x01", 10: "\x00\x0a", 255: "\x00\xff", 256: "\x41\x00", 300: "\x41\x2c"} {
		if got := string(encodeLUN(n)[:2]); got != want {
			t.Errorf("unit %d is %x, want %x", n, got, want)
		}
	}
}
