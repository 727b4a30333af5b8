// A driver without a GPU, under the name of the real one, libcuda.so.1: it takes the kernels that cuDNN
// compiles while it plans, and can do nothing else. With CUDA's own stub such plans fail when their kernels
// are loaded.

namespace {

constexpr int success = 0;      // CUDA_SUCCESS
constexpr int no_device = 100;  // CUDA_ERROR_NO_DEVICE
constexpr int version = 13000;  // of CUDA, as in the descriptions of the GPUs
char kernel;                    // an address that stands for all libraries and kernels
void* handle() { return &kernel; }

}  // namespace

extern "C" {

int cuDriverGetVersion(int* found) {
  *found = version;
  return success;
}

int cuGetErrorName(int, const char** name) {
  *name = "an error of the driver without a GPU";
  return success;
}

int cuGetErrorString(int status, const char** text) { return cuGetErrorName(status, text); }

// Kernels that were compiled
int cuLibraryLoadData(void** library, ...) {
  *library = handle();
  return success;
}

int cuLibraryGetKernel(void** found, ...) {
  *found = handle();
  return success;
}

int cuKernelGetAttribute(int* value, ...) {
  *value = 0;
  return success;
}

int cuKernelSetAttribute() { return success; }
int cuLibraryUnload() { return success; }

// All else that cuDNN 9 looks for
#define WITHOUT_GPU(function) \
  int function() { return no_device; }
WITHOUT_GPU(cuInit)
WITHOUT_GPU(cuCtxGetCurrent)
WITHOUT_GPU(cuCtxGetDevice)
WITHOUT_GPU(cuCtxGetLimit)
WITHOUT_GPU(cuCtxPopCurrent)
WITHOUT_GPU(cuCtxPushCurrent)
WITHOUT_GPU(cuDeviceGet)
WITHOUT_GPU(cuDeviceGetAttribute)
WITHOUT_GPU(cuDeviceGetCount)
WITHOUT_GPU(cuDevicePrimaryCtxRelease)
WITHOUT_GPU(cuDevicePrimaryCtxReset)
WITHOUT_GPU(cuDevicePrimaryCtxRetain)
WITHOUT_GPU(cuFuncGetAttribute)
WITHOUT_GPU(cuFuncSetAttribute)
WITHOUT_GPU(cuLaunchCooperativeKernel)
WITHOUT_GPU(cuLaunchKernel)
WITHOUT_GPU(cuLaunchKernelEx)
WITHOUT_GPU(cuLibraryLoadFromFile)
WITHOUT_GPU(cuLinkAddData)
WITHOUT_GPU(cuLinkAddData_v2)
WITHOUT_GPU(cuLinkAddFile_v2)
WITHOUT_GPU(cuLinkComplete)
WITHOUT_GPU(cuLinkCreate)
WITHOUT_GPU(cuLinkCreate_v2)
WITHOUT_GPU(cuLinkDestroy)
WITHOUT_GPU(cuMemcpyDtoH_v2)
WITHOUT_GPU(cuModuleGetFunction)
WITHOUT_GPU(cuModuleGetGlobal_v2)
WITHOUT_GPU(cuModuleLoadData)
WITHOUT_GPU(cuModuleLoadDataEx)
WITHOUT_GPU(cuModuleLoadFatBinary)
WITHOUT_GPU(cuModuleUnload)
WITHOUT_GPU(cuOccupancyMaxActiveBlocksPerMultiprocessor)
WITHOUT_GPU(cuOccupancyMaxPotentialClusterSize)
WITHOUT_GPU(cuStreamGetCtx)
WITHOUT_GPU(cuStreamSynchronize)
WITHOUT_GPU(cuTensorMapEncodeTiled)

}  // extern "C"
