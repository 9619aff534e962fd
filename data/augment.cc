#include <gradus/data/augment.h>
#include <gradus/tensor/index.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace gradus {

namespace {

constexpr int64_t kMostPadding = int64_t{1} << 30;

void check_images(const char* op, const Tensor& images) {
  check(images.ndim() == 4, "{}: images must be (N, C, H, W), are {}", op, images.shape());
}

}  // namespace

Tensor random_shift(const Tensor& images, int64_t most, double probability, double fill,
                    Generator& generator) {
  check(images.ndim() == 4 && images.dtype() == DType::f32,
        "random_shift: images must be (N, C, H, W) f32, are {} {}", images.shape(),
        name(images.dtype()));
  check(most >= 0 && probability >= 0 && probability <= 1,
        "random_shift: up to {} pixels with probability {}; needs 0 or more, and 0 to 1", most,
        probability);
  const int64_t h = images.size(2), w = images.size(3), planes = images.size(1);
  const Tensor from = raw::contiguous(images);
  Tensor to = full(images.shape(), fill);
  const float* in = from.data<float>();
  float* out = to.mutable_data<float>();
  const auto draw = [&, range = static_cast<uint64_t>(most)] {
    return static_cast<int64_t>(generator.below(2 * range + 1) - range);
  };
  for (int64_t n = 0; n < images.size(0) && images.numel() > 0; ++n) {
    const int64_t drawn_down = draw(), drawn_right = draw();
    const bool moved = generator.uniform() < probability;
    const int64_t down = moved ? std::clamp(drawn_down, -h, h) : 0,
                  right = moved ? std::clamp(drawn_right, -w, w) : 0;
    const int64_t width = w - std::abs(right), first = std::max<int64_t>(0, -right);
    for (int64_t plane = 0; plane < planes; ++plane, in += h * w, out += h * w) {
      for (int64_t i = std::max<int64_t>(0, down); i < std::min(h, h + down) && width > 0; ++i)
        std::copy_n(in + (i - down) * w + first, width, out + i * w + first + right);
    }
  }
  return to;
}

Tensor random_flip(const Tensor& images, double probability, int64_t axis, Generator& generator) {
  check_images("random_flip", images);
  const int along = normalize_axis("random_flip", axis, images.ndim());
  check(along >= 2 && probability >= 0 && probability <= 1,
        "random_flip: along axis {} with probability {}; needs -1 or -2, and 0 to 1", axis,
        probability);
  Tensor to = raw::clone(images);
  const int64_t h = images.size(2), w = images.size(3), planes = images.size(1);
  dispatch(images.dtype(), [&]<class T>() {
    T* plane = to.mutable_data<T>();
    for (int64_t n = 0; n < images.size(0) && images.numel() > 0; ++n) {
      const bool flipped = generator.uniform() < probability;
      for (int64_t c = 0; c < planes; ++c, plane += h * w) {
        if (flipped && along == 2)
          for (int64_t i = 0; i < h / 2; ++i)
            std::swap_ranges(plane + i * w, plane + (i + 1) * w, plane + (h - 1 - i) * w);
        if (flipped && along == 3)
          for (int64_t i = 0; i < h; ++i) std::reverse(plane + i * w, plane + (i + 1) * w);
      }
    }
  });
  return to;
}

Tensor random_crop(const Tensor& images, int64_t height, int64_t width, int64_t padding,
                   double fill, Generator& generator) {
  check_images("random_crop", images);
  const int64_t h = images.size(2), w = images.size(3), planes = images.size(0) * images.size(1);
  check(padding >= 0 && padding <= kMostPadding && height > 0 && width > 0 &&
            height <= h + 2 * padding && width <= w + 2 * padding,
        "random_crop: {} x {} of images {} with {} around them", height, width, images.shape(),
        padding);
  Tensor to = full({images.size(0), images.size(1), height, width}, fill, images.dtype());
  const raw::Contiguous from(images);
  const auto draw = [&](int64_t places) {
    return static_cast<int64_t>(generator.below(static_cast<uint64_t>(places)));
  };
  dispatch(images.dtype(), [&]<class T>() {
    const T* in = from.data<T>();
    T* out = to.mutable_data<T>();
    int64_t top = 0, left = 0;  // of what is shown, in the image
    for (int64_t plane = 0; plane < planes && to.numel() > 0;
         ++plane, in += h * w, out += height * width) {
      if (plane % images.size(1) == 0) {
        top = draw(h + 2 * padding - height + 1) - padding;
        left = draw(w + 2 * padding - width + 1) - padding;
      }
      const int64_t begin = std::max<int64_t>(0, -left), end = std::min(width, w - left);
      for (int64_t i = std::max<int64_t>(0, -top); i < std::min(height, h - top) && begin < end;
           ++i)
        std::copy_n(in + (top + i) * w + left + begin, end - begin, out + i * width + begin);
    }
  });
  return to;
}

