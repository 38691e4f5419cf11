#!/bin/sh
# Run the runtime as on an Arm board: aarch64 under emulation, on a Cortex-A76 as in an RK3588, then on a CPU with all but
# SVE (int8 matrices, bf16); QEMU_CPU names another one. What it shows and what not: docs/arm.md.
#
#   tests/arm/run.sh PYTHON FOLDER     PYTHON has pip and the project's dev extra; FOLDER keeps what was set up (600 MB)
#                                      and gets found.jsonl, which edge bench devices --arm reads
#
# Debian 12 with: apt install qemu-user-static g++-aarch64-linux-gnu cmake ninja-build. No root rights, no change outside
# FOLDER. A step whose result is there is not repeated.
set -eu
cd "$(dirname "$0")/../.."
host_python=$1
mkdir -p "$2"
arm=$(cd "$2" && pwd)
root=$arm/root site=$arm/site

SYSTEM_PACKAGES="libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libssl3 libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libcrypt1
libuuid1 libpython3.11-minimal libpython3.11-stdlib python3.11-minimal python3.11"
# Those with recorded vectors, which must be met exactly; and the binding of Rockchip's runtime, to a stand-in.
TESTS="tests/test_plan.py tests/test_controller.py tests/test_stream_parser.py tests/test_speed.py tests/test_threads.py
tests/test_backend_rkllm.py"
CPUS=${QEMU_CPU:-cortex-a76 max,sve=off}
PROBLEMS=200 LEAST_SAME=98 # per cent

for tool in qemu-aarch64-static aarch64-linux-gnu-gcc aarch64-linux-gnu-g++ cmake ninja apt-get dpkg-deb; do
	command -v $tool >/dev/null || { echo "test-arm: $tool is missing; the head of $0 says what to install." >&2; exit 1; }
done

