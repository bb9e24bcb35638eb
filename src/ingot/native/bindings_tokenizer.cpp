// Encoding and training of byte-pair vocabularies in Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings.h"
#include "bindings_fields.h"
#include "bpe_encoder.h"
#include "bpe_trainer.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {

namespace {

constexpr uint32_t kMostTokens = 1 << 20;
constexpr size_t kMostCache = size_t{1} << 32;

// An array of one or two dimensions that owns its values.
template <class Value>
nb::object owned(std::vector<Value> values, std::initializer_list<size_t> shape) {
  auto kept = std::make_unique<std::vector<Value>>(std::move(values));
  Value* const data = kept->data();
  nb::capsule owner(kept.get(),
                    [](void* p) noexcept { delete static_cast<std::vector<Value>*>(p); });
  kept.release();  // only now does the capsule own them
  return nb::cast(nb::ndarray<nb::numpy, Value>(data, shape, owner));
}

// A text in UTF-8; Python keeps it as long as the text. Half a surrogate pair raises
// UnicodeEncodeError.
std::string_view utf8(nb::handle text) {
  if (!PyUnicode_Check(text.ptr())) throw nb::type_error("a text must be a str");
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (!data) throw nb::python_error();
  return {data, static_cast<size_t>(size)};
}

std::array<uint32_t, 256> checked_bytes(const Array<uint32_t, nb::ndim<1>>& ids) {
  std::array<uint32_t, 256> bytes;
  if (ids.size() != bytes.size()) throw std::invalid_argument("byte_ids must have 256 values");
  check_aligned(ids, "byte_ids");
  for (size_t byte = 0; byte < bytes.size(); ++byte) {
    bytes[byte] = ids.data()[byte];
    if (bytes[byte] >= kMostTokens) throw std::invalid_argument("a token id is out of range");
  }
  return bytes;
}

SplitRules checked_rules(int64_t most_digits, int64_t longest_run) {
  if (most_digits < 1 || longest_run < 1) throw std::invalid_argument("a rule is below 1");
  return {most_digits, longest_run};
}

std::unique_ptr<BpeEncoder> make_encoder(const Array<uint32_t, nb::ndim<1>>& byte_ids,
                                         const Array<uint32_t, nb::shape<-1, 3>>& merges,
                                         int64_t most_digits, int64_t cache_bytes) {
  if (cache_bytes < 0 || static_cast<uint64_t>(cache_bytes) > kMostCache)
    throw std::invalid_argument("cache_bytes is out of range");
  check_aligned(merges, "merges");
  std::vector<Merge> list(merges.shape(0));
  for (size_t rank = 0; rank < list.size(); ++rank) {
    const uint32_t* row = merges.data() + 3 * rank;
    if (row[2] >= kMostTokens) throw std::invalid_argument("a token id is out of range");
    list[rank] = {row[0], row[1], row[2]};
  }
  return std::make_unique<BpeEncoder>(checked_bytes(byte_ids), list,
                                      checked_rules(most_digits, SplitRules{}.longest_run),
                                      static_cast<size_t>(cache_bytes));
}

nb::tuple encode(BpeEncoder& self, const nb::list& texts) {
  std::vector<nb::object> kept;  // another thread may change the list
  std::vector<std::string_view> views;
  for (nb::handle text : texts) {
    kept.push_back(nb::borrow(text));
    views.push_back(utf8(text));
  }
  std::vector<uint32_t> ids;
  std::vector<int64_t> ends;
  {
    nb::gil_scoped_release released;
    self.encode(views, ids, ends);
  }
  const size_t count = ids.size();
  return nb::make_tuple(owned(std::move(ids), {count}), owned(std::move(ends), {views.size()}));
}

nb::object split_words(const nb::str& text, int64_t most_digits, int64_t longest_run) {
  const std::string_view whole = utf8(text);
  WordSplitter words(whole, checked_rules(most_digits, longest_run));
  std::vector<int64_t> ends;
  for (std::string_view word; words.next(word);)
    ends.push_back(word.data() + word.size() - whole.data());
  const size_t count = ends.size();
  return owned(std::move(ends), {count});
}

// Characters whose class is another than that of the one before or after them.
std::vector<uint32_t> class_borders() {
  std::vector<uint32_t> borders;
  const CharClass* classes = char_classes();
  for (uint32_t code = 1; code < kClassified; ++code) {
    if (classes[code] != classes[code - 1]) borders.insert(borders.end(), {code - 1, code});
  }
  borders.insert(borders.end(), {kClassified - 1, kClassified});
  return borders;
}

std::unique_ptr<WordCounts> make_counts(int64_t most_digits, int64_t longest_run,
                                        int64_t distinct_bytes) {
  if (distinct_bytes < 1) throw std::invalid_argument("distinct_bytes is below 1");
  return std::make_unique<WordCounts>(checked_rules(most_digits, longest_run),
                                      static_cast<size_t>(distinct_bytes));
}

nb::object merges_of(const WordCounts& self, const Array<uint32_t, nb::ndim<1>>& byte_ids,
                     int64_t tokens, int64_t vocab_size) {
  const std::array<uint32_t, 256> bytes = checked_bytes(byte_ids);
  if (vocab_size < 0 || vocab_size > kMostTokens || tokens < 0 || tokens > kMostTokens)
    throw std::invalid_argument("a number of tokens is out of range");
  for (const uint32_t id : bytes) {
    if (id >= tokens) throw std::invalid_argument("a byte's token is not among the tokens");
  }
  std::vector<uint32_t> flat;
  {
    nb::gil_scoped_release released;
    for (const Merge& merge : train_merges(self, bytes, static_cast<uint32_t>(tokens),
                                           static_cast<uint32_t>(vocab_size))) {
      flat.insert(flat.end(), {merge.left, merge.right, merge.made});
    }
  }
  const size_t rows = flat.size() / 3;
  return owned(std::move(flat), {rows, 3});
}

}  // namespace

void bind_tokenizer(nb::module_& m) {
  nb::class_<BpeEncoder>(m, "BpeEncoder")
      .def(nb::new_(&make_encoder), nb::kw_only(), nb::arg("byte_ids").noconvert(),
           nb::arg("merges").noconvert(), "most_digits"_a, "cache_bytes"_a)
      .def("encode", &encode, "texts"_a);
  m.def("split_words", &split_words, "text"_a, nb::kw_only(), "most_digits"_a, "longest_run"_a);
  m.def("class_borders", &class_borders);
  nb::class_<WordCounts>(m, "WordCounts")
      .def(nb::new_(&make_counts), nb::kw_only(), "most_digits"_a, "longest_run"_a,
           "distinct_bytes"_a)
      .def(
          "add", [](WordCounts& self, const nb::str& text) { return self.add(utf8(text)); },
          "text"_a)
      .def("merges", &merges_of, nb::kw_only(), nb::arg("byte_ids").noconvert(), "tokens"_a,
           "vocab_size"_a);
}

}  // namespace ingot
