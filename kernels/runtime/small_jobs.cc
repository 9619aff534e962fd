#include <gradus/kernels/runtime/small_jobs.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace gradus::kernels {

SmallJobs::SmallJobs()
    : rule_([] {
        const char* wanted = std::getenv("GRADUS_SMALL_JOBS");
        const std::string_view rule = wanted ? wanted : "";
        if (rule == "shared") return Rule::shared;
        if (rule == "alone") return Rule::alone;
        if (!rule.empty() && rule != "ask")
          std::fprintf(
              stderr,
              "gradus: GRADUS_SMALL_JOBS=%s is not a rule (ask, shared, alone); using ask\n",
              wanted);
        return Rule::ask;
      }()) {}

bool SmallJobs::last_shared() const {
  if (rule_ != Rule::ask) return rule_ == Rule::shared;
  return found_.load(std::memory_order_relaxed) != Found::far;
}

const char* SmallJobs::chosen_by() const {
  if (rule_ != Rule::ask) return "GRADUS_SMALL_JOBS";
  return found_.load(std::memory_order_relaxed) == Found::nothing ? "default"
                                                                  : "the helper's answer";
}

}  // namespace gradus::kernels
