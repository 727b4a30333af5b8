# cuda/architectures.cmake with what several nvcc know, and with the installed one, which must make code and PTX for its
# choice. Runs as a script: cmake -DSOURCE=... -DWORK=... [-DNVCC=...] -P architectures_test.cmake
include("${SOURCE}/cuda/architectures.cmake")

function(expect known wanted)
  choose_architectures("${known}" chosen)
  if(NOT "${chosen}" STREQUAL "${wanted}")
    message(FATAL_ERROR "with ${known}: ${chosen}, ${wanted} was expected")
  endif()
endfunction()

# CUDA 12.1, 12.8, 13.0
expect("sm_50\nsm_75\nsm_80\nsm_86\nsm_87\nsm_89\nsm_90\nsm_90a" "80-real;86-real;89-real;90")
expect("sm_50\nsm_80\nsm_86\nsm_89\nsm_90\nsm_90a\nsm_100\nsm_100a\nsm_101\nsm_120\nsm_120a"
       "80-real;86-real;89-real;90-real;100-real;120")
expect("sm_75\nsm_80\nsm_86\nsm_87\nsm_88\nsm_89\nsm_90\nsm_100\nsm_110\nsm_103\nsm_120\nsm_121\n"
       "80-real;86-real;89-real;90-real;100-real;120")
expect("sm_90a\nsm_89" "89")  # code for sm_90a runs on nothing else
if(NOT NVCC)
  return()
endif()

execute_process(COMMAND "${NVCC}" --list-gpu-code OUTPUT_VARIABLE known COMMAND_ERROR_IS_FATAL ANY)
choose_architectures("${known}" chosen)
list(POP_BACK chosen newest)
set(flags -gencode=arch=compute_${newest},code=[compute_${newest},sm_${newest}])
foreach(architecture ${chosen})
  string(REPLACE "-real" "" architecture ${architecture})
  list(APPEND flags -gencode=arch=compute_${architecture},code=sm_${architecture})
endforeach()
file(WRITE "${WORK}/kernel.cu" "__global__ void add(float* x) { x[threadIdx.x] += 1.0F; }\n")
execute_process(COMMAND "${NVCC}" ${flags} -fatbin "${WORK}/kernel.cu" -o "${WORK}/kernel.fatbin" COMMAND_ERROR_IS_FATAL ANY)
