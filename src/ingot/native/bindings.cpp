// The Python module: checks what comes in, keeps weights alive, lets go of the GIL.
#include "bindings.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "isa.h"
#include "kernels.h"
#include "linear.h"
#include "matrix.h"
#include "model.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {
namespace {

template <class Value, class... Shape>
using Array = nb::ndarray<const Value, nb::numpy, nb::device::cpu, nb::c_contig, Shape...>;
using Bytes = Array<uint8_t, nb::ndim<1>>;
using Floats = Array<float, nb::ndim<1>>;
using Ids = Array<int32_t, nb::ndim<1>>;

WeightKind weight_kind(const std::string& name) {
  if (name == "bf16") return WeightKind::bf16;
  if (name == "int8") return WeightKind::int8;
  if (name == "int4") return WeightKind::int4;
  throw std::invalid_argument("'" + name + "' is no kind of weights; use bf16, int8 or int4");
}

void check_sizes(WeightKind kind, int64_t outputs, int64_t inputs, int64_t group) {
  constexpr int64_t kMost = int64_t{1} << 26;
  if (outputs < 1 || inputs < 1 || outputs > kMost || inputs > kMost)
    throw std::invalid_argument("the matrix has a size out of range");
  if (kind != WeightKind::bf16 && group != 32 && group != 64 && group != 128)
    throw std::invalid_argument("group " + std::to_string(group) + " is not 32, 64 or 128");
}

PackedSizes checked_sizes(const std::string& kind, int64_t outputs, int64_t inputs, int64_t group) {
  check_sizes(weight_kind(kind), outputs, inputs, group);
  return packed_sizes(weight_kind(kind), outputs, inputs, group);
}

void check_memory(const PackedSizes& sizes, size_t tiles, const void* scales, size_t count) {
  if (static_cast<int64_t>(tiles) != sizes.weights || static_cast<int64_t>(count) != sizes.scales)
    throw std::invalid_argument("the packed memory has the wrong size");
  if (reinterpret_cast<uintptr_t>(scales) % alignof(float))
    throw std::invalid_argument("the packed memory is not aligned");
}

PackedMatrix make_matrix(const std::string& kind, int64_t outputs, int64_t inputs, int64_t group,
                         Bytes tiles, Floats scales) {
  check_memory(checked_sizes(kind, outputs, inputs, group), tiles.size(), scales.data(),
               scales.size());
  return {view_packed(weight_kind(kind), outputs, inputs, group, tiles.data(), scales.data()),
          nb::cast(tiles), nb::cast(scales)};
}

std::pair<int64_t, int64_t> sizes_for_python(const std::string& kind, int64_t outputs,
                                             int64_t inputs, int64_t group) {
  const PackedSizes sizes = checked_sizes(kind, outputs, inputs, group);
  return {sizes.weights, sizes.scales};
}

template <class Value>
using Writable = nb::ndarray<Value, nb::numpy, nb::device::cpu, nb::c_contig, nb::ndim<1>>;

void pack_into(const std::string& kind, Array<uint16_t, nb::ndim<2>> source, int64_t group,
               Writable<uint8_t> tiles, Writable<float> scales) {
  const auto outputs = static_cast<int64_t>(source.shape(0));
  const auto inputs = static_cast<int64_t>(source.shape(1));
  check_memory(checked_sizes(kind, outputs, inputs, group), tiles.size(), scales.data(),
               scales.size());
  nb::gil_scoped_release released;
  pack(weight_kind(kind), source.data(), outputs, inputs, group, tiles.data(), scales.data());
}

nb::object to_numpy(std::vector<float> values, std::vector<size_t> shape) {
  auto* const owned = new std::vector<float>(std::move(values));
  nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, float>(owned->data(), shape.size(), shape.data(), owner));
}

nb::object multiply_rows(const PackedMatrix& packed, Array<float, nb::ndim<2>> x,
                         const std::string& kernels_name, int threads) {
  const Matrix& m = packed.matrix;
  if (static_cast<int64_t>(x.shape(1)) != m.inputs)
    throw std::invalid_argument("the rows do not have the matrix's number of inputs");
  const Kernels& kernels = choose_kernels(kernels_name);
  const auto rows = static_cast<int64_t>(x.shape(0));
  std::vector<float> out(static_cast<size_t>(rows * m.outputs));
  {
    nb::gil_scoped_release released;
    ThreadPool pool(threads);
    PreparedRows prepared;
    prepared.resize(m, rows);
    for (int64_t row = 0; row < rows; ++row) prepared.set(kernels, row, x.data() + row * m.inputs);
    multiply(kernels, pool, m, prepared, rows, out.data(), false);
  }
  return to_numpy(std::move(out), {static_cast<size_t>(rows), static_cast<size_t>(m.outputs)});
}

