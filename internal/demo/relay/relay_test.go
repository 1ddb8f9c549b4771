package relay

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// echo answers lines and datagrams with themselves.
func echo(t *testing.T) Options {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = tcp.Close(), udp.Close() })
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo(buf[:n], from)
		}
	}()
	return Options{Listen: "127.0.0.1", TCP: tcp.Addr().String(), UDP: udp.LocalAddr().String()}
}

func opened(t *testing.T, o Options) *Relay {
	t.Helper()
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// silence is how long a test waits for what must not come.
const silence = 100 * time.Millisecond

func heard(c net.Conn, within time.Duration) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(within))
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	return string(buf[:n]), err
}

func TestConnectionsSurviveACut(t *testing.T) {
	r := opened(t, echo(t))
	c := dial(t, "tcp", r.TCP())
	fmt.Fprint(c, "one")
	if got, err := heard(c, 5*time.Second); got != "one" {
		t.Fatalf("got %q, %v", got, err)
	}
	r.Cut()
	fmt.Fprint(c, "two")
	fresh := dial(t, "tcp", r.TCP()) // the kernel accepts it, nobody answers
	fmt.Fprint(fresh, "three")
	for _, c := range []net.Conn{c, fresh} {
		if got, err := heard(c, silence); err == nil {
			t.Fatalf("%q came through the cut", got)
		} else if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
			t.Fatalf("the cut shows as %v", err)
		}
	}
	r.Restore()
	for c, want := range map[net.Conn]string{c: "two", fresh: "three"} {
		if got, err := heard(c, 5*time.Second); got != want {
			t.Fatalf("got %q, %v after the cut, want %q", got, err, want)
		}
	}
}

func TestTheEndOfAHalfIsPassedOn(t *testing.T) {
	r := opened(t, echo(t))
	c := dial(t, "tcp", r.TCP()).(*net.TCPConn)
	fmt.Fprintln(c, "last words")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if all, err := io.ReadAll(bufio.NewReader(c)); err != nil || string(all) != "last words\n" {
		t.Fatalf("got %q, %v", all, err)
	}
}

func TestDatagramsAreLostInACut(t *testing.T) {
	r := opened(t, echo(t))
	a, b := dial(t, "udp", r.UDP()), dial(t, "udp", r.UDP())
	for c, text := range map[net.Conn]string{a: "from a", b: "from b"} {
		fmt.Fprint(c, text)
		if got, err := heard(c, 5*time.Second); got != text {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	r.Cut()
	fmt.Fprint(a, "lost")
	if got, err := heard(a, silence); err == nil {
		t.Fatalf("%q came through the cut", got)
	}
	r.Restore()
	fmt.Fprint(a, "after")
	if got, err := heard(a, 5*time.Second); got != "after" {
		t.Fatalf("got %q, %v", got, err)
	}
}
