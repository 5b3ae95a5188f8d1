# Each target makes the environment that it needs in .venv.

PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin
ENVIRONMENT := .venv/.complete
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
STREET := $(SNAKEMAKE) --profile profiles/demo --configfile config/street.yaml

.PHONY: help demo demo-seeds street street-reference ablation bigger-demo strength reference test lint format bench bench-gpu bench-options bench-report bench-plan bench-demo docs site lock oldest container dist campaign campaign-docs

help:
	@echo "make demo        the paper in miniature: results/demo/report/index.html"
	@echo "make demo-seeds  its claims over several training seeds: results/demo/report/seeds.html"
	@echo "make street      the paper on photographs: results/street/report/index.html (an hour or two)"
	@echo "                 ROOT=FOLDER make street uses copies of the photographs, docs/street.md"
	@echo "make ablation    what the paper leaves open about training, tried out on the demo's data"
	@echo "make bigger-demo a larger backbone, longer training and a vision transformer, at demo scale"
	@echo "make strength    how strong attacks are for what they cost: hours (a GPU: scripts/bench/strength.py)"
	@echo "make reference   demo and demo-seeds, and a small copy of them in results/reference/demo/"
	@echo "make test        lint and all tests"
	@echo "make campaign    try to break the project for MINUTES=30, from SEED=0 (docs/reliability.md)"
	@echo "make lint        style and types"
	@echo "make bench       speed of attacks and training, as ratios"
	@echo "make bench-gpu   speed and memory at the paper's sizes, case by case (on a CPU: memory)"
	@echo "make bench-plan  time to plan the paper, and ten times the paper"
	@echo "make bench-demo  time and memory of the demo from scratch, and time of a second run"
	@echo "make bench-options  gain and effect of bf16 and compilation in attacks (after make demo)"
	@echo "make bench-report  time and memory of everything made from evidence, at the paper's size"
	@echo "make format      format the code"
	@echo "make docs        write the pages of docs/ that come from code, and config/schema.json"
	@echo "make site        the documentation as a site: site/index.html"
	@echo "make lock        resolve envs/requirements.in again (needs uv)"
	@echo "make oldest      the library's tests with the oldest versions that pip may choose (needs uv)"
	@echo "make dist        wheel and sdist in dist/"
	@echo "make container   the environment as an image, with Apptainer, Docker, Podman or Buildah"
	@echo "CORES=8 make demo uses more cores"

demo: $(ENVIRONMENT)
	$(SNAKEMAKE) --profile profiles/demo all
	@echo "Open results/demo/report/index.html"

demo-seeds: $(ENVIRONMENT)
	$(SNAKEMAKE) --profile profiles/demo seeds
	@echo "Open results/demo/report/seeds.html"

ifdef ROOT  # copies of one's own: of both data sets, and of ESPNet's weights
ROOT_KEY := {root: "$(abspath $(ROOT))"}
COPIES := --config 'data={camvid: $(ROOT_KEY), camvid_16: $(ROOT_KEY), cifar10: $(ROOT_KEY)}' \
	'downloads={weights: {espnet_p_2_q_8_camvid.pth: {urls: ["file://$(abspath $(ROOT))/espnet/espnet_p_2_q_8_camvid.pth"]}}}'
endif
street: $(ENVIRONMENT)
	$(STREET) config/street_pictures.yaml $(COPIES) -- all
	@echo "Open results/street/report/index.html"

ablation: $(ENVIRONMENT)
	$(SNAKEMAKE) --profile profiles/demo --configfile config/ablation.yaml -- ablation_training
	@cat results/ablation/tables/ablation_training.md

bigger-demo: $(ENVIRONMENT)
	$(SNAKEMAKE) --profile profiles/demo --configfile config/bigger_demo.yaml -- table3 seeds
	@cat results/bigger_demo/tables/table3.md results/bigger_demo/seeds/table3.md

strength: $(ENVIRONMENT)
	$(SNAKEMAKE) --profile profiles/demo --configfile config/strength.yaml -- all
	@cat results/strength/tables/strength.md results/strength/tables/open_choices.md

