# The whole project is driven from here; see AGENTS.md.
GO ?= go
# Dead-code elimination stays on and the build cache stays warm with one set of flags.
FLAGS := -tags lambda.norpc

.PHONY: build demo test bench lint fmt clean

build: ## the one binary
	$(GO) build $(FLAGS) -o bin/relight ./cmd/relight

demo: build ## break real servers on this machine and watch them heal (needs no root, no network)
	bin/relight demo

test: ## every test
	$(GO) vet $(FLAGS) ./...
	$(GO) test $(FLAGS) -timeout 20m ./...

bench: build ## measure, print the table, write bench/results.json
	bin/relight bench --out bench/results.json

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
