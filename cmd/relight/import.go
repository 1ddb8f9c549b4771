package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"relight/internal/agent/driver/virsh"
	"relight/internal/spec"
)

// importCommand writes documents for what exists already.
func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import", Short: "Describe servers that run already as documents",
		Long:    "Import reads what runs on this machine, or in an account of AWS, and prints documents for it, in mode observe. It changes nothing.",
		Example: "  relight import libvirt > servers.yaml\n  relight import aws i-0a1b2c3d --observe > lic-07.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(importLibvirtCommand(), importAWSCommand())
	return cmd
}

func importLibvirtCommand() *cobra.Command {
	var conn virsh.Conn
	var array string
	var adopt bool
	cmd := &cobra.Command{
		Use: "libvirt [DOMAIN...]", Short: "Describe this host's libvirt domains",
		Long: `Libvirt prints a Server document in mode observe for each domain, or for the named
ones, with what a person must look at as comments. A domain with a disk of its host
alone cannot be moved, and is only named.

With --adopt each domain that is printed also gets a mark in its own metadata, as
epoch 1 of its server. A host agent that was started with --libvirt then tells of
it. Nothing is done to it before a person changes the server's mode.`,
		Example: "  relight import libvirt > servers.yaml\n  relight import libvirt --uri qemu:///system --array san-1 --adopt db-1 > db-1.yaml\n  relight apply -f db-1.yaml",
		RunE: func(cmd *cobra.Command, names []string) error {
			all, err := conn.Domains(cmd.Context())
			if err != nil {
				return fmt.Errorf("%w; next: virsh --connect %s list --all", err, conn.URI)
			}
			left := map[string]bool{}
			for _, n := range names {
				left[n] = true
			}
			for _, d := range all {
				if len(names) > 0 && !left[d.Name] {
					continue
				}
				delete(left, d.Name)
				if err := importDomain(cmd, &conn, d, array, adopt); err != nil {
					return err
				}
			}
			for n := range left {
				return fmt.Errorf("there is no domain %q; next: virsh --connect %s list --all", n, conn.URI)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&conn.URI, "uri", virsh.DefaultURI, "where libvirt is")
	cmd.Flags().StringVar(&array, "array", "san-1", "the name of the array that has the LUNs")
	cmd.Flags().BoolVar(&adopt, "adopt", false, "mark the domains as epoch 1 of their servers")
	return cmd
}

func importDomain(cmd *cobra.Command, conn *virsh.Conn, d virsh.Domain, array string, adopt bool) error {
	out := cmd.OutOrStdout()
	raw, notes, lacks, err := d.Document(array)
	if err != nil {
		return err
	}
	comment := func(text string) {
		// A domain's names come from libvirt: none of them may end the comment.
		fmt.Fprintf(out, "# %s\n", strings.Join(strings.Fields(text), " "))
	}
	if len(lacks) > 0 {
		comment(fmt.Sprintf("domain %q is not imported:", d.Name))
		for _, l := range lacks {
			comment("- " + l)
		}
		return nil
	}
	docs, err := spec.Parse(spec.File{Name: d.Name, Data: raw})
	if err != nil {
		return err
	}
	text, err := spec.Print(spec.YAML, docs...)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "---")
	comment(fmt.Sprintf("domain %q, %s", d.Name, d.State))
	for _, n := range notes {
		comment("- " + n)
	}
	if _, err := out.Write(text); err != nil {
		return err
	}
	switch {
	case !adopt:
		return nil
	case d.Server != "" && d.Server != d.Name:
		return errors.New("domain " + d.Name + " is marked as server " + d.Server + " already")
	case d.Server != "":
		return nil // it keeps its epoch
	}
	return conn.Mark(cmd.Context(), d, d.Name, 1)
}
