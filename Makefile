# kube-mini: what a developer types. `make demo` and `make test` need a Rust toolchain, a C compiler and make.
CARGO ?= cargo
BIN := target/release

.PHONY: help demo build test fmt lint doc check bench generate clients clean

help:
	@echo "make demo      build in release, start a cluster, walk through the documents' example"
	@echo "make build     build all programs in release, into $(BIN)"
	@echo "make test      formatting, lints, docs, then the whole test suite"
	@echo "make bench     measure every figure of benches/README.md"
	@echo "make clients   install the client libraries of other languages that tests use, below target/clients"
	@echo "make generate  write the generated code again (schema, types, wire)"

build:
	$(CARGO) build --release --workspace --bins

demo: build
	@sh examples/demo.sh $(BIN)

fmt:
	$(CARGO) fmt --all -- --check

lint:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet

# The integration tests start the real programs, so these are built first. The runner's own summary is the last output.
test: fmt lint doc
	$(CARGO) build --workspace --bins --locked
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  $(CARGO) nextest run --workspace --locked --no-fail-fast; \
	else \
	  $(CARGO) test --workspace --locked --no-fail-fast; \
	fi

bench: build
	@sh benches/run.sh $(BIN)

generate:
	$(CARGO) run -p schema-generator
	$(CARGO) run -p proto --example generate
	$(CARGO) fmt --all

# Client libraries of other languages, for tests/clients. What cannot be had is said, and its test skips itself.
CLIENTS := target/clients
clients:
	@mkdir -p $(CLIENTS)/node
	@test -x $(CLIENTS)/python/bin/python && $(CLIENTS)/python/bin/python -c 'import kubernetes' 2>/dev/null || { \
	  python3 -m venv $(CLIENTS)/python && $(CLIENTS)/python/bin/pip install --quiet 'kubernetes>=33' ; } || { \
	  rm -rf $(CLIENTS)/python; echo "SKIPPED: Python's client cannot be installed" >&2; }
	@test -d $(CLIENTS)/node/node_modules/@kubernetes/client-node || \
	  ( cd $(CLIENTS)/node && npm install --silent --no-audit --no-fund '@kubernetes/client-node@1' ) || { \
	  rm -rf $(CLIENTS)/node; echo "SKIPPED: Node's client cannot be installed" >&2; }

clean:
	$(CARGO) clean
