# The commands of this project; `make help` lists them, `.ci/run` and the commit hooks call the same ones.
#
# Every target shares one environment, .venv in this folder: it is made from requirements-dev.lock (versions and
# hashes fixed) and holds the package built in release mode, so `.venv/bin/fraudengine` works after any of them.
# What must be there already: Python 3.11 or newer, cargo (rustup.rs), a C compiler, make and perl (for librdkafka and
# OpenSSL, which are built from source); `make` says what is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
RUST_TESTED := --workspace --exclude fraudengine-bindings
NATIVE := Cargo.toml Cargo.lock pyproject.toml $(shell find native -name '*.rs' -o -name 'Cargo.toml' 2>/dev/null | grep -v '/target/')

export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export PATH := $(CURDIR)/$(BIN):$(PATH)
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Everything on this machine: services, model, stream, scoring service, alerts, dashboard, traffic
	$(BIN)/fraudengine demo

# The parts of the demonstration one by one, each until Ctrl-C; they find one another through `make infra`.
MODEL ?= demo/bundle
TPS ?= 200

.PHONY: infra
infra: build ## Kafka, PostgreSQL, Redis
	$(BIN)/fraudengine up

.PHONY: stream
stream: build ## Decide the transactions of Kafka with MODEL (demo/bundle, which `make demo` leaves)
	$(BIN)/fraudengine stream $(MODEL)

.PHONY: serve
serve: build ## Score over gRPC, in front of the stream
	$(BIN)/fraudengine serve --stream $(MODEL) --set http.port=0

.PHONY: dashboard
dashboard: build ## What the stream decides, in a browser
	$(BIN)/fraudengine dashboard

.PHONY: generator
generator: build ## Synthetic traffic behind the days of the demo: a month at full speed, then TPS a second
	broker=$$($(BIN)/python -c '$(BROKER)') && $(BIN)/fraudengine generate --broker "$$broker" --skip-days 100 --warm-days 30 --tps $(TPS)
BROKER := from fraudengine import config; print(config.load().resolved(only=["kafka"]).kafka.brokers)

.PHONY: perf
perf: build ## How fast it is here: the whole job in memory, then from Kafka to the decision (minutes)
	$(BIN)/python benchmarks/pipeline.py --rounds 1
	$(BIN)/python benchmarks/stream.py latency --seconds 10

.PHONY: test
test: build ## Everything that must be green before a merge
	cargo fmt --all --check
	$(BIN)/ruff format --check python streamlit_app scripts tests examples benchmarks
	$(BIN)/ruff check python streamlit_app scripts tests examples benchmarks
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test $(RUST_TESTED) --locked
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest fraudengine._native
	$(BIN)/pytest --ignore=tests/e2e
	$(BIN)/pytest tests/e2e/test_stream_parity.py tests/e2e/test_stream_bad_bytes.py tests/e2e/test_dashboard_browser.py tests/e2e/test_dashboard_oidc.py

.PHONY: proofs
proofs: build ## Kills, takeovers, outages, damaged snapshots and exchanged models on real services (a quarter of an hour)
	$(BIN)/pytest tests/e2e

.PHONY: spark
spark: build ## The job on Spark against the engine, through kills, on a cluster (needs Java 17; installs pyspark, 450 MB)
	$(UV) pip install --quiet --require-hashes -r requirements/spark.lock
	$(BIN)/pytest tests/e2e/test_spark.py tests/e2e/test_spark_cluster.py

.PHONY: check
check: build ## The quick part of `make test`: formats, lints, types, unit and style tests
	cargo fmt --all --check
	$(BIN)/ruff format --check python streamlit_app scripts tests examples benchmarks
	$(BIN)/ruff check python streamlit_app scripts tests examples benchmarks
	cargo clippy --workspace --locked -- -D warnings
	$(BIN)/mypy
	$(BIN)/pytest -q -x tests/unit tests/style

.PHONY: fmt
fmt: $(VENV)/synced ## Format Rust and Python, and apply the safe lint fixes
	cargo fmt --all
	$(BIN)/ruff check --fix python streamlit_app scripts tests examples benchmarks
	$(BIN)/ruff format python streamlit_app scripts tests examples benchmarks

.PHONY: bench
bench: build ## Criterion benchmarks of the native crates (minutes; close other programs)
	cargo bench $(RUST_TESTED) --locked

.PHONY: parity
parity: build ## Compare the full ensemble with XGBoost, scikit-learn and tl2cgen on 1,000,000 rows (minutes)
	FRAUDENGINE_PARITY=full $(BIN)/pytest -q -s tests/parity/test_catalogue_parity.py

.PHONY: picture
picture: build ## Make the picture of the dashboard in the README anew, from live data (a quarter of an hour; needs Chromium)
	$(BIN)/python scripts/dashboard_picture.py docs/dashboard.png

.PHONY: audit
audit: tools ## Licences and sources of the native crates, lint and compatibility of the wire schema (needs cargo-deny and buf)
	@command -v cargo-deny >/dev/null || { echo "error: cargo-deny not found: cargo install cargo-deny --locked" >&2; exit 1; }
	@command -v buf >/dev/null || { echo "error: buf not found: npm install --global @bufbuild/buf" >&2; exit 1; }
	cargo deny --locked check bans licenses sources
	buf lint
	buf breaking --against '.git#branch=main'

.PHONY: build
build: $(VENV)/built ## Make .venv and build the package into it, release mode

.PHONY: lock
lock: $(UV) ## Resolve the Python dependencies anew and write the lock files
	$(UV) pip compile pyproject.toml $(COMPILE) --upgrade -o requirements.lock
	$(UV) pip compile pyproject.toml --extra dev --extra demo -c requirements.lock $(COMPILE) --upgrade -o requirements-dev.lock
COMPILE := --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links

.PHONY: proto
proto: $(VENV)/synced ## Generate the Python messages and stubs of proto/ again (python/fraudengine/wire)
	$(BIN)/python tests/support/generated_wire.py python/fraudengine/wire

.PHONY: clean
clean: ## Remove everything that the other targets made
	rm -rf $(VENV) target build demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f python/fraudengine/_native*.so

.PHONY: tools
tools:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found: install Python 3.11 or newer, or set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11: set PYTHON= to a newer one" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $(PYTHON) has no venv module: install python3-venv" >&2; exit 1; }
	@command -v cargo >/dev/null || { echo "error: cargo not found: install Rust from https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || { echo "error: no C compiler found: install gcc or clang" >&2; exit 1; }
	@perl -MIPC::Cmd -MFindBin -e 1 2>/dev/null || { echo "error: no complete perl found, which the build of OpenSSL needs: install perl" >&2; exit 1; }

# The folder is made anew when a lock file changes, so that nothing of an older set stays behind.
$(UV): requirements/uv.lock | tools
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.lock
	@touch $@

$(VENV)/synced: requirements-dev.lock $(UV)
	$(UV) pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/built: $(VENV)/synced $(NATIVE)
	$(BIN)/maturin develop --release --locked --quiet --uv
	@touch $@
