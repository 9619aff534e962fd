# `cmake --install`: headers, library, program, find_package(gradus) and a pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Before 1.0 a minor version may change interfaces.
set_target_properties(gradus PROPERTIES VERSION ${PROJECT_VERSION}
                                        SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
install(TARGETS gradus EXPORT gradus_targets RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
foreach(header IN LISTS public_headers)
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES ${PROJECT_SOURCE_DIR}/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gradus/${folder})
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/include/gradus/gradus.h ${PROJECT_BINARY_DIR}/include/gradus/version.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gradus)
if(TARGET gradus_program)
  # It finds the library wherever the prefix is moved, and by the same way in the build, where the two lie as installed:
  # CMake would pad another way there with an empty entry, which the loader takes for the current folder.
  file(RELATIVE_PATH to_library ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  get_filename_component(library_folder ${PROJECT_BINARY_DIR}/bin/${to_library} ABSOLUTE)
  set_target_properties(gradus PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${library_folder})
  set_target_properties(gradus_program PROPERTIES INSTALL_RPATH "$ORIGIN/${to_library}" BUILD_WITH_INSTALL_RPATH ON)
  install(TARGETS gradus_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/gradus)
install(EXPORT gradus_targets FILE gradusTargets.cmake NAMESPACE gradus:: DESTINATION ${package_folder})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/gradusConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/gradusConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/gradusConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/gradusConfig.cmake ${PROJECT_BINARY_DIR}/gradusConfigVersion.cmake
        DESTINATION ${package_folder})

file(RELATIVE_PATH to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
file(RELATIVE_PATH libdir ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH includedir ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(${PROJECT_SOURCE_DIR}/cmake/gradus.pc.in ${PROJECT_BINARY_DIR}/gradus.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/gradus.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# Notices of what is embedded.
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
foreach(set digits vowels)
  install(FILES ${PROJECT_SOURCE_DIR}/data/${set}/SOURCE.md DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME ${set}.md)
endforeach()
