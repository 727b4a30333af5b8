#include "nn/distill/methods.h"

#include "core/nearest.h"
#include "nn/distill/at.h"
#include "nn/distill/cat_kd.h"
#include "nn/distill/cc.h"
#include "nn/distill/crd.h"
#include "nn/distill/crld.h"
#include "nn/distill/ctkd.h"
#include "nn/distill/deepkd.h"
#include "nn/distill/dist.h"
#include "nn/distill/dkd.h"
#include "nn/distill/dtkd.h"
#include "nn/distill/fitnet.h"
#include "nn/distill/generous.h"
#include "nn/distill/itrd.h"
#include "nn/distill/kd.h"
#include "nn/distill/lskd.h"
#include "nn/distill/lumi.h"
#include "nn/distill/method_sum.h"
#include "nn/distill/mgd.h"
#include "nn/distill/mlkd.h"
#include "nn/distill/nd.h"
#include "nn/distill/nkd.h"
#include "nn/distill/none.h"
#include "nn/distill/normkd.h"
#include "nn/distill/nst.h"
#include "nn/distill/ofd.h"
#include "nn/distill/pkt.h"
#include "nn/distill/reviewkd.h"
#include "nn/distill/rkd.h"
#include "nn/distill/rld.h"
#include "nn/distill/sdd.h"
#include "nn/distill/simkd.h"
#include "nn/distill/sp.h"
#include "nn/distill/ttm.h"
#include "nn/distill/vid.h"
#include "nn/distill/wkd_f.h"
#include "nn/distill/wkd_l.h"

namespace generous {

const std::vector<MethodEntry>& methods() {
  static const std::vector<MethodEntry> all = {
      {"none", "cross-entropy with the labels alone", make_none, false},
      {"generous", "Ding et al., Generous teacher, Image and Vision Computing 2024", make_generous},
      {"kd", "Hinton, Vinyals, Dean, Distilling the knowledge in a neural network, 2015", make_kd},
      {"lskd", "Sun et al., Logit standardization in knowledge distillation, CVPR 2024", make_lskd},
      {"dkd", "Zhao et al., Decoupled knowledge distillation, CVPR 2022", make_dkd},
      {"deepkd", "Huang et al., DeepKD: a deeply decoupled and denoised trainer, 2025", make_deepkd_method},
      {"nkd", "Yang et al., From knowledge distillation to self-knowledge distillation, ICCV 2023", make_nkd},
      {"normkd", "Chi et al., NormKD: normalized logits for knowledge distillation, 2023", make_normkd},
      {"normkd_dkd", "Chi et al., NormKD, 2023, with the parts of DKD", make_normkd_dkd},
      {"dist", "Huang et al., Knowledge distillation from a stronger teacher, NeurIPS 2022", make_dist},
      {"ctkd", "Li et al., Curriculum temperature for knowledge distillation, AAAI 2023", make_ctkd},
      {"dtkd", "Wei, Bai, Dynamic temperature knowledge distillation, 2024", make_dtkd},
      {"ttm", "Zheng, Yang, Knowledge distillation based on transformed teacher matching, ICLR 2024",
       make_ttm},
      {"wttm", "Zheng, Yang, Transformed teacher matching, ICLR 2024, weighted", make_wttm},
      {"rld", "Sun et al., Knowledge distillation with refined logits, 2024", make_rld},
      {"lumi", "Hossain et al., LumiNet: perception-driven knowledge distillation, 2023", make_lumi},
      {"wkd_l", "Lv, Yang, Li, Wasserstein distance rivals Kullback-Leibler divergence, NeurIPS 2024",
       make_wkd_l},
      {"sdd_dkd", "Wei, Luo, Luo, Scaled decoupled distillation, CVPR 2024", make_sdd_dkd},
      {"mlkd", "Jin, Wang, Lin, Multi-level logit distillation, CVPR 2023", make_mlkd},
      {"crld", "Zhang et al., Cross-view consistency regularisation, ACM MM 2024", make_crld},
      {"fitnet", "Romero et al., FitNets: Hints for thin deep nets, 2015", make_fitnet},
      {"at", "Zagoruyko and Komodakis, Paying more attention to attention, 2017", make_at},
      {"sp", "Tung and Mori, Similarity-preserving knowledge distillation, 2019", make_sp},
      {"pkt", "Passalis and Tefas, Learning deep representations with probabilistic knowledge transfer, 2018",
       make_pkt},
      {"rkd", "Park et al., Relational knowledge distillation, 2019", make_rkd},
      {"nst", "Huang and Wang, Like what you like: knowledge distill via neuron selectivity transfer, 2017",
       make_nst},
      {"vid", "Ahn et al., Variational information distillation for knowledge transfer, 2019", make_vid},
      {"cat_kd", "Guo et al., Class attention transfer based knowledge distillation, CVPR 2023", make_cat_kd},
      {"cc", "Peng et al., Correlation congruence for knowledge distillation, 2019", make_cc},
      {"crd", "Tian et al., Contrastive representation distillation, 2020", make_crd},
      {"simkd", "Chen et al., Knowledge distillation with the reused teacher classifier, 2022", make_simkd},
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

namespace {

std::unique_ptr<Method> make_one(const std::string& name) {
  std::vector<std::string> names;
  for (const MethodEntry& method : methods()) {
    if (method.name == name) return method.make();
    names.push_back(method.name);
  }
  fail("unknown method '{}'{}", name, suggestion(name, names));
}

}  // namespace

std::unique_ptr<Method> make_method(const std::string& name) {
  if (name.find(',') == std::string::npos) return make_one(name);
  std::vector<MethodPart> parts;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t comma = std::min(name.find(',', begin), name.size());
    const std::string part = name.substr(begin, comma - begin);
    parts.push_back({part, make_one(part)});
    begin = comma + 1;
  }
  return std::make_unique<MethodSum>(std::move(parts));
}

}  // namespace generous