const float* gains(const Floats& array, int64_t width) {
  if (static_cast<int64_t>(array.size()) != width)
    throw std::invalid_argument("a norm has the wrong width");
  return array.data();
}

// The model with everything its weights point into.
struct NativeModel {
  std::vector<nb::object> kept;
  std::unique_ptr<Model> model;
  int64_t hidden = 0;
};

using LayerTuple = std::tuple<Floats, Floats, Floats, Floats, const PackedMatrix*,
                              const PackedMatrix*, const PackedMatrix*, const PackedMatrix*>;

NativeModel* make_model(int64_t hidden, int64_t feed_forward, int64_t query_heads,
                        int64_t key_heads, int64_t head_dim, int64_t positions, float rope_theta,
                        float norm_eps, int64_t drawn_vocabulary, const PackedMatrix& embedding,
                        const PackedMatrix& head, Floats final_norm, nb::list layers,
                        const std::string& cache, int64_t blocks, int64_t block_size,
                        int64_t window, const std::string& kernels, int threads, bool pinned) {
  if (threads < 0 || threads > 1024) throw std::invalid_argument("threads must be 0 to 1024");
  auto made = std::make_unique<NativeModel>();
  const auto keep = [&](const PackedMatrix& packed) {
    made->kept.push_back(packed.tiles);
    made->kept.push_back(packed.scales);
    return packed.matrix;
  };
  const auto keep_gains = [&](const Floats& array, int64_t width) {
    made->kept.push_back(nb::cast(array));
    return gains(array, width);
  };
  ModelWeights weights{keep(embedding), keep(head), keep_gains(final_norm, hidden), {}};
  for (nb::handle item : layers) {
    const auto [a, q, k, f, qkv, output, gate_up, down] = nb::cast<LayerTuple>(item);
    weights.layers.push_back({keep_gains(a, hidden), keep_gains(q, head_dim),
                              keep_gains(k, head_dim), keep_gains(f, hidden), keep(*qkv),
                              keep(*output), keep(*gate_up), keep(*down)});
  }
  const ModelShape shape{embedding.matrix.outputs,
                         hidden,
                         feed_forward,
                         static_cast<int64_t>(weights.layers.size()),
                         positions,
                         {query_heads, key_heads, head_dim},
                         rope_theta,
                         norm_eps,
                         drawn_vocabulary,
                         window};
  made->hidden = hidden;
  made->model = std::make_unique<Model>(shape, std::move(weights),
                                        CacheShape{cache_kind(cache), blocks, block_size},
                                        choose_kernels(kernels), threads, pinned);
  return made.release();
}

template <class Value>
std::vector<Value> copied(const Array<Value, nb::ndim<1>>& array) {
  return {array.data(), array.data() + array.size()};
}

// (temperature, top_p, min_p, typical_p, top_k, seed, position, logprobs, given).
using DrawTuple =
    std::tuple<double, double, double, double, int64_t, uint64_t, uint64_t, int32_t, int64_t>;
// Those, the adjustment (ids, factors, shifts) and the mask; the last two may be None.
using AdjustmentTuple = std::tuple<Ids, Array<double, nb::ndim<1>>, Array<double, nb::ndim<1>>>;

Sampling sampling_from(nb::handle item) {
  const auto parts = nb::cast<nb::tuple>(item);
  if (nb::len(parts) != 3) throw std::invalid_argument("a row has three parts");
  const auto [temperature, top_p, min_p, typical_p, top_k, seed, position, logprobs, given] =
      nb::cast<DrawTuple>(parts[0]);
  Sampling how{temperature, top_p, min_p, typical_p, top_k, seed, position, logprobs, given};
  if (!parts[1].is_none()) {
    const auto [ids, factors, shifts] = nb::cast<AdjustmentTuple>(parts[1]);
    how.adjustment = {copied(ids), copied(factors), copied(shifts)};
  }
  if (!parts[2].is_none()) how.mask = copied(nb::cast<Array<uint32_t, nb::ndim<1>>>(parts[2]));
  return how;
}

