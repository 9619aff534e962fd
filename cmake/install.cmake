# `cmake --install`: headers, library, program, and find_package(gradus).
include(CMakePackageConfigHelpers)

# Before 1.0 a minor version may change interfaces.
set_target_properties(gradus PROPERTIES VERSION ${PROJECT_VERSION}
                                        SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
install(TARGETS gradus EXPORT gradus_targets RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(header IN LISTS public_headers)
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES ${PROJECT_SOURCE_DIR}/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gradus/${folder})
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/include/gradus/gradus.h ${PROJECT_BINARY_DIR}/include/gradus/version.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gradus)
if(TARGET gradus_program)
  install(TARGETS gradus_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/gradus)
install(EXPORT gradus_targets FILE gradusTargets.cmake NAMESPACE gradus:: DESTINATION ${package_folder})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/gradusConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/gradusConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/gradusConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/gradusConfig.cmake ${PROJECT_BINARY_DIR}/gradusConfigVersion.cmake
        DESTINATION ${package_folder})
