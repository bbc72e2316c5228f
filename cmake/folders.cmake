# One static library per folder of src/, one test program per folder, found by name: a file that lies in a folder is
# built and a `_test.cc` is run, so neither can be forgotten.

set(INFER_WARNINGS -Wall -Wextra -Wconversion -Wshadow -Wnon-virtual-dtor -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")  # Its -Wconversion means more than gcc's; both compilers ask for the same.
  list(APPEND INFER_WARNINGS -Wno-sign-conversion)
endif()
set(INFER_FOLDERS "" CACHE INTERNAL "")

add_library(infer_flags INTERFACE)
target_compile_options(infer_flags INTERFACE ${INFER_WARNINGS} -ffp-contract=off -fno-math-errno)
# The library's own bounds checks stay on in release; kernels work on raw pointers and do not pay for them.
target_compile_definitions(infer_flags INTERFACE _GLIBCXX_ASSERTIONS)
target_include_directories(infer_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
if(INFER_SANITIZE)
  target_compile_options(infer_flags INTERFACE -fsanitize=${INFER_SANITIZE} -fno-omit-frame-pointer
                                               -fno-sanitize-recover=all)
  target_link_options(infer_flags INTERFACE -fsanitize=${INFER_SANITIZE} -fuse-ld=lld)  # A fifth of ld's time.
endif()
if(INFER_FUZZ)
  target_compile_options(infer_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# infer_unite(target source...): where INFER_UNITY is on, sources that share no name outside their namespaces' public part
# are compiled together, most of whose time goes into the headers that they share. The release preset as ./dev builds it
# goes without, and so shows an #include that is missing.
function(infer_unite target)
  if(NOT INFER_UNITY)
    return()
  endif()
  execute_process(COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_SOURCE_DIR}/cmake/unity_groups.py ${ARGN}
                  OUTPUT_VARIABLE groups OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  foreach(source group IN ZIP_LISTS ARGN groups)
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${group})
  endforeach()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${ARGN})  # An edit may bring a name.
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  # gcc takes whatever is not the file it was given for a header, whose unnamed namespace would be another in each user.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
  endif()
endfunction()

# infer_precompile(target flags [header...]): where INFER_UNITY is on, the standard headers that most sources include, and
# those given, are parsed once for all targets of the same `flags`, a name. Not for kernels, which include plain headers
# only, and not by gcc, which refuses headers that were parsed with a macro that another target lacks and warns of what
# is in the standard library's (g++ 12: -Warray-bounds in tokenizer_test).
set(INFER_COMMON_HEADERS algorithm array atomic bit charconv chrono cmath condition_variable cstddef cstdint cstdio cstdlib
    cstring functional limits map memory mutex numeric optional set span string string_view thread utility variant vector)
function(infer_precompile target flags)
  if(NOT INFER_UNITY OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    return()
  endif()
  get_property(first GLOBAL PROPERTY INFER_PRECOMPILED_${flags})
  if(first)
    target_precompile_headers(${target} REUSE_FROM ${first})
  else()
    list(APPEND ARGN ${INFER_COMMON_HEADERS})
    list(TRANSFORM ARGN REPLACE "(.+)" "$<$<COMPILE_LANGUAGE:CXX>:<\\1$<ANGLE-R>>" OUTPUT_VARIABLE headers)
    target_precompile_headers(${target} PRIVATE ${headers})
    set_property(GLOBAL PROPERTY INFER_PRECOMPILED_${flags} ${target})
  endif()
endfunction()

# infer_cold(target): speed matters neither to its users nor to its tests.
function(infer_cold target)
  if(INFER_SANITIZE)
    target_compile_options(${target} PRIVATE -O0)
  endif()
endfunction()

# infer_folder(name [COLD] [USES folder...] [PRIVATE library...])
function(infer_folder name)
  cmake_parse_arguments(ARG "COLD" "" "USES;PRIVATE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cc)
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(TRANSFORM ARG_USES PREPEND infer_)
  if(sources)
    add_library(infer_${name} STATIC ${sources})
    target_link_libraries(infer_${name} PUBLIC infer_flags ${ARG_USES} PRIVATE ${ARG_PRIVATE})
    if(ARG_COLD)
      infer_cold(infer_${name})
      infer_precompile(infer_${name} cold)
    elseif(NOT name STREQUAL "kernels")
      infer_precompile(infer_${name} hot)
    endif()
    infer_unite(infer_${name} ${sources})
  else()  # Headers only.
    add_library(infer_${name} INTERFACE)
    target_link_libraries(infer_${name} INTERFACE infer_flags ${ARG_USES})
  endif()
  set(INFER_FOLDERS ${INFER_FOLDERS} ${name} CACHE INTERNAL "")
endfunction()

# The one kernel file of an instruction set gets that set's flags, and nothing else does. Of UBSan it keeps the checks of
# arithmetic; those of pointers, on thousands of inlined vector loads, quadruple its compile time, and ASan looks at the
# same accesses. In functions of more than 100 accesses (7000 is usual) it looks at them by a call rather than in place,
# which compiles in half the time.
set(INFER_KERNEL_CHECKS "")
if(INFER_FUZZ)  # Fuzzing is for parsers; kernels only come along.
  set(INFER_KERNEL_CHECKS -fno-sanitize=all)
elseif(INFER_SANITIZE MATCHES "undefined")
  set(INFER_KERNEL_CHECKS -fno-sanitize=alignment,null,object-size,pointer-overflow,bounds,vptr,function,builtin
                          -fno-sanitize=nonnull-attribute,returns-nonnull-attribute,vla-bound
                          -mllvm -asan-instrumentation-with-call-threshold=100)
endif()
# A kernel knows no threads: what it writes follows from its arguments, which ASan and the tests against the reference
# hold it to. TSan looks at those who share the work out.
if(INFER_SANITIZE STREQUAL "thread")
  set(INFER_KERNEL_CHECKS -fno-sanitize=all)
endif()
# An instruction set that this machine cannot run would be instrumented, for minutes, for nobody.
set(INFER_MACHINE_FLAGS "")
if(INFER_SANITIZE AND EXISTS /proc/cpuinfo)
  file(STRINGS /proc/cpuinfo INFER_MACHINE_FLAGS REGEX "^flags" LIMIT_COUNT 1)
endif()
function(infer_kernel_isa isa)
  set(source ${CMAKE_SOURCE_DIR}/src/kernels/kernels_${isa}.cc)
  set(checks ${INFER_KERNEL_CHECKS})
  set(needs_avx512 avx512_vnni)
  set(needs_amx amx_int8)
  if(INFER_MACHINE_FLAGS AND DEFINED needs_${isa} AND NOT INFER_MACHINE_FLAGS MATCHES " ${needs_${isa}} ")
    set(checks -fno-sanitize=all)
  endif()
  if(INFER_PLAIN_PRESET AND checks STREQUAL "-fno-sanitize=all")
    set_source_files_properties(${source} PROPERTIES HEADER_FILE_ONLY ON SKIP_UNITY_BUILD_INCLUSION ON)
    target_sources(infer_kernels PRIVATE ${INFER_PLAIN_FOLDER}/kernels_${isa}.cc.o)
  else()
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${ARGN};${checks}" SKIP_UNITY_BUILD_INCLUSION ON)
  endif()
endfunction()

# Kernels that are not instrumented are those of another preset, which is made as far as they need it: to compile them
# again would take minutes. They are copied, so that what reads this build's objects finds all of them here.
# INFER_PLAIN_OBJECTS: all of them, for programs whose tests look at other things than kernels and would wait for them.
set(INFER_PLAIN_FOLDER ${CMAKE_BINARY_DIR}/plain)
function(infer_make_plain_objects)
  set(from ${CMAKE_SOURCE_DIR}/build/${INFER_PLAIN_PRESET})
  file(GLOB sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} src/kernels/kernels_*.cc)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS src/kernels/*.h)
  list(TRANSFORM sources REPLACE "(.+)" "CMakeFiles/infer_kernels.dir/\\1.o" OUTPUT_VARIABLE objects)
  list(TRANSFORM objects PREPEND ${from}/ OUTPUT_VARIABLE made)
  list(TRANSFORM sources REPLACE ".*/(.+)" "${INFER_PLAIN_FOLDER}/\\1.o" OUTPUT_VARIABLE taken)
  add_custom_command(OUTPUT ${taken}
                     COMMAND ${CMAKE_COMMAND} --preset ${INFER_PLAIN_PRESET}
                     COMMAND ${CMAKE_COMMAND} --build ${from} --target ${objects}
                     COMMAND ${CMAKE_COMMAND} -E make_directory ${INFER_PLAIN_FOLDER}
                     COMMAND ${CMAKE_COMMAND} -E copy ${made} ${INFER_PLAIN_FOLDER}
                     WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} DEPENDS ${sources} ${headers} VERBATIM
                     COMMENT "Kernels of the preset ${INFER_PLAIN_PRESET}")
  set(INFER_PLAIN_OBJECTS ${taken} PARENT_SCOPE)
endfunction()
set(INFER_PLAIN_OBJECTS "")
if(INFER_PLAIN_PRESET)
  infer_make_plain_objects()
endif()

# infer_test_program(target): half the time to compile, and the code under test is what it was. With -O1 gcc takes some
# things for defects that are none (a `new` of the test's own that it did not inline); the sanitizers' presets have
# clang's warnings as errors.
function(infer_test_program target)
  if(INFER_SANITIZE)
    target_compile_options(${target} PRIVATE -O0)
  elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(${target} PRIVATE -O1 -Wno-mismatched-new-delete)
  endif()
  infer_precompile(${target} test gtest/gtest.h)
endfunction()

# <folder>_test from all src/<folder>/*_test.cc; src/testing holds what tests share.
function(infer_folder_tests)
  include(GoogleTest)
  file(GLOB testing_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/testing/*.cc)
  list(TRANSFORM INFER_FOLDERS PREPEND infer_ OUTPUT_VARIABLE libraries)
  add_library(infer_testing STATIC ${testing_sources})
  target_link_libraries(infer_testing PUBLIC ${libraries} GTest::gtest GTest::gtest_main)
  target_compile_definitions(infer_testing PUBLIC INFER_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  infer_precompile(infer_testing hot)
  infer_unite(infer_testing ${testing_sources})
  foreach(folder ${INFER_FOLDERS})
    file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*_test.cc)
    if(tests)
      add_executable(${folder}_test ${tests})
      target_link_libraries(${folder}_test PRIVATE infer_testing infer_${folder})
      infer_test_program(${folder}_test)
      infer_unite(${folder}_test ${tests})
      gtest_discover_tests(${folder}_test TEST_PREFIX "${folder}." DISCOVERY_MODE PRE_TEST
                           PROPERTIES LABELS fast TIMEOUT 300)
    endif()
  endforeach()
endfunction()
