// The model in Python. Its shape, its weights and each step's inputs are Python objects whose
// fields are read by name; ingot.native.records declares them.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "bindings_fields.h"
#include "bindings_weights.h"
#include "isa.h"
#include "model.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {
namespace {

// The model with the objects whose memory its weights point into.
struct NativeModel {
  std::vector<nb::object> kept_alive;
  std::unique_ptr<Model> model;
  int64_t hidden = 0;
  bool running = false;  // guarded by the GIL
};

// The model while it runs without the GIL. Another thread can then neither run nor close it.
class Running {
 public:
  explicit Running(NativeModel& self) : self_(self) {
    if (!self.model) throw std::runtime_error("the model is closed");
    if (self.running) throw std::runtime_error("the model is running in another thread");
    self.running = true;
  }
  ~Running() { self_.running = false; }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  Model* operator->() const { return self_.model.get(); }

 private:
  NativeModel& self_;
};

NativeModel* make_model(nb::handle shape, nb::handle weights, nb::handle cache,
                        const std::string& kernels, int threads, bool pinned) {
  static const Field format("format"), blocks("blocks"), block_size("block_size");
  auto made = std::make_unique<NativeModel>();
  ModelShape model_shape = read_shape(shape);
  made->hidden = model_shape.hidden;
  ModelWeights read = read_weights(weights, model_shape, made->kept_alive);
  model_shape.vocabulary = read.embedding.outputs;
  const CacheShape cache_shape{.format = cache_format(format.as<std::string>(cache)),
                               .blocks = blocks.as<int64_t>(cache),
                               .block_size = block_size.as<int64_t>(cache)};
  made->model = std::make_unique<Model>(model_shape, std::move(read), cache_shape,
                                        choose_kernels(kernels), checked_threads(threads), pinned);
  return made.release();
}

template <class Value>
std::vector<Value> copied(const Array<Value, nb::ndim<1>>& array) {
  return {array.data(), array.data() + array.size()};
}

SamplingRow read_row(nb::handle row) {
  static const Field params("params"), temperature("temperature"), top_p("top_p"), min_p("min_p"),
      typical_p("typical_p"), top_k("top_k"), logprobs("logprobs"), seed("seed"),
      position("position"), forced_token("forced_token"), adjustment("adjustment"), ids("ids"),
      factors("factors"), shifts("shifts"), mask("mask");
  const nb::object how = params.of(row);
  SamplingRow read{.temperature = temperature.as<double>(how),
                   .top_p = top_p.as<double>(how),
                   .min_p = min_p.as<double>(how),
                   .typical_p = typical_p.as<double>(how),
                   .top_k = top_k.as<int64_t>(how),
                   .seed = seed.as<uint64_t>(row),
                   .position = position.as<uint64_t>(row)};
  if (!logprobs.of(how).is_none()) read.logprobs = logprobs.as<int32_t>(how);
  if (!forced_token.of(row).is_none()) {
    read.forced_token = forced_token.as<int64_t>(row);
    // -1 stands for none in the core; from here it is a token that does not exist.
    if (read.forced_token < 0) forced_token.refuse();
    read.logprobs = std::max(read.logprobs, 0);  // reporting on it is its purpose
  }
  if (const nb::object how_adjusted = adjustment.of(row); !how_adjusted.is_none())
    read.adjustment = {.ids = copied(ids.array<int32_t>(how_adjusted)),
                       .factors = copied(factors.array<double>(how_adjusted)),
                       .shifts = copied(shifts.array<double>(how_adjusted))};
  if (!mask.of(row).is_none()) {
    read.mask = copied(mask.array<uint32_t>(row));
    if (read.mask.empty()) mask.refuse();  // in the core an empty one allows all tokens
  }
  return read;
}

// A batch with the numbers that it refers to. All are copied, so that they stay as they were
// checked while the GIL is released.
class OwnedBatch {
 public:
  explicit OwnedBatch(nb::handle inputs) {
    // A tuple of them, because reading a field may run Python that changes a list.
    const nb::tuple items(inputs);
    batch_.inputs.reserve(items.size());
    numbers_.reserve(2 * items.size());  // spans point into it, so it must not move
    for (size_t i = 0; i < items.size(); ++i) {
      try {
        batch_.inputs.push_back(read_input(items[i]));
      } catch (const std::invalid_argument& error) {
        throw std::invalid_argument("input " + std::to_string(i) + ": " + error.what());
      }
    }
  }
  const Batch& operator*() const { return batch_; }

 private:
  ModelInput read_input(nb::handle item) {
    static const Field token_ids("token_ids"), start("start"), block_table("block_table"),
        sampling("sampling"), verify_rows("verify_rows"), hidden("hidden");
    ModelInput input{.token_ids = read_numbers(token_ids, item),
                     .start = start.as<int64_t>(item),
                     .block_table = read_numbers(block_table, item),
                     .hidden = hidden.as<bool>(item)};
    const nb::object last = sampling.of(item);
    const nb::tuple earlier(verify_rows.of(item));
    if (last.is_none() && earlier.size() > 0) verify_rows.refuse();
    for (nb::handle row : earlier) input.rows.push_back(read_row(row));
    if (!last.is_none()) input.rows.push_back(read_row(last));
    return input;
  }

