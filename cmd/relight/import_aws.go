package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/cli"
	"relight/internal/provider/aws"
	"relight/internal/provider/aws/capture"
	"relight/internal/provider/aws/sdk"
	"relight/internal/spec"
)

// importAWS are the flags of import aws.
type importAWS struct {
	region, name, out, diff string
	observe, adopt          bool
}

func importAWSCommand() *cobra.Command {
	var f importAWS
	cmd := &cobra.Command{
		Use: "aws INSTANCE", Short: "Describe an instance of EC2, all of it",
		Long: `Aws prints a Server document in mode observe for an instance, with everything that it
was launched with and is known by: machine type, image, profile, user data, metadata
options, placement, volumes, interfaces with their addresses, elastic addresses, target
groups, DNS records, tags. What a person must look at comes first, as comments. An
instance launched from the document differs from this one in nothing else.

With --out the document goes into a file. If that holds an earlier capture, what differs
is taken over, the rest of the file is yours and stays, and the earlier one is kept beside
it as FILE.1, FILE.2 and so on, by its number.

--diff SERVER says instead how the instance differs from what is declared; without
INSTANCE, the one that carries the server's tag. Exit code 0: in nothing; 1: it has
drifted; above 1: an error.

With --adopt the instance and its volumes also get their tags, as epoch 1 of the server;
then the controller sees it. Nothing else is changed by any of this, and nothing is done
to the instance before a person changes the server's mode.`,
		Example: `  relight import aws i-0a1b2c3d --observe --region eu-west-1 --out lic-07.yaml
  relight import aws i-0a1b2c3d --adopt > lic-07.yaml
  relight import aws --diff lic-07`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: map[string]string{cli.Compares: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, strings.Join(args, ""))
		},
	}
	cmd.Flags().StringVar(&f.region, "region", "", "the region; the configured one by default")
	cmd.Flags().StringVar(&f.name, "name", "", "the server's name; by default its tag relight:server, or Name")
	cmd.Flags().StringVar(&f.out, "out", "", "write the document into this file and keep the captures before it")
	cmd.Flags().StringVar(&f.diff, "diff", "", "say how the instance differs from this declared server")
	cmd.Flags().BoolVar(&f.observe, "observe", false, "mode observe, which every imported server has at first")
	cmd.Flags().BoolVar(&f.adopt, "adopt", false, "tag the instance and its volumes as epoch 1 of the server")
	return cmd
}

func (f *importAWS) run(cmd *cobra.Command, id string) error {
	if id == "" && f.diff == "" {
		return errors.New("no instance is named; next: aws ec2 describe-instances --query 'Reservations[].Instances[].InstanceId'")
	}
	ctx := cmd.Context()
	cloud, err := sdk.Load(ctx, f.region)
	if err != nil {
		return err
	}
	if f.diff != "" {
		return f.drift(cmd, cloud, id)
	}
	source, err := cloud.Capture(ctx, id)
	if err != nil {
		return fmt.Errorf("instance %s: %w; next: aws ec2 describe-instances --instance-ids %s", id, err, id)
	}
	found := capture.Read(source, f.name)
	if len(found.Lacks) > 0 {
		comments(cmd.ErrOrStderr(), found.Notes)
		return fmt.Errorf("%s is not imported:\n- %s", id, strings.Join(found.Lacks, "\n- "))
	}
	if f.out != "" {
		if err := f.keep(cmd, found); err != nil {
			return err
		}
	} else {
		text, err := firstCapture(found)
		if err != nil {
			return err
		}
		if _, err := cmd.OutOrStdout().Write(text); err != nil {
			return err
		}
	}
	if f.adopt {
		return adopt(ctx, cloud, source, found)
	}
	return nil
}

func parsed(f capture.Found, number int) (spec.Doc, error) {
	raw, err := f.Document(number)
	if err != nil {
		return spec.Doc{}, err
	}
	docs, err := spec.Parse(spec.File{Name: f.Name, Data: raw})
	if err != nil {
		return spec.Doc{}, fmt.Errorf("%w; try: --name", err)
	}
	return docs[0], nil
}

// written is the document with its notes as comments.
func written(f capture.Found, doc spec.Doc) ([]byte, error) {
	text, err := spec.Print(spec.YAML, doc)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	comments(&b, f.Notes)
	return append([]byte(b.String()), text...), nil
}

func comments(out io.Writer, notes []string) {
	for _, n := range notes {
		// Names come from the account: none of them may end the comment.
		fmt.Fprintf(out, "# %s\n", strings.Join(strings.Fields(n), " "))
	}
}

// firstCapture is the document of an instance that was not captured before.
func firstCapture(found capture.Found) ([]byte, error) {
	doc, err := parsed(found, 1)
	if err != nil {
		return nil, err
	}
	return written(found, doc)
}

