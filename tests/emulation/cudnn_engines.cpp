// The engines of the emulated cuDNN, its heuristics and plans. Engines differ in what they do to the numbers,
// and each has notes that say so; the heuristics put those first that a careless caller should not have
// taken.
#include <fmt/format.h>

#include <algorithm>

#include "cudnn_problem.h"
#include "libraries.h"

namespace generous::emulation {
namespace {

using Notes = std::vector<cudnnBackendNumericalNote_t>;

/// For which problems an engine is there, and what its notes are.
struct Engine {
  bool (*takes)(const Problem& problem);
  Notes notes;
  bool compiled = false;  ///< when a plan is made
};

bool is_f32(const Problem& p) { return p.element() == Element::f32; }
bool is_forward(const Problem& p) { return p.direction == Direction::forward; }

/// Nothing behind the sums, or what the real library has kernels for: a residual, a bias and a ReLU, at most
/// once each and in this order, with a bias, all of one type.
bool is_common(const Problem& p) {
  if (p.sum) return false;
  int place = 0;
  bool bias = p.steps.empty();
  for (const Step& step : p.steps) {
    const int now = !step.added ? 3 : step.added->per_channel() ? 2 : 1;
    if (now <= place || (step.added && step.added->element != p.element())) return false;
    place = now;
    bias = bias || now == 2;
  }
  return bias;
}

bool has_sums(const Problem& p) { return p.sum.has_value(); }
bool has_more(const Problem& p) { return !p.steps.empty() && !has_sums(p); }

/// By their numbers.
const std::vector<Engine>& engines() {
  static const std::vector<Engine> all{
      // 0, 1: exact; the second one adds in any order
      {.takes = is_common, .notes = {}},
      {.takes = [](const Problem& p) { return !is_forward(p); },
       .notes = {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC}},
      // 2, 3: f32 is rounded to TF32
      {.takes = is_common, .notes = {CUDNN_NUMERICAL_NOTE_TENSOR_CORE}},
      {.takes = [](const Problem& p) { return !is_forward(p); },
       .notes = {CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC}},
      // 4: fewer products, more rounding
      {.takes =
           [](const Problem& p) {
             return is_common(p) && p.steps.empty() && p.direction != Direction::backward_filter;
           },
       .notes = {CUDNN_NUMERICAL_NOTE_WINOGRAD, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4}},
      // 5: f32 is rounded to a type of 16 bits
      {.takes = [](const Problem& p) { return is_common(p) && is_f32(p); },
       .notes = {CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS}},
      // 6: sums of 16 bits
      {.takes = [](const Problem& p) { return is_common(p) && !is_f32(p); },
       .notes = {CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION}},
      // 7, 8: anything, compiled for it
      {.takes = has_more, .notes = {CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, .compiled = true},
      {.takes = has_more, .notes = {}, .compiled = true},
      // 9, 10: the same with the sums of channels
      {.takes = has_sums, .notes = {CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, .compiled = true},
      {.takes = has_sums, .notes = {}, .compiled = true},
  };
  return all;
}

template <class T>
Attribute attribute_of(const std::vector<T>& values) {
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  return {.count = static_cast<std::int64_t>(values.size()),
          .bytes = {bytes, bytes + values.size() * sizeof(T)}};
}

cudnnStatus_t bad(std::string_view what) {
  return refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("cudnnBackendFinalize: {}", what));
}

/// The status with which a test wants this engine to refuse, or 0.
int refusal(int Refusal::*when, std::int64_t engine) {
  const Refusal& planned = libraries().refusal;
  return planned.engine < 0 || planned.engine == engine ? planned.*when : 0;
}

bool is_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  return cudaStreamIsCapturing(stream, &capture) == cudaSuccess && capture != cudaStreamCaptureStatusNone;
}

cudnnStatus_t finalize_heuristics(BackendDescriptor& d) {
  const auto* graph = part(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  if (graph == nullptr || !d.has(CUDNN_ATTR_ENGINEHEUR_MODE))
    return bad("heuristics of no graph, or no mode");
  d.problem = graph->problem;
  d.engines = engines_for(*d.problem, d.one(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A));
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalize_plan(BackendDescriptor& d) {
  const auto* config = part(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  const auto handle = d.one<cudnnHandle_t>(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, nullptr);
  if (config == nullptr || handle == nullptr) return bad("a plan of no engine, or for no handle");
  // To load kernels is not allowed meanwhile.
  if (is_capturing(handle->stream))
    return refuse(CUDNN_STATUS_EXECUTION_FAILED_CUDART, "cudnnBackendFinalize: the stream is captured");
  if (const int status = refusal(&Refusal::at_planning, config->engines[0]))
    return refuse(static_cast<cudnnStatus_t>(status), "cudnnBackendFinalize: a test wants it refused");
  d.problem = config->problem;
  d.engines = config->engines;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

std::vector<std::int64_t> engines_for(const Problem& problem, cudnnBackendHeurMode_t mode) {
  if (!problem.has_engines) return {};
  const bool fallback = mode == CUDNN_HEUR_MODE_FALLBACK;
  std::vector<std::int64_t> found;
  for (const std::int64_t engine :
       fallback ? std::vector<std::int64_t>{7, 8, 9, 10, 0} : std::vector<std::int64_t>{6, 5, 4, 3, 2, 1, 0})
    if (engines()[static_cast<std::size_t>(engine)].takes(problem)) found.push_back(engine);
  return found;
}

Notes notes_of(const Problem&, std::int64_t engine) {
  return engines()[static_cast<std::size_t>(engine)].notes;
}

std::size_t workspace_bytes(const Problem& problem, std::int64_t engine) {
  // As much as might be needed: offsets of pixels, sums in f32 beside a bf16 result. Every engine gets a size
  // of its own, so that none serves for another one, and the plain forward pass of f32 none.
  if (engine == 0 && problem.direction == Direction::forward && is_f32(problem)) return 0;
  const std::int64_t elements = problem.direction == Direction::backward_filter
                                    ? problem.filter.layout.elements()
                                    : problem.p * problem.q + problem.r * problem.s * problem.c;
  constexpr std::int64_t unit = 256;
  return static_cast<std::size_t>((4 * elements + unit - 1) / unit * unit + 16 * (engine + 1));
}

cudnnStatus_t finalize_engine_part(BackendDescriptor& d) {
  switch (d.type) {
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
      return finalize_heuristics(d);
    case CUDNN_BACKEND_ENGINE_DESCRIPTOR:
    case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
      return refuse(CUDNN_STATUS_NOT_SUPPORTED, "cudnnBackendFinalize: engines come from heuristics alone");
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
      return finalize_plan(d);
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
      return d.all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).size() ==
                     d.all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS).size()
                 ? CUDNN_STATUS_SUCCESS
                 : bad("ids and addresses of a pack differ in number");
    default:
      return CUDNN_STATUS_SUCCESS;
  }
}

cudnnStatus_t computed(const BackendDescriptor& d, cudnnBackendAttributeName_t name, Attribute& value) {
  if (d.engines.empty()) return bad("an attribute that was not set");
  const Engine& engine = engines()[static_cast<std::size_t>(d.engines[0])];
  switch (name) {
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
      value = attribute_of(d.engines);
      break;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
      value = attribute_of(engine.notes);
      break;
    case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE:
      value = attribute_of(
          engine.compiled ? std::vector<cudnnBackendBehaviorNote_t>{CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION}
                          : std::vector<cudnnBackendBehaviorNote_t>{});
      break;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
      value = attribute_of(std::vector{
          static_cast<std::int64_t>(workspace_bytes(*d.problem, d.engines[0]) + libraries().more_workspace)});
      break;
    default:
      return bad("an attribute that was not set");
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t computed_descriptors(const BackendDescriptor& d, cudnnBackendAttributeName_t name,
                                   std::int64_t requested, std::int64_t& count,
                                   cudnnBackendDescriptor_t* places) {
  const bool results = name == CUDNN_ATTR_ENGINEHEUR_RESULTS;
  if (!results && name != CUDNN_ATTR_ENGINECFG_ENGINE) return bad("not an attribute to be asked for");
  count = results ? static_cast<std::int64_t>(d.engines.size()) : 1;
  for (std::int64_t i = 0; i < std::min(count, requested); ++i) {
    auto* place = static_cast<BackendDescriptor*>(places[i]);
    place->finalized = true;
    place->problem = d.problem;
    place->engines = {d.engines[static_cast<std::size_t>(i)]};
  }
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace generous::emulation

using namespace generous::emulation;

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t executionPlan,
                                  cudnnBackendDescriptor_t variantPack) {
  const char* call = "cudnnBackendExecute";
  if (const int status = planned_failure(call))
    return refuse(static_cast<cudnnStatus_t>(status),
                  fmt::format("{}: a failure that a test asked for", call));
  const auto* plan = finalized(executionPlan, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  const auto* pack = finalized(variantPack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  if (handle == nullptr || plan == nullptr || pack == nullptr)
    return refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("{}: a null or unfinished argument", call));
  const std::int64_t engine = plan->engines[0];
  if (const int status = refusal(&Refusal::at_execution, engine))
    return refuse(static_cast<cudnnStatus_t>(status), fmt::format("{}: a test wants it refused", call));

  std::map<std::int64_t, void*> addresses;
  const auto ids = pack->all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = pack->all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  for (std::size_t i = 0; i < ids.size(); ++i) addresses[ids[i]] = pointers[i];
  for (const GraphTensor& tensor : plan->problem->tensors()) {
    const auto found = addresses.find(tensor.id);
    if (found == addresses.end() || found->second == nullptr)
      return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER,
                    fmt::format("{}: tensor {} is nowhere", call, tensor.id));
    if (reinterpret_cast<std::uintptr_t>(found->second) % static_cast<std::uintptr_t>(tensor.alignment) != 0)
      return refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER,
                    fmt::format("{}: tensor {} is not aligned to {}", call, tensor.id, tensor.alignment));
  }
  void* const workspace = pack->one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, nullptr);
  if (workspace == nullptr && workspace_bytes(*plan->problem, engine) != 0)
    return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, fmt::format("{}: no workspace", call));

  constexpr const char* names[] = {"cuDNN forward", "cuDNN backward data", "cuDNN backward filter"};
  const bool accepted = submit(handle->stream, names[static_cast<std::size_t>(plan->problem->direction)],
                               [problem = plan->problem, engine, addresses, workspace] {
                                 run(*problem, engine, addresses, workspace);
                               });
  if (!accepted)
    return refuse(CUDNN_STATUS_EXECUTION_FAILED, fmt::format("{}: the stream takes no work", call));
  libraries().last_engine = engine;
  return CUDNN_STATUS_SUCCESS;
}
