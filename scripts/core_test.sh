#!/bin/sh
# Build the C++ core's own tests in one of several ways and run them:
#   core_test.sh address|undefined|thread   under a sanitizer
#   core_test.sh avx512                     the AVX-512 kernels, emulated by SIMDe on any x86-64
#   core_test.sh neon                       the NEON kernels, on an emulated 64-bit Arm
# What Debian must add (clang for the address sanitizer, SIMDe, QEMU) is installed as root, else
# it is named and this fails.
set -eu
way=$1
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build/core-$way
bin=$root/.venv/bin

need() {  # need FILE PACKAGE...: install the packages where the file is not there
  file=$1
  shift
  [ -e "$file" ] && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $*"
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "$@" >/dev/null
  else
    echo "error: $way needs $file: sudo apt-get install $*" >&2
    exit 1
  fi
}

run="" target="" simde="" sanitizer=""
case $way in
  undefined | thread) sanitizer=$way ;;
  address)  # ziglang carries no runtime for it; Debian's clang does
    need /usr/bin/clang++-19 clang-19 libclang-rt-19-dev libstdc++-12-dev
    sanitizer=address
    ;;
  avx512)
    need /usr/include/simde/x86/avx512.h libsimde-dev
    simde=$build/include
    mkdir -p "$simde"
    ln -sfn /usr/include/simde "$simde/simde"
    ;;
  neon)
    need /usr/bin/qemu-aarch64-static qemu-user-static
    target=aarch64-linux-musl
    run=/usr/bin/qemu-aarch64-static
    ;;
  *)
    echo "error: $way is no way to test the core" >&2
    exit 2
    ;;
esac

set -- -S "$root/src/ingot/native" -B "$build" -G Ninja -DCMAKE_MAKE_PROGRAM="$bin/ninja" \
  -DPython_EXECUTABLE="$bin/python" -DINGOT_MODULE=OFF -DINGOT_TESTS=ON \
  -DINGOT_SANITIZE="$sanitizer" -DINGOT_SIMDE="$simde"
if [ "$way" = address ]; then
  set -- "$@" -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19
else
  set -- "$@" -DCMAKE_TOOLCHAIN_FILE="$root/src/ingot/native/zig-toolchain.cmake" \
    -DINGOT_ZIG_TARGET="$target"
fi
"$bin/cmake" "$@" >/dev/null
"$bin/cmake" --build "$build"
echo "running the core's tests: $way"
$run "$build/core_test"
$run "$build/training/kernels_test"
if [ "$way" = neon ]; then  # a CPU without the dot product takes the portable kernels
  $run -cpu cortex-a53 "$build/core_test"
fi
