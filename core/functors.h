// Elementwise mathematics, written once for every backend: each functor is one formula and its derivative.
// A new elementwise op: a functor and an enumerator here, a line in its visit function, an op in
// core/ops/elementwise.cpp, its declaration in core/ops.h, a row in the gradient checks.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace generous {

// Unary: y = forward(x), dx = dy * derivative(x, y).

struct Relu {
  GENEROUS_HOST_DEVICE static float forward(float x) { return x < 0.0F ? 0.0F : x; }  // NaN stays NaN
  GENEROUS_HOST_DEVICE static float derivative(float x, float) { return x > 0.0F ? 1.0F : 0.0F; }
};

struct Relu6 {
  GENEROUS_HOST_DEVICE static float forward(float x) { return x > 6.0F ? 6.0F : Relu::forward(x); }
  GENEROUS_HOST_DEVICE static float derivative(float x, float) { return x > 0.0F && x < 6.0F ? 1.0F : 0.0F; }
};

struct Exp {
  GENEROUS_HOST_DEVICE static float forward(float x) { return std::exp(x); }
  GENEROUS_HOST_DEVICE static float derivative(float, float y) { return y; }
};

struct Log {
  GENEROUS_HOST_DEVICE static float forward(float x) { return std::log(x); }
  GENEROUS_HOST_DEVICE static float derivative(float x, float) { return 1.0F / x; }
};

struct Sqrt {
  GENEROUS_HOST_DEVICE static float forward(float x) { return std::sqrt(x); }
  GENEROUS_HOST_DEVICE static float derivative(float, float y) { return 0.5F / y; }
};

struct Square {
  GENEROUS_HOST_DEVICE static float forward(float x) { return x * x; }
  GENEROUS_HOST_DEVICE static float derivative(float x, float) { return 2.0F * x; }
};

struct Sigmoid {
  GENEROUS_HOST_DEVICE static float forward(float x) { return 1.0F / (1.0F + std::exp(-x)); }
  GENEROUS_HOST_DEVICE static float derivative(float, float y) { return y * (1.0F - y); }
};

/// log(1 + exp(x))
struct Softplus {
  GENEROUS_HOST_DEVICE static float forward(float x) { return x > 20.0F ? x : std::log1p(std::exp(x)); }
  GENEROUS_HOST_DEVICE static float derivative(float x, float) { return Sigmoid::forward(x); }
};

/// x^2 / 2 where |x| < 1, otherwise |x| - 1/2. (Girshick 2015)
struct SmoothL1 {
  GENEROUS_HOST_DEVICE static float forward(float x) {
    const float size = std::fabs(x);
    return size < 1.0F ? 0.5F * x * x : size - 0.5F;
  }
  GENEROUS_HOST_DEVICE static float derivative(float x, float) {
    return x > 1.0F ? 1.0F : x < -1.0F ? -1.0F : x;
  }
};

/// Its slope at 0 is 0.
struct Abs {
  GENEROUS_HOST_DEVICE static float forward(float x) { return std::fabs(x); }
  GENEROUS_HOST_DEVICE static float derivative(float x, float) {
    return x > 0.0F ? 1.0F : x < 0.0F ? -1.0F : 0.0F;
  }
};

/// Whether x is positive: 1 or 0, without gradient.
struct Step {
  GENEROUS_HOST_DEVICE static float forward(float x) {
    return x > 0.0F ? 1.0F : x <= 0.0F ? 0.0F : x;
  }  // NaN stays NaN
  GENEROUS_HOST_DEVICE static float derivative(float, float) { return 0.0F; }
};

enum class Unary : std::uint8_t {
  relu,
  relu6,
  exp,
  log,
  sqrt,
  square,
  sigmoid,
  softplus,
  smooth_l1,
  abs,
  step
};

/// Calls `f` with the functor that `op` stands for.
template <class F>
void visit(Unary op, F&& f) {
  switch (op) {
    case Unary::relu:
      return f(Relu{});
    case Unary::relu6:
      return f(Relu6{});
    case Unary::exp:
      return f(Exp{});
    case Unary::log:
      return f(Log{});
    case Unary::sqrt:
      return f(Sqrt{});
    case Unary::square:
      return f(Square{});
    case Unary::sigmoid:
      return f(Sigmoid{});
    case Unary::softplus:
      return f(Softplus{});
    case Unary::smooth_l1:
      return f(SmoothL1{});
    case Unary::abs:
      return f(Abs{});
    case Unary::step:
      return f(Step{});
  }
}

// Binary: y = forward(a, b), da = dy * derivative_a(a, b), db = dy * derivative_b(a, b).

struct Add {
  GENEROUS_HOST_DEVICE static float forward(float a, float b) { return a + b; }
  GENEROUS_HOST_DEVICE static float derivative_a(float, float) { return 1.0F; }
  GENEROUS_HOST_DEVICE static float derivative_b(float, float) { return 1.0F; }
};

struct Subtract {
  GENEROUS_HOST_DEVICE static float forward(float a, float b) { return a - b; }
  GENEROUS_HOST_DEVICE static float derivative_a(float, float) { return 1.0F; }
  GENEROUS_HOST_DEVICE static float derivative_b(float, float) { return -1.0F; }
};

struct Multiply {
  GENEROUS_HOST_DEVICE static float forward(float a, float b) { return a * b; }
  GENEROUS_HOST_DEVICE static float derivative_a(float, float b) { return b; }
  GENEROUS_HOST_DEVICE static float derivative_b(float a, float) { return a; }
};

struct Divide {
  GENEROUS_HOST_DEVICE static float forward(float a, float b) { return a / b; }
  GENEROUS_HOST_DEVICE static float derivative_a(float, float b) { return 1.0F / b; }
  GENEROUS_HOST_DEVICE static float derivative_b(float a, float b) { return -a / (b * b); }
};

enum class Binary : std::uint8_t { add, subtract, multiply, divide };

/// Calls `f` with the functor that `op` stands for.
template <class F>
void visit(Binary op, F&& f) {
  switch (op) {
    case Binary::add:
      return f(Add{});
    case Binary::subtract:
      return f(Subtract{});
    case Binary::multiply:
      return f(Multiply{});
    case Binary::divide:
      return f(Divide{});
  }
}

}  // namespace generous
