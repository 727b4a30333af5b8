# Which GPUs the kernels are compiled for, of those that the installed nvcc knows: A100 (80), RTX 30 (86) and 40 (89),
# H100 (90), B200 (100), RTX 50 (120). Code for one of them also runs on GPUs of the same generation that came later.
# For the newest there is PTX too, from which a driver makes code for generations yet to come.

# Sets `result` to a list for CMAKE_CUDA_ARCHITECTURES. `known`: what nvcc --list-gpu-code prints.
function(choose_architectures known result)
  set(chosen "")
  foreach(architecture 80 86 89 90 100 120)
    if(known MATCHES "sm_${architecture}($|[^0-9a-z])")
      list(APPEND chosen ${architecture}-real)
    endif()
  endforeach()
  if(chosen STREQUAL "")
    message(FATAL_ERROR "nvcc makes code for none of the GPUs from sm_80 on: it makes code for ${known}")
  endif()
  list(POP_BACK chosen newest)
  string(REPLACE "-real" "" newest ${newest})
  list(APPEND chosen ${newest})
  set(${result} "${chosen}" PARENT_SCOPE)
endfunction()
