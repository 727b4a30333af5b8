#include "nn/distill/crd.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/backend.h"

namespace generous {
namespace {

/// The images by class, for NegativeDraws.
void sort_by_class(const TrainingSet& train, NegativeDraws& draws) {
  std::vector<std::int64_t> sorted(train.labels.size());
  std::iota(sorted.begin(), sorted.end(), 0);
  const auto label_of = [&](std::int64_t image) { return train.labels[static_cast<std::size_t>(image)]; };
  std::ranges::stable_sort(sorted, {}, label_of);
  std::vector<std::int64_t> begin;
  for (std::int64_t label = 0; label <= train.classes; ++label)
    begin.push_back(std::ranges::lower_bound(sorted, label, {}, label_of) - sorted.begin());
  draws.sorted = Tensor::from(sorted, {std::ssize(sorted)});
  draws.begin = Tensor::from(begin, {std::ssize(begin)});
}

}  // namespace

// log((o + c + e) / c) = log(1 + e / c) + log(1 + o / (c + e)): no difference of large numbers.
Tensor contrastive_loss(const Scores& scores, const Tensor& seen, float c) {
  constexpr float e = 1e-7F;
  const auto batch = static_cast<float>(seen.size(0));
  const Tensor all = sum(seen * softplus(scores.log_o - std::log(c + e)));
  const Tensor shift = std::log1p(e / c) * sum(seen);
  return (all + shift - sum(scores.log_positive)) / batch + std::log(c);
}

void Crd::declare(Options& options) {
  FeatureMethod::declare(options);
  options.add("dim", dim_, {.help = "of the embeddings", .min = 1, .max = 4096});
  options.add("negatives", negatives_,
              {.help = "images of other classes that each one is compared with", .min = 1, .max = 1e7});
  options.add("tau", tau_, {.help = "temperature of the comparison", .min = 0.01, .max = 100});
  options.add("bank_momentum", bank_momentum_,
              {.help = "share that an embedding in a bank keeps of itself", .min = 0, .max = 1});
}

void Crd::connect(const Outputs& student, const Outputs& teacher, const TrainingSet& train) {
  const FeaturePair pooled = pooled_pair("crd", student, teacher);
  const auto images = static_cast<std::int64_t>(train.labels.size());
  embed_s_ = &add<Embedding>("embed_s", pooled.student.size(1), dim_);
  embed_t_ = &add<Embedding>("embed_t", pooled.teacher.size(1), dim_);
  const Init start = Init::uniform(std::sqrt(3.0F / static_cast<float>(dim_)));  // of length 1 on average
  bank_s_ = add_buffer("memory_v1", {images, dim_}, DType::f32, start);
  bank_t_ = add_buffer("memory_v2", {images, dim_}, DType::f32, start);
  z_s_ = add_buffer("Z_v1", {}, DType::f32, Init::constant(0.0F));
  z_t_ = add_buffer("Z_v2", {}, DType::f32, Init::constant(0.0F));
  sort_by_class(train, draws_);
  draws_.sorted = draws_.sorted.to(pooled.student.device());
  draws_.begin = draws_.begin.to(pooled.student.device());
}

Tensor Crd::knowledge(const DistillBatch& batch) {
  // Anew in every step, and so in every epoch for an image: as published.
  draws_.count = negatives_;
  draws_.key = key();
  draws_.step = batch.step;
  const Tensor drawn = draw_negatives(batch.labels.classes, draws_);
  return contrast(pooled_pair("crd", batch.student[0], batch.teacher[0]), batch.indices, drawn);
}

Tensor Crd::contrast(const FeaturePair& pooled, const Tensor& indices, const Tensor& negatives) {
  const Tensor s = l2_rows((*embed_s_)(pooled.student));
  const Tensor t = l2_rows((*embed_t_)(pooled.teacher));
  const Tensor seen = one_hot(indices, bank_s_.size(0)) + negatives;
  const float c = static_cast<float>(negatives_) / static_cast<float>(bank_s_.size(0));
  const Tensor loss = contrastive_loss(score(s, bank_t_, z_s_, indices, seen), seen, c) +
                      contrastive_loss(score(t, bank_s_, z_t_, indices, seen), seen, c);
  settled_ = true;
  move(bank_s_, s.detach(), indices);
  move(bank_t_, t.detach(), indices);
  return loss;
}

Scores Crd::score(const Tensor& embedding, const Tensor& bank, Tensor& z, const Tensor& indices,
                  const Tensor& seen) const {
  const auto tau = static_cast<float>(tau_);
  // A copy of the bank, which moves before the gradient is computed.
  const Tensor scores = matmul(embedding, bank.clone(), false, true) / tau;
  const Tensor positive = sum_rows(embedding * gather_rows(bank, indices)) / tau;
  if (!settled_) settle(z, scores, seen);
  const Tensor log_z = log(z.clone());
  return {.log_o = scores - log_z, .log_positive = positive - log_z};
}

/// Z is N times the mean over what the first batch is compared with, and stays: where it is there, it is
/// kept.
void Crd::settle(Tensor& z, const Tensor& scores, const Tensor& seen) {
  const NoGrad no_grad;
  const Tensor estimate = sum(seen * exp(scores.detach())) / sum(seen) * static_cast<float>(scores.size(1));
  const Tensor decided = generous::step(z);
  backend(z.device()).copy(z * decided + estimate * (-decided + 1.0F), z);
}

/// bank[i] <- l2(momentum * bank[i] + (1 - momentum) * embedding) for the images `indices`.
void Crd::move(Tensor& bank, const Tensor& embedding, const Tensor& indices) const {
  const NoGrad no_grad;
  const auto kept = static_cast<float>(bank_momentum_);
  const Tensor old = gather_rows(bank, indices);
  const Tensor moved = l2_rows(kept * old + (1.0F - kept) * embedding);
  // bank += onehot' (moved - old)
  backend(bank.device())
      .gemm({.transpose_a = true, .beta = 1.0F}, one_hot(indices, bank.size(0)), moved - old, bank);
}

std::unique_ptr<Method> make_crd() { return std::make_unique<Crd>(); }

}  // namespace generous
