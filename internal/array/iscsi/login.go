package iscsi

import (
	"context"
	"crypto/md5" //nolint:gosec // CHAP over iSCSI is MD5; RFC 7143 has nothing else that targets speak.
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Config says where to log in and as whom.
type Config struct {
	// Portal is address:port.
	Portal string
	// Target and Initiator are IQNs.
	Target, Initiator string
	// User and Secret are for CHAP; without a user none is offered.
	User, Secret string
	// ISID tells sessions of one initiator apart. A second login with the same
	// name and ISID takes the first one's place. Zero, which targets refuse, draws
	// one at random.
	ISID [6]byte
}

// LoginError is a target's refusal: class 2 is the initiator's fault, class 3
// the target's.
type LoginError struct{ Class, Detail byte }

// Error implements error.
func (e *LoginError) Error() string {
	what := map[byte]string{1: "authentication failed", 2: "not authorized", 3: "no such target for this initiator", 4: "the target was removed"}[e.Detail]
	if e.Class != 2 || what == "" {
		what = "refused"
	}
	return fmt.Sprintf("login: %s (class %d, detail %d)", what, e.Class, e.Detail)
}

// IsRefused reports whether the target itself answered that this initiator may
// not log in. An unreachable or overloaded target refuses nobody, and a complaint
// about the form of the request (the other details of class 2) would come for an
// initiator that may log in as well.
func IsRefused(err error) bool {
	var e *LoginError
	return errors.As(err, &e) && e.Class == 2 && e.Detail >= 1 && e.Detail <= 4
}

// Login is a login on its way, one exchange at a time, so that a test can stop in
// the middle of it: a target checks its map early and lists a session late.
type Login struct {
	cfg     Config
	session *Session
	stage   byte // 0 security, 1 operational, 3 done
	reply   map[string]string
	first   bool
	tag     uint32
}

// ErrPortal: there is no connection to the portal.
var ErrPortal = errors.New("portal")

// Begin connects. The context bounds the connect only. Errors: ErrPortal.
func Begin(ctx context.Context, cfg Config) (*Login, error) {
	if cfg.ISID == [6]byte{} {
		cfg.ISID[0] = 0x80 // the random format
		if _, err := rand.Read(cfg.ISID[1:]); err != nil {
			return nil, fmt.Errorf("draw an ISID: %w", err)
		}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", cfg.Portal)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrPortal, cfg.Portal, err)
	}
	return &Login{cfg: cfg, first: true, session: &Session{conn: conn, limit: 8192, cmdSN: 1}}, nil
}

// Dial logs in, whole. Errors: *LoginError if the target refuses; any other means
// that nothing is known.
func Dial(ctx context.Context, cfg Config) (*Session, error) {
	l, err := Begin(ctx, cfg)
	if err != nil {
		return nil, err
	}
	for {
		done, err := l.Step(ctx)
		if err != nil {
			return nil, err
		}
		if done {
			return l.Session(), nil
		}
	}
}

// Session is what the login came to; use it only after Step said so.
func (l *Login) Session() *Session { return l.session }

// Secure reports whether the security stage is behind: the target has checked name
// and secret, and not yet made a session.
func (l *Login) Secure() bool { return l.stage == 1 }

// Close gives the login up.
func (l *Login) Close() error { return l.session.conn.Close() }

// Step does one exchange and reports whether the session stands. After an error
// the connection is closed.
func (l *Login) Step(ctx context.Context) (done bool, err error) {
	stop := l.session.bound(ctx)
	defer stop()
	if err := l.exchange(); err != nil {
		_ = l.session.conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return false, fmt.Errorf("login of %s to %s: %w", l.cfg.Initiator, l.cfg.Target, err)
	}
	return l.stage == 3, nil
}

func (l *Login) exchange() error {
	keys, transit, err := l.keys()
	if err != nil {
		return err
	}
	next := byte(1)
	if l.stage == 1 {
		next = 3
	}
	flags := l.stage << 2
	if transit {
		flags |= final | next
	}
	p := newPDU(opLogin|immediate, flags)
	copy(p.head[8:14], l.cfg.ISID[:])
	p.put16(14, l.session.tsih)
	p.put32(16, l.tag)
	p.put32(24, l.session.cmdSN)
	p.put32(28, l.session.expStatSN)
	p.data = []byte(strings.Join(keys, "\x00") + "\x00")
	if len(keys) == 0 {
		p.data = nil
	}
	if err := p.write(l.session.conn); err != nil {
		return err
	}
	return l.take(next, transit)
}

func (l *Login) take(next byte, transit bool) error {
	r, err := readPDU(l.session.conn)
	if err != nil {
		return err
	}
	if r.opcode() != opLoginReply {
		return fmt.Errorf("%w: opcode %#x instead of a login response", ErrProtocol, r.opcode())
	}
	if r.head[36] != 0 {
		return &LoginError{Class: r.head[36], Detail: r.head[37]}
	}
	l.first = false
	l.session.expStatSN = r.get32(24) + 1
	l.session.tsih = uint16(r.head[14])<<8 | uint16(r.head[15])
	l.reply = parseKeys(r.data)
	if n, err := strconv.Atoi(l.reply["MaxRecvDataSegmentLength"]); err == nil && n > 0 {
		l.session.limit = n
	}
	if n, err := strconv.Atoi(l.reply["FirstBurstLength"]); err == nil && n > 0 {
		l.session.firstBurst = n
	}
	if l.reply["ImmediateData"] == "No" {
		l.session.noImmediate = true
	}
	if transit && r.head[1]&final != 0 {
		l.stage = next
	}
	return nil
}

// keys are what to say next, and whether to ask for the next stage.
func (l *Login) keys() (keys []string, transit bool, err error) {
	if l.first {
		keys = []string{"InitiatorName=" + l.cfg.Initiator, "TargetName=" + l.cfg.Target, "SessionType=Normal"}
		if l.cfg.User == "" {
			return append(keys, "AuthMethod=None"), true, nil
		}
		return append(keys, "AuthMethod=CHAP,None"), false, nil
	}
	if l.stage == 1 {
		return []string{
			"HeaderDigest=None", "DataDigest=None", "InitialR2T=Yes", "ImmediateData=Yes", "MaxConnections=1",
			"MaxRecvDataSegmentLength=" + strconv.Itoa(maxSegment), "MaxBurstLength=262144", "FirstBurstLength=65536",
			"MaxOutstandingR2T=1", "DataPDUInOrder=Yes", "DataSequenceInOrder=Yes", "ErrorRecoveryLevel=0",
			"DefaultTime2Wait=2", "DefaultTime2Retain=0",
		}, true, nil
	}
	switch {
	case l.reply["CHAP_C"] != "":
		keys, err := l.answer()
		return keys, true, err
	case l.reply["AuthMethod"] == "CHAP":
		return []string{"CHAP_A=5"}, false, nil
	default:
		return nil, true, nil
	}
}

// answer answers the target's challenge.
func (l *Login) answer() ([]string, error) {
	id, err := strconv.ParseUint(l.reply["CHAP_I"], 10, 8)
	if err != nil {
		return nil, fmt.Errorf("%w: CHAP_I: %w", ErrProtocol, err)
	}
	challenge, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(l.reply["CHAP_C"]), "0x"))
	if err != nil {
		return nil, fmt.Errorf("%w: CHAP_C: %w", ErrProtocol, err)
	}
	sum := md5.Sum(append(append([]byte{byte(id)}, l.cfg.Secret...), challenge...)) //nolint:gosec // see the import
	return []string{"CHAP_N=" + l.cfg.User, "CHAP_R=0x" + hex.EncodeToString(sum[:])}, nil
}

func parseKeys(data []byte) map[string]string {
	out := map[string]string{}
	for _, kv := range strings.Split(string(data), "\x00") {
		if k, v, ok := strings.Cut(kv, "="); ok {
			out[k] = v
		}
	}
	return out
}

// past is a deadline that has passed: it ends a read at once.
var past = time.Unix(1, 0)
