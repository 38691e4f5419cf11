"""Set-up: makes the environment in which the Makefile runs everything. Standard library only.

Knows: the virtual environment, pip, how long work is run, shown and taken up again after it was cut short.
Does not know: what a build of llama-cpp-python depends on (set_up_llama.py), what else is installed (pyproject.toml).

llama-cpp-python comes as source. The wheel built here is cached by us and not by pip, whose cache knows neither build
flags nor processor. A stamp is written only after what it stands for is in place.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from set_up_llama import (
    BUILD_TARGETS,
    PACKAGE,
    Build,
    SetUpError,
    describe_build,
    is_llama_current,
    llama_requirement,
    parallel_jobs,
    wheel_cache,
)

PROJECT = Path(__file__).resolve().parent
BUILD_CORE_MINUTES = 7  # measured on a server processor
PLAIN_LINE_EVERY_S = 15.0
SAYS_NOTHING = re.compile(r"subprocess|Failed (to build|building)|-W[a-z]*error|See also|status 'error'", re.IGNORECASE)


def say(text: str) -> None:
    print(f"set-up: {text}", file=sys.stderr, flush=True)


def step_of(line: str) -> str | None:
    """What a line of pip's log says about progress, or None."""
    if step := re.match(r"\s*\[(\d+)/(\d+)\] ", line):
        return f"step {step[1]} of {step[2]}"
    if percent := re.match(r"\s*\[ *(\d+)%\] ", line):
        return f"{percent[1]} %"
    if download := re.match(r"\s*Downloading (\S+) (\([^)]*\))", line):
        return f"downloading {download[1].rpartition('/')[2]} {download[2]}"
    return "installing" if line.startswith("Installing collected packages") else None


def error_lines(log: str) -> str:
    """The last three lines of ``log`` that name an error, else its last three."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error\b|No space left", line, re.IGNORECASE)]
    errors = [line for line in errors if not SAYS_NOTHING.search(line)]
    return " | ".join(line[:200] for line in (errors or lines)[-3:])


class Ticker:
    """Shows that a long step is alive: one line rewritten on a terminal, a plain line now and then elsewhere."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.step = "starting"
        self.start_s = time.monotonic()
        self.shown_s = self.start_s
        self.is_terminal = sys.stderr.isatty()

    def __str__(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.start_s), 60)
        return f"set-up: {self.title}, {minutes}:{seconds:02}, {self.step}"

    def tick(self) -> None:
        if self.is_terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{str(self)[:width]}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self.shown_s >= PLAIN_LINE_EVERY_S:
            self.shown_s = time.monotonic()
            print(self, file=sys.stderr, flush=True)

    def close(self, outcome: str) -> None:
        self.step = outcome
        print(f"\r\033[K{self}" if self.is_terminal else self, file=sys.stderr, flush=True)


