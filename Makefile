# Commands for newcomers, each with all its own set-up below build/ and target/ and, for the local Sigstore, in the
# user's cache folder (framework-tests/sigstore/README.md):
#   make demo        train, sign, verify, tamper, see it caught
#   make demo-key    the same with a key of one's own instead of Sigstore
#   make sigstore    a local Sigstore to play with
#   make test        every check and test
#   make oldest      what is hooked, in the oldest releases that are supported
#   make fuzz        the fuzz targets alone, FUZZ_SECONDS each
# They need Rust, CPython 3.10 or later with venv, a C and a C++ compiler, and make.

PYTHON ?= python3
UV_VERSION := 0.13.9
MATURIN_VERSION := 1.16.0

TOOLS := build/tools
ENV := build/env
UPSTREAM := build/upstream
NODE := build/node
SOFTHSM := build/softhsm
RUST := build/rust
# Folders of tests, those that take longest first.
FOLDERS := sigstore lightning contract keras transformers tensorflow mlflow accelerate torch interop jax torch_distributed \
	opt_in deepspeed launcher install filesystem wandb rust docs datasets safetensors
START := framework-tests/sigstore/start.py
UV := $(TOOLS)/bin/uv
# The oldest release that each hook is made for, each in an environment of its own (docs/decisions/0042-oldest.md).
OLDEST := $(shell sed -n 's/^oldest-\([a-z_]*\) = .*/\1/p' pyproject.toml)
# Those that `make test` runs, too: seconds and half a gigabyte together. The others take 15, for torch, TensorFlow or JAX.
CHEAP := gguf joblib lightgbm mlflow numpy onnx safetensors wandb
# Old releases have wheels for no newer Python than 3.11. Where there is none, `make test` says that it leaves them out.
OLD_PYTHON := $(firstword $(shell for python in $(PYTHON) python3.11 python3.10; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] > (3, 11))' 2> /dev/null && command -v $$python; done; true))
# What can be linked without a framework; what is not linked needs none at all (docs/decisions/0031-rust-frameworks.md).
FEATURES := autosign-hooks/safetensors,autosign-signing/pkcs11
SOURCES := $(shell find core bindings hooks -name target -prune -o \( -name '*.rs' -o -name '*.py' -o -name '*.pyi' -o -name '*.toml' \) -print)

export UV_LINK_MODE ?= hardlink

.PHONY: demo demo-key sigstore test sigstore-tools rust-trainers check test-rust test-python $(FOLDERS:%=pytest-%) oldest no-oldest $(OLDEST:%=oldest-%) fuzz bench bench-smoke fix stubs docs bundles clean

demo: $(ENV)/.wheel $(UPSTREAM)/.installed
	@bash examples/demo.sh $(abspath $(ENV)) $(abspath $(UPSTREAM))

demo-key: $(ENV)/.wheel $(UPSTREAM)/.installed
	@bash examples/demo-key.sh $(abspath $(ENV)) $(abspath $(UPSTREAM))

sigstore:
	@$(PYTHON) $(START) --interactive

test: sigstore-tools check test-rust rust-trainers test-python $(if $(OLD_PYTHON),$(CHEAP:%=oldest-%),no-oldest) bench-smoke fuzz

# The Go programs that tests start, built here so that the minutes this takes the first time are nobody's test.
sigstore-tools:
	$(PYTHON) $(START) --build --peers

# So are the Rust trainers, with the C++ that the crate tch brings.
rust-trainers: $(RUST)/.installed
	LIBTORCH=$(abspath $(RUST)/libtorch) cargo test --quiet --no-run --package autosign-hooks --features safetensors,tch
	cargo test --quiet --no-run --package autosign-hooks --features tensorflow-runtime

# Formatting, lints, types, and generated files that must be what their source says.
check: $(ENV)/.wheel
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets --all-features -- --deny warnings
	$(ENV)/bin/ruff format --check .
	$(ENV)/bin/ruff check .
	$(ENV)/bin/mypy
	$(TOOLS)/bin/maturin generate-stubs --quiet --profile dev --interpreter $(ENV)/bin/python --out build/stubs
	diff build/stubs/model_signing_autosign/_core.pyi hooks/python/model_signing_autosign/_core.pyi

test-rust:
	cargo test --quiet --features $(FEATURES)
	RUSTDOCFLAGS='--deny warnings' cargo doc --quiet --no-deps --all-features

# A process for each folder, since two frameworks do not go into one, and two at once: most of them wait a good deal.
test-python:
	$(MAKE) --jobs=2 --output-sync $(FOLDERS:%=pytest-%)

$(FOLDERS:%=pytest-%): pytest-%: $(ENV)/.wheel $(UPSTREAM)/.installed $(NODE)/.installed $(SOFTHSM)/.installed $(RUST)/.installed
	$(ENV)/bin/pytest framework-tests/$*

oldest:
	$(MAKE) --jobs=2 --output-sync $(OLDEST:%=oldest-%)

no-oldest:
	@echo "There is no CPython 3.10 or 3.11 here: the hooks are not run in old releases."

$(OLDEST:%=oldest-%): oldest-%: build/oldest/%/.installed
	$(ENV)/bin/pytest framework-tests/oldest -k '[$*]'

