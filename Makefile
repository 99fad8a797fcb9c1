# The commands that people use; CI calls the same ones.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
TOOLS := $(TARGET)/tools
DENY_VERSION := 0.20.2
export CARGO_TERM_PROGRESS_WHEN ?= never

# The operator as it ships: `PROFILE=quick` builds in a third of the time, for a first impression.
PROFILE ?= release

# Of the fault suite: how many rounds, which seed, after how many minutes no further round begins.
ROUNDS ?=
SEED ?=
MINUTES ?=
FAULTS = FAULTS_SEED=$(SEED) FAULTS_MINUTES=$(MINUTES)

.PHONY: help demo test forms faults soak bench fuzz fuzz-emulator check fmt-check clippy deny advisories sbom reproducible mutations crds-check cluster tools image

help: ## Show the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

demo: ## Show the main job on this machine: API server, emulator, operator (KEEP=1 leaves them running)
	@tests/demo

test: cluster ## Run all tests
	@echo "test: unit and integration tests, against a real API server and the emulator"
	@RUST_TEST_THREADS=$${RUST_TEST_THREADS:-12} cargo test --workspace
	@$(MAKE) --no-print-directory forms
	@echo "test: IBM's own Python client against the emulator"
	@EMULATOR="$(TARGET)/debug/key-protect-emulator" tests/emulator/python/run
	@echo "test: the operator's image in a Pod, from deploy/"
	@tests/pod/run

# The rows that an install form bears on. An operator for named namespaces takes 24 of them, and each
# test has its own, so these are fewer there.
FORM_ROWS = fence_operator:: form:: main_job:: rows_access:: rows_credentials:: rows_endings:: rows_keys:: rows_merge:: rows_payloads:: rows_secrets::
NAMESPACES_ROWS = form:: main_job:: rows_endings:: rows_secrets::
forms: cluster ## Run tests under the RBAC of the other install forms (what one leaves out, it says)
	@echo "forms: no-read"
	@FORM=no-read RUST_TEST_THREADS=$${RUST_TEST_THREADS:-12} cargo test --quiet --test it -- $(FORM_ROWS)
	@for form in standard-namespaces no-read-namespaces; do \
	  echo "forms: $$form"; \
	  FORM=$$form RUST_TEST_THREADS=$${RUST_TEST_THREADS:-12} cargo test --quiet --test it -- $(NAMESPACES_ROWS); \
	done
	@for form in no-read standard-namespaces no-read-namespaces; do \
	  FORM=$$form cargo test --quiet --test it -- --nocapture form::what_this_form_leaves_out_is_said | grep -E 'are left out|^- '; \
	done

fuzz: ## Fuzz what reads bytes from outside (FUZZ_TARGET=hosts, FUZZ_SECONDS=180; else each in turn)
	@tests/fuzz/run

fuzz-emulator: ## Send the emulator random requests for an hour (FUZZ_SECONDS, FUZZ_SEED)
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-3600} cargo test -p key-protect-emulator --test fuzz -- --nocapture

faults: cluster ## Run the fault suite (SEED=7, ROUNDS=10; TIMES=20: with so many seeds)
ifdef TIMES
	@$(FAULTS) FAULTS_ROUNDS=$(ROUNDS) tests/faults/seeds $(TIMES)
else
	@$(FAULTS) FAULTS_ROUNDS=$(ROUNDS) cargo test --quiet --test faults -- --nocapture
endif

soak: cluster ## Run the fault suite for long (ROUNDS=200, SEED=7, MINUTES=60)
	@$(FAULTS) FAULTS_ROUNDS=$(or $(ROUNDS),200) cargo test --quiet --test faults -- --exact --nocapture nothing_is_lost_whatever_goes_wrong

bench: cluster ## Measure the operator against its goals (20 min; ARGS="--n 200 --rounds 1" for less)
	@echo "bench: building the operator, the emulator and the benchmark ($(PROFILE); minutes, the first time)"
	@cargo build --quiet --profile $(PROFILE) -p key-protect-operator -p key-protect-emulator -p key-protect-bench
	@CLUSTER_CACHE="$(TARGET)/cluster" "$(TARGET)/$(PROFILE)/key-protect-bench" --out "$(TARGET)/bench" $(ARGS)

check: fmt-check clippy crds-check deny ## Check format, lints, generated files and dependencies

fmt-check:
	@cargo fmt --all --check

clippy:
	@cargo clippy --workspace --all-targets -- -D warnings

crds-check: ## Check that crds/ is what the types say
	@cargo run --quiet -p key-protect-operator -- crds --dir crds
	@git diff --exit-code -- crds || { echo "crds/ differs from the types: commit what is there now" >&2; exit 1; }

deny: $(TOOLS)/bin/cargo-deny ## Check licences, bans and sources of dependencies
	@PATH="$(TOOLS)/bin:$$PATH" cargo deny --all-features check bans licenses sources
	@echo "deny: advisories are not checked here, but by 'make advisories': their database needs the Internet"

# Where the database cannot be reached, that is said and no failure, unless they are `required`.
ADVISORIES ?= wanted
advisories: $(TOOLS)/bin/cargo-deny ## Check dependencies for known vulnerabilities, where their database can be reached
	@if PATH="$(TOOLS)/bin:$$PATH" cargo deny fetch db 2>/dev/null; then \
	  PATH="$(TOOLS)/bin:$$PATH" cargo deny --all-features check advisories; \
	elif [[ $(ADVISORIES) == required ]]; then \
	  echo "advisories: FAILED: their database cannot be reached" >&2; exit 1; \
	else \
	  echo "advisories: SKIPPED: their database cannot be reached from here"; \
	fi

sbom: ## Write the SBOM of the operator's binary (CycloneDX) to target/sbom
	@tests/image/sbom

reproducible: ## Compile the operator twice, in two folders, and compare the bytes (PROFILE=quick for less)
	@PROFILE=$(PROFILE) tests/image/reproducible

mutations: ## Take each mitigation of docs/threat-model.md away, and see its test fail (ONLY=T7 for one)
	@tests/mutations/run $(ONLY)

$(TOOLS)/bin/cargo-deny:
	@echo "deny: building cargo-deny $(DENY_VERSION), once (minutes)"
	@cargo install cargo-deny --version $(DENY_VERSION) --locked --quiet --root "$(TOOLS)"

cluster: ## Build the test cluster's binary, once
	@CLUSTER_CACHE="$(TARGET)/cluster" tests/cluster/cluster build >/dev/null

image: ## Build the operator's image with this machine's own toolchains (root, buildah)
	@tests/image/build
