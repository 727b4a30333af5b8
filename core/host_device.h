// Functions marked so compile for the host and, under nvcc, for the device as well.
#pragma once

#ifdef __CUDACC__
#define GENEROUS_HOST_DEVICE __host__ __device__
#else
#define GENEROUS_HOST_DEVICE
#endif