# Foreign bytes into whatever reads them, each target so long (docs/decisions/0034-fuzzing.md).
FUZZ_SECONDS ?= 60
fuzz:
	fuzz/run.sh $(FUZZ_SECONDS)

bench: $(ENV)/.wheel $(UPSTREAM)/.installed
	$(ENV)/bin/python benches/save.py
	$(ENV)/bin/python benches/flush.py
	$(ENV)/bin/python benches/hooks.py

# That each still runs, in seconds; its figures mean nothing. The Rust ones as tests are built, not as releases.
bench-smoke: $(ENV)/.wheel $(UPSTREAM)/.installed $(RUST)/.installed
	for bench in benches/*.py; do $(ENV)/bin/python $$bench --smoke || exit; done
	cargo test --quiet --package autosign-signing --bench million -- --smoke
	LIBTORCH=$(abspath $(RUST)/libtorch) LD_LIBRARY_PATH=$(abspath $(RUST)/torch/torch/lib) \
		cargo test --quiet --package autosign-hooks --features safetensors,tch --bench save -- --smoke

fix:
	cargo fmt --all
	$(ENV)/bin/ruff check --fix .
	$(ENV)/bin/ruff format .

stubs: $(ENV)/.installed
	$(TOOLS)/bin/maturin generate-stubs --quiet --profile dev --interpreter $(ENV)/bin/python --out hooks/python

docs: $(ENV)/.installed
	cargo run --quiet --bin model-signing -- env --markdown > docs/reference/environment.md
	cargo run --quiet --bin model-signing -- reference > docs/reference/cli.md
	PYTHONPATH=hooks/python $(ENV)/bin/python hooks/table.py

# The signatures of upstream's releases, which are committed: old ones do not go with every later release of what they use.
BUNDLES := core/signing/tests/bundles
OLD := $(UV) run --quiet --isolated --no-project --python $(TOOLS)/bin/python --with pyOpenSSL
bundles: $(TOOLS)/.installed
	rm -f $(BUNDLES)/*.sig $(BUNDLES)/*.pem $(BUNDLES)/*.json
	for release in 0.2.0 0.3.1 1.0.1; do \
		$(OLD) --with sigstore==3.6.6 --with model-signing==$$release $(BUNDLES)/remake.py || exit; done
	$(OLD) --with sigstore==4.5.1 --with model-signing==1.1.0 $(BUNDLES)/remake.py
	$(OLD) --with sigstore==3.6.6 --with model-signing==0.2.0 $(BUNDLES)/remake_keyless.py

clean:
	rm -rf build target

$(TOOLS)/.installed: Makefile
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet uv==$(UV_VERSION) maturin==$(MATURIN_VERSION)
	touch $@

$(ENV)/.installed: pyproject.toml $(TOOLS)/.installed
	$(UV) venv --quiet --clear --python $(TOOLS)/bin/python $(ENV)
	$(UV) pip install --quiet --compile-bytecode --python $(ENV) --group check --group test
	DS_BUILD_OPS=0 $(UV) pip install --quiet --python $(ENV) --no-build-isolation --group deepspeed
	touch $@

$(UPSTREAM)/.installed: pyproject.toml $(TOOLS)/.installed
	$(UV) venv --quiet --clear --python $(TOOLS)/bin/python $(UPSTREAM)
	$(UV) pip install --quiet --python $(UPSTREAM) --group upstream
	touch $@

# npm installs beside what it runs, so the program goes there, too. Node believes only CAs of its own unless it is told to
# believe the machine's.
$(NODE)/.installed: pyproject.toml $(wildcard framework-tests/sigstore/js/*) $(TOOLS)/.installed
	$(UV) venv --quiet --clear --python $(TOOLS)/bin/python $(NODE)
	$(UV) pip install --quiet --python $(NODE) --group node
	cp -R framework-tests/sigstore/js $(NODE)/js
	cd $(NODE)/js && NODE_OPTIONS=--use-system-ca ../bin/npm ci --loglevel=error --no-audit --ignore-scripts > /dev/null
	touch $@

$(RUST)/.installed: framework-tests/rust/libtorch.sh pyproject.toml $(TOOLS)/.installed
	bash $< $(RUST) $(UV) $(TOOLS)/bin/python
	touch $@

$(SOFTHSM)/.installed: framework-tests/interop/softhsm.sh
	rm -rf $(SOFTHSM)
	bash $< $(SOFTHSM)
	touch $@

# DeepSpeed comes as source, and would compile what is not needed.
build/oldest/%/.installed: $(ENV)/.wheel
	$(UV) venv --quiet --clear --no-python-downloads --python $(or $(OLD_PYTHON),3.11) $(@D)
	DS_BUILD_OPS=0 $(UV) pip install --quiet --python $(@D) --group oldest-$*
	$(UV) pip install --quiet --python $(@D) --no-deps build/wheel/*.whl
	touch $@

# The wheel that users get, not the source tree, is what is tested.
$(ENV)/.wheel: $(SOURCES) $(ENV)/.installed
	rm -rf build/wheel
	$(TOOLS)/bin/maturin build --quiet --release --interpreter $(ENV)/bin/python --out build/wheel
	$(UV) pip install --quiet --python $(ENV) --reinstall --no-deps build/wheel/*.whl
	touch $@
