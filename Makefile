# The only way in; CI runs the same targets. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BASES := $(if $(RUST_BASE),--build-arg RUST_BASE=$(RUST_BASE)) $(if $(PYTHON_BASE),--build-arg PYTHON_BASE=$(PYTHON_BASE))
NATIVE_SOURCES := $(shell find native -name '*.rs' -o -name 'Cargo.*' -not -path '*/target/*' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo stack images base-images eif kernel test test-images test-compose test-eif test-reproducible test-kernel test-python test-rust test-constant-time lint format bench bench-eif fuzz fuzz-rust deploy-template lock clean

help: ## show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## the whole way once: attestation, login, passkey, wallets, signatures, delegated access, a lost device, receipts, checked by independent libraries
	$(BIN)/cosigner demo

stack: $(STAMP) ## run the mock stack until Ctrl-C; state in .cosigner/
	$(BIN)/python -m simulator.stack --log .cosigner/stack.log

images: ## build the images cosigner-enclave, cosigner-simulator and cosigner-host; RUST_BASE= and PYTHON_BASE= name other base images
	docker build $(BASES) --file Dockerfile.enclave --target production --tag cosigner-enclave .
	docker build $(BASES) --file Dockerfile.enclave --target simulator --tag cosigner-simulator .
	docker build $(BASES) --file Dockerfile.host --tag cosigner-host .

base-images: ## where no registry can be reached: local stand-ins for the base images, from a Debian mirror; needs root
	image/base/docker.sh
	image/base/build.sh rust cosigner-base/rust
	image/base/build.sh python cosigner-base/python

eif: $(STAMP) $(if $(KERNEL),,build/kernel/bzImage) ## the enclave image file and measurements.json, in build/eif; needs docker. KERNEL=, INIT=, MODULE= take AWS's
	KERNEL='$(KERNEL)' INIT='$(INIT)' MODULE='$(MODULE)' RUST_BASE='$(RUST_BASE)' PYTHON_BASE='$(PYTHON_BASE)' \
	  PYTHON=$(BIN)/python image/build.sh build/eif

test-reproducible: $(STAMP) $(if $(KERNEL),,build/kernel/bzImage) ## two builds of the image, with nothing in common but the source: the same bytes; needs docker and faketime
	KERNEL='$(KERNEL)' RUST_BASE='$(RUST_BASE)' PYTHON_BASE='$(PYTHON_BASE)' PYTHON=$(abspath $(BIN))/python \
	  image/reproducible.sh build/reproducible

kernel: build/kernel/bzImage ## the enclave's kernel, from Debian's source and image/kernel/config; needs Debian, and root where packages are missing

build/kernel/bzImage: image/kernel/config image/kernel/source.lock image/kernel/build.sh
	image/kernel/build.sh $@

test-kernel: build/kernel/bzImage ## a second build of the kernel, elsewhere and without the cache: the same bytes; minutes
	image/kernel/build.sh --no-cache build/reproducible/bzImage
	cmp build/kernel/bzImage build/reproducible/bzImage

test-images: $(STAMP) ## what the images hold; needs docker and `make images`
	$(BIN)/python -m pytest tests/docker/test_images.py

test-compose: $(STAMP) ## the stack of compose.yaml with a client outside; needs root, docker and `make images`
	$(BIN)/python -m pytest tests/docker/test_compose.py

test: test-rust test-python ## all tests; needs no root

test-python: $(STAMP)
	$(BIN)/python -m pytest

test-rust: $(STAMP)
	cd native && cargo test --locked --workspace

test-eif: $(STAMP) eif ## boot the image of `make eif` in QEMU and sign over real vsock; needs Debian 12 and root, minutes
	tools=$$(tests/eif/tools/prepare.sh) && \
	  $(BIN)/python -m pytest tests/eif --eif build/eif/cosigner.eif --measurements build/eif/measurements.json --eif-tools "$$tools"

test-constant-time: ## no branch or address of ECDSA and resharing depends on a secret: under valgrind, with secrets marked undefined
	@command -v valgrind > /dev/null || { echo "valgrind is needed: apt-get install valgrind" >&2; exit 1; }
	cd native/ct && cargo build --locked --release
	cd native/ct && valgrind --quiet --error-exitcode=1 --suppressions=valgrind.supp target/release/cosigner-ct
	@cd native/ct && if valgrind --quiet --error-exitcode=1 --suppressions=valgrind.supp target/release/cosigner-ct leak > /dev/null 2>&1; \
	  then echo "the check does not see a leak made on purpose" >&2; exit 1; else echo "a leak made on purpose is seen"; fi

lint: $(STAMP) ## formatting, linters, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cfn-lint deploy/cloudformation/*
	cd native && cargo fmt --all --check
	cd native && cargo clippy --locked --workspace --all-targets -- -D warnings
	cd native && cargo clippy --locked --no-default-features --package cosigner-core --package cosigner-bindings -- -D warnings
	cd native/ct && cargo fmt --check && cargo clippy --locked -- -D warnings
	cd native/fuzz && cargo fmt --check

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cd native && cargo fmt --all

bench: $(STAMP) ## measure CPU, bytes and latency against the targets; prints a table, writes bench/results/
	$(BIN)/python -m bench

bench-eif: $(STAMP) eif ## the same for the image in QEMU: size, memory, boot to first signature; writes bench/results/eif.json
	tools=$$(tests/eif/tools/prepare.sh) && $(BIN)/python -m bench.eif --image build/eif --tools "$$tools"

fuzz: $(STAMP) ## fuzz every Python parser for SECONDS each (default 20)
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),20)

fuzz-rust: ## fuzz every Rust parser for SECONDS each (default 20); needs cargo-fuzz
	cd native && for target in $$(RUSTC_BOOTSTRAP=1 cargo fuzz list); do \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -max_total_time=$(or $(SECONDS),20) || exit 1; done

deploy-template: $(STAMP) ## the key's CloudFormation template with the policy for MEASUREMENTS and MANIFEST; KEY and ROLE are ARNs
	$(BIN)/python -m deploy.render template --key "$(KEY)" --role "$(ROLE)" --release "$(MEASUREMENTS)" "$(MANIFEST)"

lock: $(STAMP) ## write requirements/*.txt again from requirements/*.in
	for name in enclave host client simulator dev; do \
	  $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file requirements/$$name.txt requirements/$$name.in; \
	done

clean: ## remove everything that was built or created
	rm -rf $(VENV) native/target build .cosigner threshold/_native*.so enclave/_nsm*.so

$(VENV)/.dependencies: requirements/dev.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	touch $@

$(STAMP): $(VENV)/.dependencies pyproject.toml $(NATIVE_SOURCES)
	@command -v cargo > /dev/null || { echo "A Rust toolchain is needed (cargo was not found): see https://rustup.rs" >&2; exit 1; }
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
