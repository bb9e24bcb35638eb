// The Python module: checks what comes in, lets go of the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <optional>
#include <stdexcept>

#include <nanobind/stl/optional.h>

#include "attention.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {
namespace {

template <class Value, int kDimensions>
using Array =
    nb::ndarray<Value, nb::numpy, nb::device::cpu, nb::c_contig, nb::ndim<kDimensions>>;
using Heads = Array<const uint16_t, 4>;
using HeadsOut = Array<uint16_t, 4>;
using Starts = std::optional<Array<const int32_t, 2>>;

void demand(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

template <class One, class Other>
bool alike(const One& one, const Other& other) {
  for (size_t i = 0; i < 4; ++i)
    if (one.shape(i) != other.shape(i)) return false;
  return true;
}

AttentionShape checked_shape(const Heads& queries, const Heads& keys, const Heads& values,
                             const Starts& starts) {
  const auto size = [](size_t n) { return static_cast<int64_t>(n); };
  const AttentionShape shape{size(queries.shape(0)), size(queries.shape(1)),
                             size(queries.shape(2)), size(keys.shape(2)), size(queries.shape(3))};
  demand(can_attend(), "this CPU has no products of bfloat16");
  demand(alike(keys, values) && size(keys.shape(0)) == shape.windows &&
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

AttentionInput input_of(const Heads& queries, const Heads& keys, const Heads& values,
                        const Starts& starts) {
  return {queries.data(), keys.data(), values.data(), starts ? starts->data() : nullptr};
}

// Attention with threads of its own. One thread may call it at a time.
class Attention {
 public:
  explicit Attention(int threads) : pool_(threads) {}

  void forward(const Heads& queries, const Heads& keys, const Heads& values, const Starts& starts,
               const HeadsOut& mixed, const Array<float, 3>& totals) {
    const AttentionShape shape = checked_shape(queries, keys, values, starts);
    demand(alike(mixed, queries), "the output has the wrong shape");
    check_totals(shape, totals);
    nb::gil_scoped_release released;
    attend_forward(pool_, shape, input_of(queries, keys, values, starts),
                   {mixed.data(), totals.data()});
  }

  void backward(const Heads& queries, const Heads& keys, const Heads& values, const Starts& starts,
                const Array<const float, 3>& totals, const Heads& by_mixed,
                const HeadsOut& by_queries, const HeadsOut& by_keys, const HeadsOut& by_values) {
    const AttentionShape shape = checked_shape(queries, keys, values, starts);
    demand(alike(by_mixed, queries) && alike(by_queries, queries) && alike(by_keys, keys) &&
               alike(by_values, keys),
           "a gradient has the wrong shape");
    check_totals(shape, totals);
    nb::gil_scoped_release released;
    attend_backward(pool_, shape, input_of(queries, keys, values, starts), totals.data(),
                    {by_mixed.data(), by_queries.data(), by_keys.data(), by_values.data()});
  }

 private:
  template <class Totals>
  static void check_totals(const AttentionShape& shape, const Totals& totals) {
    demand(static_cast<int64_t>(totals.shape(0)) == shape.windows &&
               static_cast<int64_t>(totals.shape(1)) == shape.query_heads &&
               static_cast<int64_t>(totals.shape(2)) == shape.tokens,
           "the totals have the wrong shape");
  }

  ThreadPool pool_;
};

}  // namespace
}  // namespace ingot

NB_MODULE(_attention, m) {
  using ingot::Attention;
  m.def("can_attend", &ingot::can_attend);
  nb::class_<Attention>(m, "Attention")
      .def(nb::init<int>(), "threads"_a)
      .def("forward", &Attention::forward, nb::arg("queries").noconvert(),
           nb::arg("keys").noconvert(), nb::arg("values").noconvert(),
           nb::arg("starts").noconvert().none(), nb::arg("mixed").noconvert(),
           nb::arg("totals").noconvert())
      .def("backward", &Attention::backward, nb::arg("queries").noconvert(),
           nb::arg("keys").noconvert(), nb::arg("values").noconvert(),
           nb::arg("starts").noconvert().none(), nb::arg("totals").noconvert(),
           nb::arg("by_mixed").noconvert(), nb::arg("by_queries").noconvert(),
           nb::arg("by_keys").noconvert(), nb::arg("by_values").noconvert());
}
