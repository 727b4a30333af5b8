#include "core/autograd.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/backend.h"
#include "core/functors.h"

namespace generous {
namespace {

bool& gradients_enabled() {
  static thread_local bool enabled = true;
  return enabled;
}

std::uint64_t next_order() {
  static std::atomic<std::uint64_t> counter{0};
  return counter.fetch_add(1, std::memory_order_relaxed);
}

/// slot += gradient. In place only in storage that nobody else can see: the slot's or the gradient's.
void accumulate(Tensor& slot, Tensor gradient) {
  gradient = gradient.detach();
  if (!slot.defined() || (!slot.unique() && gradient.unique())) std::swap(slot, gradient);
  if (!gradient.defined()) return;
  if (slot.unique()) {
    backend(slot.device()).accumulate(gradient, slot);
  } else {
    Tensor total = Tensor::empty(slot.shape(), slot.dtype(), slot.device());
    backend(slot.device()).binary(Binary::add, slot, gradient, total);
    slot = std::move(total);
  }
}

Tensor in_dtype(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  backend(x.device()).cast(x, y);
  return y;
}

/// A leaf's gradient may come in bf16; its sums are f32, as it is.
void accumulate(Node& node, Tensor gradient) {
  if (node.backward)
    accumulate(node.gradient, std::move(gradient));
  else
    add_gradient(node.gradient, std::move(gradient));
}

std::shared_ptr<Node> make_node(std::string_view op, const std::vector<Tensor>& inputs) {
  auto node = std::make_shared<Node>();
  node->op = op;
  for (const Tensor& input : inputs) node->inputs.push_back(input.node());
  return node;
}

/// What the inputs that the op can add to have accumulated so far, taken out of them, where nobody else can
/// see it.
Gradients taken_gradients(Node& node) {
  Gradients taken;
  for (std::size_t i = 0; i < node.adds; ++i) {
    Node* input = node.inputs[i].get();
    const bool own = input != nullptr && input->gradient.defined() && input->gradient.unique() &&
                     input->gradient.dtype() == input->dtype;
    taken.push_back(own ? std::exchange(input->gradient, Tensor()) : Tensor());
  }
  return taken;
}

/// Every node that `root` depends on, newest first: an order in which each comes after all that use it.
std::vector<std::shared_ptr<Node>> newest_first(const std::shared_ptr<Node>& root) {
  std::vector<std::shared_ptr<Node>> found{root};
  std::unordered_set<const Node*> seen{root.get()};
  for (std::size_t next = 0; next < found.size(); ++next) {
    const std::shared_ptr<Node> node = found[next];
    require(!node->consumed,
            "backward: the graph behind an output of {} was already freed by an earlier backward", node->op);
    for (const auto& input : node->inputs)
      if (input != nullptr && seen.insert(input.get()).second) found.push_back(input);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a->order > b->order; });
  return found;
}

using Uses = std::unordered_map<const Node*, std::size_t>;

/// How often each leaf is an input of these nodes.
Uses uses_of_leaves(const std::vector<std::shared_ptr<Node>>& nodes) {
  Uses uses;
  for (const auto& node : nodes)
    for (const auto& input : node->inputs)
      if (input != nullptr && !input->backward) ++uses[input.get()];
  return uses;
}

}  // namespace

Node::Node() : order(next_order()) {}

// A long chain of nodes must not be destroyed recursively: each would run its input's destructor on the
// stack.
Node::~Node() {
  std::vector<std::shared_ptr<Node>> doomed = std::move(inputs);
  while (!doomed.empty()) {
    const std::shared_ptr<Node> node = std::move(doomed.back());
    doomed.pop_back();
    if (node == nullptr || node.use_count() > 1) continue;
    std::move(node->inputs.begin(), node->inputs.end(), std::back_inserter(doomed));
    node->inputs.clear();
  }
}

Tensor record(std::string_view op, Tensor y, const std::vector<Tensor>& inputs, BackwardFunction backward) {
  return record_adding(
      op, std::move(y), inputs, 0,
      [backward = std::move(backward)](const Tensor& dy, const Gradients&) { return backward(dy); });
}