def run(title: str, command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run ``command`` with its output in ``log``; raises SetUpError with the log's last errors when it fails."""
    ticker = Ticker(title)
    with log.open("w") as sink, log.open(errors="replace") as source:
        # Its own process group, so that the compilers it started can be ended with it.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment, start_new_session=True
        )
        try:
            while process.poll() is None:
                for step in filter(None, map(step_of, source)):
                    ticker.step = step
                ticker.tick()
                time.sleep(0.2)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
            ticker.close({0: "done", -signal.SIGTERM: "stopped"}.get(process.returncode, "failed"))
    if process.returncode:
        raise SetUpError(f"{title} failed: {error_lines(log.read_text(errors='replace'))} (whole log: {log})")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``: two set-ups of one environment, or two builds of one wheel, wait for each other."""
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up to end")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ensure_environment(venv: Path) -> Path:
    """The interpreter of a working environment at ``venv``, which is made, or made anew, if need be."""
    python = venv / "bin" / "python"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    probe = [str(python), "-c", "import pip, sys; print('%d.%d' % sys.version_info[:2])"]
    if python.exists() and subprocess.run(probe, capture_output=True, text=True).stdout.strip() == version:
        return python
    if venv.exists() and not (venv / "pyvenv.cfg").exists() and any(venv.iterdir()):
        raise SetUpError(f"{venv} is neither empty nor a virtual environment: name another folder in VENV.")
    base_python = getattr(sys, "_base_executable", sys.executable)
    shutil.rmtree(venv, ignore_errors=True)
    made = subprocess.run([base_python, "-m", "venv", str(venv)], capture_output=True, text=True)
    if made.returncode:
        raise SetUpError(
            f"{base_python} cannot make the virtual environment {venv} (Debian, Ubuntu: apt install "
            f"python{version}-venv; or name another interpreter in PYTHON): {error_lines(made.stdout + made.stderr)}"
        )
    say(f"made {venv} with Python {version}")
    return python


def build_wheel(python: Path, build: Build, folder: Path, log: Path) -> Path:
    """Compile the wheel beside its ``folder`` in the cache and rename when it is whole; returns its path."""
    jobs = parallel_jobs(len(os.sched_getaffinity(0)), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    environment = {"CMAKE_BUILD_PARALLEL_LEVEL": str(jobs), **os.environ, **build.compiler_variables}
    environment |= {"CMAKE_ARGS": build.cmake_args, "SKBUILD_BUILD_TARGETS": BUILD_TARGETS}
    say(
        f"{PACKAGE} is compiled for this machine, once: about {1 + BUILD_CORE_MINUTES // jobs} minutes on a desktop "
        "processor, several times that on a small board (LLAMA_WHEEL=path-or-URL hands in a ready wheel instead)"
    )
    unfinished = folder.with_suffix(".building")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [str(python), "-m", "pip", "wheel", "-v", "--no-deps", "--no-cache-dir", "--progress-bar", "off"]
    command += ["--no-binary", PACKAGE, "--wheel-dir", str(unfinished), build.requirement]
    run(f"compiling {PACKAGE}", command, log, environment)
    unfinished.rename(folder)
    return next(folder.glob("*.whl"))


def cached_wheel(python: Path, build: Build, log: Path, is_rebuild: bool) -> Path:
    """The wheel of ``build``, compiled now when the cache has none or ``is_rebuild``."""
    folder = wheel_cache(os.environ) / build.key
    with locked(folder.with_suffix(".lock")):
        if is_rebuild:
            shutil.rmtree(folder, ignore_errors=True)
        wheel = next(folder.glob("*.whl"), None)
        if wheel is not None:
            say(f"taking the {PACKAGE} built earlier: {wheel}")
        return wheel or build_wheel(python, build, folder, log)


def ensure_llama(python: Path, stamp: Path, log: Path, is_rebuild: bool) -> None:
    """Install llama-cpp-python from where the variables say, unless ``stamp`` tells that it is there already."""
    requirement = llama_requirement((PROJECT / "pyproject.toml").read_text())
    wheel, index = os.environ.get("LLAMA_WHEEL", ""), os.environ.get("LLAMA_INDEX", "")
    ready = wheel or index
    installed = json.loads(stamp.read_text()) if stamp.exists() else {}
    if is_llama_current(installed, requirement, ready) and not is_rebuild:
        return
    if ready:
        wanted = [wheel] if wheel else ["--index-url", index, "--only-binary", ":all:", requirement]
    else:
        wanted = [str(cached_wheel(python, describe_build(requirement, os.environ), log, is_rebuild))]
    stamp.unlink(missing_ok=True)
    command = [str(python), "-m", "pip", "install", "--no-deps", "--no-cache-dir", "--force-reinstall"]
    run(f"installing {PACKAGE}", [*command, *wanted], log)
    stamp.write_text(json.dumps({"requirement": requirement, "ready": ready}))


def install_project(python: Path, extras: list[str], log: Path) -> None:
    """Install this tree, editable, with its dependencies; pip must not build llama-cpp-python by itself."""
    command = [str(python), "-m", "pip", "install", "--progress-bar", "off", "--only-binary", PACKAGE]
    target = f"{PROJECT}[{','.join(extras)}]" if extras else str(PROJECT)
    run(" ".join(["installing packages", *extras]), [*command, "--editable", target], log)


def check_llama(python: Path) -> None:
    """Raises SetUpError when the library cannot be loaded, as a wheel for another system cannot."""
    loaded = subprocess.run([str(python), "-c", "import llama_cpp"], capture_output=True, text=True)
    if loaded.returncode:
        why = error_lines(loaded.stderr) or f"exit status {loaded.returncode}"
        raise SetUpError(f"The installed {PACKAGE} does not load here ({why}): try make rebuild-llama.")


def set_up(venv: Path, stamp: Path, extras: list[str], is_rebuild: bool) -> None:
    """Bring ``venv`` to the state that ``stamp`` stands for, doing only what is not done yet."""
    venv.parent.mkdir(parents=True, exist_ok=True)
    with locked(venv.with_name(f"{venv.name}.lock")):
        python = ensure_environment(venv)
        log = venv / "set-up.log"
        sources = [PROJECT / name for name in ("pyproject.toml", "set_up.py", "set_up_llama.py")]
        state = hashlib.sha256(b"".join([str(PROJECT).encode(), *(each.read_bytes() for each in sources)])).hexdigest()
        if is_rebuild:
            stamp.unlink(missing_ok=True)
        if not stamp.exists() or stamp.read_text() != state:
            ensure_llama(python, venv / "llama.stamp", log, is_rebuild)
            install_project(python, extras, log)
        check_llama(python)
        stamp.write_text(state)
    if not extras:
        say(f"ready: {venv}/bin/edge-chat works from any folder (make link puts it on your PATH)")


def main() -> int:
    """Set up what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description="Called by the Makefile; see make help.")
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--stamp", type=Path, required=True, help="file to write when all is done")
    parser.add_argument("--extras", nargs="*", default=[], help="extras of pyproject.toml to install")
    parser.add_argument("--rebuild-llama", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        set_up(options.venv.absolute(), options.stamp.absolute(), options.extras, options.rebuild_llama)
    except SetUpError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped; the same command takes it up again")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
