# make run       an echo server to talk to
# make test      everything that decides whether a change is good
# make chaos     a server in trouble, for some minutes; one line a test
# make storm     400,000 tasks while task workers are killed; one line a mode
# make bench     how fast it is
# make header    include/swoole.h anew, after a change in src/ffi
# make abi       tests/abi/lp64.txt anew, after a change of the ABI that is meant
# make reference docs/settings.md anew, after a change of the table of settings
# make docs      the documentation as a web site, target/docs/index.html
# make install   PREFIX=/usr/local DESTDIR=

PREFIX ?= /usr/local
CARGO ?= cargo
MODE ?= 2
PORT ?= 9501
MAKEFLAGS += --no-print-directory

.PHONY: run test test-rust test-c chaos storm bench header abi reference docs install setup

run: setup
	@cmake -S . -B build/release >/dev/null
	@cmake --build build/release --target echo >/dev/null
	@echo "An echo server on 127.0.0.1:$(PORT). In another terminal: nc 127.0.0.1 $(PORT)"
	@echo "Ctrl+C ends it."
	@build/release/c-examples/echo $(MODE) $(PORT)

test: setup test-rust test-c
	@echo "make test: all is well"

test-rust: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --workspace --exclude swoole-loom
	$(CARGO) test --release --package swoole-loom

test-c: setup
	@if command -v cmake >/dev/null; then \
	    cmake -S . -B build/dev -D SWOOLE_PROFILE=dev >/dev/null \
	    && cmake --build build/dev \
	    && ctest --test-dir build/dev --output-on-failure --parallel 2; \
	else \
	    echo "make test: cmake is missing, the C examples and packages are NOT tested"; \
	fi

chaos: setup
	SWOOLE_CHAOS=$${SWOOLE_CHAOS:-40} $(CARGO) test --test chaos -- --test-threads 1

storm: setup
	SWOOLE_STORM=$${SWOOLE_STORM:-400000} $(CARGO) test --test tasks -- --nocapture \
	    --test-threads 1 every_task_runs_at_most_once

bench: setup
	$(CARGO) bench

header:
	UPDATE_HEADER=1 $(CARGO) test --quiet --test header the_committed_header

abi:
	UPDATE_ABI=1 $(CARGO) test --quiet --test abi the_abi

reference:
	UPDATE_REFERENCE=1 $(CARGO) test --quiet --test reference

docs:
	@scripts/docs target/docs
	@echo "target/docs/index.html"

install: setup
	@cmake -S . -B build/release -D CMAKE_INSTALL_PREFIX=$(PREFIX) >/dev/null
	cmake --build build/release --target swoole_cargo
	cmake --install build/release --prefix $(PREFIX)

setup:
	@scripts/setup
