// Tensors: shapes, views that share memory, broadcasting, dtypes.
#include <gradus/gradus.h>

using namespace gradus;

int main() {
  // A Tensor is a handle: copying it shares the elements. Shape and dtype are known at run time.
  const Tensor x = Tensor::from(std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {3, 4});
  fmt::print("x, shape {}, {}:\n{}\n\n", x.shape(), x.dtype(), x);

  // Views move no elements; they read x's memory in other steps.
  const Tensor columns = transpose(x);
  Tensor second = select(columns, 0, 1);  // a row of the transpose, a column of x
  fmt::print("its transpose has strides ({}, {}):\n{}\n\n", columns.strides()[0],
             columns.strides()[1], columns);
  const bool shared = second.shares_storage(x);
  fill_(second, -1);
  fmt::print("x after its second column, seen through two views, was filled with -1:\n{}\n\n", x);
  const bool seen = x.at({0, 1}) == -1 && x.at({2, 1}) == -1 && x.at({2, 2}) == 10;

  // Shapes are aligned at the end; an axis of size 1 repeats: (3, 4) with (4), and with (3, 1).
  const Tensor row = Tensor::of({1, 10, 100, 1000});
  const Tensor column = unsqueeze(Tensor::of({1, 2, 3}), 1);
  fmt::print("x + column, (3, 4) + (3, 1):\n{}\n\n", x + column);
  const Tensor table = row * column;  // (4) * (3, 1) -> (3, 4)
  fmt::print("row * column, (4) * (3, 1):\n{}\n\n", table);
  const bool broadcast = table.shape() == Shape{3, 4} && table.at({2, 3}) == 3000;

  // f32 and f64 calculate, i64 counts and indexes, bool selects. Nothing is converted by itself.
  const Tensor large = x > 5;
  fmt::print("x > 5:\n{}\n", large);
  fmt::print("the largest of each row stands in column {}\n", argmax(x, 1));
  const bool selected = sum(where(large, x, zeros({}))).item() == 6 + 7 + 8 + 10 + 11;
  bool refused = false;
  try {
    x + cast(x, DType::f64);
  } catch (const Error& error) {
    refused = true;
    fmt::print("f32 + f64 is an error:\n  {}\n", error.what());
  }
  return shared && seen && broadcast && selected && refused ? 0 : 1;
}
