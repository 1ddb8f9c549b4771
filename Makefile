# The whole project is driven from here; see AGENTS.md.
GO ?= go
# Dead-code elimination stays on and the build cache stays warm with one set of flags.
FLAGS := -tags lambda.norpc

.PHONY: build demo lab soak needs moto cloud-init test planted bench failover lint fmt clean

build: ## the one binary, and the guest agent that goes into virtual machines
	$(GO) build $(FLAGS) -o bin/relight ./cmd/relight
	CGO_ENABLED=0 $(GO) build $(FLAGS) -trimpath -ldflags '-s -w' -o bin/relight-guest ./cmd/relight-guest

demo: build ## break real servers on this machine and watch them heal (needs no root, no network)
	bin/relight demo

lab: build ## a SAN, three hypervisor hosts and a virtual machine here; break them case by case (root)
	bin/relight lab run --yes

RUNS ?= 100
soak: build ## cut off a host whose virtual machine writes on, RUNS times; the last line is the sum (root)
	bin/relight lab run zombie --yes --name soak --runs $(RUNS)

# What the tests of arrays and of virtual machines need beside Go: an iSCSI target,
# QEMU with its iSCSI driver, iPXE, what packs a guest and its boot disk, fence agents,
# and libvirt. Without one of them, or without root, the tests that need it say that they are skipped.
PACKAGES := tgt qemu-system-x86 qemu-block-extra ovmf ipxe cpio kmod mtools dosfstools syslinux open-iscsi iproute2 e2fsprogs xfsprogs fence-agents libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients

needs: ## install what the tests need beside Go (Debian's packages), where that is possible
	@missing=$$(for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); [ -z "$$missing" ] || \
		{ echo "installing" $$missing; [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		(apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing) >/dev/null 2>&1; } || \
		echo "not here, and cannot be installed:" $$missing "- tests that need them are skipped"

# An emulator of AWS that others wrote, for what our own fake is held against.
MOTO := 5.2.5
moto: ## install moto, which checks the fake of AWS and brings botocore, which drives it, into .cache, where Python and its index are there
	@[ "$$(cat .cache/moto/version 2>/dev/null)" = $(MOTO) ] || { echo "installing moto $(MOTO)"; rm -rf .cache/moto; \
		python3 -m venv .cache/moto >/dev/null 2>&1 && .cache/moto/bin/pip install -q --disable-pip-version-check 'moto[server]==$(MOTO)' >/dev/null 2>&1 && echo $(MOTO) >.cache/moto/version; } || \
		{ rm -rf .cache/moto; echo "SKIPPED: moto $(MOTO) cannot be installed here (python3, venv, the package index): nobody else's emulator checks the fake of AWS"; }

# What reads our user data in an instance. It is unpacked, never installed: an installed
# one would take the machine over at its next boot.
CLOUDINIT := cloud-init python3-configobj python3-six python3-jinja2 python3-markupsafe python3-jsonpatch python3-json-pointer \
	python3-jsonschema python3-attr python3-pyrsistent python3-netifaces python3-oauthlib python3-requests python3-urllib3 \
	python3-chardet python3-idna python3-certifi python3-serial python3-yaml
cloud-init: ## unpack cloud-init (Debian's packages), which reads our user data, into .cache, where that is possible
	@[ -e .cache/cloud-init/done ] || { echo "unpacking cloud-init"; rm -rf .cache/cloud-init; mkdir -p .cache/cloud-init/root && cd .cache/cloud-init && \
		apt-get download $(CLOUDINIT) >/dev/null 2>&1 && for d in *.deb; do dpkg -x $$d root || exit 1; done && touch done; } || \
		{ rm -rf .cache/cloud-init; echo "SKIPPED: cloud-init cannot be fetched here (apt-get, its index): nothing but our own tests reads the user data"; }

# One package at a time: several drive real processes and must not starve each other.
test: needs moto cloud-init ## every test, 2,000 seeds of the simulator, 5,000 runs of each fuzz target
	$(GO) vet $(FLAGS) ./...
	$(GO) run ./internal/testlog $(FLAGS) -p 1 -timeout 20m ./...
	GOGC=400 SEEDS=2000 $(GO) test $(FLAGS) -count=1 -run 'TestSeeds$$' -v -timeout 20m ./internal/simulate
	@for f in $$(grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' internal | cut -c6- | sort -u); do \
		for d in $$(grep -rlE --include='*_test.go' "^func $$f\(" internal | xargs -n1 dirname | sort -u); do \
			$(GO) test $(FLAGS) -run '^$$' -fuzz "^$$f$$" -fuzztime 5000x ./$$d || exit 1; \
		done; \
	done

planted: ## plant bugs in the product one by one, see the simulator find each, write docs/planted.md
	GOGC=400 $(GO) run $(FLAGS) ./internal/simulate/planted -write

bench: build ## measure, print the table, write bench/results.json
	-cd bench/peers && $(GO) test -run Detector -count=1 -timeout 30m .
	$(GO) run $(FLAGS) ./bench/corebuild -out bench/corebuild.json
	bin/relight bench --out bench/results.json
	@if [ "$$(id -u)" = 0 ] && command -v pacemakerd >/dev/null && command -v keepalived >/dev/null; then $(MAKE) failover; else \
		echo "SKIPPED: failover beside others needs root and: apt-get install $(PEERS)"; fi

# Who the failover is measured against.
PEERS := pacemaker corosync pacemaker-cli-utils keepalived
failover: build ## from the kill to the next epoch's first write, beside Pacemaker and keepalived (root)
	$(GO) run $(FLAGS) ./bench/failover -exe bin/relight -out bench/failover.json

lint: bin/golangci-lint ## the linters, pinned in tools/go.mod
	bin/golangci-lint run ./...

fmt: bin/gofumpt ## format all of it
	bin/gofumpt -l -w cmd internal

bin/golangci-lint: tools/go.sum
	cd tools && $(GO) build -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bin/gofumpt: tools/go.sum
	cd tools && $(GO) build -o ../bin/gofumpt mvdan.cc/gofumpt

clean:
	rm -rf bin
