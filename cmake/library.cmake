# The library. Sources are found by folder; *.simd.cc are compiled once per instruction-set level.
find_package(fmt REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(nlohmann_json 3.10 REQUIRED)

# What a user may include, but for folders called detail; kernels are ours alone.
set(public_folders base tensor autograd gradcheck layers optim models data training)
set(library_folders kernels ${public_folders})
foreach(folder IN LISTS library_folders)
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/include/gradus)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${PROJECT_BINARY_DIR}/include/gradus/${folder} SYMBOLIC)
endforeach()

# <gradus/gradus.h> is every public header, so that none can be forgotten.
set(header_globs)
foreach(folder IN LISTS public_folders)
  list(APPEND header_globs ${folder}/*.h)
endforeach()
file(GLOB_RECURSE public_headers RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS ${header_globs})
list(FILTER public_headers EXCLUDE REGEX "/detail/")
list(SORT public_headers)
list(TRANSFORM public_headers REPLACE "(.+)" "#include <gradus/\\1>\n" OUTPUT_VARIABLE umbrella)
list(JOIN umbrella "" umbrella)
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/include/gradus/gradus.h
     CONTENT "#pragma once\n// Every public header of Gradus.\n\n@umbrella@#include <gradus/version.h>\n" @ONLY)
configure_file(${PROJECT_SOURCE_DIR}/cmake/version.h.in ${PROJECT_BINARY_DIR}/include/gradus/version.h @ONLY)

set(source_globs)
foreach(folder IN LISTS library_folders)
  list(APPEND source_globs ${PROJECT_SOURCE_DIR}/${folder}/*.cc)
endforeach()
file(GLOB_RECURSE gradus_sources CONFIGURE_DEPENDS ${source_globs})
file(GLOB simd_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*/*.simd.cc)
list(REMOVE_ITEM gradus_sources ${simd_sources})

# The instruction-set levels, weakest first. Each has a name, that of kernels/vector/level_<name>.h; a C++ expression
# for whether the processor `cpu` (a CpuInfo) can run it; and the compiler's flags. kernels/runtime/isa.h makes its enum
# of them.
set(simd_levels)
set(simd_rows "#pragma once\n#define GRADUS_LEVELS")
macro(gradus_add_level name can_run)
  list(APPEND simd_levels ${name})
  string(APPEND simd_rows " GRADUS_LEVEL(${name}, ${can_run})")
  set(simd_flags_${name} ${ARGN})
endmacro()
gradus_add_level(baseline true)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  gradus_add_level(avx2 cpu.avx2 -march=x86-64-v3)
  gradus_add_level(avx512 cpu.avx512 -march=x86-64-v4 -mprefer-vector-width=512)
endif()
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/include/gradus_levels.h CONTENT "${simd_rows}\n")
set(simd_optimization $<IF:$<CONFIG:Debug>,-O1,-O3>)
if(GRADUS_SANITIZE)
  # At -O3, or with every check inline, these take minutes to compile.
  set(simd_optimization -O1)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    list(APPEND simd_optimization --param=asan-instrumentation-with-call-threshold=0)
  endif()
endif()
set(simd_options ${simd_optimization} -fno-math-errno -fno-trapping-math)

# gradus_embed(FILE SOURCES): a file inside a target: data/digits/digits.csv.gz is the array digits_csv_gz.
function(gradus_embed file sources)
  get_filename_component(name ${file} NAME)
  string(REPLACE . _ name ${name})
  set(source ${PROJECT_BINARY_DIR}/${name}.cc)
  add_custom_command(
    OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${PROJECT_SOURCE_DIR}/${file} -DOUTPUT=${source} -DNAME=${name}
            -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${PROJECT_SOURCE_DIR}/${file} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake)
  set(${sources} ${${sources}} ${source} PARENT_SCOPE)
endfunction()
gradus_embed(data/digits/digits.csv.gz embedded_sources)
gradus_embed(data/vowels/vowels.bin.gz embedded_sources)

# What compiles against the headers, whichever library it is linked to.
add_library(gradus_headers INTERFACE)
target_include_directories(gradus_headers INTERFACE ${PROJECT_BINARY_DIR}/include)
target_compile_features(gradus_headers INTERFACE cxx_std_20)
target_link_libraries(gradus_headers INTERFACE fmt::fmt)

