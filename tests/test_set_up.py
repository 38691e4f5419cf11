"""Set-up: the choices it makes, how it shows work and failure, and the Makefile around it."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import set_up
import set_up_llama
from set_up_llama import SetUpError, build_arguments, cpu_identity, gcc_major, is_llama_current, parallel_jobs

GCC_12 = "c++ (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright (C) 2022 Free Software Foundation, Inc.\n"
GCC_13 = "g++ (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0\nCopyright (C) 2023 Free Software Foundation, Inc.\n"
CLANG = "Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu\n"
X86_CPU = "processor\t: {n}\nmodel name\t: Xeon\nflags\t\t: fpu avx2 amx_tile\ncpu MHz\t\t: 2{n}00\n\n"


def a_build(**changes: str) -> set_up_llama.Build:
    fields = {"requirement": "r", "cmake_args": "a", "compiler_version": "c", "cpu": "x"} | changes
    return set_up_llama.Build(compiler_variables={}, **fields)


@pytest.mark.parametrize(("text", "major"), [(GCC_12, 12), (GCC_13, 13), (CLANG, None), ("", None)])
def test_gcc_version_is_read_from_its_end(text: str, major: int | None) -> None:
    """A distribution's own version stands in brackets before the compiler's."""
    assert gcc_major(text) == major


def test_remedy_only_where_the_compiler_bug_is() -> None:
    """Without the flags, GCC 12 builds a library whose first prefill crashes on processors with AMX."""
    assert "-fno-tree-dse -fno-dse" in build_arguments("", "", GCC_12, "x86_64")
    for version, machine in [(GCC_13, "x86_64"), (CLANG, "x86_64"), (GCC_12, "aarch64")]:
        assert "dse" not in build_arguments("", "", version, machine)


def test_own_build_arguments_are_kept() -> None:
    """Two -DCMAKE_CXX_FLAGS would leave only the last: either the user's flags or the remedy would be lost."""
    arguments = shlex.split(
        build_arguments("-DGGML_CUDA=on '-DCMAKE_CXX_FLAGS:STRING=-O2 -g'", "-O1", GCC_12, "x86_64")
    )
    assert "-DGGML_CUDA=on" in arguments
    assert [each for each in arguments if "CXX_FLAGS" in each] == ["-DCMAKE_CXX_FLAGS=-O2 -g -fno-tree-dse -fno-dse"]
    assert "-DCMAKE_CXX_FLAGS=-O1" in shlex.split(build_arguments("", "-O1", GCC_13, "x86_64"))


def test_processor_identity_ignores_what_changes_by_the_second() -> None:
    """A clock rate in the key would make every set-up compile again."""
    two_cores = "".join(X86_CPU.format(n=n) for n in (0, 1))
    assert cpu_identity(two_cores) == "flags : fpu avx2 amx_tile\nmodel name : Xeon"
    arm = "processor : 0\nBogoMIPS : 48\nFeatures : fp asimd asimddp\nCPU part : 0xd0b\n"
    assert cpu_identity(arm) == "CPU part : 0xd0b\nFeatures : fp asimd asimddp"


@pytest.mark.parametrize("field", ["requirement", "cmake_args", "compiler_version", "cpu"])
def test_cache_key_depends_on_everything(field: str) -> None:
    """pip's own cache serves a wheel of another processor or of other flags in silence."""
    assert a_build().key == a_build().key
    assert a_build().key != a_build(**{field: "other"}).key


def test_jobs_fit_into_memory() -> None:
    """A compiler a core fills the memory of a small board, and the kernel kills the build."""
    gigabyte = 1 << 30
    assert parallel_jobs(8, 64 * gigabyte) == 8
    assert parallel_jobs(8, 4 * gigabyte) == 2
    assert parallel_jobs(4, 0) == 1


def test_installed_llama_stays_until_another_is_asked_for() -> None:
    """On a board that was handed a ready wheel, the next set-up must not start to compile for half an hour."""
    stamp = {"requirement": "r", "ready": "a.whl"}
    assert is_llama_current(stamp, "r", "")
    assert is_llama_current(stamp, "r", "a.whl")
    assert not is_llama_current(stamp, "r", "b.whl")
    assert not is_llama_current(stamp, "newer", "")
    assert not is_llama_current({}, "r", "")