Tensor rotate(const Tensor& images, const Tensor& angles, double fill) {
  check_images("rotate", images);
  check(images.dtype() == DType::f32 && is_floating(angles.dtype()) && angles.ndim() == 1 &&
            angles.size(0) == images.size(0),
        "rotate: images {} {} and angles {} {}; needs f32 and an angle for each", images.shape(),
        name(images.dtype()), angles.shape(), name(angles.dtype()));
  check_number("rotate", fill, images.dtype());
  const std::vector<double> degrees = angles.to_vector<double>();
  const raw::Contiguous from(images);
  Tensor to = empty(images.shape());
  const int64_t h = images.size(2), w = images.size(3);
  const float* in = from.data<float>();
  float* out = to.mutable_data<float>();
  for (int64_t n = 0; n < images.size(0) && images.numel() > 0; ++n) {
    const double angle = degrees[static_cast<size_t>(n)] * std::numbers::pi / 180;
    check(std::isfinite(angle), "rotate: an angle of {}", degrees[static_cast<size_t>(n)]);
    const double cosine = std::cos(angle), sine = std::sin(angle),
                 middle_i = static_cast<double>(h - 1) / 2,
                 middle_j = static_cast<double>(w - 1) / 2;
    for (int64_t c = 0; c < images.size(1); ++c, in += h * w) {
      const auto pixel = [&](double i, double j) {
        const bool inside =
            i >= 0 && j >= 0 && i < static_cast<double>(h) && j < static_cast<double>(w);
        return inside
                   ? static_cast<double>(in[static_cast<int64_t>(i) * w + static_cast<int64_t>(j)])
                   : fill;
      };
      for (int64_t i = 0; i < h; ++i)
        for (int64_t j = 0; j < w; ++j) {
          // Down and right of the middle; what is shown there was turned away from (a, b).
          const double down = static_cast<double>(i) - middle_i,
                       right = static_cast<double>(j) - middle_j;
          const double a = middle_i + sine * right + cosine * down,
                       b = middle_j + cosine * right - sine * down;
          const double top = std::floor(a), left = std::floor(b), y = a - top, x = b - left;
          const double above = (1 - x) * pixel(top, left) + x * pixel(top, left + 1),
                       below = (1 - x) * pixel(top + 1, left) + x * pixel(top + 1, left + 1);
          *out++ = static_cast<float>((1 - y) * above + y * below);
        }
    }
  }
  return to;
}

Tensor random_rotation(const Tensor& images, double most, double fill, Generator& generator) {
  check_images("random_rotation", images);
  check(most >= 0 && std::isfinite(most), "random_rotation: by up to {} degrees; needs 0 or more",
        most);
  return rotate(images, uniform({images.size(0)}, -most, most, generator, DType::f64), fill);
}

Tensor random_noise(const Tensor& x, double deviation, Generator& generator) {
  check(deviation >= 0 && std::isfinite(deviation),
        "random_noise: a deviation of {}; needs 0 or more", deviation);
  check_number("random_noise", deviation, x.dtype());
  return dispatch_floating(x.dtype(), "random_noise", [&]<class T>() {
    Tensor noise = randn(x.shape(), generator, x.dtype());
    T* value = noise.mutable_data<T>();
    for (int64_t i = 0; i < x.numel(); ++i) value[i] *= static_cast<T>(deviation);
    return raw::add(raw::contiguous(x), noise);
  });
}

namespace {

/// The logarithm of a draw from Gamma(alpha, 1): small alphas give draws that no double holds
/// (Marsaglia & Tsang 2000, "A simple method for generating gamma variables").
double log_gamma_draw(double alpha, Generator& generator) {
  const double d = alpha + 1 - 1. / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = generator.normal(), root = 1 + c * x, v = root * root * root;
    if (root <= 0 || std::log(1 - generator.uniform()) >= x * x / 2 + d - d * v + d * std::log(v))
      continue;
    return std::log(d * v) + std::log(1 - generator.uniform()) / alpha;  // of alpha + 1, then alpha
  }
}

/// a x + (1 - a) x[order], along axis 0.
template <class T>
Tensor mixed(const Tensor& x, double a, const Tensor& order) {
  const raw::Contiguous from(x);
  Tensor to = raw::index_select(x, 0, order, "mixup");
  const T* const one = from.data<T>();
  T* const other = to.mutable_data<T>();
  for (int64_t i = 0; i < x.numel(); ++i)
    other[i] = static_cast<T>(a) * one[i] + static_cast<T>(1 - a) * other[i];
  return to;
}

Tensor probabilities_of(const Dataset& batch) {
  Tensor y = zeros({batch.size(), batch.classes}, batch.x.dtype());
  const std::vector<int64_t> labels = batch.y.to_vector<int64_t>();
  dispatch_floating(y.dtype(), "mixup", [&]<class T>() {
    T* row = y.mutable_data<T>();
    for (const int64_t label : labels) {
      check(label >= 0 && label < batch.classes, "mixup: a label {} of {} classes", label,
            batch.classes);
      row[label] = 1;
      row += batch.classes;
    }
  });
  return y;
}

}  // namespace

Dataset mixup(const Dataset& batch, double alpha, Generator& generator) {
  check_dataset("mixup", batch);
  check(batch.x && is_floating(batch.x.dtype()) && batch.y &&
            (is_floating(batch.y.dtype()) || (batch.classes > 0 && batch.y.ndim() == 1)),
        "mixup: {} needs a floating x, and y (N) with classes, or floating", batch.name);
  check(alpha > 0 && std::isfinite(alpha), "mixup: alpha is {}, must be above 0", alpha);
  const double a = log_gamma_draw(alpha, generator), b = log_gamma_draw(alpha, generator);
  const double weight = 1 / (1 + std::exp(b - a));
  const Tensor order = randperm(batch.size(), generator);
  const auto mix = [&](const Tensor& x) {
    return dispatch_floating(x.dtype(), "mixup",
                             [&]<class T>() { return mixed<T>(x, weight, order); });
  };
  Dataset result = batch;
  result.x = mix(batch.x);
  result.y = mix(batch.classes > 0 ? probabilities_of(batch) : batch.y);
  result.classes = 0;
  return result;
}

}  // namespace gradus
