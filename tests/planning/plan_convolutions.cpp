// Asks the installed cuDNN how it would compute convolutions on a GPU that need not be there: prints the
// engine, workspace and notes of the plan that cuda/ would take, for every line of convolutions_of_models on
// the standard input, and exits 1 if there is none for one of them.
//   plan_convolutions [--compile] GPU.json...
// Engines whose kernels are compiled when a plan is made take seconds each: without --compile it is enough
// that the library offers them.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <span>
#include <sstream>

#include "cuda/cudnn_graph.h"

namespace generous::cuda {
namespace {

/// A line of the input.
struct Line {
  ConvolutionProblem problem;
  std::string model;  ///< one that has it
};

std::istream& operator>>(std::istream& in, Shape& shape) {
  std::array<std::int64_t, 4> dims{};
  for (std::int64_t& extent : dims) in >> extent;
  if (in) shape = Shape(dims);
  return in;
}

std::vector<Line> read_lines(std::istream& in) {
  std::vector<Line> lines;
  for (std::string text; std::getline(in, text);) {
    std::istringstream words(text);
    Line line;
    ConvolutionProblem& p = line.problem;
    int activation = 0;
    words >> p.x >> p.weight >> p.y >> p.params.stride >> p.params.padding >> p.params.groups >>
        p.epilogue.bias >> p.epilogue.residual >> activation >> line.model;
    require(!words.fail(), "not a convolution: '{}'", text);
    p.epilogue.activation = static_cast<Activation>(activation);
    lines.push_back(line);
  }
  return lines;
}

/// How a program may be set to compute.
struct Arithmetic {
  std::string_view name;
  DType dtype;
  bool tf32;
};
constexpr std::array arithmetics{Arithmetic{"f32", DType::f32, false}, Arithmetic{"tf32", DType::f32, true},
                                 Arithmetic{"bf16", DType::bf16, false}};

constexpr std::array direction_names{"forward", "backward data", "backward weight"};

std::string describe(const ConvolutionProblem& p) {
  const ConvolutionEpilogue& e = p.epilogue;
  return fmt::format("{}{} x {} weight {} stride {} padding {} groups {}{}{}{}{}", p.adds ? "added " : "",
                     direction_names[static_cast<std::size_t>(p.direction)], p.x.str(), p.weight.str(),
                     p.params.stride, p.params.padding, p.params.groups, e.bias ? " + bias" : "",
                     e.residual ? " + residual" : "", e.activation == Activation::none ? "" : " + relu",
                     p.sums ? " + sums" : "");
}

std::string describe(const Candidate& candidate) {
  constexpr std::array numerics{"tensor cores",      "converts inputs", "reduced sums", "FFT",
                                "not deterministic", "Winograd",        "Winograd 4x4", "Winograd 6x6",
                                "Winograd 13x13",    "NaNs are kept"};
  constexpr std::array behavior{"compiled at run time", "reorders int8 filters", "reorders int8 bias",
                                "native graphs", "cuBLASLt"};
  std::vector<std::string> notes;
  for (const auto note : candidate.numerics) notes.emplace_back(numerics.at(static_cast<std::size_t>(note)));
  for (const auto note : candidate.behavior) notes.emplace_back(behavior.at(static_cast<std::size_t>(note)));
  return fmt::format("engine {} ({})", candidate.engine, fmt::join(notes, ", "));
}

bool compiles(const Candidate& candidate) {
  return std::count(candidate.behavior.begin(), candidate.behavior.end(),
                    CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) != 0;
}

/// The first candidate that is allowed and works, or why there is none.
struct Answer {
  std::optional<std::string> plan;
  std::string refusals;
};

Answer ask(const ConvolutionProblem& problem, const std::vector<Candidate>& candidates,
           const ConvolutionGraph& graph, bool tf32, bool compile) {
  Answer answer;
  for (const Candidate& candidate : candidates) {
    if (!allowed(candidate, problem.dtype, {.tf32 = tf32})) continue;
    if (compiles(candidate) && !compile) return {.plan = describe(candidate) + ", not tried", .refusals = ""};
    try {
      const Plan plan = graph.plan(candidate);
      if (plan.workspace <= most_workspace)
        return {.plan = fmt::format("{}, workspace {}", describe(candidate), plan.workspace), .refusals = ""};
      answer.refusals += fmt::format(" engine {} wants {} bytes;", candidate.engine, plan.workspace);
    } catch (const CudnnError& error) {
      answer.refusals += fmt::format(" engine {}: {};", candidate.engine, error.what());
    }
  }
  return answer;
}

/// Asks for a problem with f32 and with TF32, or with bf16; what is missing is not there for either.
class Question {
 public:
  Question(const ConvolutionProblem& problem, const Target& target) : problem_(problem) {
    try {
      graph_.emplace(problem, target);
      candidates_ = graph_->candidates();
    } catch (const CudnnError& error) {
      refusal_ = fmt::format(" {}", error.what());
    }
  }
  Answer answer(bool tf32, bool compile) const {
    return graph_ ? ask(problem_, candidates_, *graph_, tf32, compile)
                  : Answer{.plan = std::nullopt, .refusals = refusal_};
  }