// Everything is copied, so that the GIL can be let go and nobody changes it meanwhile.
class BatchFromPython {
 public:
  explicit BatchFromPython(nb::list chunks) {
    batch_.chunks.reserve(nb::len(chunks));
    numbers_.reserve(2 * nb::len(chunks));
    for (nb::handle item : chunks) {
      const auto parts = nb::cast<nb::tuple>(item);
      if (nb::len(parts) != 5) throw std::invalid_argument("a chunk has five parts");
      Chunk chunk;
      chunk.tokens = copy(parts[0]);
      chunk.start = nb::cast<int64_t>(parts[1]);
      chunk.blocks = copy(parts[2]);
      for (nb::handle row : nb::cast<nb::list>(parts[3])) chunk.rows.push_back(sampling_from(row));
      chunk.hidden = nb::cast<bool>(parts[4]);
      batch_.chunks.push_back(std::move(chunk));
    }
  }
  const Batch& batch() const { return batch_; }

 private:
  std::span<const int32_t> copy(nb::handle sequence) {
    numbers_.push_back(nb::cast<std::vector<int32_t>>(sequence));
    return numbers_.back();  // the outer vector was reserved; a vector's data does not move
  }
  std::vector<std::vector<int32_t>> numbers_;
  Batch batch_;
};

Model& open(NativeModel& self) {
  if (!self.model) throw std::runtime_error("the model is closed");
  return *self.model;
}

nb::tuple step(NativeModel& self, nb::list chunks) {
  Model& model = open(self);
  const BatchFromPython input(chunks);
  Outcome outcome;
  {
    nb::gil_scoped_release released;
    outcome = model.step(input.batch());
  }
  nb::list choices, hidden;
  for (const Choice& choice : outcome.choices)
    choices.append(nb::make_tuple(choice.token, choice.logprob, choice.top));
  for (std::vector<float>& states : outcome.hidden) {
    const size_t rows = states.size() / static_cast<size_t>(self.hidden);
    hidden.append(to_numpy(std::move(states), {rows, static_cast<size_t>(self.hidden)}));
  }
  return nb::make_tuple(choices, hidden);
}

nb::object logits(NativeModel& self, nb::list chunks) {
  Model& model = open(self);
  const BatchFromPython input(chunks);
  std::vector<float> values;
  size_t rows = 0;
  for (const Chunk& chunk : input.batch().chunks) rows += chunk.rows.size();
  {
    nb::gil_scoped_release released;
    values = model.logits(input.batch());
  }
  const size_t width = rows ? values.size() / rows : 0;
  return to_numpy(std::move(values), {rows, width});
}

// Of a closed model nothing is asked: who wants a CPU need not know whether the model still runs.
void make_way(NativeModel& self, bool on) {
  if (self.model) self.model->make_way(on);
}

void close_model(NativeModel& self) {
  self.model.reset();
  self.kept.clear();
}

std::vector<std::string> names_of_kernels() {
  std::vector<std::string> names;
  for (const Kernels* kernels : runnable_kernels()) names.emplace_back(kernels->name);
  return names;
}

}  // namespace
}  // namespace ingot

NB_MODULE(_core, m) {
  using namespace ingot;
  m.def("kernels", &names_of_kernels);
  m.def("packed_sizes", &sizes_for_python, "kind"_a, "outputs"_a, "inputs"_a, "group"_a);
  m.def("pack", &pack_into, "kind"_a, nb::arg("source").noconvert(), "group"_a,
        nb::arg("tiles").noconvert(), nb::arg("scales").noconvert());
  bind_measures(m);
  m.def("uniform", &uniform, "seed"_a, "position"_a);
  nb::class_<PackedMatrix>(m, "Matrix")
      .def(nb::new_(&make_matrix), "kind"_a, "outputs"_a, "inputs"_a, "group"_a,
           nb::arg("tiles").noconvert(), nb::arg("scales").noconvert())
      .def("multiply", &multiply_rows, nb::arg("x").noconvert(), "kernels"_a = "", "threads"_a = 1);
  nb::class_<NativeModel>(m, "Model")
      .def(nb::new_(&make_model), nb::kw_only(), "hidden"_a, "feed_forward"_a, "query_heads"_a,
           "key_heads"_a, "head_dim"_a, "positions"_a, "rope_theta"_a, "norm_eps"_a,
           "drawn_vocabulary"_a, "embedding"_a, "head"_a, nb::arg("final_norm").noconvert(),
           "layers"_a, "cache"_a, "blocks"_a, "block_size"_a, "window"_a = 0, "kernels"_a = "",
           "threads"_a = 0, "pinned"_a = false)
      .def("step", &step, "chunks"_a)
      .def("logits", &logits, "chunks"_a)
      .def("make_way", &make_way, "on"_a)
      .def("close", &close_model)
      .def_prop_ro("kernels", [](NativeModel& self) { return std::string(open(self).kernels()); })
      .def_prop_ro("threads", [](NativeModel& self) { return open(self).threads(); });
}
