#include <gradus/gradus.h>

#include <cstdio>
#include <string_view>

// The header's version, CMake's, and its numbers are one.
static_assert(std::string_view(GRADUS_VERSION) == EXPECTED_VERSION);

int main() {
  char numbers[32];
  std::snprintf(numbers, sizeof numbers, "%d.%d.%d", GRADUS_VERSION_MAJOR, GRADUS_VERSION_MINOR,
                GRADUS_VERSION_PATCH);
  if (std::string_view(numbers) != GRADUS_VERSION) return 1;
  gradus::Tensor x = gradus::Tensor::of({1, 2, 3}).set_requires_grad();
  gradus::Tape tape;
  tape.backward(gradus::sum(gradus::square(x)));
  std::printf("%g %g %g\n", x.grad().at({0}), x.grad().at({1}), x.grad().at({2}));
  return x.grad().at({2}) == 6 ? 0 : 1;
}
