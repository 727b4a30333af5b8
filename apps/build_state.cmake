# Writes OUTPUT, the source of build_state(), unless it says the same already.
#   cmake -DSOURCE=FOLDER -DOUTPUT=FILE -DVERSION=... -DCOMPILER=... -DLIBRARIES=... -P build_state.cmake
function(git result)
  execute_process(COMMAND git -C "${SOURCE}" --no-optional-locks ${ARGN} OUTPUT_VARIABLE output ERROR_QUIET
                  RESULT_VARIABLE code OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT code EQUAL 0)
    set(output "")
  endif()
  set(${result} "${output}" PARENT_SCOPE)
endfunction()

set(STATE "not from a checkout of git")
git(top rev-parse --show-toplevel)
file(REAL_PATH "${SOURCE}" source)
if(NOT top STREQUAL "" AND NOT top STREQUAL source)
  set(top "")  # an unpacked archive inside another project's checkout
endif()
if(NOT top STREQUAL "")
  git(commit log -1 "--format=%h of %cs" --abbrev=12)
  git(changes status --porcelain --untracked-files=no)
  if(NOT commit STREQUAL "")
    set(STATE "git ${commit}")
    if(NOT changes STREQUAL "")
      string(APPEND STATE ", with changes")
    endif()
  endif()
endif()

foreach(text VERSION STATE COMPILER LIBRARIES)
  string(REPLACE "\\" "\\\\" ${text} "${${text}}")
  string(REPLACE "\"" "\\\"" ${text} "${${text}}")
endforeach()
set(content "// Made by apps/build_state.cmake.
#include \"apps/build_state.h\"

namespace generous {

BuildState build_state() {
  return {.version = \"${VERSION}\",
          .source = \"${STATE}\",
          .compiler = \"${COMPILER}\",
          .libraries = \"${LIBRARIES}\"};
}

}  // namespace generous
")
set(before "")
if(EXISTS "${OUTPUT}")
  file(READ "${OUTPUT}" before)
endif()
if(NOT before STREQUAL content)
  file(WRITE "${OUTPUT}" "${content}")
endif()
