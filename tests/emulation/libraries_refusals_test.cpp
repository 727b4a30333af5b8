// What the emulated cuDNN refuses, with the statuses that the real library was seen to give.

#include <functional>

#include "tests/emulation/libraries_convolution.h"

namespace generous {
namespace {

using namespace testing;

const cudnnDataType_t f32 = CUDNN_DATA_FLOAT, bf16 = CUDNN_DATA_BFLOAT16;

Descriptor images(const std::vector<std::int64_t>& dims, cudnnDataType_t type = f32) {
  return tensor(1, type, dims, false);
}

TEST_CASE("tensors and filters that do not fit together") {
  /// The status of all three directions' operations after a change to the parts.
  const auto after = [](const std::function<void(Parts&)>& change) {
    const auto status = [&](Direction direction) {
      return status_of([&] {
        Parts parts{Convolution{}};
        change(parts);
        operation(direction, parts);
      });
    };
    for (const Direction direction : directions) CHECK(status(direction) == status(Direction::forward));
    return status(Direction::forward);
  };
  CHECK(after([](Parts& parts) { parts.x = images({2, 6, 5, 7}); }) == CUDNN_STATUS_SUCCESS);  // as it is
  CHECK(after([](Parts& parts) { parts.x = images({2, 5, 5, 7}); }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](Parts& parts) { parts.x = images({3, 6, 5, 7}); }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](Parts& parts) { parts.x = images({2, 6, 9, 7}); }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](Parts& parts) { parts.x = images({2, 6, 5, 1}); }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](Parts& parts) { parts.w = images({4, 5, 3, 2}); }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](Parts& parts) { parts.w = images({5, 6, 3, 2}); }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](Parts& parts) {
          parts.w = images({4, 2, 3, 2});
        }) == CUDNN_STATUS_BAD_PARAM);  // 3 groups of 4/3
  CHECK(after([](Parts& parts) { parts.y = images({2, 4, 3, 5}); }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](Parts& parts) { parts.x = images({2, 6, 5, 0}); }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](Parts& parts) {
          parts.convolution.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, std::vector<std::int64_t>{1, -1});
        }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](Parts& parts) {
          parts.convolution.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::vector<std::int64_t>{0, 1});
        }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](Parts& parts) {
          parts.convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{3});
        }) == CUDNN_STATUS_BAD_PARAM);
}

TEST_CASE("types for which there is no engine: no error, and no plan") {
  const auto count = [](const std::function<void(Parts&)>& change, Direction direction) {
    Parts parts(Convolution{.dtype = DType::bf16});
    change(parts);
    return engines(graph({operation(direction, parts)})).size();
  };
  for (const Direction direction : directions) {
    CHECK(count([](Parts&) {}, direction) > 0);
    CHECK(count([](Parts& parts) { parts.x = tensor(1, f32, {2, 6, 5, 7}, false); }, direction) == 0);
    CHECK(count([](Parts& parts) { parts.w = tensor(2, f32, {4, 6, 3, 2}, false); }, direction) == 0);
    CHECK(count([](Parts& parts) { parts.convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, bf16); },
                direction) == 0);
    CHECK(count(
              [](Parts& parts) {
                parts.y = tensor(3, CUDNN_DATA_HALF, {2, 4, 5, 3}, false);
              },
              direction) == 0);
  }
}

