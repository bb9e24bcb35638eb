// The Python module: checks what comes in, lets go of the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <mutex>
#include <optional>
#include <stdexcept>

#include "attention.h"
#include "elementwise.h"
#include "norm.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {
namespace {

template <class Value, int kDimensions>
using Array = nb::ndarray<Value, nb::numpy, nb::device::cpu, nb::c_contig, nb::ndim<kDimensions>>;
template <class Value>
using Heads = Array<const Value, 4>;
template <class Value>
using HeadsOut = Array<Value, 4>;
using Floats = Array<const float, 1>;
using FloatsOut = Array<float, 1>;
using Angles = std::optional<Array<const float, 2>>;
using Starts = std::optional<Array<const int32_t, 2>>;

void demand(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

template <size_t kDimensions, class One, class Other>
bool alike(const One& one, const Other& other) {
  for (size_t i = 0; i < kDimensions; ++i)
    if (one.shape(i) != other.shape(i)) return false;
  return true;
}

template <class Value>
void demand_support() {
  demand(supported<Value>(), "this CPU has no kernels for these numbers");
}

template <class Value>
AttentionShape checked_shape(const Heads<Value>& queries, const Heads<Value>& keys,
                             const Heads<Value>& values, const Starts& starts) {
  const auto size = [](size_t n) { return static_cast<int64_t>(n); };
  const AttentionShape shape{size(queries.shape(0)), size(queries.shape(1)), size(queries.shape(2)),
                             size(keys.shape(2)), size(queries.shape(3))};
  demand_support<Value>();
  demand(alike<4>(keys, values) && size(keys.shape(0)) == shape.windows &&
             size(keys.shape(1)) == shape.tokens && size(keys.shape(3)) == shape.width,
         "queries, keys and values do not fit together");
  demand(shape.key_heads > 0 && shape.query_heads % shape.key_heads == 0,
         "the heads of keys do not divide those of queries");
  demand(shape.width > 0 && shape.width % 16 == 0 && shape.width <= kWidestTrainedHead,
         "a head is a multiple of 16 wide, at most 256");
  demand(shape.tokens <= 1 << 24, "too many tokens");
  if (!starts) return shape;
  demand(size(starts->shape(0)) == shape.windows && size(starts->shape(1)) == shape.tokens,
         "the starts do not fit the queries");
  const int32_t* const start = starts->data();
  for (int64_t i = 0; i < shape.windows * shape.tokens; ++i)
    demand(start[i] >= 0 && start[i] <= i % shape.tokens, "a start is out of range");
  return shape;
}

template <class Value>
AttentionInput<Value> input_of(const Heads<Value>& queries, const Heads<Value>& keys,
                               const Heads<Value>& values, const Starts& starts) {
  return {queries.data(), keys.data(), values.data(), starts ? starts->data() : nullptr};
}

template <class Out, class Value>
NormShape checked_norm(const Array<const Value, 2>& x, float eps,
                       const Array<const float, 1>& weight, const Angles& cosines,
                       const Angles& sines, int64_t heads) {
  const auto rows = static_cast<int64_t>(x.shape(0)), width = static_cast<int64_t>(x.shape(1));
  demand_support<Out>();
  demand(width > 0 && width % (cosines ? 32 : 16) == 0,
         "a row is a multiple of 16 wide, of 32 where it is rotated");
  demand(static_cast<int64_t>(weight.shape(0)) == width, "the weight does not fit the rows");
  demand(cosines.has_value() == sines.has_value(), "there are cosines or sines alone");
  demand(heads > 0 && rows % heads == 0, "the heads do not divide the rows");
  if (cosines)
    demand(cosines->shape(0) > 0 && cosines->shape(0) == sines->shape(0) &&
               cosines->shape(1) == sines->shape(1) &&
               static_cast<int64_t>(cosines->shape(1)) == width / 2 &&
               rows % (heads * static_cast<int64_t>(cosines->shape(0))) == 0,
           "the angles do not fit the rows");
  return {rows, width, eps};
}

Rotation rotation_of(const Angles& cosines, const Angles& sines, int64_t heads) {
  if (!cosines) return {nullptr, nullptr, 1, heads};
  return {cosines->data(), sines->data(), static_cast<int64_t>(cosines->shape(0)), heads};
}

// The kernels with threads of their own. Calls from several threads take turns.
class TrainingKernels {
 public:
  // The pool is never ended: to join its threads when the process ends could hang, after a fork.
  explicit TrainingKernels(int threads) : pool_(*new ThreadPool(threads)) {}

  template <class Value, class Out>
  void norm(const Array<const Value, 2>& x, const Array<const float, 1>& weight, float eps,
            const Angles& cosines, const Angles& sines, int64_t heads, const Array<Out, 2>& out) {
    const NormShape shape = checked_norm<Out>(x, eps, weight, cosines, sines, heads);
    demand(alike<2>(x, out), "the output has the wrong shape");
    nb::gil_scoped_release released;
    const std::lock_guard<std::mutex> turn(mutex_);
    norm_forward(pool_, shape, x.data(), weight.data(), rotation_of(cosines, sines, heads),
                 out.data());
  }

  template <class Value, class Out>
  void norm_back(const Array<const Value, 2>& x, const Array<const float, 1>& weight, float eps,
                 const Angles& cosines, const Angles& sines, int64_t heads,
                 const Array<const Out, 2>& grad_out, const Array<Value, 2>& grad_x,
                 const Array<float, 1>& grad_weight) {
    const NormShape shape = checked_norm<Out>(x, eps, weight, cosines, sines, heads);
    demand(alike<2>(x, grad_out) && alike<2>(x, grad_x) && grad_weight.shape(0) == weight.shape(0),
           "a gradient has the wrong shape");
    nb::gil_scoped_release released;
    const std::lock_guard<std::mutex> turn(mutex_);
    norm_backward(pool_, shape, x.data(), weight.data(), rotation_of(cosines, sines, heads),
                  grad_out.data(), grad_x.data(), grad_weight.data());
  }

  template <class Value>
  void attend(const Heads<Value>& queries, const Heads<Value>& keys, const Heads<Value>& values,
              const Starts& starts, const HeadsOut<Value>& mixed, const Array<float, 3>& totals) {
    const AttentionShape shape = checked_shape<Value>(queries, keys, values, starts);
    demand(alike<4>(mixed, queries), "the output has the wrong shape");
    check_totals(shape, totals);
    nb::gil_scoped_release released;
    const std::lock_guard<std::mutex> turn(mutex_);
    attend_forward<Value>(pool_, shape, input_of<Value>(queries, keys, values, starts),
                          {mixed.data(), totals.data()});
  }

  template <class Value>
  void attend_back(const Heads<Value>& queries, const Heads<Value>& keys,
                   const Heads<Value>& values, const Starts& starts,
                   const Array<const float, 3>& totals, const Heads<Value>& grad_mixed,
                   const HeadsOut<Value>& grad_queries, const HeadsOut<Value>& grad_keys,
                   const HeadsOut<Value>& grad_values) {
    const AttentionShape shape = checked_shape<Value>(queries, keys, values, starts);
    demand(alike<4>(grad_mixed, queries) && alike<4>(grad_queries, queries) &&
               alike<4>(grad_keys, keys) && alike<4>(grad_values, keys),
           "a gradient has the wrong shape");
    check_totals(shape, totals);
    nb::gil_scoped_release released;
    const std::lock_guard<std::mutex> turn(mutex_);
    attend_backward<Value>(
        pool_, shape, input_of<Value>(queries, keys, values, starts), totals.data(),
        {grad_mixed.data(), grad_queries.data(), grad_keys.data(), grad_values.data()});
  }

  void gate(const Floats& gates, const Floats& ups, const FloatsOut& out) {
    demand_support<float>();
    demand(alike<1>(gates, ups) && alike<1>(gates, out), "gate, up and output differ in size");
    nb::gil_scoped_release released;
    const std::lock_guard<std::mutex> turn(mutex_);
    gate_forward(pool_, static_cast<int64_t>(gates.shape(0)), gates.data(), ups.data(), out.data());
  }

  void gate_back(const Floats& gates, const Floats& ups, const Floats& grad_out,
                 const FloatsOut& grad_gates, const FloatsOut& grad_ups) {
    demand_support<float>();
    demand(alike<1>(gates, ups) && alike<1>(gates, grad_out) && alike<1>(gates, grad_gates) &&
               alike<1>(gates, grad_ups),
           "a gradient has the wrong shape");
    nb::gil_scoped_release released;
    const std::lock_guard<std::mutex> turn(mutex_);
    gate_backward(pool_, static_cast<int64_t>(gates.shape(0)), gates.data(), ups.data(),
                  grad_out.data(), grad_gates.data(), grad_ups.data());
  }

  void cross_entropy(const Array<float, 2>& logits, const Array<const int64_t, 1>& targets,
                     const FloatsOut& losses) {
    demand_support<float>();
    const auto rows = static_cast<int64_t>(logits.shape(0));
    const auto width = static_cast<int64_t>(logits.shape(1));
    demand(width > 0 && width <= 1 << 30, "the logits have no columns, or too many");
    demand(alike<1>(logits, targets) && alike<1>(logits, losses), "a target for each row");
    for (int64_t i = 0; i < rows; ++i)
      demand(targets.data()[i] >= 0 && targets.data()[i] < width, "a target is out of range");
    nb::gil_scoped_release released;
    const std::lock_guard<std::mutex> turn(mutex_);
    ingot::cross_entropy(pool_, rows, width, targets.data(), logits.data(), losses.data());
  }

 private:
  template <class Totals>
  static void check_totals(const AttentionShape& shape, const Totals& totals) {
    demand(static_cast<int64_t>(totals.shape(0)) == shape.windows &&
               static_cast<int64_t>(totals.shape(1)) == shape.query_heads &&
               static_cast<int64_t>(totals.shape(2)) == shape.tokens,
           "the totals have the wrong shape");
  }

  std::mutex mutex_;
  ThreadPool& pool_;
};

}  // namespace
}  // namespace ingot

