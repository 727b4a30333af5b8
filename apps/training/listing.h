// What there is to choose from: --list.
#pragma once

#include <string>

#include "core/options.h"

namespace generous {

/// The flag --list, and what it prints.
struct ListSettings {
  std::string list;  ///< models, datasets or methods; empty: nothing is asked for

  void declare(Options& options);
  /// What is asked for, a line each. Models with their parameters and multiply-adds for one image of
  /// `dataset` (of CIFAR-10 if that is empty), or why they do not take its images; datasets with their sizes
  /// and folders; methods with their papers and the defaults of their settings.
  std::string text(const std::string& dataset) const;
};

}  // namespace generous