TEST_CASE("descriptors: attributes that are not theirs, of another type, too many, or too late") {
  Descriptor x = images({2, 6, 5, 7});
  CHECK(status_of([&] { x.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, 1.0F); }) ==
        CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE);
  CHECK(status_of([&] { x.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_ADD); }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(status_of([&] {
          x.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, std::vector<std::int64_t>{1, 2});
        }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(status_of([&] { x.get<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID); }) == CUDNN_STATUS_NOT_INITIALIZED);
  x.finalize();
  CHECK(x.get<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, 8) == std::vector<std::int64_t>{2, 6, 5, 7});
  CHECK(status_of([&] { x.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, std::int64_t{2}); }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(status_of([&] { x.finalize(); }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(status_of([] { Descriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR).finalize(); }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(status_of([] {
          images({2, 6, 5, 7}).set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{3}).finalize();
        }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnBackendFinalize(nullptr) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, nullptr) == CUDNN_STATUS_BAD_PARAM);
  std::int64_t id = 1;
  CHECK(cudnnBackendSetAttribute(nullptr, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id) ==
        CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnBackendGetAttribute(x.raw(), CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, nullptr, &id) ==
        CUDNN_STATUS_BAD_PARAM);
}

TEST_CASE("graphs: no operation, one that is not finished, two tensors of one id, nothing in memory") {
  CHECK(status_of([] { Descriptor(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR).finalize(); }) ==
        CUDNN_STATUS_BAD_PARAM);
  const Descriptor unfinished(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  CHECK(status_of([&] { graph({unfinished}); }) == CUDNN_STATUS_BAD_PARAM);
  const auto with_y = [](const Descriptor& y) {
    return status_of([&] {
      Parts parts{Convolution{}};
      parts.y = y;
      graph({operation(Direction::forward, parts)});
    });
  };
  CHECK(with_y(tensor(3, f32, {2, 4, 5, 3}, false)) == CUDNN_STATUS_SUCCESS);
  CHECK(with_y(tensor(2, f32, {2, 4, 5, 3}, false)) == CUDNN_STATUS_BAD_PARAM);
  CHECK(with_y(tensor(3, f32, {2, 4, 5, 3}, false, false)) == CUDNN_STATUS_BAD_PARAM);
  const Descriptor one = operation(Direction::forward, Parts(Convolution{}));
  CHECK(status_of([&] { graph({one, one}); }) == CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN);
  CHECK(status_of([] { Descriptor(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR).finalize(); }) ==
        CUDNN_STATUS_BAD_PARAM);
  CHECK(status_of([] { Descriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR).finalize(); }) ==
        CUDNN_STATUS_BAD_PARAM);
  CHECK(status_of([] { Descriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR).finalize(); }) ==
        CUDNN_STATUS_NOT_SUPPORTED);
}

TEST_CASE("runs without a plan, an operand, its alignment or a workspace") {
  const CudnnHandle handle;
  const Convolution of;
  const Operands operands(of);
  const Descriptor planned = plan(handle, graph({operation(Direction::forward, Parts(of))}), 2);
  void* const x = operands.x.data();
  void* const w = operands.w.data();
  void* const y = operands.y.data();
  void* const workspace = operands.workspace.data();
  CHECK(execute(handle, planned, {1, 2, 3}, {x, w, y}, workspace) == CUDNN_STATUS_SUCCESS);
  CHECK(execute(nullptr, planned, {1, 2, 3}, {x, w, y}, workspace) == CUDNN_STATUS_BAD_PARAM);
  CHECK(execute(handle, images({1, 1, 1, 1}), {1, 2, 3}, {x, w, y}, workspace) == CUDNN_STATUS_BAD_PARAM);
  CHECK(execute(handle, planned, {1, 2}, {x, w}, workspace) == CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  CHECK(execute(handle, planned, {1, 2, 3}, {x, w, nullptr}, workspace) ==
        CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  CHECK(execute(handle, planned, {1, 2, 3}, {x, w, y}, nullptr) == CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  CHECK(execute(handle, planned, {1, 2, 3}, {x, w, static_cast<char*>(y) + 2}, workspace) ==
        CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER);
  CHECK(status_of([&] { execute(handle, planned, {1, 2, 3}, {x, w}, workspace); }) == CUDNN_STATUS_BAD_PARAM);
}

TEST_CASE("handles and strings") {
  CHECK(cudnnGetVersion() == CUDNN_VERSION);
  CHECK(cudnnGetErrorString(CUDNN_STATUS_NOT_SUPPORTED_SHAPE) == std::string("CUDNN_STATUS_NOT_SUPPORTED"));
  const CudnnHandle handle;
  const Stream stream;
  cudaStream_t set = nullptr;
  REQUIRE(cudnnSetStream(handle, stream) == CUDNN_STATUS_SUCCESS);
  REQUIRE(cudnnGetStream(handle, &set) == CUDNN_STATUS_SUCCESS);
  CHECK(set == stream);
  CHECK(cudnnSetStream(nullptr, nullptr) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnGetStream(handle, nullptr) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnCreate(nullptr) == CUDNN_STATUS_BAD_PARAM);
  char message[100];
  cudnnGetLastErrorString(message, sizeof(message));
  CHECK(std::string(message).find("cudnnCreate") != std::string::npos);
  cudnnGetLastErrorString(message, sizeof(message));
  CHECK(message[0] == '\0');
}

}  // namespace
}  // namespace generous
