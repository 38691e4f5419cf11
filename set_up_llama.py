"""What a build of llama-cpp-python for this machine depends on, and where its wheel is kept. Standard library only.

Knows: compilers and their bug, processors, build flags, the wheel cache's folder. Does not know: the virtual
environment, pip, how anything is run or shown (set_up.py does).
"""

from __future__ import annotations

import hashlib
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "llama-cpp-python"
COMPILERS = (("c++", "cc"), ("g++", "gcc"), ("clang++", "clang"))
# GCC up to 12 drops stores that ggml's AMX code needs, and the first prefill dies with an illegal instruction.
AMX_REMEDY = "-fno-tree-dse -fno-dse"
# The libraries without llama.cpp's own programs, which nobody runs here.
BUILD_TARGETS = "llama;ggml;llama-common"
MEMORY_BYTES_PER_JOB = 3 << 29
CPU_FIELDS = frozenset({"CPU implementer", "CPU part", "CPU variant", "Features", "flags", "model", "model name"})


class SetUpError(Exception):
    """What went wrong and what to do, in one sentence."""


@dataclass(frozen=True, slots=True)
class Build:
    """Everything that a built wheel depends on. Not the Python version: the wheel holds no extension module."""

    requirement: str
    cmake_args: str
    compiler_variables: Mapping[str, str]
    compiler_version: str
    cpu: str

    @property
    def key(self) -> str:
        """A name for the wheel in the cache."""
        text = "\n".join((self.requirement, self.cmake_args, BUILD_TARGETS, self.compiler_version, self.cpu))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def llama_requirement(pyproject: str) -> str:
    """The requirement on llama-cpp-python in the text of pyproject.toml."""
    requirements: list[str] = tomllib.loads(pyproject)["project"]["dependencies"]
    return next(each for each in requirements if each.startswith(PACKAGE))


def gcc_major(version_text: str) -> int | None:
    """The major version in the output of ``c++ --version``, or None when that is no GCC."""
    if "Free Software Foundation" not in version_text:
        return None
    versions = re.findall(r"\b(\d+)\.\d+(?:\.\d+)?\b", version_text.splitlines()[0])
    return int(versions[-1]) if versions else None


def build_arguments(asked: str, cxx_flags: str, compiler_version: str, machine: str) -> str:
    """CMAKE_ARGS for the build: what was ``asked`` for, no image code, and the compiler's remedy where it is needed.

    CMake takes the last of two values, so C++ flags from CMAKE_ARGS or CXXFLAGS and the remedy are joined into one.
    """
    major = gcc_major(compiler_version)
    remedy = AMX_REMEDY if machine == "x86_64" and major is not None and major <= 12 else ""
    arguments = ["-DLLAVA_BUILD=OFF"]
    for argument in shlex.split(asked):
        name, _, value = argument.partition("=")
        if name.split(":")[0] == "-DCMAKE_CXX_FLAGS":
            cxx_flags = value
        else:
            arguments.append(argument)
    flags = f"{cxx_flags} {remedy}".strip()
    return shlex.join([*arguments, f"-DCMAKE_CXX_FLAGS={flags}"] if flags else arguments)


def cpu_identity(cpuinfo: str) -> str:
    """The lines of /proc/cpuinfo that decide which instructions a native build uses, each once."""
    lines = {" ".join(line.split()) for line in cpuinfo.splitlines() if line.partition(":")[0].strip() in CPU_FIELDS}
    return "\n".join(sorted(lines))


def parallel_jobs(cpu_count: int, memory_bytes: int) -> int:
    """Compilers to run at once: one a core, as far as memory carries them."""
    return max(1, min(cpu_count, memory_bytes // MEMORY_BYTES_PER_JOB))


def is_llama_current(stamp: Mapping[str, str], requirement: str, ready: str) -> bool:
    """Whether the llama-cpp-python that ``stamp`` tells of serves; ``ready`` names the ready wheel asked for, if any.

    A wheel that was handed in once stays until another is asked for: where it was needed, compiling is slow.
    """
    return stamp.get("requirement") == requirement and ready in ("", stamp.get("ready"))


def find_compiler(environment: Mapping[str, str]) -> dict[str, str]:
    """CXX and CC as the build shall see them; raises SetUpError when there is no C++ compiler."""
    if "CXX" in environment:
        return {name: environment[name] for name in ("CXX", "CC") if name in environment}
    for cxx, cc in COMPILERS:
        if shutil.which(cxx) and shutil.which(environment.get("CC", cc)):
            return {"CXX": cxx, "CC": environment.get("CC", cc)}
    raise SetUpError(
        "No C++ compiler found (looked for c++, g++, clang++). Install one (Debian, Ubuntu: apt install g++), name it "
        "in CXX, or hand in a ready llama-cpp-python wheel: LLAMA_WHEEL=path-or-URL."
    )


def describe_build(requirement: str, environment: Mapping[str, str]) -> Build:
    """The build that this machine and the variables in ``environment`` lead to."""
    compiler = find_compiler(environment)
    try:
        command = [*shlex.split(compiler["CXX"]), "--version"]
        version = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as exc:
        raise SetUpError(f"The compiler {compiler['CXX']!r} does not run ({exc}): name another one in CXX.") from exc
    asked, cxx_flags, c_flags = (environment.get(name, "") for name in ("CMAKE_ARGS", "CXXFLAGS", "CFLAGS"))
    machine, cpuinfo = platform.machine(), Path("/proc/cpuinfo")
    return Build(
        requirement=requirement,
        cmake_args=build_arguments(asked, cxx_flags, version, machine),
        compiler_variables=compiler,
        compiler_version=f"{version.splitlines()[0]} {c_flags}",
        cpu=f"{machine}\n{cpu_identity(cpuinfo.read_text()) if cpuinfo.exists() else platform.processor()}",
    )


def wheel_cache(environment: Mapping[str, str]) -> Path:
    """The folder of built wheels, made if need be; raises SetUpError when it cannot be written."""
    user_cache = environment.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(environment.get("EDGE_WHEEL_CACHE") or f"{user_cache}/edge-think/wheels").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as exc:
        raise SetUpError(
            f"Cannot write to {folder} ({exc.strerror}): name another folder in EDGE_WHEEL_CACHE."
        ) from exc
    return folder.resolve()
