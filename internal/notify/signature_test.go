package notify

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestVerify(t *testing.T) {
	secret, body := []byte("s3cret"), []byte(`{"a":1}`)
	at := time.Unix(1772366400, 0)
	good := Sign(secret, body, at)
	// The sum is another program's: printf '1772366400.{"a":1}' | openssl dgst -sha256 -hmac s3cret
	if want := "t=1772366400,v1=b417797e7d7b61c510208fca568d792c3d58cb9b0040792aba7f74bb2adfcbfe"; good != want {
		t.Errorf("signed %s, want %s", good, want)
	}
	_, sum, _ := strings.Cut(good, ",")
	other := Sign([]byte("old"), body, at)
	_, otherSum, _ := strings.Cut(other, ",")
	for name, c := range map[string]struct {
		header string
		secret string
		body   string
		now    time.Time
		want   error
	}{
		"good":              {header: good, now: at},
		"spaces":            {header: strings.Replace(good, ",", ", ", 1), now: at},
		"at the tolerance":  {header: good, now: at.Add(5 * time.Minute)},
		"too old":           {header: good, now: at.Add(5*time.Minute + time.Second), want: ErrTime},
		"from the future":   {header: good, now: at.Add(-5*time.Minute - time.Second), want: ErrTime},
		"other secret":      {header: good, secret: "other", now: at, want: ErrSignature},
		"other body":        {header: good, body: `{"a":2}`, now: at, want: ErrSignature},
		"other time":        {header: "t=1772366401," + sum, now: at, want: ErrSignature},
		"two secrets":       {header: good + "," + otherSum, now: at},
		"two, reversed":     {header: other + "," + sum, now: at},
		"unknown scheme":    {header: good + ",v2=x", now: at},
		"only unknown":      {header: "t=1772366400,v2=x", now: at, want: ErrHeader},
		"two times":         {header: "t=1," + good, now: at, want: ErrHeader},
		"no time":           {header: sum, now: at, want: ErrHeader},
		"time is no number": {header: "t=x," + sum, now: at, want: ErrHeader},
		"sum is no hex":     {header: "t=1772366400,v1=zz", now: at, want: ErrSignature},
		"cut sum":           {header: good[:len(good)-2], now: at, want: ErrSignature},
		"empty":             {now: at, want: ErrHeader},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := secret, body
			if c.secret != "" {
				s = []byte(c.secret)
			}
			if c.body != "" {
				b = []byte(c.body)
			}
			if err := Verify(s, c.header, b, c.now, 5*time.Minute); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}
