#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/einsum.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>

#include <algorithm>
#include <map>

namespace gradus {

namespace {

/// A tensor whose axes have names, a letter each.
struct Named {
  Tensor x;
  std::string letters;
  int64_t size(char letter) const { return x.shape()[static_cast<int64_t>(letters.find(letter))]; }
};

bool has(const std::string& letters, char letter) {
  return letters.find(letter) != std::string::npos;
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// What the equation says: the letters of each tensor, and those of the result.
struct Equation {
  std::vector<std::string> terms{""};
  std::string result;
};

Equation parse(std::string_view text) {
  Equation equation;
  bool arrow = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ') continue;
    if (c == '-' && !arrow && text.substr(i, 2) == "->") {
      arrow = true;
      ++i;
    } else if (c == ',' && !arrow) {
      equation.terms.emplace_back();
    } else {
      check(is_letter(c), "einsum: '{}' in \"{}\" names no axis; letters do", c, text);
      (arrow ? equation.result : equation.terms.back()) += c;
    }
  }
  std::map<char, int> times;
  for (const std::string& term : equation.terms)
    for (char c : term) ++times[c];
  if (!arrow)
    for (const auto& [letter, count] : times)
      if (count == 1) equation.result += letter;
  for (size_t i = 0; i < equation.result.size(); ++i) {
    const char c = equation.result[i];
    check(times.contains(c), "einsum: '{}' of the result of \"{}\" is in no tensor", c, text);
    check(equation.result.find(c) == i, "einsum: '{}' stands twice in the result of \"{}\"", c,
          text);
  }
  return equation;
}

/// x with its axes in the order of `letters`, which are all of its own.
Tensor in_order(const Named& a, const std::string& letters) {
  Axes order;
  for (char c : letters) order.push_back(static_cast<int64_t>(a.letters.find(c)));
  return permute(a.x, order);
}

/// x without the axes of letters that `wanted` has not, which are summed.
Named summed(const Named& a, const std::string& wanted) {
  Axes axes;
  std::string rest;
  for (size_t i = 0; i < a.letters.size(); ++i) {
    if (has(wanted, a.letters[i]))
      rest += a.letters[i];
    else
      axes.push_back(static_cast<int64_t>(i));
  }
  return axes.ndim() == 0 ? a : Named{sum(a.x, axes), rest};
}

/// A letter that stands twice names the diagonal.
Named diagonals(Named a) {
  for (size_t i = 0; i < a.letters.size(); ++i) {
    const size_t j = a.letters.find(a.letters[i], i + 1);
    if (j == std::string::npos) continue;
    const int64_t n = a.x.shape()[static_cast<int64_t>(i)];
    Axes order{static_cast<int64_t>(i), static_cast<int64_t>(j)};
    Shape shape{n * n};
    std::string letters{a.letters[i]};
    for (size_t k = 0; k < a.letters.size(); ++k) {
      if (k == i || k == j) continue;
      order.push_back(static_cast<int64_t>(k));
      shape.push_back(a.x.shape()[static_cast<int64_t>(k)]);
      letters += a.letters[k];
    }
    const Tensor places = mul(arange(n), static_cast<double>(n + 1));
    a = {index_select(reshape(permute(a.x, order), shape), 0, places), letters};
    i = static_cast<size_t>(-1);  // from the front again
  }
  return a;
}

/// The product of both, summed over the letters that they share and `wanted` has not.
Named product(const Named& a, const Named& b, const std::string& wanted) {
  std::string batch, inner, left, right;
  for (char c : a.letters) (!has(b.letters, c) ? left : has(wanted, c) ? batch : inner) += c;
  for (char c : b.letters)
    if (!has(a.letters, c)) right += c;
  Shape result, batch_shape;
  int64_t m = 1, k = 1, n = 1;
  for (char c : batch) batch_shape.push_back(a.size(c));
  result = batch_shape;
  for (char c : left) result.push_back(a.size(c)), m *= a.size(c);
  for (char c : inner) k *= a.size(c);
  for (char c : right) result.push_back(b.size(c)), n *= b.size(c);
  const auto factor = [&](const Named& of, const std::string& letters, int64_t rows,
                          int64_t columns) {
    return reshape(in_order(of, letters), Shape{batch_shape.numel(), rows, columns});
  };
  const Tensor y =
      inner.empty()
          ? mul(factor(a, batch + left, m, 1), factor(b, batch + right, 1, n))
          : matmul(factor(a, batch + left + inner, m, k), factor(b, batch + inner + right, k, n));
  return {reshape(y, result), batch + left + right};
}

}  // namespace

Tensor einsum(std::string_view equation, std::span<const Tensor> tensors) {
  const Equation e = parse(equation);
  check(e.terms.size() == tensors.size(), "einsum: \"{}\" is of {} tensors, not of {}", equation,
        e.terms.size(), tensors.size());
  std::map<char, int64_t> sizes;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& x = tensors[i];
    check(static_cast<size_t>(x.ndim()) == e.terms[i].size(),
          "einsum: \"{}\" of \"{}\" for a tensor of shape {}", e.terms[i], equation, x.shape());
    check_same_dtype("einsum", tensors[0], x);
    for (int axis = 0; axis < x.ndim(); ++axis) {
      const char c = e.terms[i][static_cast<size_t>(axis)];
      const int64_t size = sizes.emplace(c, x.shape()[axis]).first->second;
      check(size == x.shape()[axis], "einsum: '{}' of \"{}\" is of size {} and, in shape {}, {}", c,
            equation, size, x.shape(), x.shape()[axis]);
    }
  }
  Named y;
  for (size_t i = 0; i < tensors.size(); ++i) {
    std::string wanted = e.result;  // by the result, or by tensors to come
    for (size_t k = i + 1; k < tensors.size(); ++k) wanted += e.terms[k];
    const Named x = diagonals({tensors[i], e.terms[i]});
    y = i == 0 ? summed(x, wanted) : product(y, summed(x, wanted + y.letters), wanted);
  }
  return in_order(y, e.result);
}

}  // namespace gradus
