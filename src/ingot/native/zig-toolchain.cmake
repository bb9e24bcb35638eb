# Compile with the clang that PyPI's `ziglang` carries: the same compiler on every machine, none
# to install. INGOT_CXX=system takes the machine's own (clang 16 or newer). CXX itself is not
# consulted, because scikit-build-core always sets it.
if("$ENV{INGOT_CXX}" STREQUAL "system")
  return()
endif()
# try_compile() reads this file again in a fresh project: hand it the compiler that was found.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES INGOT_ZIG_FOLDER INGOT_ZIG_TARGET)
if(INGOT_ZIG_TARGET) # another machine than this one, such as aarch64-linux-musl
  set(CMAKE_SYSTEM_NAME Linux)
  string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${INGOT_ZIG_TARGET}")
endif()
if(NOT INGOT_ZIG_FOLDER)
  set(_python "${Python_EXECUTABLE}")
  if(NOT _python)
    set(_python python3)
  endif()
  execute_process(
    COMMAND "${_python}" -c
      "import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), 'zig'))"
    OUTPUT_VARIABLE _zig OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  # An explicit target means the baseline CPU and an old glibc; without one zig compiles for the
  # very CPU it runs on.
  set(_target "${CMAKE_HOST_SYSTEM_PROCESSOR}-linux-gnu.2.28")
  if(INGOT_ZIG_TARGET)
    set(_target "${INGOT_ZIG_TARGET}")
  endif()
  set(INGOT_ZIG_FOLDER "${CMAKE_BINARY_DIR}/zig")
  foreach(_tool "cc;cc -target ${_target}" "c++;c++ -target ${_target}" "ar;ar" "ranlib;ranlib")
    list(GET _tool 0 _name)
    list(GET _tool 1 _arguments)
    file(WRITE "${INGOT_ZIG_FOLDER}/zig-${_name}"
      "#!/bin/sh\nexec \"${_zig}\" ${_arguments} \"$@\"\n")
    file(CHMOD "${INGOT_ZIG_FOLDER}/zig-${_name}"
      PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  endforeach()
endif()
set(CMAKE_CXX_SCAN_FOR_MODULES OFF) # zig carries no clang-scan-deps; C++20 probes would fail
set(CMAKE_C_COMPILER "${INGOT_ZIG_FOLDER}/zig-cc")
set(CMAKE_CXX_COMPILER "${INGOT_ZIG_FOLDER}/zig-c++")
set(CMAKE_AR "${INGOT_ZIG_FOLDER}/zig-ar" CACHE FILEPATH "" FORCE)
set(CMAKE_RANLIB "${INGOT_ZIG_FOLDER}/zig-ranlib" CACHE FILEPATH "" FORCE)
