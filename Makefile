# Every step of building, testing and trying fireactions. CI runs `make test` and nothing else.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Where the guest kernel and the demo's inputs are kept between runs.
export FIREACTIONS_CACHE      ?= /var/cache/fireactions
export FIREACTIONS_KERNEL_DIR ?= $(FIREACTIONS_CACHE)/kernel
# docker-registry, unpacked there by `make setup`, for the tests.
export PATH := $(FIREACTIONS_CACHE)/tools/usr/bin:$(PATH):/usr/sbin:/sbin

# Tests kill the server at its fail points; no release is built with them.
TESTED := --workspace --locked --features fireactions/failpoints

.PHONY: help setup setup-test build agent standin demo test lint e2e bench soak boots fuzz doc clean

help: ## Show the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: ## Install what is missing on Debian 12/13 or Ubuntu 24.04 and fetch the guest kernel.
	scripts/setup

setup-test: # What lint and the tests use besides.
	scripts/setup --test

agent: ## Build the static guest agent.
	scripts/build-agent

# Tests build it themselves when it is not up to date; here it is built as this user, not as root.
standin:
	scripts/build-standin

build: agent ## Build the server and command line (release).
	cargo build --release --locked -p fireactions

demo: setup build ## Run real jobs, each in its own microVM, and prove that nothing is left behind.
	scripts/demo

test: setup-test lint agent standin ## The whole test suite, real microVMs included; end to end on both drivers.
	cargo test $(TESTED) --no-run
	scripts/as-root cargo test $(TESTED)
	FIREACTIONS_E2E_DRIVER=firecracker scripts/as-root cargo test $(TESTED) --test e2e

e2e: setup-test agent standin ## Only the end-to-end tests, on both drivers.
	cargo test $(TESTED) --test e2e --no-run
	scripts/as-root cargo test $(TESTED) --test e2e
	FIREACTIONS_E2E_DRIVER=firecracker scripts/as-root cargo test $(TESTED) --test e2e

lint: ## Format, clippy and dependency rules.
	cargo fmt --all --check
	cargo clippy $(TESTED) --all-targets -- -D warnings
	scripts/check-dependencies

bench: ## Measure; prints a table, writes target/bench.json.
	scripts/bench

soak: setup ## Make, use and destroy 1,100 machines under faults, and look for anything left (SOAK_N, SOAK_REAL).
	scripts/soak

boots: agent ## Start N guests, JOBS at once (MODE=boots or clones, QEMU=path), and keep what there is to see of each that hangs.
	scripts/boots

fuzz: ## Run each fuzz target for a bounded time (needs a nightly toolchain and cargo-fuzz).
	scripts/fuzz

doc: ## Generate the reference pages and the API documentation.
	scripts/doc

clean: ## Remove what the build made (not the cache).
	cargo clean
