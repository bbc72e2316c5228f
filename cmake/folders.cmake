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
  target_link_options(infer_flags INTERFACE -fsanitize=${INFER_SANITIZE})
endif()
if(INFER_FUZZ)
  target_compile_options(infer_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# infer_folder(name [USES folder...] [PRIVATE library...])
function(infer_folder name)
  cmake_parse_arguments(ARG "" "" "USES;PRIVATE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cc)
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(TRANSFORM ARG_USES PREPEND infer_)
  if(sources)
    add_library(infer_${name} STATIC ${sources})
    target_link_libraries(infer_${name} PUBLIC infer_flags ${ARG_USES} PRIVATE ${ARG_PRIVATE})
  else()  # Headers only.
    add_library(infer_${name} INTERFACE)
    target_link_libraries(infer_${name} INTERFACE infer_flags ${ARG_USES})
  endif()
  set(INFER_FOLDERS ${INFER_FOLDERS} ${name} CACHE INTERNAL "")
endfunction()

# The one kernel file of an instruction set gets that set's flags, and nothing else does. Of UBSan it keeps the checks of
# arithmetic; those of pointers, on thousands of inlined vector loads, quadruple its compile time, and ASan looks at the
# same accesses.
set(INFER_KERNEL_CHECKS "")
if(INFER_FUZZ)  # Fuzzing is for parsers; kernels only come along.
  set(INFER_KERNEL_CHECKS -fno-sanitize=all)
elseif(INFER_SANITIZE MATCHES "undefined")
  set(INFER_KERNEL_CHECKS -fno-sanitize=alignment,null,object-size,pointer-overflow,bounds,vptr,function,builtin
                          -fno-sanitize=nonnull-attribute,returns-nonnull-attribute,vla-bound)
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
  set(checks ${INFER_KERNEL_CHECKS})
  set(needs_avx512 avx512_vnni)
  set(needs_amx amx_int8)
  if(INFER_MACHINE_FLAGS AND DEFINED needs_${isa} AND NOT INFER_MACHINE_FLAGS MATCHES " ${needs_${isa}} ")
    set(checks -fno-sanitize=all)
  endif()
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kernels/kernels_${isa}.cc
                              PROPERTIES COMPILE_OPTIONS "${ARGN};${checks}")
endfunction()

# <folder>_test from all src/<folder>/*_test.cc; src/testing holds what tests share.
function(infer_folder_tests)
  include(GoogleTest)
  file(GLOB testing_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/testing/*.cc)
  list(TRANSFORM INFER_FOLDERS PREPEND infer_ OUTPUT_VARIABLE libraries)
  add_library(infer_testing STATIC ${testing_sources})
  target_link_libraries(infer_testing PUBLIC ${libraries} GTest::gtest GTest::gtest_main)
  target_compile_definitions(infer_testing PUBLIC INFER_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  foreach(folder ${INFER_FOLDERS})
    file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*_test.cc)
    if(tests)
      add_executable(${folder}_test ${tests})
      target_link_libraries(${folder}_test PRIVATE infer_testing infer_${folder})
      if(INFER_SANITIZE)  # Half the time to compile, and the code under test is what it was.
        target_compile_options(${folder}_test PRIVATE -O0)
      endif()
      gtest_discover_tests(${folder}_test TEST_PREFIX "${folder}." DISCOVERY_MODE PRE_TEST
                           PROPERTIES LABELS fast TIMEOUT 300)
    endif()
  endforeach()
endfunction()
