package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/agent"
	"relight/internal/agent/beats"
	"relight/internal/agent/driver/process"
	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/driver/virsh"
)

// agentCommand groups the agents.
func agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "agent",
		Short:   "Run an agent on a host or in an instance",
		Long:    "Run an agent. A host agent runs instances on a hypervisor or plain host and tells the controller what it sees; a guest agent does its part inside an instance on EC2.",
		Example: "  relight agent host --name host-1 --controller https://relight.example:7443 --token-file token",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(hostAgentCommand(), guestAgentCommand(), markVolumeCommand())
	return cmd
}

type hostFlags struct {
	opt                               agent.Options
	tokenFile, device, level, libvirt string
	watchdog                          string
	storageBeats, storageSecret       string
	watchdogTimeout                   time.Duration
}

func hostAgentCommand() *cobra.Command {
	var f hostFlags
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Run the agent of this host",
		Long: `Run the agent of this host. It joins once with a token, keeps its certificate
below --dir, opens no port for the controller, and runs servers under keepers:
if the agent dies, its servers run on, and the next agent adopts them.`,
		Example: `  relight host token host-1 > token
  relight agent host --name host-1 --controller https://relight.example:7443 --token-file token --units 8
  relight agent host --name host-1 --controller https://relight.example:7443 --watchdog /dev/watchdog
  relight agent host --name host-1 --controller https://relight.example:7443 --storage-beats /mnt/shared/beats --peer 10.0.0.11:7444
  relight agent host --name host-1 --controller https://relight.example:7443 --storage-beats iscsi://10.0.9.1:3260/iqn.2026-01.org.example:beats/1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runHostAgent(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.opt.Dir, "dir", "/var/lib/relight-agent", "the agent's own directory")
	flags.StringVar(&f.opt.Name, "name", "", "the host's name (default: its host name)")
	flags.StringVar(&f.opt.Controller, "controller", "", "base URL of the controller")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with a join token; needed until the host has joined")
	flags.StringVar(&f.opt.BeatAddr, "beat-addr", "", "where beats go, host:port (default: what the controller says)")
	flags.IntVar(&f.opt.Units, "units", 16, "how much this host can carry")
	flags.StringVar(&f.storageBeats, "storage-beats", "", "where the hosts leave heartbeats for each other, on storage that all of them share: a directory, an empty block device, or an empty LUN, iscsi://[user@]portal/target/unit")
	flags.StringVar(&f.storageSecret, "storage-secret-file", "", "file with the secret of the user in --storage-beats (CHAP)")
	flags.DurationVar(&f.opt.StorageBeatEvery, "storage-every", agent.DefaultStorageBeatEvery, "how often the heartbeats on shared storage are written and read; the same on all hosts")
	flags.StringVar(&f.opt.PeerAddr, "peer", "", "UDP address, ip:port, on which other hosts' questions are answered")
	flags.StringVar(&f.device, "device", "", "network device that carries the servers' addresses; loopback ones need none")
	flags.StringVar(&f.libvirt, "libvirt", "", "run virtual machines through this libvirt, such as qemu:///system, instead of starting QEMU: adopts marked domains (relight import libvirt)")
	flags.StringVar(&f.watchdog, "watchdog", "", "watchdog device, such as /dev/watchdog, that resets this host if a server with onIsolation: stop outlives its lease; armed only while one runs here")
	flags.DurationVar(&f.watchdogTimeout, "watchdog-timeout", agent.DefaultWatchdogTimeout, "how long the watchdog waits; it must fit into the controllers' --beat-lease")
	flags.DurationVar(&f.opt.ReportEvery, "report-every", agent.DefaultReportEvery, "how often everything is reported though nothing changed")
	flags.DurationVar(&f.opt.BeatEvery, "beat-every", agent.DefaultBeatEvery, "how often a beat is sent")
	flags.StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func runHostAgent(cmd *cobra.Command, f hostFlags) error {
	log, err := logger(cmd.ErrOrStderr(), f.level)
	if err != nil {
		return err
	}
	o := f.opt
	o.Log = log
	if o.Name == "" {
		if o.Name, err = os.Hostname(); err != nil {
			return err
		}
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if f.tokenFile != "" {
		token, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return fmt.Errorf("read the join token: %w", err)
		}
		o.Token = strings.TrimSpace(string(token))
	}
	if f.storageBeats != "" {
		if o.StorageBeats, err = beats.Parse(f.storageBeats, o.Name, f.storageSecret); err != nil {
			return fmt.Errorf("--storage-beats: %w", err)
		}
	}
	if f.watchdog != "" {
		if o.Watchdog, err = agent.OpenWatchdog(f.watchdog, f.watchdogTimeout); err != nil {
			return err
		}
	}
	return hostAgent(cmd.Context(), o, f.device, f.libvirt)
}

// hostAgent wires the drivers to the agent.
func hostAgent(ctx context.Context, o agent.Options, device, libvirt string) error {
	driver, err := openDriver(ctx, o, filepath.Join(o.Dir, "instances"))
	if err != nil {
		return err
	}
	defer driver.Close()
	processes := &agent.Processes{Driver: driver, Device: device}
	o.Driver = processes
	machines, done, err := openMachines(ctx, o)
	if err != nil {
		return err
	}
	defer done()
	if libvirt != "" {
		dir := filepath.Join(o.Dir, "domains")
		domains, err := agent.NewDomains(agent.DomainOptions{
			Conn: &virsh.Conn{URI: libvirt}, Dir: dir, Accel: qemu.NewProbe(dir, "").Choose, Clock: time.Now, Log: o.Log,
		})
		if err != nil {
			return err
		}
		machines, o.Machines = nil, domains
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		go domains.Run(ctx)
	}
	if machines != nil {
		o.Machines = machines
	}
	a, err := agent.New(o)
	if err != nil {
		return err
	}
	processes.Term, processes.BeatSocket = a.Term, a.BeatSocket
	if machines != nil {
		machines.Term, machines.BeatSocket = a.Term, a.BeatSocket
		machines.Start()
	}
	return a.Run(ctx)
}

// openDriver opens the driver of a directory and adopts what runs there.
func openDriver(ctx context.Context, o agent.Options, dir string) (*process.Driver, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	driver, err := process.New(process.Options{
		Dir:    dir,
		Claims: filepath.Join(o.Dir, "claims"),
		Exec:   []string{self, "keeper"},
		Env:    inherited(os.Environ()),
		Logger: o.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("open the driver of %s: %w", dir, err)
	}
	if err := driver.Adopt(ctx); err != nil {
		driver.Close()
		return nil, fmt.Errorf("adopt what runs: %w", err)
	}
	return driver, nil
}

// openMachines opens the driver of virtual machines; it is nil on a host without
// QEMU that never ran any.
func openMachines(ctx context.Context, o agent.Options) (*agent.Machines, func(), error) {
	dir := filepath.Join(o.Dir, "machines")
	_, absent := exec.LookPath(qemu.DefaultBinary)
	if _, err := os.Stat(dir); absent != nil && err != nil {
		return nil, func() {}, nil //nolint:nilerr // a host without QEMU and without machines runs none
	}
	driver, err := openDriver(ctx, o, filepath.Join(dir, "driver"))
	if err != nil {
		return nil, nil, err
	}
	machines := agent.NewMachines(agent.MachineOptions{
		Driver: driver, Dir: dir, Log: o.Log, Accel: qemu.NewProbe(dir, "").Choose, Script: agent.SANScript,
	})
	return machines, func() { machines.Close(); driver.Close() }, nil
}

// inherited is what keepers and applications get of the agent's environment: the
// agent may hold secrets in its own.
func inherited(env []string) []string {
	var out []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case name == "PATH", name == "HOME", name == "LANG", name == "TZ", strings.HasPrefix(name, "RELIGHT_DEV"):
			out = append(out, kv)
		}
	}
	return out
}