namespace {

using Kernels = nb::class_<ingot::TrainingKernels>;

template <class Value, class Out>
void bind_norm(Kernels& kernels) {
  kernels
      .def("norm", &ingot::TrainingKernels::norm<Value, Out>, nb::arg("x").noconvert(),
           nb::arg("weight").noconvert(), "eps"_a, nb::arg("cosines").noconvert().none(),
           nb::arg("sines").noconvert().none(), "heads"_a, nb::arg("out").noconvert())
      .def("norm_back", &ingot::TrainingKernels::norm_back<Value, Out>, nb::arg("x").noconvert(),
           nb::arg("weight").noconvert(), "eps"_a, nb::arg("cosines").noconvert().none(),
           nb::arg("sines").noconvert().none(), "heads"_a, nb::arg("grad_out").noconvert(),
           nb::arg("grad_x").noconvert(), nb::arg("grad_weight").noconvert());
}

template <class Value>
void bind_attention(Kernels& kernels) {
  kernels
      .def("attend", &ingot::TrainingKernels::attend<Value>, nb::arg("queries").noconvert(),
           nb::arg("keys").noconvert(), nb::arg("values").noconvert(),
           nb::arg("starts").noconvert().none(), nb::arg("mixed").noconvert(),
           nb::arg("totals").noconvert())
      .def("attend_back", &ingot::TrainingKernels::attend_back<Value>,
           nb::arg("queries").noconvert(), nb::arg("keys").noconvert(),
           nb::arg("values").noconvert(), nb::arg("starts").noconvert().none(),
           nb::arg("totals").noconvert(), nb::arg("grad_mixed").noconvert(),
           nb::arg("grad_queries").noconvert(), nb::arg("grad_keys").noconvert(),
           nb::arg("grad_values").noconvert());
}

void bind_elementwise(Kernels& kernels) {
  using ingot::TrainingKernels;
  kernels
      .def("gate", &TrainingKernels::gate, nb::arg("gates").noconvert(), nb::arg("ups").noconvert(),
           nb::arg("out").noconvert())
      .def("gate_back", &TrainingKernels::gate_back, nb::arg("gates").noconvert(),
           nb::arg("ups").noconvert(), nb::arg("grad_out").noconvert(),
           nb::arg("grad_gates").noconvert(), nb::arg("grad_ups").noconvert())
      .def("cross_entropy", &TrainingKernels::cross_entropy, nb::arg("logits").noconvert(),
           nb::arg("targets").noconvert(), nb::arg("losses").noconvert());
}

}  // namespace

NB_MODULE(_kernels, m) {
  nb::set_leak_warnings(false);  // Python keeps an instance to the end
  m.def("computes_bfloat16", &ingot::supported<uint16_t>);
  m.def("computes_float32", &ingot::supported<float>);
  Kernels kernels(m, "Kernels");
  kernels.def(nb::init<int>(), "threads"_a);
  bind_attention<float>(kernels);
  bind_attention<uint16_t>(kernels);
  bind_norm<float, float>(kernels);
  bind_norm<float, uint16_t>(kernels);
  bind_norm<uint16_t, uint16_t>(kernels);
  bind_elementwise(kernels);
}
