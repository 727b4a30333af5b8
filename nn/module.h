// Modules: trees of named parameters and buffers with a forward function. Names are PyTorch's state-dict
// names.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/ops.h"

namespace generous {

class Group;  // nn/parallel/group.h

/// How a parameter or buffer starts; filled by Module::initialise.
struct Init {
  enum class Kind { constant, normal, uniform } kind = Kind::constant;
  float value = 0.0F;  ///< the constant, the standard deviation, or the bound b of U(-b, b)

  static Init constant(float value) { return {Kind::constant, value}; }
  static Init normal(float std) { return {Kind::normal, std}; }
  static Init uniform(float bound) { return {Kind::uniform, bound}; }
};

/// How a tensor in memory relates to PyTorch's layout on disk; conversions are in nn/state_dict.cpp alone.
struct DiskLayout {
  enum class Kind { same, ohwi, flattened_hwc } kind = Kind::same;
  Shape image;  ///< flattened_hwc only: {H, W, C} whose flattening the columns of a linear weight index

  static DiskLayout same() { return {}; }
  /// A convolution weight: OHWI here, OIHW on disk.
  static DiskLayout ohwi() { return {Kind::ohwi, {}}; }
  /// A linear weight on flattened images: columns in H, W, C order here, in C, H, W order on disk.
  static DiskLayout flattened_hwc(const Shape& image) { return {Kind::flattened_hwc, image}; }
};

/// One entry of a module's state.
struct StateEntry {
  std::string name;       ///< full dotted name, such as "layer1.0.conv1.weight"
  Tensor tensor;          ///< shares the module's storage
  bool trainable = true;  ///< a parameter; otherwise a buffer (running statistics, counters)
  Init init;
  DiskLayout layout;
};

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  virtual Tensor forward(const Tensor& x) = 0;
  Tensor operator()(const Tensor& x) { return forward(x); }

  /// Training or evaluation mode, for this module and all below it. Throws Error for the training of a frozen
  /// module.
  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }

  /// Prepares a whole model for inference alone: evaluation mode for good, with batch norms folded into the
  /// convolutions before them and ReLU and residual add fused (nn/layers.h). The weights must not change any
  /// more (initialise and load_state_dict refuse), and frozen convolutions have no gradients: run it inside
  /// NoGrad.
  void freeze();
  bool frozen() const { return frozen_; }

  /// Batch norms of this module and all below it take the statistics of training from the rows of all
  /// processes of the group, which must outlive them, and not of this one alone.
  void normalise_with(Group& group);

  /// Every parameter and buffer below this module, in PyTorch's order: own parameters, own buffers, then
  /// children.
  std::vector<StateEntry> state() const;
  /// The trainable ones.
  std::vector<StateEntry> parameters() const;
  /// Number of trainable elements.
  std::int64_t parameter_count() const;
  /// Fills every entry by its Init; the values depend on `seed` and each entry's name alone. Sets the random
  /// keys of this module and all below it in the same way. Throws Error for a frozen module.
  void initialise(std::uint64_t seed);
  /// Moves every parameter and buffer below this module to `device`. Before training: throws Error if there
  /// are gradients already.
  void to(Device device);
  /// The tensor that counts training steps, for this module and all below it: {} of i64 on the module's
  /// device, kept up to date by the caller. Random layers draw anew for every step and the same again for the
  /// same step, so a resumed run needs nothing but its step. Without one it is always step 0.
  /// A batch may pass in slices: `first_row`, likewise kept up to date, is where the slice at hand begins in
  /// it. Random layers draw what they would draw for these rows of the whole batch, and running statistics
  /// follow the slice at row 0 alone. Without one it is always 0.
  void count_steps_by(const Tensor& step, std::shared_ptr<const std::int64_t> first_row = nullptr);

 protected:
  /// Declares a parameter of this module: f32, requires a gradient. Returns a handle to it.
  Tensor add_parameter(std::string_view name, const Shape& shape, Init init, DiskLayout layout = {});
  /// Declares a buffer: saved with the weights, not trained.
  Tensor add_buffer(std::string_view name, const Shape& shape, DType dtype, Init init);
  /// Creates a child module, owned by this one: `Conv2d& conv1 = add<Conv2d>("conv1", ...)`.
  template <class M, class... Args>
  M& add(std::string_view name, Args&&... args) {
    return adopt(name, std::make_unique<M>(std::forward<Args>(args)...));
  }
  /// The same of one that is there already.
  template <class M>
  M& adopt(std::string_view name, std::unique_ptr<M> child) {
    M& reference = *child;
    children_.emplace_back(std::string(name), std::move(child));
    return reference;
  }
  /// The key of this module's own random numbers (core/random.h), a function of seed and full name.
  std::uint64_t key() const { return key_; }
  const Tensor& step() const { return step_; }
  /// With which to normalise; null: with none.
  Group* group() const { return group_; }
  std::int64_t first_row() const { return first_row_ == nullptr ? 0 : *first_row_; }

 private:
  void collect(const std::string& prefix, std::vector<StateEntry>& out) const;
  void set_keys(const std::string& prefix, std::uint64_t seed);

  std::vector<StateEntry> entries_;
  std::vector<std::pair<std::string, std::unique_ptr<Module>>> children_;
  bool training_ = true;
  bool frozen_ = false;
  std::uint64_t key_ = 0;
  Tensor step_;
  std::shared_ptr<const std::int64_t> first_row_;
  Group* group_ = nullptr;
};

}  // namespace generous