Tensor record_adding(std::string_view op, Tensor y, const std::vector<Tensor>& inputs, std::size_t adds,
                     AddingBackwardFunction backward) {
  if (std::none_of(inputs.begin(), inputs.end(), needs_gradient)) return y;
  auto node = make_node(op, inputs);
  node->shape = y.shape();
  node->dtype = y.dtype();
  node->backward = std::move(backward);
  node->adds = adds;
  y.set_node(std::move(node));
  return y;
}

std::vector<Tensor> record_joint(std::string_view op, std::vector<Tensor> ys,
                                 const std::vector<Tensor>& inputs, JointBackwardFunction backward) {
  if (std::none_of(inputs.begin(), inputs.end(), needs_gradient)) return ys;
  // Older than its outputs' nodes, so that its turn comes when each has left its gradient here.
  const auto dys = std::make_shared<std::vector<Tensor>>(ys.size());
  const auto joint = make_node(op, inputs);
  joint->joint = true;
  joint->backward = [dys, backward = std::move(backward)](const Tensor&, const Gradients&) {
    return backward(std::exchange(*dys, std::vector<Tensor>(dys->size())));
  };
  for (std::size_t i = 0; i < ys.size(); ++i) {
    if (!ys[i].defined()) continue;
    auto node = make_node(op, {});
    node->shape = ys[i].shape();
    node->dtype = ys[i].dtype();
    node->inputs = {joint};
    node->backward = [dys, i](const Tensor& dy, const Gradients&) -> Gradients {
      (*dys)[i] = dy;
      return {Tensor()};
    };
    ys[i].set_node(std::move(node));
  }
  return ys;
}

void backward(const Tensor& loss, Graph graph) {
  require(loss.defined() && loss.numel() == 1, "backward: a loss has one element, not shape {}",
          loss.shape().str());
  backward(loss, Tensor::full(loss.shape(), 1.0F, loss.device()), graph);
}

void backward(const Tensor& y, const Tensor& dy, Graph graph, const LeafDone& leaf_done) {
  require(y.requires_grad(), "backward: this tensor does not depend on anything that requires a gradient");
  require(y.shape() == dy.shape(), "backward: an output of shape {} was given a gradient of shape {}",
          y.shape().str(), dy.shape().str());
  require(y.dtype() == dy.dtype(), "backward: an output of {} was given a gradient of {}", name_of(y.dtype()),
          name_of(dy.dtype()));
  const NoGrad guard;
  std::vector<std::shared_ptr<Node>> nodes = newest_first(y.node());
  accumulate(y.node()->gradient, dy);
  Uses uses = leaf_done ? uses_of_leaves(nodes) : Uses();
  for (std::shared_ptr<Node>& node : nodes) {
    if (!node->backward) continue;  // a leaf keeps its gradient
    Gradients gradients = node->backward(std::exchange(node->gradient, Tensor()), taken_gradients(*node));
    require(gradients.size() == node->inputs.size(), "{}: backward returned {} gradients for {} inputs",
            node->op, gradients.size(), node->inputs.size());
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      Node* input = node->inputs[i].get();
      if (input == nullptr || input->joint) continue;
      require(gradients[i].defined() && gradients[i].shape() == input->shape,
              "{}: the gradient of input {} has shape {} instead of {}", node->op, i,
              gradients[i].shape().str(), input->shape.str());
      const bool leaf = !input->backward;
      require(gradients[i].dtype() == input->dtype || (leaf && gradients[i].dtype() == DType::bf16),
              "{}: the gradient of input {} is {} instead of {}", node->op, i, name_of(gradients[i].dtype()),
              name_of(input->dtype));
      accumulate(*input, std::move(gradients[i]));
      if (leaf && leaf_done && --uses[input] == 0) leaf_done(*input);
    }
    if (graph == Graph::kept) continue;
    // What this node kept for its backward pass is free from here on.
    node->backward = nullptr;
    node->inputs.clear();
    node->consumed = true;
    node.reset();
  }
}

void add_gradient(Tensor& sum, Tensor gradient) {
  if (sum.defined()) {
    sum = in_dtype(sum, DType::f32);
    gradient = in_dtype(gradient, DType::f32);
  }
  accumulate(sum, std::move(gradient));
}

NoGrad::NoGrad() : previous_(std::exchange(gradients_enabled(), false)) {}
NoGrad::~NoGrad() { gradients_enabled() = previous_; }

bool needs_gradient(const Tensor& input) { return gradients_enabled() && input.requires_grad(); }

}  // namespace generous
