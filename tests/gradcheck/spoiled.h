#pragma once
#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/op.h>

#include <memory>
#include <utility>
#include <vector>

namespace gradus::test {

/// Changes right gradients to wrong ones.
using Spoil =
    std::function<void(std::span<const Tensor> x, const Tensor& dy, std::vector<Tensor>& dx)>;

/// f as one op whose backward is f's own, spoiled.
class Spoiled {
 public:
  Spoiled(Function f, Spoil spoil) : f_(std::move(f)), spoil_(std::move(spoil)) {}

  Tensor operator()(std::span<const Tensor> x) const {
    static Op op("spoiled", [](Backward& ctx) {
      const Attrs& attrs = ctx.attrs<Attrs>();
      std::vector<Tensor> in;
      for (int i = 0; i < attrs.inputs; ++i) in.push_back(raw::clone(ctx.kept(i)));
      std::vector<Tensor> dx = vjp(attrs.self->f_, in, ctx.dy());
      for (Tensor& d : dx) d = raw::clone(d);
      attrs.self->spoil_(in, ctx.dy(), dx);
      for (int i = 0; i < attrs.inputs; ++i)
        if (dx[static_cast<size_t>(i)]) ctx.set(i, dx[static_cast<size_t>(i)]);
    });
    Tensor y;
    {
      const NoRecord pause;
      y = raw::clone(f_(x));
    }
    return record(op, y, x, x, Attrs{this, static_cast<int>(x.size())});
  }

 private:
  struct Attrs {
    const Spoiled* self;
    int inputs;
  };
  Function f_;
  Spoil spoil_;
};

}  // namespace gradus::test