# What the README shows, kept small: tables and claims to read, figures, and the pages.
define keep
	mkdir -p results/reference/$(1)
	cd results/reference/$(1) && rm -rf tables figures seeds claims report
	mkdir -p results/reference/$(1)/tables results/reference/$(1)/figures
	cp results/$(1)/tables/*.md results/$(1)/tables/*.csv results/reference/$(1)/tables/
	cp $(2) results/reference/$(1)/figures/
	cp -r results/$(1)/claims results/$(1)/report results/reference/$(1)/
endef

reference: demo demo-seeds
	$(call keep,demo,results/demo/figures/*.png)
	mkdir -p results/reference/demo/seeds
	cp results/demo/seeds/*.md results/demo/seeds/*.csv results/reference/demo/seeds/

# Without photographs, which are not ours to pass on.
street-reference: street
	$(STREET) $(COPIES) -- all
	$(call keep,street,results/street/figures/figure[23].png)

test: lint
	$(BIN)/pytest -n $(CORES) --dist loadfile --no-loadscope-reorder

# What is tried, and what became of it: docs/reliability.md. `campaign-docs` shows the last campaign there, and keeps its record for git.
MINUTES ?= 30
SEED ?= 0
campaign: export PYTHONPATH := src
campaign: $(ENVIRONMENT)
	nice -n 10 $(BIN)/python -m tests.campaign --minutes $(MINUTES) --seed $(SEED)

campaign-docs: export PYTHONPATH := src
campaign-docs: $(ENVIRONMENT)
	cp results/campaign.json results/reference/campaign.json
	$(BIN)/python -m tests.campaign --docs

lint: $(ENVIRONMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(SNAKEMAKE) --lint --configfile config/demo.yaml
	$(BIN)/mypy

format: $(ENVIRONMENT)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

# With memory kept as the Snakefile has jobs keep it.
bench: export MALLOC_MMAP_THRESHOLD_ = 4294967296
bench: export MALLOC_TRIM_THRESHOLD_ = 17179869184
bench: $(ENVIRONMENT)
	$(BIN)/python scripts/bench/attacks.py
	$(BIN)/python scripts/bench/plain_sea.py
	$(BIN)/python scripts/bench/training.py

bench-gpu: $(ENVIRONMENT)
	$(BIN)/python scripts/bench/gpu.py

bench-options: $(ENVIRONMENT)
	$(BIN)/python scripts/bench/options.py

bench-report: $(ENVIRONMENT)
	$(BIN)/python scripts/bench/report.py

bench-plan: $(ENVIRONMENT)
	$(BIN)/python scripts/bench/plan.py

bench-demo: $(ENVIRONMENT)
	$(BIN)/python scripts/bench/demo.py --cores $(CORES)

docs: export PYTHONPATH := src
docs: $(ENVIRONMENT)
	$(BIN)/python -c "from robustseg.config import describe; print(describe(), end='')" > docs/config.md
	$(BIN)/python -c "from robustseg.config import json_schema; print(json_schema(), end='')" > config/schema.json
	$(BIN)/python docs/reference.py

# A warning is an error, and so is a link to what is not there.
site: export PYTHONPATH := src
site: $(ENVIRONMENT)
	$(BIN)/sphinx-build --fail-on-warning --quiet -c docs -b html -d .site_cache . site
	@echo "Open site/index.html"

lock:
	uv pip compile --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
		envs/requirements.in --output-file envs/requirements.lock

# The oldest versions that pyproject.toml allows (needs uv, 6 GB), and the library's tests with them.
# setuptools: torch 2.6 compiles with it, and says so only then.
OLDEST := .venv-oldest
oldest:
	uv venv --clear --python 3.11 $(OLDEST)
	uv pip compile --quiet --python $(OLDEST)/bin/python --resolution lowest-direct --all-extras \
		pyproject.toml --output-file $(OLDEST)/requirements.txt
	uv pip install --python $(OLDEST)/bin/python --requirements $(OLDEST)/requirements.txt \
		duckdb hatchling hypothesis pytest pytest-timeout pytest-xdist setuptools
	$(OLDEST)/bin/python -m pytest -n $(CORES) --dist loadfile --ignore tests/campaign --ignore tests/docs \
		--ignore tests/workflow

# With the locked builder alone, which is small.
dist: BUILDER := hatchling\|packaging\|pathspec\|pluggy\|tomlkit\|trove-classifiers
dist:
	rm -rf dist
	$(PYTHON) -m venv dist/build
	sed -n '/^\($(BUILDER)\)==/,/[^\]$$/p' envs/requirements.lock > dist/build/builder.lock
	dist/build/bin/python -m pip install --disable-pip-version-check --require-hashes --requirement dist/build/builder.lock
	dist/build/bin/python -m hatchling build --directory dist
	rm -r dist/build

# With the first of these tools that is there and works.
container:
	@if command -v apptainer >/dev/null; then apptainer build --force robustseg.sif envs/robustseg.def; \
	elif docker info >/dev/null 2>&1; then docker build --tag robustseg --file envs/Dockerfile envs; \
	elif command -v podman >/dev/null; then podman build --tag robustseg --file envs/Dockerfile envs; \
	elif command -v buildah >/dev/null; then buildah build --tag robustseg --file envs/Dockerfile envs; \
	else echo "No container can be built here: neither apptainer nor podman nor buildah is on the PATH, and no Docker answers"; \
		exit 1; fi

# Complete once every package is there; an interrupted installation is continued.
$(ENVIRONMENT): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is missing or older than Python 3.11: run make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@echo "Installing into .venv (about 6 GB with torch, a few minutes)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes --requirement envs/requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