# The system: arm64 packages through an apt of their own, so that this machine's stays as it is.
system() {
	mkdir -p "$arm/apt/lists/partial" "$arm/apt/archives/partial" "$arm/packages"
	cat >"$arm/apt.conf" <<-END
		APT::Architecture "arm64";
		APT::Architectures { "arm64"; };
		APT::Sandbox::User "";
		Dir::State "$arm/apt";
		Dir::State::status "/dev/null";
		Dir::Cache "$arm/apt";
	END
	APT_CONFIG=$arm/apt.conf apt-get -q update
	(cd "$arm/packages" && APT_CONFIG=$arm/apt.conf apt-get -q download $SYSTEM_PACKAGES)
	for package in "$arm"/packages/*.deb; do dpkg-deb -x "$package" "$root"; done
}

# Two A76 cores as Linux shows them on a board; what is not below the root is seen through to this machine's.
processor() {
	mkdir -p "$root/proc"
	for number in 0 1; do
		printf 'processor\t: %s\nFeatures\t: fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimddp\n' $number
		printf 'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 0\n\n'
	done >"$root/proc/cpuinfo"
	# ONNX Runtime wants to know the cores from here, and dies where it finds those of another architecture.
	cpus=$root/sys/devices/system/cpu
	for number in 0 1; do
		mkdir -p "$cpus/cpu$number/topology"
		echo 0 >"$cpus/cpu$number/topology/physical_package_id"
		echo $number >"$cpus/cpu$number/topology/core_id"
		echo 0-1 >"$cpus/cpu$number/topology/core_siblings_list"
	done
	echo 0-1 | tee "$cpus/possible" >"$cpus/present"
	# A script: started by the emulated Python as sys.executable it brings the emulator along for the child.
	cat >"$arm/python" <<-'END'
		#!/bin/sh
		root=${0%/*}/root
		exec qemu-aarch64-static -0 "$0" -L "$root" -E PYTHONHOME="$root/usr" "$root/usr/bin/python3.11" "$@"
	END
	chmod +x "$arm/python"
}

# What pyproject.toml asks for: $1 is "llama" or "rest", which is the other packages and what the tests need.
requirements() {
	"$host_python" - "$1" <<-'END'
		import sys
		import tomllib
		project = tomllib.load(open("pyproject.toml", "rb"))["project"]
		wanted = ("hypothesis", "onnxruntime>", "pytest")
		tests = [each for each in project["optional-dependencies"]["dev"] if each.startswith(wanted)]
		for each in [*project["dependencies"], *tests]:
		    if each.startswith("llama") == (sys.argv[1] == "llama"):
		        print(each)
	END
}

wheels() {
	requirements rest >"$arm/requirements.txt"
	"$host_python" -m pip install -q --target "$site" --no-compile --only-binary=:all: --python-version 3.11 \
		--implementation cp --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
		--platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 -r "$arm/requirements.txt"
}

llama_source() {
	mkdir -p "$arm/source"
	"$host_python" -m pip download -q --no-deps --no-binary llama-cpp-python -d "$arm" "$(requirements llama)"
	tar -xzf "$arm"/llama_cpp_python-*.tar.gz -C "$arm/source" --strip-components 1
}

# For an A76: dot products, no int8 matrices. Without OpenMP, which is one library less to emulate.
llama() {
	cmake -G Ninja -S "$arm/source/vendor/llama.cpp" -B "$arm/build" -DCMAKE_BUILD_TYPE=Release \
		-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
		-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
		-DCMAKE_C_FLAGS_RELEASE="-O2 -DNDEBUG" -DCMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG" \
		-DGGML_NATIVE=OFF -DGGML_CPU_ARM_ARCH=armv8.2-a+dotprod -DGGML_OPENMP=OFF -DBUILD_SHARED_LIBS=ON \
		-DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF \
		-DLLAMA_BUILD_SERVER=OFF -DLLAMA_CURL=OFF -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH='$ORIGIN'
	cmake --build "$arm/build" --target llama ggml
	mkdir -p "$site/llama_cpp_python.dist-info"
	cp "$arm/source/PKG-INFO" "$site/llama_cpp_python.dist-info/METADATA"
	cp -R "$arm/source/llama_cpp" "$site/"
	mkdir -p "$site/llama_cpp/lib"
	cp -P "$arm"/build/bin/lib*.so* "$site/llama_cpp/lib/"
}

[ -e "$root/usr/bin/python3.11" ] || system
processor
[ -d "$site/onnxruntime" ] || wheels
[ -d "$arm/source" ] || llama_source
[ -e "$site/llama_cpp/lib/libllama.so" ] || llama

export PYTHONDONTWRITEBYTECODE=1 RKLLM_STAND_IN="$arm/rkllm"
scratch=$(mktemp -d)
export EDGE_STATE="$scratch/state"
trap 'rm -rf "$scratch"' EXIT

emulated() {
	PYTHONPATH="$PWD:$site" "$arm/python" "$@"
}

chat() {
	echo "\$ edge-chat $*" >&2
	emulated -c "from edge.cli import chat_main; chat_main()" "$@"
}

expect() {
	wanted=$1
	shift
	answer=$(chat "$@")
	echo "$answer"
	case "$answer" in
	"$wanted" | *"\"answer\": \"$wanted\""*) ;;
	*) echo "test-arm: $wanted was expected." >&2; exit 1 ;;
	esac
}

# A line of found.jsonl; stops where less than $4 per cent of $3 are the same.
found() {
	echo "$QEMU_CPU, $1: $2 of $3" >&2
	printf '{"cpu": "%s", "backend": "%s", "same": %s, "total": %s}\n' "$QEMU_CPU" "$1" "$2" "$3" >>"$scratch/found.jsonl"
	[ $(($2 * 100)) -ge $(($3 * $4)) ] || { echo "test-arm: at least $4 % were expected." >&2; exit 1; }
}

here() {
	PYTHONPATH="$PWD" "$host_python" "$@"
}

mkdir -p "$RKLLM_STAND_IN"
here tests/rkllm_stand_in.py aarch64-linux-gnu-gcc "$RKLLM_STAND_IN"
here tests/arm/answers.py route "$scratch/routes.jsonl"
for backend in onnx llama_cpp; do here tests/arm/answers.py tell $backend "$scratch/$backend.jsonl" $PROBLEMS; done
for QEMU_CPU in $CPUS; do
	export QEMU_CPU
	echo "== $QEMU_CPU" >&2
	emulated -c "from edge.cli import main; main()" doctor
	expect 5 "2+3=?"
	expect 1793 --think on "38*47-5+12"
	expect 1793 --think on --json "38*47-5+12"
	expect 1793 --think on --backend onnx "38*47-5+12"
	emulated tests/arm/answers.py route "$scratch/there.jsonl"
	# shellcheck disable=SC2046 # two numbers
	found router $(here tests/arm/answers.py compare-routes "$scratch/routes.jsonl" "$scratch/there.jsonl") 100
	for backend in onnx llama_cpp; do
		emulated tests/arm/answers.py tell $backend "$scratch/there.jsonl" $PROBLEMS
		# shellcheck disable=SC2046
		found $backend $(here tests/arm/answers.py compare "$scratch/$backend.jsonl" "$scratch/there.jsonl") $LEAST_SAME
	done
	# without the one that takes two true seconds
	emulated -m pytest -q -p no:cacheprovider -k "not options1-deadline" $TESTS | tee "$scratch/tests.txt"
	passed=$(sed -n 's/^\([0-9]*\) passed.*/\1/p' "$scratch/tests.txt")
	found tests "${passed:-0}" "${passed:-1}" 100
done
mv "$scratch/found.jsonl" "$arm/found.jsonl"
