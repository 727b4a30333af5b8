#include "nn/distill/connectors.h"

namespace generous {

ConvRegressor::ConvRegressor(std::string_view method, const Shape& student, const Shape& teacher)
    : conv_(nullptr), bn_([&]() -> BatchNorm& {
        const std::int64_t s = student[1];
        const std::int64_t t = teacher[1];
        require(student[2] == s && teacher[2] == t,
                "{}: needs square images, not {} of the student and {} of the teacher", method, student.str(),
                teacher.str());
        Conv2dOptions options{.in = student[3], .out = teacher[3], .bias = true};
        if (2 * s == t) {
          options.kernel = 4;
          options.stride = 2;
          options.padding = 1;
          conv_ = &add<ConvTranspose2d>("conv", options);
        } else {
          require(
              s >= t,
              "{}: the student's images of {}x{} cannot become the teacher's of {}x{}: they have to be at "
              "least as large, or half as large",
              method, s, s, t, t);
          const bool halved = s == 2 * t;
          options.kernel = halved ? 3 : 1 + s - t;
          options.stride = halved ? 2 : 1;
          options.padding = halved ? 1 : 0;
          conv_ = &add<Conv2d>("conv", options);
        }
        return add<BatchNorm>("bn", teacher[3]);
      }()) {}

}  // namespace generous
