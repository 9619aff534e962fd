#include <gradus/tensor/detail/named_tensors.h>
#include <gradus/training/checkpoint.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace gradus {

namespace {

Tensor words_of(const Generator::State& state) {
  Tensor words = empty({3}, DType::i64);
  std::memcpy(words.mutable_bytes(), &state, sizeof state);
  return words;
}

Generator::State state_from(const Tensor& words) {
  Generator::State state{};
  static_assert(sizeof state == 3 * sizeof(int64_t));
  std::memcpy(&state, words.bytes(), sizeof state);
  return state;
}

std::string name_in_file(const std::string& part, const std::string& key) {
  return key.empty() ? part : part + "." + key;
}

}  // namespace

Checkpoint& Checkpoint::add_part(Part part) {
  check(!part.name.empty() && part.name.find('.') == std::string::npos,
        "Checkpoint: \"{}\" is no name for a part: it is empty or has a dot", part.name);
  detail::check_name_in_file("Checkpoint", part.name);
  check(std::ranges::find(parts_, part.name, &Part::name) == parts_.end(),
        "Checkpoint: two parts are called {}", part.name);
  parts_.push_back(std::move(part));
  return *this;
}

Checkpoint& Checkpoint::add_value(
    const std::string& name, const std::function<Tensor()>& get,
    const std::function<std::function<void()>(const Tensor&)>& prepare, bool gets_handles) {
  return add_part({name,
                   [get] {
                     return NamedTensors{{"", get()}};
                   },
                   [name, get, prepare](const NamedTensors& values) {
                     const Tensor now = get();
                     check(values.size() == 1 && values[0].first.empty() &&
                               values[0].second.shape() == now.shape() &&
                               values[0].second.dtype() == now.dtype(),
                           "{} is one {} {}", name, now.shape(), now.dtype());
                     return prepare(values[0].second);
                   },
                   gets_handles});
}

Checkpoint& Checkpoint::add(std::string name, Module& module) {
  return add_part({std::move(name), [&module] { return module.state(); },
                   [&module](const NamedTensors& values) { return module.prepare_load(values); },
                   true});
}

Checkpoint& Checkpoint::add(std::string name, Optimizer& optimizer) {
  return add_part(
      {std::move(name), [&optimizer] { return optimizer.state(); },
       [&optimizer](const NamedTensors& values) { return optimizer.prepare_load(values); }});
}

Checkpoint& Checkpoint::add(std::string name, Lbfgs& optimizer) {
  return add_part(
      {std::move(name), [&optimizer] { return optimizer.state(); },
       [&optimizer](const NamedTensors& values) { return optimizer.prepare_load(values); }});
}

Checkpoint& Checkpoint::add(const std::string& name, Generator& generator) {
  return add_value(
      name, [&generator] { return words_of(generator.state()); },
      [&generator](const Tensor& words) -> std::function<void()> {
        return [&generator, given = Generator(state_from(words))] { generator = given; };
      });
}

Checkpoint& Checkpoint::add(const std::string& name, Tensor& tensor) {
  const auto get = [name, &tensor] {
    check(bool(tensor), "Checkpoint: {} is an empty handle, no tensor", name);
    return tensor;
  };
  raw::check_writable("Checkpoint", get());
  return add_value(
      name, get,
      [&tensor](const Tensor& values) -> std::function<void()> {
        raw::check_writable("Checkpoint", tensor);
        raw::clone(tensor);  // starts the threads that writing takes
        return [&tensor, values] { raw::copy(values, tensor, "Checkpoint"); };
      },
      true);
}

Checkpoint& Checkpoint::add(const std::string& name, std::vector<double>& values) {
  return add_part(
      {name,
       [&values] {
         return NamedTensors{{"", Tensor::from(values, {static_cast<int64_t>(values.size())})}};
       },
       [name, &values](const NamedTensors& given) -> std::function<void()> {
         check(given.size() == 1 && given[0].first.empty() && given[0].second.ndim() == 1 &&
                   given[0].second.dtype() == DType::f64,
               "{} is one list of f64", name);
         return
             [&values, list = given[0].second.to_vector<double>()]() mutable { values.swap(list); };
       }});
}

void Checkpoint::save(const std::string& path) const {
  NamedTensors all;
  for (const Part& part : parts_) {
    const std::string place = path + ": " + part.name;
    const ErrorContext context(place);
    for (auto& [key, tensor] : part.get()) {
      raw::check_writable("Checkpoint", tensor);  // else it could not be loaded
      all.emplace_back(name_in_file(part.name, key), std::move(tensor));
    }
  }
  save_tensors(path, all);
}

/// The tensors that are set to these values, which are called as in the file.
std::vector<detail::Loaded> Checkpoint::handles(const NamedTensors& values) const {
  const std::unordered_map<std::string, Tensor> by_name(values.begin(), values.end());
  std::vector<detail::Loaded> result;
  for (const Part& part : parts_)
    if (part.gets_handles)
      for (const auto& [key, tensor] : part.get()) {
        const std::string name = name_in_file(part.name, key);
        result.push_back({name, tensor, by_name.at(name)});
      }
  return result;
}

void Checkpoint::load(const std::string& path) {
  std::unordered_map<std::string, NamedTensors> given;
  const NamedTensors values = load_tensors(path);
  for (const auto& [full_name, tensor] : values) {
    const size_t dot = std::min(full_name.find('.'), full_name.size());
    const std::string part = full_name.substr(0, dot);
    check(std::ranges::find(parts_, part, &Part::name) != parts_.end(),
          "{}: holds {}, and nothing here is called {}", path, full_name, part);
    given[part].emplace_back(full_name.substr(std::min(dot + 1, full_name.size())), tensor);
    check(name_in_file(part, given[part].back().first) == full_name,
          "{}: \"{}\" is no name of a tensor", path, full_name);
  }
  std::vector<std::function<void()>> commits;
  for (const Part& part : parts_) {
    check(given.contains(part.name) || part.get().empty(), "{}: holds nothing of {}", path,
          part.name);
    const std::string place = path + ": " + part.name;
    const ErrorContext context(place);
    commits.push_back(part.prepare(given[part.name]));
  }
  detail::check_one_value(path, handles(values));
  for (const auto& commit : commits) commit();
}

}  // namespace gradus
