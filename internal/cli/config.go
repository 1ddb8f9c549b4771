package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

// configPath returns where the client.json lies, or "" if nowhere.
func (a *app) configPath() string {
	if p := a.Env("RELIGHT_CONFIG"); p != "" {
		return p
	}
	if dir := a.Env("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "relight", "client.json")
	}
	if home := a.Env("HOME"); home != "" {
		return filepath.Join(home, ".config", "relight", "client.json")
	}
	return ""
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// engine resolves which engine to speak to: flag, then environment, then file.
// A server that was named by hand takes neither token nor CA from the file: they
// belong to another engine.
func (a *app) engine() (client.Context, error) {
	out := client.Context{
		Server:    first(a.flags.server, a.Env("RELIGHT_SERVER")),
		TokenFile: first(a.flags.tokenFile, a.Env("RELIGHT_TOKEN_FILE")),
		CA:        first(a.flags.ca, a.Env("RELIGHT_CA")),
	}
	name := first(a.flags.context, a.Env("RELIGHT_CONTEXT"))
	if out.Server != "" && name == "" {
		return out, nil
	}
	f := client.File{}
	path := a.configPath()
	if path != "" {
		var err error
		if f, err = client.ReadFile(path); err != nil {
			return out, err
		}
	}
	named := name != ""
	name = first(name, f.Current)
	c, ok := f.Contexts[name]
	switch {
	case ok:
		out.TokenFile, out.CA = first(out.TokenFile, c.TokenFile), first(out.CA, c.CA)
		out.Server = first(out.Server, c.Server)
	case named:
		return out, client.NewProblem(client.CodeBadRequest, "there is no context %q in %s", name, path).WithNext("relight help")
	}
	if out.Server == "" {
		return out, client.NewProblem(client.CodeUnreachable, "no engine is configured: no --server, no RELIGHT_SERVER, nothing in %s", first(path, "client.json")).
			WithNext("relight dev")
	}
	return out, nil
}

// client makes the client of the engine.
func (a *app) client() (*client.Client, error) {
	e, err := a.engine()
	if err != nil {
		return nil, err
	}
	cfg, err := e.Config()
	if err != nil {
		return nil, err
	}
	return client.New(cfg)
}

// do makes a call that has no answer but that it was done, and says so.
func (a *app) do(call func(*client.Client) error, said, next string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := call(c); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.Out, said); err != nil {
		return err
	}
	a.next(next)
	return nil
}

// Connect returns the client of the engine that cmd's flags, env and the
// client.json name. It is for commands of other packages below the root command.
func Connect(cmd *cobra.Command, env func(string) string) (*client.Client, error) {
	a := &app{Deps: Deps{Env: env}}
	for name, to := range map[string]*string{
		"context": &a.flags.context, "server": &a.flags.server, "token-file": &a.flags.tokenFile, "ca": &a.flags.ca,
	} {
		if f := cmd.Root().PersistentFlags().Lookup(name); f != nil {
			*to = f.Value.String()
		}
	}
	return a.client()
}
