// Reverse-mode automatic differentiation. A differentiable op computes its output with a backend kernel and
// calls `record` with its inputs and a function from the output's gradient to the inputs' gradients.
// `backward` walks the recorded graph from the newest node to the oldest, so the order of accumulation is
// fixed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace generous {

/// One gradient per input of the op, in order; an undefined Tensor where the input needs none.
using Gradients = std::vector<Tensor>;
using BackwardFunction = std::function<Gradients(const Tensor& dy)>;
/// Of an op that can add to the gradients of its first inputs: `so_far` has, for each of these, what has been
/// accumulated where it may be overwritten, undefined elsewhere. A gradient that it returns has the input's
/// share of `so_far` in it.
using AddingBackwardFunction = std::function<Gradients(const Tensor& dy, const Gradients& so_far)>;
/// Of an op with several outputs: one gradient per output, undefined where the loss does not depend on it.
using JointBackwardFunction = std::function<Gradients(const std::vector<Tensor>& dys)>;

/// A place in the graph: an op's output (with a backward function and edges to its inputs) or a leaf
/// (neither).
struct Node {
  Node();
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  std::uint64_t order;                        ///< creation order: inputs always precede outputs
  std::string_view op;                        ///< for messages; empty for a leaf
  std::vector<std::shared_ptr<Node>> inputs;  ///< nullptr where an input needs no gradient
  AddingBackwardFunction backward;
  std::size_t adds = 0;  ///< to the gradients of so many inputs, the first ones, `backward` can add
  /// A leaf's accumulated gradient, in bf16 as long as it is a single one that came so; of an op only while
  /// `backward` runs.
  Tensor gradient;
  Shape shape;               ///< of the tensor this node stands for: gradients are checked against it
  DType dtype = DType::f32;  ///< likewise
  bool consumed = false;
  bool joint = false;  ///< of several outputs, whose own nodes hand their gradients to its `backward`
};

/// Attaches history to `y`, the fresh output of `op`, if gradients are enabled and an input needs one;
/// returns y. The closure must not capture y itself (a cycle): capture `y.detach()` instead.
Tensor record(std::string_view op, Tensor y, const std::vector<Tensor>& inputs, BackwardFunction backward);
/// The same for an op that can add to the gradients of its first `adds` inputs.
Tensor record_adding(std::string_view op, Tensor y, const std::vector<Tensor>& inputs, std::size_t adds,
                     AddingBackwardFunction backward);
/// The same for an op with several outputs `ys`, of which some may be undefined: not wanted.
std::vector<Tensor> record_joint(std::string_view op, std::vector<Tensor> ys,
                                 const std::vector<Tensor>& inputs, JointBackwardFunction backward);

/// What a backward pass leaves of its graph: nothing, or, for another loss's pass through it, everything.
enum class Graph : std::uint8_t { freed, kept };

/// Called with a leaf to whose gradient the backward pass under way adds nothing more.
using LeafDone = std::function<void(const Node& leaf)>;

/// Accumulates d loss / d leaf into every leaf that `loss` depends on. `loss` has one element. Throws Error
/// if loss has no history or its graph was already freed.
void backward(const Tensor& loss, Graph graph = Graph::freed);
/// The same from any output `y` with its gradient `dy` of the same shape and dtype.
void backward(const Tensor& y, const Tensor& dy, Graph graph = Graph::freed, const LeafDone& leaf_done = {});

/// sum += gradient, of a leaf; both in f32, whatever the gradient came in, unless it is the first one, which
/// the sum then is. In place only in storage that nobody else can see.
void add_gradient(Tensor& sum, Tensor gradient);

/// While one lives, ops of this thread record nothing: for teachers and evaluation.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};

/// Whether an op with this input has to compute the input's gradient.
bool needs_gradient(const Tensor& input);

}  // namespace generous
