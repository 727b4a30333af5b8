// Tian et al., "Contrastive representation distillation", 2020.
#pragma once

#include <memory>

#include "nn/distill/connectors.h"

namespace generous {

/// How the embeddings of a batch score in the other network's bank of N images.
struct Scores {
  Tensor log_o;         ///< {B, N}: log o, o = exp(<s_b, m_n> / tau) / Z
  Tensor log_positive;  ///< {B, 1}: of the image itself
};
/// Noise-contrastive estimation: -1/B sum_b [log(o / (o + c + e)) of the image itself + the sum over the
/// negatives of log(c / (o + c + e))], c the negatives of an image over N, e = 1e-7. seen {B, N}: how often
/// an image was compared with another one, with itself once.
Tensor contrastive_loss(const Scores& scores, const Tensor& seen, float c);

/// CE + weight * the contrastive losses of both embeddings, each against a bank of the other network's: the
/// student's embedding of an image is to be close to the teacher's of the same image, and far from those of
/// images of other classes, of which `negatives` are drawn for each image. The banks hold the embeddings of
/// all training images and move with every batch.
class Crd : public FeatureMethod {
 public:
  Crd() : FeatureMethod("crd", 0.8) {}
  void declare(Options& options) override;
  Needs needs() const override { return {.features = true, .relational = true, .one_label = true}; }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet& train) override;
  /// What is multiplied by the weight; moves the banks of the images `indices` {B}. negatives {B, N}.
  Tensor contrast(const FeaturePair& pooled, const Tensor& indices, const Tensor& negatives);

 protected:
  Tensor knowledge(const DistillBatch& batch) override;

 private:
  Scores score(const Tensor& embedding, const Tensor& bank, Tensor& z, const Tensor& indices,
               const Tensor& seen) const;
  static void settle(Tensor& z, const Tensor& scores, const Tensor& seen);
  void move(Tensor& bank, const Tensor& embedding, const Tensor& indices) const;

  std::int64_t dim_ = 128;
  std::int64_t negatives_ = 16384;
  double tau_ = 0.07;
  double bank_momentum_ = 0.5;
  Embedding* embed_s_ = nullptr;
  Embedding* embed_t_ = nullptr;
  Tensor bank_s_;  ///< {N, dim}: the students' embeddings
  Tensor bank_t_;  ///< the teachers'
  Tensor z_s_;     ///< {}: what the student's scores are divided by, from the first batch; 0 before that
  Tensor z_t_;
  NegativeDraws draws_;
  bool settled_ = false;  ///< whether a batch has been seen since the start or a resume
};

std::unique_ptr<Method> make_crd();

}  // namespace generous