add_library(gradus_objects OBJECT ${gradus_sources} ${embedded_sources})
target_link_libraries(gradus_objects PRIVATE gradus_headers gradus_options ZLIB::ZLIB nlohmann_json::nlohmann_json)
# Normals are the same on every machine only if no compiler fuses a product and a sum.
set_source_files_properties(${PROJECT_SOURCE_DIR}/tensor/random.cc PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
if(GRADUS_SANITIZE) # what parses more than it computes compiles in a third of the time ten files at once
  set(files_of_their_own ${gradus_sources})
  list(FILTER files_of_their_own INCLUDE REGEX "/(kernels|base|tensor)/")
  set_source_files_properties(${files_of_their_own} ${embedded_sources} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set_target_properties(gradus_objects PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 10)
endif()
# A tenth of the library were names of inline functions, which every user compiles anyway.
set_target_properties(gradus_objects PROPERTIES VISIBILITY_INLINES_HIDDEN ON)
# An optimizer's rule is compiled for every level in its own source (kernels/update/update.h).
file(GLOB update_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/optim/*.cc)
set_source_files_properties(${update_sources} PROPERTIES COMPILE_OPTIONS "${simd_options}")
if(CMAKE_BUILD_TYPE STREQUAL Release) # what prints and reads is large, and never waited for
  file(GLOB wordy_sources ${PROJECT_SOURCE_DIR}/base/file.cc ${PROJECT_SOURCE_DIR}/base/detail/json.cc
       ${PROJECT_SOURCE_DIR}/gradcheck/*.cc ${PROJECT_SOURCE_DIR}/gradcheck/detail/*.cc ${PROJECT_SOURCE_DIR}/data/*.cc
       ${PROJECT_SOURCE_DIR}/autograd/tape_print.cc ${PROJECT_SOURCE_DIR}/tensor/safetensors.cc
       ${PROJECT_SOURCE_DIR}/tensor/npy.cc
       ${PROJECT_SOURCE_DIR}/autograd/functional/*.cc ${PROJECT_SOURCE_DIR}/tensor/print.cc
       ${PROJECT_SOURCE_DIR}/training/*.cc ${PROJECT_SOURCE_DIR}/layers/module.cc
       ${PROJECT_SOURCE_DIR}/autograd/ops/norm_stages.cc)
  set_source_files_properties(${wordy_sources} PROPERTIES COMPILE_OPTIONS -Os)
  # What -O3 adds to this file is size alone.
  set_source_files_properties(${PROJECT_SOURCE_DIR}/kernels/norm/norm.cc PROPERTIES
                              COMPILE_OPTIONS "-O2;-ftree-vectorize")
endif()
file(GLOB reading_sources ${PROJECT_SOURCE_DIR}/base/*.cc ${PROJECT_SOURCE_DIR}/base/detail/*.cc ${PROJECT_SOURCE_DIR}/data/*.cc
     ${PROJECT_SOURCE_DIR}/training/*.cc ${PROJECT_SOURCE_DIR}/tensor/safetensors.cc ${PROJECT_SOURCE_DIR}/tensor/tensor_file.cc
     ${PROJECT_SOURCE_DIR}/tensor/npy.cc ${PROJECT_SOURCE_DIR}/tensor/detail/file_elements.cc)
set_property(SOURCE ${reading_sources} APPEND PROPERTY COMPILE_OPTIONS ${hardened_options})
foreach(level IN LISTS simd_levels)
  add_library(gradus_simd_${level} OBJECT ${simd_sources})
  target_compile_definitions(gradus_simd_${level} PRIVATE
    GRADUS_ISA=${level} GRADUS_LEVEL_HEADER=<gradus/kernels/vector/level_${level}.h>)
  target_compile_options(gradus_simd_${level} PRIVATE ${simd_options} ${simd_flags_${level}})
  target_link_libraries(gradus_simd_${level} PRIVATE gradus_headers gradus_options)
endforeach()

# gradus_add_library(NAME KIND...): a library of these objects.
list(TRANSFORM simd_levels REPLACE "(.+)" "$<TARGET_OBJECTS:gradus_simd_\\1>" OUTPUT_VARIABLE simd_objects)
set(library_objects $<TARGET_OBJECTS:gradus_objects> ${simd_objects})
check_linker_flag(CXX -Wl,-Bsymbolic-functions GRADUS_CAN_BIND_SYMBOLS)
check_linker_flag(CXX -Wl,-z,nodelete GRADUS_CAN_STAY_LOADED)
function(gradus_add_library name)
  add_library(${name} ${ARGN} ${library_objects})
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>)
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_link_libraries(${name} PUBLIC fmt::fmt PRIVATE $<BUILD_INTERFACE:gradus_options> Threads::Threads ZLIB::ZLIB ${CMAKE_DL_LIBS})
  gradus_harden(${name})
  # Calls inside the library go straight to their target, as -fno-semantic-interposition lets the compiler assume.
  if(GRADUS_CAN_BIND_SYMBOLS)
    target_link_options(${name} PRIVATE -Wl,-Bsymbolic-functions)
  endif()
  # Helper threads run until the process ends.
  if(GRADUS_CAN_STAY_LOADED)
    target_link_options(${name} PRIVATE -Wl,-z,nodelete)
  endif()
endfunction()

# What users link, which shows what users may call.
gradus_add_library(gradus)
add_library(gradus::gradus ALIAS gradus)
set(exports ${PROJECT_SOURCE_DIR}/cmake/exports.map)
check_linker_flag(CXX -Wl,--version-script=${exports} GRADUS_CAN_HIDE_SYMBOLS)
if(BUILD_SHARED_LIBS AND GRADUS_CAN_HIDE_SYMBOLS)
  target_link_options(gradus PRIVATE -Wl,--version-script=${exports})
  set_target_properties(gradus PROPERTIES LINK_DEPENDS ${exports})
endif()

# The whole of it, for what looks inside or at every op, as tests do: of a static library a program holds what it calls.
if(BUILD_SHARED_LIBS)
  gradus_add_library(gradus_whole EXCLUDE_FROM_ALL)
else()
  add_library(gradus_whole INTERFACE)
  target_link_libraries(gradus_whole INTERFACE -Wl,--whole-archive,$<TARGET_FILE:gradus>,--no-whole-archive gradus)
endif()
