# What every target of ours is compiled with: warnings, sanitizers; through ccache where it is installed.
find_program(GRADUS_CCACHE ccache)
if(PROJECT_IS_TOP_LEVEL AND GRADUS_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${GRADUS_CCACHE})
endif()
add_library(gradus_options INTERFACE)
target_compile_options(gradus_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wno-psabi -fno-semantic-interposition)
if(GRADUS_WERROR)
  target_compile_options(gradus_options INTERFACE -Werror)
endif()
if(GRADUS_SANITIZE)
  # UBSan's checks of every pointer double the time to compile; ASan sees what they are about.
  target_compile_options(gradus_options INTERFACE -fsanitize=${GRADUS_SANITIZE} -fno-omit-frame-pointer -g1
                                                  -fno-sanitize=null,alignment,object-size,pointer-overflow,vptr)
  target_link_options(gradus_options INTERFACE -fsanitize=${GRADUS_SANITIZE})
  # GCC's sanitizers make it warn of variables that are initialized, in std::regex for one.
  target_compile_options(gradus_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  # The free lists would hide use-after-free from the sanitizers.
  target_compile_definitions(gradus_options INTERFACE GRADUS_SANITIZED=1)
endif()

# gradus_harden(TARGET): what a damaged file might turn against the program is bound before it starts, and read-only then.
include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)
include(CheckLinkerFlag)
check_linker_flag(CXX -Wl,-z,relro,-z,now GRADUS_CAN_BIND_AT_START)
function(gradus_harden target)
  if(GRADUS_CAN_BIND_AT_START)
    target_link_options(${target} PRIVATE -Wl,-z,relro,-z,now)
  endif()
endfunction()

# What reads files is compiled with these: what writes over the end of an array ends the program. A compiler that
# checks calls of the C library by itself may check more than these do; without optimization they cannot be checked.
set(hardened_options)
if(NOT GRADUS_SANITIZE)
  check_cxx_compiler_flag(-fstack-protector-strong GRADUS_CAN_PROTECT_STACKS)
  if(GRADUS_CAN_PROTECT_STACKS)
    list(APPEND hardened_options -fstack-protector-strong)
  endif()
  set(CMAKE_REQUIRED_FLAGS -O2)
  check_cxx_source_compiles("#ifdef _FORTIFY_SOURCE\n#error\n#endif\nint main() {}" GRADUS_CAN_FORTIFY)
  unset(CMAKE_REQUIRED_FLAGS)
  if(GRADUS_CAN_FORTIFY)
    list(APPEND hardened_options
         $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-D_FORTIFY_SOURCE=2>)
  endif()
endif()
