# generous::NAME, an imported target for a library without a configuration file for CMake. The project is built with
# such targets, and what is installed asks for them by name: no paths of the machine that it was built on.
function(generous_imported name file)
  if(NOT TARGET generous::${name})
    add_library(generous::${name} UNKNOWN IMPORTED)
    set_target_properties(generous::${name} PROPERTIES IMPORTED_LOCATION "${file}")
  endif()
endfunction()
