package fleet

// EC2Launch is what an instance of EC2 is launched with beside a launch template, or
// instead of one. Unset fields are the template's or EC2's own.
type EC2Launch struct {
	// Capture numbers the captures of a running instance that this came from: 1 for
	// the first, one more for each that differs.
	Capture int `json:"capture,omitempty"`
	// Image and Type are an AMI's id and a machine type; both are needed without a
	// launch template.
	Image string `json:"image,omitempty"`
	Type  string `json:"type,omitempty"`
	// Key is a key pair's name, Profile an instance profile's ARN.
	Key     string `json:"key,omitempty"`
	Profile string `json:"profile,omitempty"`
	// UserData is in base64, as EC2 keeps it.
	UserData string `json:"userData,omitempty"`
	// Groups are security groups of an interface that is made with the instance.
	Groups       []string          `json:"groups,omitempty"`
	Root         *EC2Root          `json:"root,omitempty"`
	Metadata     *EC2Metadata      `json:"metadata,omitempty"`
	Place        *EC2Place         `json:"place,omitempty"`
	Reservation  *EC2Reservation   `json:"reservation,omitempty"`
	CPU          *EC2CPU           `json:"cpu,omitempty"`
	Hostname     *EC2Hostname      `json:"hostname,omitempty"`
	Credits      EC2Credits        `json:"credits,omitempty"`
	OnShutdown   EC2OnShutdown     `json:"onShutdown,omitempty"`
	Bandwidth    EC2Bandwidth      `json:"bandwidth,omitempty"`
	EBSOptimized bool              `json:"ebsOptimized,omitempty"`
	Monitoring   bool              `json:"monitoring,omitempty"`
	Enclave      bool              `json:"enclave,omitempty"`
	Hibernation  bool              `json:"hibernation,omitempty"`
	Licenses     []string          `json:"licenses,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
}

// EC2Root is the disk that an instance starts from. It is made anew from the image at
// each launch.
type EC2Root struct {
	// Device is its name in the image, such as /dev/xvda.
	Device string `json:"device"`
	// Size is in GiB; Type is a volume type such as gp3, Throughput in MiB/s.
	Size       int    `json:"size,omitempty"`
	Type       string `json:"type,omitempty"`
	IOPS       int    `json:"iops,omitempty"`
	Throughput int    `json:"throughput,omitempty"`
	Encrypted  bool   `json:"encrypted,omitempty"`
	// Key is a KMS key's ARN.
	Key string `json:"key,omitempty"`
	// Keep leaves the disk behind when the instance ends.
	Keep bool              `json:"keep,omitempty"`
	Tags map[string]string `json:"tags,omitempty"`
}

// EC2Metadata are the options of an instance's metadata service.
type EC2Metadata struct {
	// Tokens required is IMDSv2 alone.
	Tokens EC2Tokens `json:"tokens,omitempty"`
	// HopLimit is how many network hops an answer may take, 1 to 64.
	HopLimit int  `json:"hopLimit,omitempty"`
	Off      bool `json:"off,omitempty"`
	IPv6     bool `json:"ipv6,omitempty"`
	// Tags lets the guest read its instance's tags.
	Tags bool `json:"tags,omitempty"`
}

// EC2Place is where below its subnet an instance runs.
type EC2Place struct {
	Tenancy EC2Tenancy `json:"tenancy,omitempty"`
	// Host is a dedicated host's id, HostGroup a host resource group's ARN.
	Host      string `json:"host,omitempty"`
	HostGroup string `json:"hostGroup,omitempty"`
	// Pinned keeps a stopped instance on its host (affinity host).
	Pinned bool `json:"pinned,omitempty"`
	// Group is a placement group's name, Partition a number in it.
	Group     string `json:"group,omitempty"`
	Partition int    `json:"partition,omitempty"`
}

// EC2Reservation says which reserved capacity an instance uses.
type EC2Reservation struct {
	Preference EC2Preference `json:"preference,omitempty"`
	// ID is a capacity reservation's, Group a resource group's ARN.
	ID    string `json:"id,omitempty"`
	Group string `json:"group,omitempty"`
}

// EC2CPU are the cores and threads of an instance, where they are not its type's.
type EC2CPU struct {
	Cores   int `json:"cores"`
	Threads int `json:"threads"`
}

// EC2Hostname says what the guest is called, and which records lead to that.
type EC2Hostname struct {
	Type EC2HostnameType `json:"type,omitempty"`
	A    bool            `json:"a,omitempty"`
	AAAA bool            `json:"aaaa,omitempty"`
}

// EC2Tokens says whether requests to the metadata service need a token.
type EC2Tokens string

// EC2Tenancy says whose hardware an instance runs on.
type EC2Tenancy string

// EC2Preference says whether an instance uses reserved capacity.
type EC2Preference string

// EC2HostnameType says what a guest's name is made of.
type EC2HostnameType string

// EC2Credits are the CPU credits of a burstable type.
type EC2Credits string

// EC2OnShutdown says what a shutdown from within the guest does.
type EC2OnShutdown string

// EC2Bandwidth says which bandwidth is raised at the other's cost.
type EC2Bandwidth string

// The words are those of EC2's own API.
const (
	TokensRequired EC2Tokens = "required"
	TokensOptional EC2Tokens = "optional"

	TenancyDefault   EC2Tenancy = "default"
	TenancyDedicated EC2Tenancy = "dedicated"
	TenancyHost      EC2Tenancy = "host"

	PreferOpen EC2Preference = "open"
	PreferNone EC2Preference = "none"
	PreferOnly EC2Preference = "capacity-reservations-only"

	HostnameIP       EC2HostnameType = "ip-name"
	HostnameResource EC2HostnameType = "resource-name"

	CreditsStandard  EC2Credits = "standard"
	CreditsUnlimited EC2Credits = "unlimited"

	ShutdownStops      EC2OnShutdown = "stop"
	ShutdownTerminates EC2OnShutdown = "terminate"

	BandwidthDefault EC2Bandwidth = "default"
	BandwidthVPC     EC2Bandwidth = "vpc-1"
	BandwidthEBS     EC2Bandwidth = "ebs-1"
)
