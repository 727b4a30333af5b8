// How the emulated cuDNN offers engines: what its heuristics answer, the engines' notes, workspaces, and what
// tests can ask of them.

#include <set>

#include "tests/emulation/libraries.h"
#include "tests/emulation/libraries_convolution.h"

namespace generous {
namespace {

using namespace testing;

std::vector<cudnnBackendNumericalNote_t> notes_of(const Descriptor& config) {
  return engine_of(config).get<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, 10);
}

Descriptor graph_of(const Convolution& of, Direction direction) {
  return graph({operation(direction, Parts(of))});
}

TEST_CASE("each direction and type has exact and rounding engines, and one that gives the same bits always") {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Direction direction : directions) {
      CAPTURE(static_cast<int>(direction));
      const Descriptor of = graph_of({.dtype = dtype}, direction);
      bool exact = false;
      std::set<std::int64_t> numbers;
      for (const Descriptor& config : configs(of)) {
        const auto notes = notes_of(config);
        exact = exact || notes.empty();
        CHECK(numbers.insert(number_of(config)).second);
        const bool varies = std::ranges::count(notes, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) != 0;
        CHECK((!varies || direction != Direction::forward));
      }
      CHECK(exact);
      CHECK(numbers.size() >= 3);
      CHECK(notes_of(configs(of)[0]).size() == 2);  // no careful caller takes the first
      CHECK(number_of(configs(of, CUDNN_HEUR_MODE_FALLBACK).back()) == 0);
    }
}

TEST_CASE("every engine, shape and type needs another workspace") {
  const CudnnHandle handle;
  for (const Direction direction : directions) {
    std::set<std::size_t> sizes;
    std::size_t count = 0;
    for (const Convolution& of : {Convolution{}, Convolution{.c = 60, .h = 19}}) {
      const Descriptor asked = graph_of(of, direction);
      for (const std::int64_t engine : engines(asked)) {
        sizes.insert(workspace_of(plan(handle, asked, engine)));
        ++count;
      }
    }
    CHECK(sizes.size() >= count - 1);  // the plain forward pass needs none, whatever the shape
  }
}

TEST_CASE("an engine refuses as a test wants it, while a plan is made or when it runs") {
  const CudnnHandle handle;
  const Convolution of;
  const Operands operands(of);
  const Descriptor asked = graph_of(of, Direction::forward);
  emulation::libraries().refusal = {
      .engine = 2, .at_planning = CUDNN_STATUS_NOT_SUPPORTED_SHAPE, .at_execution = 0};
  CHECK(status_of([&] { plan(handle, asked, 2); }) == CUDNN_STATUS_NOT_SUPPORTED_SHAPE);
  CHECK(status_of([&] { plan(handle, asked, 0); }) == CUDNN_STATUS_SUCCESS);
  emulation::libraries().refusal = {.engine = -1, .at_planning = 0, .at_execution = CUDNN_STATUS_BAD_PARAM};
  CHECK(operands.execute(handle, plan(handle, asked, 0)) == CUDNN_STATUS_BAD_PARAM);
  emulation::reset_libraries();
  CHECK(operands.execute(handle, plan(handle, asked, 0)) == CUDNN_STATUS_SUCCESS);
  CHECK(emulation::libraries().last_engine == 0);
  emulation::fail_library_call("cudnnBackendFinalize heuristics", CUDNN_STATUS_INTERNAL_ERROR);
  CHECK(status_of([&] { configs(asked); }) == CUDNN_STATUS_INTERNAL_ERROR);
  emulation::libraries().convolutions = false;
  CHECK(engines(graph_of(of, Direction::forward)).empty());
  emulation::reset_libraries();
}

TEST_CASE("no plan is made while the stream of its handle is captured") {
  const CudnnHandle handle;
  const Stream stream;
  REQUIRE(cudnnSetStream(handle, stream) == CUDNN_STATUS_SUCCESS);
  const Descriptor asked = graph_of({}, Direction::forward);
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  CHECK(status_of([&] { plan(handle, asked, 0); }) == CUDNN_STATUS_EXECUTION_FAILED_CUDART);
  cudaGraph_t captured = nullptr;
  REQUIRE(cudaStreamEndCapture(stream, &captured) == cudaSuccess);
  REQUIRE(cudaGraphDestroy(captured) == cudaSuccess);
  CHECK(status_of([&] { plan(handle, asked, 0); }) == CUDNN_STATUS_SUCCESS);
}

}  // namespace
}  // namespace generous
