// A program whose fmt is not the library's.
#include <gradus/autograd/ops/shape.h>

#include <cstdio>

int main() {
  using namespace gradus;
  const std::string text =
      fmt::format("{:>8} {} {:.1}", Shape{1, 2}, DType::f32, Tensor::of({1.5, 2}));
  try {
    reshape(Tensor::of({1, 2, 3}), {2, 2});
  } catch (const Error& error) {
    std::printf("%s\n%s\n", text.c_str(), error.what());
    return text == "  (1, 2) f32 tensor([1.5, 2.0], f32)" ? 0 : 1;
  }
  return 1;
}
