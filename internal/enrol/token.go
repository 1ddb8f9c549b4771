package enrol

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	tokenPrefix = "relight1"
	secretSize  = 16
)

// Errors of join tokens.
var (
	// ErrToken refuses a token that is malformed or was never handed out. Both
	// read the same, so that nothing can be learned by trying.
	ErrToken = errors.New("join token is not valid")
	// ErrTokenUsed refuses a token with which another key has joined.
	ErrTokenUsed = errors.New("join token was used already")
	// ErrTokenExpired refuses a token after its end.
	ErrTokenExpired = errors.New("join token has expired")
	// ErrTokenHost refuses a token that is bound to another host.
	ErrTokenHost = errors.New("join token is for another host")
)

// Token is what lets one host join once. Its text goes to the host by hand.
type Token struct {
	secret [secretSize]byte
	// authority is the fingerprint by which the host trusts the controller at
	// their first contact.
	authority string
}

// ParseToken reads a token's text.
func ParseToken(text string) (Token, error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 3 || parts[0] != tokenPrefix {
		return Token{}, ErrToken
	}
	var t Token
	secret, err := hex.DecodeString(parts[1])
	if err != nil || len(secret) != secretSize {
		return Token{}, ErrToken
	}
	copy(t.secret[:], secret)
	if sum, err := hex.DecodeString(parts[2]); err != nil || len(sum) != sha256.Size {
		return Token{}, ErrToken
	}
	t.authority = strings.ToLower(parts[2])
	return t, nil
}

// Text returns the token as the host needs it. It is a secret.
func (t Token) Text() string {
	return tokenPrefix + "." + hex.EncodeToString(t.secret[:]) + "." + t.authority
}

// String hides the token from logs.
func (Token) String() string { return "[join token]" }

// hash names the token in the vault, which never sees the secret itself.
func (t Token) hash() string {
	sum := sha256.Sum256(t.secret[:])
	return hex.EncodeToString(sum[:])
}

// grant is what the vault knows of a token.
type grant struct {
	// Host is the only host that may use it, or empty.
	Host    string    `json:"host,omitempty"`
	Expires time.Time `json:"expires"`
}

// MakeToken makes a token that lets one host join once before it expires. host
// binds it to a host's name, or is empty.
func (a *Authority) MakeToken(ctx context.Context, vault Vault, host string, lasts time.Duration) (Token, error) {
	if host != "" {
		if err := CheckHost(host); err != nil {
			return Token{}, err
		}
	}
	t := Token{authority: a.Fingerprint()}
	if _, err := rand.Read(t.secret[:]); err != nil {
		return Token{}, fmt.Errorf("make join token: %w", err)
	}
	data, err := json.Marshal(grant{Host: host, Expires: a.now().Add(lasts)})
	if err != nil {
		return Token{}, fmt.Errorf("make join token: %w", err)
	}
	if err := vault.Save(ctx, "token/"+t.hash(), data); err != nil {
		return Token{}, fmt.Errorf("make join token: %w", err)
	}
	return t, nil
}

// spend takes the token for the host with this key. The same key may spend it
// again until it expires: a lost reply must not cost a person a second token.
func (t Token) spend(ctx context.Context, vault Vault, host, key string, now time.Time) error {
	data, err := vault.Load(ctx, "token/"+t.hash())
	if errors.Is(err, ErrAbsent) {
		return ErrToken
	}
	if err != nil {
		return fmt.Errorf("check join token: %w", err)
	}
	var g grant
	if err := json.Unmarshal(data, &g); err != nil {
		return fmt.Errorf("check join token: %w", err)
	}
	if !now.Before(g.Expires) {
		return ErrTokenExpired
	}
	if g.Host != "" && g.Host != host {
		return ErrTokenHost
	}
	// The name of the host counts too: one token must not enrol one key under
	// many names.
	user := []byte(host + " " + key)
	err = vault.Save(ctx, "used/"+t.hash(), user)
	if !errors.Is(err, ErrExists) {
		return err
	}
	before, err := vault.Load(ctx, "used/"+t.hash())
	if err != nil {
		return fmt.Errorf("check join token: %w", err)
	}
	if string(before) != string(user) {
		return ErrTokenUsed
	}
	return nil
}
