#include <gradus/base/error.h>
#include <gradus/kernels/conv/paths.h>
#include <gradus/kernels/runtime/windows.h>

#include <type_traits>

namespace gradus::kernels {

namespace {

// Measured, docs/decisions/convolution_paths.md: with fewer channels or tiles Winograd's transforms
// cost more than they save, those of the weights in particular; with more outputs im2col's products
// are faster.
constexpr int64_t kWinogradChannels = 8, kWinogradTiles = 4, kWinogradWeights = 1 << 14;
constexpr int64_t kDirectOutputs = 128;
// n terms added up in one register are off by up to n 2^-24 of their magnitudes (Jeannerod and Rump
// 2013): as much as kConvError allows.
constexpr int64_t kDirectTaps = 1 << 12;

int64_t output_size(int64_t size, int64_t kernel, int64_t stride, int64_t padding,
                    int64_t dilation) {
  const int64_t room = size + 2 * padding - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

}  // namespace

int64_t Conv2dShape::output_height() const {
  return output_size(height, kernel_h, stride_h, padding_h, dilation_h);
}
int64_t Conv2dShape::output_width() const {
  return output_size(width, kernel_w, stride_w, padding_w, dilation_w);
}

void check_conv2d(const char* op, const Conv2dShape& s) {
  check(s.stride_h > 0 && s.stride_w > 0 && s.dilation_h > 0 && s.dilation_w > 0,
        "{}: stride {}x{} and dilation {}x{} must be positive", op, s.stride_h, s.stride_w,
        s.dilation_h, s.dilation_w);
  check(s.padding_h >= 0 && s.padding_w >= 0, "{}: padding {}x{} is negative", op, s.padding_h,
        s.padding_w);
  check(within_reach({s.kernel_h, s.kernel_w, s.stride_h, s.stride_w, s.padding_h, s.padding_w,
                      s.dilation_h, s.dilation_w}),
        "{}: kernel {}x{}, stride {}x{}, padding {}x{} or dilation {}x{} exceeds 2^31", op,
        s.kernel_h, s.kernel_w, s.stride_h, s.stride_w, s.padding_h, s.padding_w, s.dilation_h,
        s.dilation_w);
  check(s.groups > 0 && s.in_channels > 0 && s.out_channels > 0 && s.in_channels % s.groups == 0 &&
            s.out_channels % s.groups == 0,
        "{}: {} input and {} output channels do not divide into {} groups", op, s.in_channels,
        s.out_channels, s.groups);
  check(
      s.kernel_h > 0 && s.kernel_w > 0 && s.output_height() > 0 && s.output_width() > 0,
      "{}: a kernel of {}x{} (dilation {}x{}) is larger than the image of {}x{} with padding {}x{}",
      op, s.kernel_h, s.kernel_w, s.dilation_h, s.dilation_w, s.height, s.width, s.padding_h,
      s.padding_w);
}

const char* name(ConvPath path) {
  static constexpr const char* names[] = {"automatic", "pointwise", "im2col", "direct", "winograd"};
  return names[static_cast<int>(path)];
}

namespace {

/// Whether y is a correlation with every place of the padded image, and so is dx, if no output lies
/// in the padding alone.
bool is_correlation(const Conv2dShape& s) {
  return s.stride_h == 1 && s.stride_w == 1 && s.padding_h <= s.dilation_h * (s.kernel_h - 1) &&
         s.padding_w <= s.dilation_w * (s.kernel_w - 1);
}

}  // namespace

bool applies(ConvPath path, const Conv2dShape& s) {
  switch (path) {
    case ConvPath::automatic:
    case ConvPath::im2col:
      return true;
    case ConvPath::pointwise:
      return s.kernel_h == 1 && s.kernel_w == 1 && is_correlation(s);
    case ConvPath::direct:
      return is_correlation(s) &&
             std::max(s.group_in(), s.group_out()) * s.kernel_h * s.kernel_w <= kDirectTaps;
    case ConvPath::winograd:
      return is_correlation(s) && s.kernel_h == 3 && s.kernel_w == 3 && s.dilation_h == 1 &&
             s.dilation_w == 1;
  }
  return false;
}

namespace {

/// The path in f32 for what neither pointwise nor winograd serves.
ConvPath plain_path(const Conv2dShape& s) {
  const bool direct = applies(ConvPath::direct, s) && s.group_out() < kDirectOutputs;
  return direct ? ConvPath::direct : ConvPath::im2col;
}

}  // namespace

template <class T>
ConvPath conv_path(const Conv2dShape& s) {
  if (applies(ConvPath::pointwise, s)) return ConvPath::pointwise;
  if constexpr (std::is_same_v<T, double>) return ConvPath::im2col;
  const int64_t in = s.group_in(), out = s.group_out();
  const int64_t tiles = s.batch * ((s.output_height() + 3) / 4) * ((s.output_width() + 3) / 4);
  if (applies(ConvPath::winograd, s) && std::min(in, out) >= kWinogradChannels &&
      tiles >= kWinogradTiles && tiles > in * out / kWinogradWeights)
    return ConvPath::winograd;
  return plain_path(s);
}

namespace {

template <class T>
ConvPath resolve(const Conv2dShape& s, ConvPath path) {
  if (path == ConvPath::automatic) path = conv_path<T>(s);
  check(applies(path, s),
        "conv2d: the path {} cannot serve a kernel of {}x{} with stride {}x{}, padding {}x{}, "
        "dilation "
        "{}x{} and {} to {} channels a group",
        name(path), s.kernel_h, s.kernel_w, s.stride_h, s.stride_w, s.padding_h, s.padding_w,
        s.dilation_h, s.dilation_w, s.group_in(), s.group_out());
  check((std::is_same_v<T, float>) || path == ConvPath::pointwise || path == ConvPath::im2col,
        "conv2d: the path {} is for f32 alone", name(path));
  // The others cut tiles and rows out of something.
  if (s.x_size() == 0 || s.y_size() == 0 || s.w_size() == 0) return ConvPath::im2col;
  return path;
}

}  // namespace

template <class T>
void conv2d(const Conv2dShape& s, const T* x, const T* w, const T* bias, T* y, ConvPath path) {
  check_conv2d("conv2d", s);
  path = resolve<T>(s, path);
  if constexpr (std::is_same_v<T, float>) {
    if (path == ConvPath::winograd) {
      if (winograd_conv2d(s, x, w, bias, y)) return;
      path = plain_path(s);
    }
    if (path == ConvPath::direct) return direct_conv2d(s, x, w, bias, y);
  }
  im2col_conv2d(s, x, w, bias, y);
}

template <class T>
void conv2d_input(const Conv2dShape& s, const T* dy, const T* w, T* dx, ConvPath path) {
  check_conv2d("conv2d_input", s);
  path = resolve<T>(s, path);
  if constexpr (std::is_same_v<T, float>) {
    if (path == ConvPath::winograd) {
      if (winograd_conv2d_input(s, dy, w, dx)) return;
      path = plain_path(s);
    }
    if (path == ConvPath::direct) return direct_conv2d_input(s, dy, w, dx);
  }
  im2col_conv2d_input(s, dy, w, dx);
}

template <class T>
void conv2d_weight(const Conv2dShape& s, const T* x, const T* dy, T* dw, T* db, ConvPath path) {
  check_conv2d("conv2d_weight", s);
  path = resolve<T>(s, path);
  if constexpr (std::is_same_v<T, float>) {
    if (path == ConvPath::winograd) winograd_conv2d_weight(s, x, dy, dw, db);
    if (path == ConvPath::direct) direct_conv2d_weight(s, x, dy, dw, db);
  }
  if (path == ConvPath::im2col || path == ConvPath::pointwise)
    im2col_conv2d_weight(s, x, dy, dw, db);
  define_dw(s, x, dy, dw, db);
}

GRADUS_INSTANTIATE(conv_path<T>, conv2d<T>, conv2d_input<T>, conv2d_weight<T>)

}  // namespace gradus::kernels
