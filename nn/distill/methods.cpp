#include "nn/distill/methods.h"

#include "core/nearest.h"
#include "nn/distill/at.h"
#include "nn/distill/cc.h"
#include "nn/distill/crd.h"
#include "nn/distill/fitnet.h"
#include "nn/distill/generous.h"
#include "nn/distill/itrd.h"
#include "nn/distill/kd.h"
#include "nn/distill/mgd.h"
#include "nn/distill/nd.h"
#include "nn/distill/none.h"
#include "nn/distill/nst.h"
#include "nn/distill/ofd.h"
#include "nn/distill/pkt.h"
#include "nn/distill/reviewkd.h"
#include "nn/distill/rkd.h"
#include "nn/distill/simkd.h"
#include "nn/distill/sp.h"
#include "nn/distill/vid.h"
#include "nn/distill/wkd_f.h"

namespace generous {

const std::vector<MethodEntry>& methods() {
  static const std::vector<MethodEntry> all = {
      {"none", "cross-entropy with the labels alone", make_none, false},
      {"generous", "Ding et al., Generous teacher, Image and Vision Computing 2024", make_generous, false},
      {"kd", "Hinton, Vinyals, Dean, Distilling the knowledge in a neural network, 2015", make_kd},
      {"fitnet", "Romero et al., FitNets: Hints for thin deep nets, 2015", make_fitnet},
      {"at", "Zagoruyko and Komodakis, Paying more attention to attention, 2017", make_at},
      {"sp", "Tung and Mori, Similarity-preserving knowledge distillation, 2019", make_sp},
      {"pkt", "Passalis and Tefas, Learning deep representations with probabilistic knowledge transfer, 2018",
       make_pkt},
      {"rkd", "Park et al., Relational knowledge distillation, 2019", make_rkd},
      {"nst", "Huang and Wang, Like what you like: knowledge distill via neuron selectivity transfer, 2017",
       make_nst},
      {"vid", "Ahn et al., Variational information distillation for knowledge transfer, 2019", make_vid},
      {"cc", "Peng et al., Correlation congruence for knowledge distillation, 2019", make_cc},
      {"crd", "Tian et al., Contrastive representation distillation, 2020", make_crd},
      {"simkd", "Chen et al., Knowledge distillation with the reused teacher classifier, 2022", make_simkd,
       false},
      {"reviewkd", "Chen et al., Distilling knowledge via knowledge review, 2021", make_reviewkd},
      {"ofd", "Heo et al., A comprehensive overhaul of feature distillation, 2019", make_ofd},
      {"wkd_f",
       "Lv et al., Wasserstein distance rivals Kullback-Leibler divergence for knowledge distillation, 2024",
       make_wkd_f},
      {"nd",
       "Wang et al., Improving knowledge distillation via regularizing feature norm and direction, 2023",
       make_nd},
      {"mgd", "Yang et al., Masked generative distillation, 2022", make_mgd},
      {"itrd", "Miles et al., Information theoretic representation distillation, 2022", make_itrd},
  };
  return all;
}

std::unique_ptr<Method> make_method(const std::string& name) {
  std::vector<std::string> names;
  for (const MethodEntry& method : methods()) {
    if (method.name == name) return method.make();
    names.push_back(method.name);
  }
  fail("unknown method '{}'; did you mean '{}'?", name, nearest(name, names));
}

}  // namespace generous
