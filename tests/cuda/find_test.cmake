# cuda/find_libraries.cmake finds cuBLAS, cuDNN and NCCL in pip's layout, which has no libcudnn.so, and says so where there is
# none. Runs as a script: cmake -DSOURCE=... -DWORK=... -P find_test.cmake
set(CMAKE_FIND_LIBRARY_PREFIXES lib)
set(CMAKE_FIND_LIBRARY_SUFFIXES .so)
# Nothing of this machine's own.
foreach(kind PATH ENVIRONMENT_PATH CMAKE_PATH CMAKE_ENVIRONMENT_PATH SYSTEM_PATH CMAKE_SYSTEM_PATH)
  set(CMAKE_FIND_USE_${kind} OFF)
endforeach()
set(CMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH OFF)
set(PIP_PYTHON "")  # nor of its Python

file(REMOVE_RECURSE "${WORK}")
set(packages "${WORK}/site-packages/nvidia")
file(WRITE "${packages}/cudnn/include/cudnn.h" "")
file(WRITE "${packages}/cudnn/include/cudnn_version.h" "#define CUDNN_MAJOR 9\n#define CUDNN_MINOR 19\n")
file(WRITE "${packages}/cudnn/lib/libcudnn.so.9" "")
file(WRITE "${packages}/cu13/include/cublas_v2.h" "")
file(WRITE "${packages}/cu13/include/cuda_runtime_api.h" "")
file(WRITE "${packages}/cu13/lib/libcublas.so.13" "")
file(WRITE "${packages}/nccl/include/nccl.h" "")
file(WRITE "${packages}/nccl/lib/libnccl.so.2" "")

# Whether the names that follow are files below the folder of packages, or, with NONE, are not found.
function(expect wanted)
  foreach(name CUDA_INCLUDE_DIR CUBLAS_INCLUDE_DIR CUBLAS_LIBRARY CUDNN_INCLUDE_DIR CUDNN_LIBRARY
               NCCL_INCLUDE_DIR NCCL_LIBRARY)
    string(FIND "${${name}}" "${packages}" place)
    if((wanted STREQUAL FOUND AND NOT place EQUAL 0) OR (wanted STREQUAL NONE AND ${name}))
      message(FATAL_ERROR "${name} is ${${name}}, ${wanted} was expected")
    endif()
    unset(${name} CACHE)
  endforeach()
endfunction()

set(CUDA_ROOT "${WORK}/cuda")
unset(ENV{CUDA_PATH})
set(ENV{CUDNN_PATH} "${packages}")
include("${SOURCE}/cuda/find_libraries.cmake")
expect(FOUND)
if(NOT "${CUDNN_MAJOR}.${CUDNN_MINOR}" STREQUAL 9.19)
  message(FATAL_ERROR "cuDNN ${CUDNN_MAJOR}.${CUDNN_MINOR}, not 9.19")
endif()

# Each package by itself; its headers do not go with the library of another place.
file(WRITE "${CUDA_ROOT}/lib64/libcudnn.so" "")
set(ENV{CUDNN_PATH} "${packages}/cudnn")
set(ENV{CUDA_PATH} "${packages}/cu13")
set(ENV{NCCL_PATH} "${packages}/nccl")
include("${SOURCE}/cuda/find_libraries.cmake")
expect(FOUND)

file(REMOVE_RECURSE "${CUDA_ROOT}")
unset(ENV{CUDNN_PATH})
unset(ENV{CUDA_PATH})
unset(ENV{NCCL_PATH})
include("${SOURCE}/cuda/find_libraries.cmake")
expect(NONE)
if(NOT CUDNN_MAJOR EQUAL 0)
  message(FATAL_ERROR "cuDNN ${CUDNN_MAJOR}, where there is none")
endif()
