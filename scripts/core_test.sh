#!/bin/sh
# Build the tests of the C++ code in one variant and run them:
#   core_test.sh undefined|thread           under a sanitizer
#   core_test.sh address                    under the address and undefined-behaviour sanitizers; then
#                                           hostile calls from Python, FUZZ_SECONDS (60) long, with
#                                           seed FUZZ_SEED (1)
#   core_test.sh avx512                     the AVX-512 kernels, emulated on any x86-64 CPU;
#                                           then the Python tests of the kernels on that build
#   core_test.sh neon                       the NEON kernels, on an emulated 64-bit Arm CPU
# Debian packages that a variant needs (clang for the address sanitizer, SIMDe, QEMU) are installed
# as root; for any other user the script names them and fails.
set -eu
variant=$1
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build/core-$variant
bin=$root/.venv/bin

need() {  # need FILE PACKAGE...: install the packages unless the file exists
  file=$1
  shift
  [ -e "$file" ] && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $*"
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "$@" >/dev/null
  else
    echo "error: variant $variant needs $file; sudo apt-get install $*" >&2
    exit 1
  fi
}

run="" target="" simde="" sanitizer="" module=OFF
case $variant in
  undefined | thread) sanitizer=$variant ;;
  address)  # ziglang has no runtime library for it; Debian's clang does
    need /usr/bin/clang++-19 clang-19 libclang-rt-19-dev libstdc++-12-dev
    sanitizer=address,undefined
    module=ON
    ;;
  avx512)
    need /usr/include/simde/x86/avx512.h libsimde-dev
    simde=$build/include
    mkdir -p "$simde"
    ln -sfn /usr/include/simde "$simde/simde"  # alone: the rest of /usr/include is not zig's
    module=ON
    ;;
  neon)
    need /usr/bin/qemu-aarch64-static qemu-user-static
    target=aarch64-linux-musl
    run=/usr/bin/qemu-aarch64-static
    ;;
  *)
    echo "error: unknown variant $variant; give address, undefined, thread, avx512 or neon" >&2
    exit 2
    ;;
esac

set -- -S "$root/src/ingot/native" -B "$build" -G Ninja -DCMAKE_MAKE_PROGRAM="$bin/ninja" \
  -DPython_EXECUTABLE="$bin/python" -DINGOT_MODULE=$module -DINGOT_TESTS=ON \
  -DINGOT_SANITIZE="$sanitizer" -DINGOT_SIMDE="$simde"
if [ "$variant" = address ]; then
  set -- "$@" -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19
else
  set -- "$@" -DCMAKE_TOOLCHAIN_FILE="$root/src/ingot/native/zig-toolchain.cmake" \
    -DINGOT_ZIG_TARGET="$target"
fi
"$bin/cmake" "$@" >/dev/null
"$bin/cmake" --build "$build"
echo "running the C++ tests: $variant"
$run "$build/core_test"
$run "$build/training/kernels_test"
case $variant in
  neon)  # a CPU without the dot product runs the portable kernels
    $run -cpu cortex-a53 "$build/core_test"
    ;;
  avx512)
    cd "$root"
    INGOT_EMULATED=$build PYTHONPATH=$root "$bin/pytest" -p tests.native.emulated \
      tests/native/test_kernels.py tests/training/native tests/training/compute/test_fused_modules.py
    ;;
  address)
    # The harness counts memory, of which a long quarantine of freed blocks would take most.
    cd "$root"
    INGOT_EMULATED=$build LD_PRELOAD=$(clang++-19 -print-file-name=libclang_rt.asan-x86_64.so) \
      ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=4:allocator_may_return_null=1 \
      "$bin/python" -m tests.fuzz.harness --seconds "${FUZZ_SECONDS:-60}" --seed "${FUZZ_SEED:-1}" native_core
    "$build/bf16_emulation_test"
    ;;
  *)
    [ ! -e "$build/bf16_emulation_test" ] || "$build/bf16_emulation_test"
    ;;
esac
