// Zhang et al., "Cross-view consistency regularisation for knowledge distillation", ACM MM 2024: each of two
// views of an image learns from what the teacher says of both, where it is confident.
#pragma once

#include <memory>

#include "nn/distill/two_views.h"

namespace generous {

struct CrldOptions {
  double temperature = 4.0;
  double ce_weight = 1.0;
  double within = 2.0;           ///< weight of learning within a view
  double across = 0.5;           ///< weight of learning across views
  double weak_confidence = 0.9;  ///< from which on the teacher's largest probability counts, of each view
  double strong_confidence = 0.2;
  bool logit_stand = false;
};

/// ce_weight (CE_w + CE_s) + within mean_b 1[confident of the weak view] (K(s_w, t_w) + K(s_s, t_s)) + across
/// mean_b 1[confident of the strong view] (K(s_s, t_w) + K(s_w, t_s)), K = T^2 KL of each row. The means are
/// over all rows, and which view decides is as published. The teacher's logits carry no
/// gradient. Terms: CE_w + CE_s and both means.
Loss crld_loss(const TwoViews& logits, const Labels& labels, const CrldOptions& options);

std::unique_ptr<Method> make_crld();

}  // namespace generous