  std::span<const int32_t> read_numbers(const Field& field, nb::handle item) {
    numbers_.push_back(field.as<std::vector<int32_t>>(item));
    return numbers_.back();
  }

  std::vector<std::vector<int32_t>> numbers_;
  Batch batch_;
};

// A step's output as Python objects.
struct PythonOutput {
  nb::list sampled, hidden, failures;
};

PythonOutput to_python(StepOutput output, int64_t hidden) {
  PythonOutput results;
  for (SampledToken& token : output.sampled) results.sampled.append(nb::cast(std::move(token)));
  for (std::vector<float>& states : output.hidden) {
    const auto rows = static_cast<int64_t>(states.size()) / hidden;
    results.hidden.append(
        to_numpy(std::make_unique<std::vector<float>>(std::move(states)), rows, hidden));
  }
  for (const Failure& failure : output.failures) results.failures.append(nb::cast(failure));
  return results;
}

PythonOutput step(NativeModel& self, nb::handle inputs) {
  const OwnedBatch batch(inputs);
  StepOutput output;
  {
    const Running model(self);
    nb::gil_scoped_release released;
    output = model->step(*batch);
  }
  return to_python(std::move(output), self.hidden);
}

std::optional<PythonOutput> try_step(NativeModel& self, nb::handle inputs) {
  const OwnedBatch batch(inputs);
  std::optional<StepOutput> output;
  {
    const Running model(self);
    nb::gil_scoped_release released;
    output = model->try_step(*batch);
  }
  if (!output) return std::nullopt;
  return to_python(*std::move(output), self.hidden);
}

nb::object logits(NativeModel& self, nb::handle inputs) {
  const OwnedBatch batch(inputs);
  auto values = std::make_unique<std::vector<float>>();
  int64_t rows = 0;
  for (const ModelInput& input : (*batch).inputs) rows += static_cast<int64_t>(input.rows.size());
  {
    const Running model(self);
    nb::gil_scoped_release released;
    *values = model->logits(*batch);
  }
  const int64_t columns = rows ? static_cast<int64_t>(values->size()) / rows : 0;
  return to_numpy(std::move(values), rows, columns);
}

// Does nothing for a closed model: a thread that needs a CPU need not know whether the model runs.
void yield_cpu(NativeModel& self, bool on) {
  if (self.model) self.model->yield_cpu(on);
}

// Does nothing for a closed model, as yield_cpu().
void interrupt(NativeModel& self, bool on) {
  if (self.model) self.model->interrupt(on);
}

void close_model(NativeModel& self) {
  if (self.running) throw std::runtime_error("the model is running in another thread");
  self.model.reset();
  self.kept_alive.clear();
}

Model& opened(NativeModel& self) {
  if (!self.model) throw std::runtime_error("the model is closed");
  return *self.model;
}

}  // namespace

void bind_model(nb::module_& m) {
  nb::enum_<SampleError>(m, "SampleError")
      .value("NONE", SampleError::none)
      .value("NOT_FINITE", SampleError::not_finite)
      .value("NONE_ALLOWED", SampleError::none_allowed);
  nb::class_<SampledToken>(m, "SampledToken")
      .def_ro("token_id", &SampledToken::token_id)
      .def_ro("logprob", &SampledToken::logprob)
      .def_ro("top", &SampledToken::top);
  nb::class_<Failure>(m, "Failure")
      .def_ro("input", &Failure::input)
      .def_ro("reason", &Failure::reason)
      .def_ro("position", &Failure::position);
  nb::class_<PythonOutput>(m, "StepOutput")
      .def_ro("sampled", &PythonOutput::sampled)
      .def_ro("hidden", &PythonOutput::hidden)
      .def_ro("failures", &PythonOutput::failures);
  nb::class_<NativeModel>(m, "Model")
      .def(nb::new_(&make_model), nb::kw_only(), "shape"_a, "weights"_a, "cache"_a,
           "kernels"_a = "", "threads"_a = 0, "pinned"_a = false)
      .def("step", &step, "inputs"_a)
      .def("try_step", &try_step, "inputs"_a)
      .def("interrupt", &interrupt, "on"_a)
      .def("logits", &logits, "inputs"_a)
      .def("yield_cpu", &yield_cpu, "on"_a)
      .def("close", &close_model)
      .def_prop_ro("kernels", [](NativeModel& self) { return std::string(opened(self).kernels()); })
      .def_prop_ro("threads", [](NativeModel& self) { return opened(self).threads(); });
}

}  // namespace ingot