 private:
  ConvolutionProblem problem_;
  std::optional<ConvolutionGraph> graph_;
  std::vector<Candidate> candidates_;
  std::string refusal_;
};

/// What is asked of a line beside its convolution.
struct Asked {
  Direction direction = Direction::forward;
  bool adds = false;
  bool sums = false;
};
constexpr std::array asked_of_frozen{Asked{}};
constexpr std::array asked_of_sums_with_residual{Asked{}, Asked{.sums = true}};
constexpr std::array asked_of_training{
    Asked{}, Asked{.direction = Direction::backward_data},
    Asked{.direction = Direction::backward_data, .adds = true},  // in residual networks
    Asked{.direction = Direction::backward_weight}, Asked{.sums = true}};

std::span<const Asked> asked_of(const ConvolutionEpilogue& epilogue) {
  if (epilogue == ConvolutionEpilogue{}) return asked_of_training;
  if (epilogue.residual && epilogue.activation == Activation::none) return asked_of_sums_with_residual;
  return asked_of_frozen;
}

/// Plans a line in every direction and arithmetic; how many have no plan. What follows a convolution may be
/// left to kernels of our own where the library does not take both at once.
int plan_line(const Line& line, const Target& target, bool compile) {
  int missing = 0;
  const ConvolutionEpilogue& epilogue = line.problem.epilogue;
  const bool trains = epilogue == ConvolutionEpilogue{};
  for (const Asked& asked : asked_of(epilogue)) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      if (asked.sums && dtype == DType::f32) continue;
      ConvolutionProblem problem = line.problem;
      problem.direction = asked.direction;
      problem.adds = asked.adds;
      problem.sums = asked.sums;
      problem.dtype = dtype;
      const Question question(problem, target);
      for (const Arithmetic& arithmetic : arithmetics) {
        if (arithmetic.dtype != dtype) continue;
        Answer answer = question.answer(arithmetic.tf32, compile);
        std::string_view apart;
        if (!answer.plan && (!trains || asked.sums)) {
          ConvolutionProblem alone = problem;
          alone.epilogue = {};
          alone.sums = false;
          answer = Question(alone, target).answer(arithmetic.tf32, compile);
          apart = "the convolution alone: ";
        }
        fmt::print("{} {}: {}{}\n", arithmetic.name, describe(problem), apart,
                   answer.plan ? *answer.plan : "NO PLAN:" + answer.refusals + " (" + line.model + ")");
        if (!answer.plan) ++missing;
      }
    }
  }
  return missing;
}

int run(const std::vector<std::string>& files, bool compile) {
  const std::vector<Line> lines = read_lines(std::cin);
  require(!lines.empty(), "no convolutions on the standard input");
  require(!files.empty(), "which GPU? usage: plan_convolutions [--compile] GPU.json...");
  int missing = 0;
  for (const std::string& file : files) {
    std::ifstream in(file);
    require(in.good(), "{}: cannot be read", file);
    const std::string description(std::istreambuf_iterator<char>(in), {});
    Descriptor device(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    // With the zero at its end.
    device.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
               std::span<const char>(description.c_str(), description.size() + 1));
    device.finalize();
    const auto begin = std::chrono::steady_clock::now();
    fmt::print("== cuDNN {} for {}\n", cudnnGetVersion(), file);
    int missing_here = 0;
    for (const Line& line : lines) missing_here += plan_line(line, {.device = &device}, compile);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    fmt::print("== {}: {} convolutions, {} without a plan, {:.1f} s\n", file, lines.size(), missing_here,
               seconds.count());
    missing += missing_here;
  }
  return missing == 0 ? 0 : 1;
}

}  // namespace
}  // namespace generous::cuda

int main(int argc, char** argv) {
  std::vector<std::string> files(argv + 1, argv + argc);
  const bool compile = std::erase(files, "--compile") != 0;
  try {
    return generous::cuda::run(files, compile);
  } catch (const std::exception& error) {
    std::cerr << "plan_convolutions: " << error.what() << '\n';
    return 1;
  }
}
