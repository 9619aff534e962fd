#include "lab/page/contents.h"

namespace gradus::lab {

const std::vector<Sentence>& spoken_answer() {
  static const std::vector<Sentence> sentences = {
      {"The axis differs.", "axes", {"axes"}, {}},
      {"Batch Norm takes mean and variance over the mini-batch, for each feature.",
       "axes",
       {"axes"},
       {}},
      {"It works for CNNs,",
       "statistics-batch",
       {"cnn-full"},
       {"Ioffe & Szegedy 2015", "section 4.2", "ImageNet"}},
      {"is sensitive to the batch size,",
       "statistics-batch",
       {"mlp-2", "cnn-1", "rnn-2", "rnn-step-2", "transformer-2"},
       {"Wu & He 2018", "section 4.1", "ImageNet"}},
      {"and keeps running statistics for inference, which may not fit what comes then.",
       "train-inference",
       {"contrast"},
       {}},
      {"Layer Norm takes them over the features of each sample;", "axes", {"axes"}, {}},
      {"it is independent of the batch, and the same in training and inference,",
       "companions",
       {"microbatch-layer", "independence", "layer-modes"},
       {}},
      {"and suits transformers and RNNs,",
       "statistics-batch",
       {"rnn-2", "rnn-step-2", "layer-rnn", "transformer-2", "layer-transformer"},
       {"Shen et al. 2020", "sections 3 and 5", "language models"}},
      {"whose lengths vary.",
       "lengths",
       {"lengths-rnn", "lengths-rnn-step", "lengths-transformer", "lengths-layer"},
       {"Ba et al. 2016", "section 3.1", "recurrent nets"}},
      {"In short: Batch Norm looks at the same feature across many samples, Layer Norm at all "
       "features within one sample.",
       "axes",
       {"axes"},
       {}},
  };
  return sentences;
}

const std::vector<TableRow>& comparison() {
  static const std::vector<TableRow> rows = {
      {"Axis of mean and variance",
       {"(N, H, W), for each channel C", "axes"},
       {"(C, H, W) of each image; D of each token", "axes"}},
      {"Dependence on the batch",
       {"In training, all samples of the batch; bad with very few. Test loss of an MLP at 2 "
        "samples "
        "a statistic, against Layer Norm:",
        "mlp-2"},
       {"None. The gradient of a batch against that of its micro-batches:", "microbatch-layer"}},
      {"Training against inference",
       {"Batch statistics against running ones. Accuracy at half the contrast, batch less running:",
        "contrast"},
       {"The same. Output in training against inference:", "layer-modes"}},
      {"Typical use",
       {"CNNs, with large batches. Test loss of a CNN against Layer Norm:", "cnn-full"},
       {"Transformers, RNNs (asked for by itself: section Sequences). Test loss of a transformer "
        "against no norm:",
        "layer-transformer"}},
      {"Key advantage",
       {"Faster training, from a net that is badly scaled. Steps to 90 % against no norm:",
        "speed"},
       {"Each sample by itself: others and padding do not matter. How far they move an output:",
        "independence"}},
  };
  return rows;
}

const std::vector<PageSection>& page_sections() {
  static const std::vector<PageSection> sections = {
      {"affects",
       "Who affects whom",
       "What a value depends on follows from the axis alone.",
       {"axes", "microbatch", "companions"}},
      {"modes",
       "Training and inference",
       "Only what takes statistics of a batch has to replace them.",
       {"train-inference"}},
      {"map",
       "The statistics' batch",
       "The batch of the optimizer is one thing, the number of samples in a statistic another.",
       {"statistics-batch", "batch-size"}},
      {"sequences",
       "Sequences",
       "Lengths vary, and later steps have fewer sequences.",
       {"lengths", "fluctuation"}},
      {"speed-section",
       "Speed",
       "How fast a net learns depends on its rate, so each has its best.",
       {"speed"}},
      {"regularization-section",
       "Regularization",
       "The noise of statistics, and whether it helps.",
       {"regularization"}},
      {"signal-section",
       "Signal",
       "What norms do to signals and gradients before training.",
       {"signal"}},
  };
  return sections;
}

const std::vector<const char*>& not_shown_at_this_scale() {
  static const std::vector<const char*> texts = {
      "Language models. The lab trains none; that Batch Norm falls behind Layer Norm in them is "
      "from the literature (Shen et al. 2020, section 5).",
      "A decline of Batch Norm between 2 and 8 images a statistic in small CNNs, as for ImageNet "
      "(Wu "
      "& He 2018, section 4.1): 2 images of 8 x 8 are up to 128 values a statistic already.",
      "That statistics of text fluctuate more than those of images at an equal batch: the lab has "
      "no "
      "text. For speech, see fluctuation.",
      "Only cited: power normalization (Shen et al. 2020), four improvements of Batch Norm "
      "(Summers "
      "& Dinneen 2020), nets without norms (Brock et al. 2021), smoother loss landscapes "
      "(Santurkar et al. 2018, section 3)."};
  return texts;
}

}  // namespace gradus::lab
