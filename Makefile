# Everything a person or CI does with this repository. `make` alone lists it.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
CARGO ?= cargo
PYTHON ?= python3

# Found on PATH, else built once (three to four minutes on two cores) under target/.
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(or $(shell command -v cargo-deny 2>/dev/null),target/tools/bin/cargo-deny)
ENVOY := target/envoy/envoy-1.40.0

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## run tallygate behind a real Envoy and watch it decide (Ctrl-C ends it)
	@$(PYTHON) examples/envoy/demo $(DEMO)

.PHONY: test
test: $(ENVOY) ## run every test, the ones with a real Envoy too (installs it under target/)
	$(CARGO) test --profile checked --all-targets
	$(CARGO) test --profile checked --doc
	$(CARGO) build --profile checked --no-default-features --lib
	$(PYTHON) examples/envoy/demo --check --tallygate $${CARGO_TARGET_DIR:-target}/checked/tallygate

.PHONY: lint
lint: target/tools/cargo-deny-found ## check formatting, lints, licences and duplicate dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --profile checked --all-targets -- -D warnings
	$(CARGO_DENY) check bans licenses sources

.PHONY: fmt
fmt: ## format the sources
	$(CARGO) fmt

.PHONY: run
run: ## run the service alone with the rules in config/rules
	$(CARGO) run --release

# Tests want this very version, whatever is on PATH. Its name says which, so being there is enough.
$(ENVOY):
	@$(PYTHON) examples/envoy/find_envoy.py --installed

# A stamp, so that a cargo-deny on PATH is as good as ours.
target/tools/cargo-deny-found:
	@mkdir -p target/tools
	@command -v $(CARGO_DENY) >/dev/null || \
	    { echo "building cargo-deny $(CARGO_DENY_VERSION) under target/tools (once, some minutes)"; \
	      CARGO_TARGET_DIR=target/tools/build $(CARGO) install --quiet --locked --root target/tools cargo-deny@$(CARGO_DENY_VERSION); }
	@rm -rf target/tools/build
	@touch $@
