# Where CUDA's headers, cuBLAS and cuDNN are: in CUDA's own folder, in those of CUDA_PATH and CUDNN_PATH, or in the
# packages nvidia/* of pip, which have no libcudnn.so, only libcudnn.so.9. Likewise NCCL. Sets CUDA_INCLUDE_DIR,
# CUBLAS_LIBRARY, NCCL_INCLUDE_DIR, NCCL_LIBRARY, CUDNN_INCLUDE_DIR, CUDNN_LIBRARY, CUDNN_MAJOR (0 if there is none) and CUDNN_MINOR. CUDA_ROOT is where nvcc is, if
# that is known.
set(PIP_PACKAGES "")
find_program(PIP_PYTHON NAMES python3 python)
if(PIP_PYTHON)
  execute_process(COMMAND "${PIP_PYTHON}" -c "import sysconfig; print(sysconfig.get_path('purelib'))"
                  OUTPUT_VARIABLE PIP_PACKAGES OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
# CUDNN_PATH may be the folder of all of pip's packages as well: .../site-packages/nvidia
set(CUDA_FOLDERS "${CUDA_ROOT}" ENV CUDA_PATH ENV CUDNN_PATH "${PIP_PACKAGES}/nvidia")
set(CUDA_INCLUDES include cu13/include cu12/include)
set(CUDA_LIBRARIES lib64 lib cu13/lib cu12/lib)
find_path(CUDA_INCLUDE_DIR cuda_runtime_api.h HINTS ${CUDA_FOLDERS}
          PATH_SUFFIXES ${CUDA_INCLUDES} cuda_runtime/include)
find_path(CUBLAS_INCLUDE_DIR cublas_v2.h HINTS ${CUDA_FOLDERS} PATH_SUFFIXES ${CUDA_INCLUDES} cublas/include)
find_library(CUBLAS_LIBRARY NAMES cublas libcublas.so.13 libcublas.so.12 NAMES_PER_DIR HINTS ${CUDA_FOLDERS}
             PATH_SUFFIXES ${CUDA_LIBRARIES} cublas/lib)
find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ENV CUDNN_PATH ${CUDA_FOLDERS} PATH_SUFFIXES include cudnn/include)
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 NAMES_PER_DIR HINTS ENV CUDNN_PATH ${CUDA_FOLDERS}
             PATH_SUFFIXES lib64 lib cudnn/lib)
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ENV NCCL_PATH ${CUDA_FOLDERS} PATH_SUFFIXES include nccl/include)
find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2 NAMES_PER_DIR HINTS ENV NCCL_PATH ${CUDA_FOLDERS}
             PATH_SUFFIXES ${CUDA_LIBRARIES} nccl/lib)
set(CUDNN_MAJOR 0)
set(CUDNN_MINOR 0)
if(EXISTS "${CUDNN_INCLUDE_DIR}/cudnn_version.h")
  foreach(number MAJOR MINOR)
    file(STRINGS "${CUDNN_INCLUDE_DIR}/cudnn_version.h" CUDNN_${number} REGEX "^#define CUDNN_${number} ")
    string(REGEX REPLACE "[^0-9]" "" CUDNN_${number} "${CUDNN_${number}}")
  endforeach()
endif()
