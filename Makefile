# Every step of building, testing and trying fireactions. CI runs `make test` and nothing else.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Where the guest kernel and the demo's inputs are kept between runs.
export FIREACTIONS_CACHE      ?= /var/cache/fireactions
export FIREACTIONS_KERNEL_DIR ?= $(FIREACTIONS_CACHE)/kernel
# docker-registry, unpacked there by `make setup`, for the tests.
export PATH := $(FIREACTIONS_CACHE)/tools/usr/bin:$(PATH):/usr/sbin:/sbin

.PHONY: help setup build agent standin page gitea demo test test-all lint e2e e2e-gitea bench soak boots fuzz doc clean

help: ## Show the targets.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

setup: ## Install what is missing on Debian 12/13 or Ubuntu 24.04 and fetch the guest kernel.
	scripts/setup

agent: ## Build the static guest agent.
	scripts/build-agent

standin: # What takes the place of QEMU and Firecracker where a test needs no guest, or has no KVM, and of CI runners in guests.
	scripts/build-standin

page: # The page that the server has in it; where there is no Node.js, it says so, and the server is built without.
	scripts/build-page

gitea: ## Build a real Gitea for the tests, once, into the cache (needs Go; 15 minutes of a processor).
	scripts/build-gitea

build: agent page ## Build the server, its page and the command line (release).
	cargo build --release --locked -p fireactions

demo: ## Run real jobs, each in its own microVM, and prove that nothing is left behind.
	scripts/demo

test: ## The test suite, with real microVMs, as CI runs it.
	scripts/test

test-all: ## Everything, including what `make test` leaves out; for a release.
	scripts/test --all

e2e: ## Only the end-to-end tests.
	scripts/test --e2e

e2e-gitea: ## Only the tests with a real Gitea; builds it first.
	scripts/test --gitea

lint: ## Format, clippy and dependency rules.
	scripts/setup --test
	scripts/lint

bench: ## Measure; prints a table, writes target/bench.json.
	scripts/bench

soak: ## Make, use and destroy 4,100 machines under faults, and check that nothing is left (SOAK_N, SOAK_REAL).
	scripts/soak

boots: ## Start N guests, JOBS at once (MODE=boots or clones, QEMU=path), and keep the evidence of each that hangs.
	scripts/boots

fuzz: ## Run each fuzz target for a bounded time (needs a nightly toolchain and cargo-fuzz).
	scripts/fuzz

doc: ## Generate the reference pages and the API documentation.
	scripts/doc

clean: ## Remove what the build made (not the cache).
	cargo clean
