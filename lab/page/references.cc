#include "lab/page/references.h"

#include <algorithm>

namespace gradus::lab {

const std::vector<Reference>& references() {
  static const std::vector<Reference> all = {
      {"Amodei et al. 2016", "Dario Amodei and others",
       "Deep Speech 2: End-to-End Speech Recognition in English and Mandarin", "ICML 2016",
       "https://arxiv.org/abs/1512.02595"},
      {"Ba et al. 2016", "Jimmy Lei Ba, Jamie Ryan Kiros, Geoffrey E. Hinton",
       "Layer Normalization", "arXiv 2016", "https://arxiv.org/abs/1607.06450"},
      {"Bjorck et al. 2018", "Johan Bjorck, Carla Gomes, Bart Selman, Kilian Q. Weinberger",
       "Understanding Batch Normalization", "NeurIPS 2018", "https://arxiv.org/abs/1806.02375"},
      {"Brier 1950", "Glenn W. Brier",
       "Verification of Forecasts Expressed in Terms of Probability",
       "Monthly Weather Review 78 (1), 1950, pages 1-3",
       "https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2"},
      {"Brock et al. 2021", "Andrew Brock, Soham De, Samuel L. Smith, Karen Simonyan",
       "High-Performance Large-Scale Image Recognition Without Normalization", "ICML 2021",
       "https://arxiv.org/abs/2102.06171"},
      {"Cooijmans et al. 2016",
       "Tim Cooijmans, Nicolas Ballas, C\u00e9sar Laurent, \u00c7a\u011flar G\u00fcl\u00e7ehre, "
       "Aaron Courville",
       "Recurrent Batch Normalization", "arXiv 2016, ICLR 2017",
       "https://arxiv.org/abs/1603.09025"},
      {"Daneshmand et al. 2020",
       "Hadi Daneshmand, Jonas Kohler, Francis Bach, Thomas Hofmann, Aurelien Lucchi",
       "Batch Normalization Provably Avoids Rank Collapse for Randomly Initialised Deep Networks",
       "NeurIPS 2020", "https://arxiv.org/abs/2003.01652"},
      {"De & Smith 2020", "Soham De, Samuel L. Smith",
       "Batch Normalization Biases Residual Blocks Towards the Identity Function in Deep Networks",
       "NeurIPS 2020", "https://arxiv.org/abs/2002.10444"},
      {"He et al. 2015", "Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
       "Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet "
       "Classification",
       "ICCV 2015", "https://arxiv.org/abs/1502.01852"},
      {"Hoffer et al. 2017", "Elad Hoffer, Itay Hubara, Daniel Soudry",
       "Train longer, generalize better: closing the generalization gap in large batch training "
       "of neural networks",
       "NeurIPS 2017", "https://arxiv.org/abs/1705.08741"},
      {"Holm 1979", "Sture Holm", "A Simple Sequentially Rejective Multiple Test Procedure",
       "Scandinavian Journal of Statistics 6 (2), 1979, pages 65-70",
       "https://www.jstor.org/stable/4615733"},
      {"Ioffe 2017", "Sergey Ioffe",
       "Batch Renormalization: Towards Reducing Minibatch Dependence in Batch-Normalized Models",
       "NeurIPS 2017", "https://arxiv.org/abs/1702.03275"},
      {"Ioffe & Szegedy 2015", "Sergey Ioffe, Christian Szegedy",
       "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate "
       "Shift",
       "ICML 2015", "https://arxiv.org/abs/1502.03167"},
      {"Pascanu et al. 2013", "Razvan Pascanu, Tomas Mikolov, Yoshua Bengio",
       "On the difficulty of training recurrent neural networks", "ICML 2013",
       "https://arxiv.org/abs/1211.5063"},
      {"Perugini et al. 2014", "Marco Perugini, Marcello Gallucci, Giulio Costantini",
       "Safeguard Power as a Protection Against Imprecise Power Estimates",
       "Perspectives on Psychological Science 9 (3), 2014, pages 319-332",
       "https://doi.org/10.1177/1745691614528519"},
      {"Salimans & Kingma 2016", "Tim Salimans, Diederik P. Kingma",
       "Weight Normalization: A Simple Reparameterization to Accelerate Training of Deep Neural "
       "Networks",
       "NeurIPS 2016", "https://arxiv.org/abs/1602.07868"},
      {"Santurkar et al. 2018",
       "Shibani Santurkar, Dimitris Tsipras, Andrew Ilyas, Aleksander Madry",
       "How Does Batch Normalization Help Optimization?", "NeurIPS 2018",
       "https://arxiv.org/abs/1805.11604"},
      {"Satterthwaite 1946", "F. E. Satterthwaite",
       "An Approximate Distribution of Estimates of Variance Components",
       "Biometrics Bulletin 2 (6), 1946, pages 110-114", "https://doi.org/10.2307/3002019"},
      {"Schuirmann 1987", "Donald J. Schuirmann",
       "A comparison of the Two One-Sided Tests Procedure and the Power Approach for assessing the "
       "equivalence of average bioavailability",
       "Journal of Pharmacokinetics and Biopharmaceutics 15 (6), 1987, pages 657-680",
       "https://doi.org/10.1007/BF01068419"},
      {"Shen et al. 2020", "Sheng Shen, Zhewei Yao, Amir Gholami, Michael W. Mahoney, Kurt Keutzer",
       "PowerNorm: Rethinking Batch Normalization in Transformers", "ICML 2020",
       "https://arxiv.org/abs/2003.07845"},
      {"Summers & Dinneen 2020", "Cecilia Summers, Michael J. Dinneen",
       "Four Things Everyone Should Know to Improve Batch Normalization", "ICLR 2020",
       "https://arxiv.org/abs/1906.03548"},
      {"Ulyanov et al. 2016", "Dmitry Ulyanov, Andrea Vedaldi, Victor Lempitsky",
       "Instance Normalization: The Missing Ingredient for Fast Stylization", "arXiv 2016",
       "https://arxiv.org/abs/1607.08022"},
      {"van Laarhoven 2017", "Twan van Laarhoven",
       "L2 Regularization versus Batch and Weight Normalization", "arXiv 2017",
       "https://arxiv.org/abs/1706.05350"},
      {"Wu & He 2018", "Yuxin Wu, Kaiming He", "Group Normalization", "ECCV 2018",
       "https://arxiv.org/abs/1803.08494"},
      {"Wu & Johnson 2021", "Yuxin Wu, Justin Johnson", "Rethinking \"Batch\" in BatchNorm",
       "arXiv 2021", "https://arxiv.org/abs/2105.07576"},
      {"Xiong et al. 2020",
       "Ruibin Xiong, Yunchang Yang, Di He, Kai Zheng, Shuxin Zheng, Chen Xing, Huishuai Zhang, "
       "Yanyan Lan, Liwei Wang, Tie-Yan Liu",
       "On Layer Normalization in the Transformer Architecture", "ICML 2020",
       "https://arxiv.org/abs/2002.04745"},
      {"Yang et al. 2019",
       "Greg Yang, Jeffrey Pennington, Vinay Rao, Jascha Sohl-Dickstein, Samuel S. Schoenholz",
       "A Mean Field Theory of Batch Normalization", "ICLR 2019",
       "https://arxiv.org/abs/1902.08129"},
  };
  return all;
}

const Reference* find_reference(std::string_view key) {
  const auto& all = references();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Reference& reference) { return reference.key == key; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace gradus::lab