def test_missing_compiler_is_one_sentence_with_a_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """pip would show two pages of CMake."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetUpError, match="apt install g"):
        set_up_llama.find_compiler({})
    with pytest.raises(SetUpError, match=r"'no-such-c\+\+' does not run"):
        set_up_llama.describe_build("r", {"CXX": "no-such-c++"})


def test_wheel_cache_follows_its_variables(tmp_path: Path) -> None:
    """A file in the way stands for a read-only folder, which root would be able to write."""
    assert set_up_llama.wheel_cache({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "edge-think" / "wheels"
    assert set_up_llama.wheel_cache({"EDGE_WHEEL_CACHE": str(tmp_path / "own")}) == tmp_path / "own"
    (tmp_path / "file").touch()
    with pytest.raises(SetUpError, match="EDGE_WHEEL_CACHE"):
        set_up_llama.wheel_cache({"EDGE_WHEEL_CACHE": str(tmp_path / "file")})


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("  [57/135] /usr/bin/g++ -DGGML_BUILD", "step 57 of 135"),
        ("  [ 42%] Building CXX object", "42 %"),
        ("    Downloading a-1.0.tar.gz (76.6 MB)", "downloading a-1.0.tar.gz (76.6 MB)"),
        ("Installing collected packages: numpy", "installing"),
        ("  -- Found OpenMP: TRUE", None),
    ],
)
def test_progress_is_read_from_the_log(line: str, step: str | None) -> None:
    """Ninja and make count differently."""
    assert set_up.step_of(line) == step


def test_errors_are_picked_from_the_log() -> None:
    """pip ends its log with general advice; the cause stands hundreds of lines above."""
    log = "a.cpp:1:10: fatal error: x.h: No such file\nninja: stopped\nERROR: Failed building wheel for llama\n"
    assert set_up.error_lines(log) == "a.cpp:1:10: fatal error: x.h: No such file"
    assert set_up.error_lines("one\ntwo\n") == "one | two"


def test_failed_command_names_cause_and_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failure without its cause sends the user searching."""
    log = tmp_path / "log"
    with pytest.raises(SetUpError, match=rf"working failed: error: disk on fire \(whole log: {log}\)"):
        set_up.run("working", ["sh", "-c", "echo error: disk on fire; exit 3"], log)
    assert "failed" in capsys.readouterr().err


def test_long_command_shows_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Silence for minutes looks like a hang; standard output belongs to the answer."""
    monkeypatch.setattr(set_up, "PLAIN_LINE_EVERY_S", 0.0)
    set_up.run("working", ["sh", "-c", "echo '[3/9] cc'; sleep 0.5"], tmp_path / "log")
    out, err = capsys.readouterr()
    assert "working, 0:00, step 3 of 9" in err
    assert not out


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_interrupted_command_ends_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilers that outlive a Ctrl-C would fight with the next try."""
    pid_file = tmp_path / "pid"

    def interrupt_when_started(_: float) -> None:
        if pid_file.exists() and pid_file.read_text().strip():
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(set_up.time, "sleep", interrupt_when_started)
        set_up.run("working", ["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"], tmp_path / "log")
    child = int(pid_file.read_text())
    end_s = time.monotonic() + 10
    while is_running(child) and time.monotonic() < end_s:
        time.sleep(0.01)
    assert not is_running(child)


