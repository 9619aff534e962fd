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
