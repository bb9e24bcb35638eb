// Fields of Python objects, read by their names.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace ingot {

template <class Value, class... Shape>
using Array = nanobind::ndarray<const Value, nanobind::numpy, nanobind::device::cpu,
                                nanobind::c_contig, Shape...>;

// Numpy allows arrays at any address; the core reads values where their type may lie.
template <class Values>
void check_aligned(const Values& array, const char* name) {
  if (reinterpret_cast<uintptr_t>(array.data()) % alignof(typename Values::Scalar))
    throw std::invalid_argument(std::string(name) + " is not aligned");
}

// The name of a field. The string is made and interned once; a lookup by a C string would make one
// each time, which costs more than the lookup.
class Field {
 public:
  explicit Field(const char* name) : name_(name), key_(PyUnicode_InternFromString(name)) {
    if (!key_) throw nanobind::python_error();
  }

  const char* name() const { return name_; }

  nanobind::object of(nanobind::handle object) const {
    PyObject* const value = PyObject_GetAttr(object.ptr(), key_);
    if (value) return nanobind::steal(value);
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) throw nanobind::python_error();
    PyErr_Clear();
    throw std::invalid_argument(std::string("field ") + name_ + " is missing");
  }

  // Throws std::invalid_argument where the value is not a `Value`: of another type, or a number
  // that does not fit.
  template <class Value>
  Value as(nanobind::handle object) const {
    Value value;
    if (!nanobind::try_cast(of(object), value)) refuse();
    return value;
  }

  // A one-dimensional array of exactly this type; None is refused.
  template <class Value>
  Array<Value, nanobind::ndim<1>> array(nanobind::handle object) const {
    Array<Value, nanobind::ndim<1>> values;
    if (!nanobind::try_cast(of(object), values, /*convert=*/false) || !values.is_valid()) refuse();
    check_aligned(values, name_);
    return values;
  }

  [[noreturn]] void refuse() const {
    throw std::invalid_argument(std::string("field ") + name_ +
                                " has another type than expected, or does not fit in it");
  }

 private:
  const char* name_;
  PyObject* key_;  // never released: the fields live as long as the process
};

}  // namespace ingot