def test_built_wheel_is_taken_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second set-up must take seconds; an unfinished build of a killed one must not be taken for a wheel."""
    monkeypatch.setenv("EDGE_WHEEL_CACHE", str(tmp_path))
    built: list[str] = []

    def fake_run(title: str, command: list[str], log: Path, environment: object = None) -> None:
        built.append(title)
        folder = Path(command[command.index("--wheel-dir") + 1])
        assert not folder.exists()
        folder.mkdir()
        (folder / "llama.whl").touch()

    monkeypatch.setattr(set_up, "run", fake_run)
    build = a_build()
    (tmp_path / f"{build.key}.building").mkdir()
    arguments = (Path(sys.executable), build, tmp_path / "log")
    first = set_up.cached_wheel(*arguments, is_rebuild=False)
    assert first == tmp_path / build.key / "llama.whl"
    assert set_up.cached_wheel(*arguments, is_rebuild=False) == first
    assert len(built) == 1
    set_up.cached_wheel(*arguments, is_rebuild=True)
    assert len(built) == 2


def test_foreign_folder_is_never_removed(tmp_path: Path) -> None:
    """VENV=~ must not cost anyone a home folder."""
    (tmp_path / "letter.txt").touch()
    with pytest.raises(SetUpError, match="neither empty nor a virtual environment"):
        set_up.ensure_environment(tmp_path)
    assert (tmp_path / "letter.txt").exists()


def test_second_set_up_waits_for_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two at once (make chat beside make test) would install into one environment."""
    with set_up.locked(tmp_path / "lock"), (tmp_path / "lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with set_up.locked(tmp_path / "lock"):
        pass
    assert not capsys.readouterr().err


# The Makefile, with stand-ins for what it calls.

SHELL_TOOLS = ("sh", "echo", "cat", "touch", "mkdir", "env", "sed", "expand")


def make(repository: Path, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Makefile with ``path`` as the only folder of programs."""
    program = shutil.which("make")
    if program is None:
        pytest.skip("needs make")
    for tool in SHELL_TOOLS:
        if not (path / tool).exists():
            (path / tool).symlink_to(shutil.which(tool) or pytest.skip(f"needs {tool}"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment["PATH"] = str(path)
    return subprocess.run([program, *arguments], cwd=repository, env=environment, capture_output=True, text=True)


def stand_in(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_first_interpreter_that_fits_is_taken(repository: Path, tmp_path: Path) -> None:
    """A launcher of a version manager exists by name and fails when called."""
    stand_in(tmp_path / "python3.11", "exit 127")
    stand_in(tmp_path / "python3.13", 'case "$1" in -c) exit 0;; esac; echo "three thirteen: $@"')
    stand_in(tmp_path / "python3", "exit 1")
    result = make(repository, tmp_path, "set-up", f"VENV={tmp_path / 'venv'}")
    assert result.stdout == f"three thirteen: set_up.py --venv {tmp_path}/venv --stamp {tmp_path}/venv/set-up.stamp\n"


@pytest.mark.parametrize("arguments", [(), ("PYTHON=python3.9",)])
def test_no_fitting_interpreter_is_one_sentence(repository: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """An unfit interpreter would fail much later, in some package's build."""
    stand_in(tmp_path / "python3.9", "exit 1")
    result = make(repository, tmp_path, "chat", f"VENV={tmp_path / 'venv'}", *arguments)
    assert result.returncode == 2
    assert "no Python 3.11, 3.12 or 3.13" in result.stderr
    assert (arguments or ("python3.12",))[0].removeprefix("PYTHON=") in result.stderr


@pytest.mark.parametrize(
    "prompt",
    ["What is 38*47-5+12?", "-5+3", "a \"b\" 'c' $d $(shell touch HACKED) $$ `touch HACKED` \\ # ! % ;x", "两个\n行 "],
)
def test_prompt_arrives_as_it_was_typed(repository: Path, tmp_path: Path, prompt: str) -> None:
    """make expands dollars and the shell quotes; a prompt with a minus sign in front is no option."""
    venv = tmp_path / "venv"
    stand_in(venv / "bin" / "edge-chat", 'for each in "$@"; do printf "[%s]" "$each"; done')
    (venv / "set-up.stamp").touch()
    programs = tmp_path / "programs"
    programs.mkdir()
    result = make(repository, programs, "chat", f"VENV={venv}", f"PROMPT={prompt}")
    assert (result.stdout, result.stderr) == (f"[--][{prompt}]", "")
    assert not (repository / "HACKED").exists()


def test_without_prompt_a_chat_starts(repository: Path, tmp_path: Path) -> None:
    """An empty argument would be an empty prompt, which is an error."""
    venv = tmp_path / "venv"
    stand_in(venv / "bin" / "edge-chat", 'echo "arguments: $#"')
    (venv / "set-up.stamp").touch()
    programs = tmp_path / "programs"
    programs.mkdir()
    assert make(repository, programs, "chat", f"VENV={venv}").stdout == "arguments: 0\n"


def test_help_names_every_target(repository: Path, tmp_path: Path) -> None:
    """A target that help does not show is not found by anyone."""
    makefile = (repository / "Makefile").read_text()
    targets = next(line for line in makefile.splitlines() if line.startswith(".PHONY:")).split()[1:]
    shown = make(repository, tmp_path, "help").stdout
    assert [target for target in targets if f"make {target} " not in shown] == []
