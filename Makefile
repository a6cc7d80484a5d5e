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
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## run tallygate behind a real Envoy and watch it decide (Ctrl-C ends it; EXAMPLE=prolifi: a published contract)
	@$(PYTHON) examples/envoy/demo $(EXAMPLE) $(DEMO)

.PHONY: test
test: $(ENVOY) curl valgrind redis prometheus systemd ## run every test, the ones with a real Envoy too (installs it under target/)
	$(CARGO) test --profile checked --features test-clock --all-targets
	$(CARGO) test --profile checked --doc
	$(CARGO) test --profile checked --no-default-features --features shuttle --lib shuttle
	$(PYTHON) examples/envoy/demo --check --tallygate $${CARGO_TARGET_DIR:-target}/checked/tallygate
	$(PYTHON) benches/run --quick --check --tallygate $${CARGO_TARGET_DIR:-target}/checked/tallygate
	$(MAKE) fuzz

# Sees that there is a program, $(1), which the Debian packages $(2) bring. A fresh machine has no list of packages yet.
install = @command -v $(1) >/dev/null || apt-get install -y --no-install-recommends $(2) || \
    { apt-get update && apt-get install -y --no-install-recommends $(2); } || \
    { echo "$(1) is needed: apt-get install $(2)"; exit 1; }

.PHONY: curl
curl: # the transcripts of the examples are typed with it
	$(call install,curl,curl)

.PHONY: valgrind
valgrind: # counts the instructions of decisions; libc6-dbg is what its package recommends
	$(call install,valgrind,valgrind libc6-dbg)

.PHONY: redis
redis: # tests start servers of their own; a sentinel is one of them with --sentinel, so no other package is needed
	$(call install,redis-server,redis-server)

.PHONY: systemd
systemd: # its systemd-analyze reads the unit; nothing of it runs
	$(call install,systemd-analyze,systemd)

# Unpacked, not installed: installed, a server would run on the machine from then on.
PROMTOOL := target/prometheus/usr/bin/promtool
.PHONY: prometheus
prometheus: # scrapes the service in a test; promtool comes with it
	@{ command -v prometheus && command -v promtool; } >/dev/null || test -x $(PROMTOOL) || { \
	    mkdir -p target/prometheus && cd target/prometheus && \
	    { apt-get download prometheus 2>/dev/null || { apt-get update && apt-get download prometheus; }; } && \
	    dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb; } || \
	    { echo "prometheus and promtool are needed: apt-get download prometheus"; exit 1; }

.PHONY: cost
cost: valgrind ## count what decisions cost, and compare (`make test` does it too; WRITE=1 writes the new figures down)
	$(if $(WRITE),TALLYGATE_COST_WRITE=1) $(CARGO) test --profile checked --features test-clock --test cost -- --nocapture

.PHONY: lint
lint: target/tools/cargo-deny-found ## check formatting, lints, licences and duplicate dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --profile checked --features test-clock --all-targets -- -D warnings
	$(CARGO_DENY) check bans licenses sources

.PHONY: deploy-check
deploy-check: ## render the chart by Helm, and hold deploy/ against the schemas of those who read it (installs 160 MB under target/)
	@$(PYTHON) deploy/check

# As cargo-deny: found on PATH, else built once.
CARGO_CYCLONEDX_VERSION := 0.5.9
CARGO_CYCLONEDX := $(or $(shell command -v cargo-cyclonedx 2>/dev/null),target/tools/bin/cargo-cyclonedx)
.PHONY: sbom
sbom: ## write what the program is made of to target/tallygate.cdx.json (CycloneDX)
	@command -v $(CARGO_CYCLONEDX) >/dev/null || \
	    { echo "building cargo-cyclonedx $(CARGO_CYCLONEDX_VERSION) under target/tools (once, some minutes)"; \
	      CARGO_TARGET_DIR=target/tools/build $(CARGO) install --quiet --locked --root target/tools cargo-cyclonedx@$(CARGO_CYCLONEDX_VERSION); \
	      rm -rf target/tools/build; }
	@$(CARGO_CYCLONEDX) cyclonedx --format json --spec-version 1.5 --describe binaries --target $$(rustc -vV | sed -n 's/^host: //p')
	@mv tallygate_bin.cdx.json target/tallygate.cdx.json
	@echo "target/tallygate.cdx.json"

.PHONY: fmt
fmt: ## format the sources
	$(CARGO) fmt

.PHONY: bench
bench: ## measure everything and write docs/performance.md (some twenty minutes; BENCH='--only keys': a part, elsewhere)
	@$(PYTHON) benches/run $(BENCH)

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

# libFuzzer's instrumentation, by the stable compiler; --target keeps it out of build scripts. Linking dead code keeps the
# tables of counters and addresses equally long.
FUZZ_SECS ?= 10
FUZZ_TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
FUZZ_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Clink-dead-code -Ccodegen-units=1
.PHONY: c++
c++: # libFuzzer is C++
	$(call install,c++,g++)

.PHONY: fuzz
fuzz: c++ ## throw random input at the parsers and the renderer, FUZZ_SECS (10) seconds each
	@RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --manifest-path fuzz/Cargo.toml --target $(FUZZ_TARGET) --target-dir target/fuzz
	@for name in request rules render snapshot reply; do \
	    mkdir -p target/fuzz/corpus/$$name target/fuzz/$$name; \
	    echo "fuzzing $$name for $(FUZZ_SECS) s"; \
	    target/fuzz/$(FUZZ_TARGET)/release/$$name -max_total_time=$(FUZZ_SECS) -timeout=5 -rss_limit_mb=2048 -verbosity=0 -print_funcs=0 \
	        -artifact_prefix=target/fuzz/$$name/ target/fuzz/corpus/$$name $$([ $$name = rules ] && echo config/rules) || exit 1; \
	done