// keep writes the document into a file. The captures before it are kept.
func (f *importAWS) keep(cmd *cobra.Command, found capture.Found) error {
	old, err := os.ReadFile(f.out)
	if errors.Is(err, fs.ErrNotExist) {
		text, err := firstCapture(found)
		if err != nil {
			return err
		}
		if err := os.WriteFile(f.out, text, 0o600); err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "capture 1 is in %s\nnext: relight apply -f %s\n", f.out, f.out)
		return nil
	}
	if err != nil {
		return err
	}
	docs, err := spec.Parse(spec.File{Name: f.out, Data: old})
	if err != nil {
		return err
	}
	if len(docs) != 1 || docs[0].Kind != spec.KindServer {
		return fmt.Errorf("%s holds something else than one server; try another --out", f.out)
	}
	was := docs[0]
	found.Name = was.Name
	changes, err := capture.Drift(was, found)
	if err != nil {
		return err
	}
	number := capture.Number(was)
	if len(changes) == 0 && number > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "nothing differs from capture %d in %s\n", number, f.out)
		return nil
	}
	next, err := capture.Renew(was, found)
	if err != nil {
		return err
	}
	text, err := written(found, next)
	if err != nil {
		return err
	}
	// The earlier one first, and never over another: a capture must not be lost.
	kept := fmt.Sprintf("%s.%d", f.out, number)
	file, err := os.OpenFile(filepath.Clean(kept), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("capture %d is kept already: %w; next: mv %s elsewhere", number, err, kept)
	}
	if _, err := file.Write(old); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.WriteFile(f.out, text, 0o600); err != nil {
		return err
	}
	show(cmd.ErrOrStderr(), changes)
	fmt.Fprintf(cmd.ErrOrStderr(), "capture %d is in %s, the one before it in %s\nnext: relight diff -f %s\n", capture.Number(next), f.out, kept, f.out)
	return nil
}

// shortened is a change cut where user data would fill the screen.
func shortened(c spec.Change) spec.Change {
	short := func(s string) string {
		if r := []rune(s); len(r) > 80 {
			return string(r[:79]) + "…"
		}
		return s
	}
	c.Old, c.New = short(c.Old), short(c.New)
	return c
}

// show prints changes.
func show(out io.Writer, changes []spec.Change) {
	for _, c := range changes {
		fmt.Fprintln(out, shortened(c))
	}
}

// drift says how an instance differs from what is declared of its server.
func (f *importAWS) drift(cmd *cobra.Command, cloud *sdk.Client, id string) error {
	ctx := cmd.Context()
	if id == "" {
		ids, err := cloud.Of(ctx, f.diff)
		if err != nil {
			return err
		}
		if len(ids) != 1 {
			return fmt.Errorf("%d instances carry the tag of %s (%s); next: relight import aws INSTANCE --diff %s", len(ids), f.diff, strings.Join(ids, ", "), f.diff)
		}
		id = ids[0]
	}
	c, err := cli.Connect(cmd, os.Getenv)
	if err != nil {
		return err
	}
	view, err := c.Server(ctx, f.diff)
	if err != nil {
		return err
	}
	raw, err := view.Raw.Raw()
	if err != nil {
		return err
	}
	declared, err := spec.Load(raw)
	if err != nil {
		return err
	}
	source, err := cloud.Capture(ctx, id)
	if err != nil {
		return fmt.Errorf("instance %s: %w; next: aws ec2 describe-instances --instance-ids %s", id, err, id)
	}
	if len(source.Blind) > 0 {
		return fmt.Errorf("%s could not be read whole: %s; next: relight doctor aws", id, strings.Join(source.Blind, "; "))
	}
	found := capture.Read(source, f.diff)
	changes, err := capture.Drift(declared, found)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s is what capture %d of %s says\n", id, capture.Number(declared), f.diff)
		return nil
	}
	show(cmd.OutOrStdout(), changes)
	fmt.Fprintf(cmd.ErrOrStderr(), "%s has drifted from capture %d of %s\nnext: relight import aws %s --name %s --out %s.yaml\n", id, capture.Number(declared), f.diff, id, f.diff, f.diff)
	return cli.ExitWith(client.ExitFailed)
}

// adopt makes an instance epoch 1 of its server: its volumes first, for their tags are
// the floor below which no epoch is ever given again.
func adopt(ctx context.Context, cloud *sdk.Client, s capture.Source, f capture.Found) error {
	switch was := s.Tags[aws.TagServer]; {
	case was == f.Name && s.Tags[aws.TagEpoch] != "":
		return nil // it keeps its epoch
	case was != "" && was != f.Name:
		return fmt.Errorf("%s carries the tag of server %s already; next: relight import aws %s --name %s", s.ID, was, s.ID, was)
	}
	others, err := cloud.Of(ctx, f.Name)
	if err != nil {
		return err
	}
	for _, o := range others {
		if o != s.ID {
			return fmt.Errorf("server %s has an instance already, %s; try another --name", f.Name, o)
		}
	}
	tags := map[string]string{aws.TagServer: f.Name, aws.TagEpoch: "1"}
	for _, v := range f.Identity.Volumes {
		if err := cloud.Tag(ctx, v.ID, tags); err != nil {
			return err
		}
	}
	return cloud.Tag(ctx, s.ID, tags)
}
