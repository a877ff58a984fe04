# A table of contents: each line is one thing to do here.
.PHONY: up test lint bench demo down clean setup

export PATH := $(CURDIR)/.venv/bin:$(PATH)
ROOMS := cli bench examples bot workers training answering retrieval core stack migrations

up: setup                ## start the whole product on this machine
	@ratchet up --detach

down:                    ## stop it; no process remains
	@if [ -x .venv/bin/ratchet ]; then ratchet down; fi

test: setup              ## all tests, on the real parts and in a real browser
	@./setup.sh browser
	@python -m pytest

lint: setup              ## style, types, who may import whom, and generated docs
	ruff check .
	ruff format --check .
	mypy $(ROOMS) docs/tables.py
	lint-imports
	cog --check -I . README.md docs/architecture.md

demo: setup              ## 300 simulated ratings: the loop turns once
	@ratchet up --detach
	@ratchet demo

bench: setup             ## measure everything
	@ratchet up --detach
	@for name in chat swap feedback retrieval model; do ratchet bench $$name || exit 1; done

clean: down              ## remove the environment and caches; what was learned stays
	rm -rf .venv .ruff_cache .mypy_cache .pytest_cache .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup:                   ## make .venv as the lock says; instant when nothing changed
	@./setup.sh
