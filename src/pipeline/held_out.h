// How well the held-out text is predicted: the model's bits per byte beside what compressors need.
#pragma once

#include <nlohmann/json.hpp>

#include "pipeline/report.h"

namespace tumbler::pipeline {

// {"bytes", "results": [{"name", "kind": "model"|"compressor", "bits_per_byte", "detail"}]}, kept as
// RUN/report/held_out.json and made anew only where the held-out text or the model's figure is newer. An
// empty object where there is no held-out text yet.
nlohmann::json held_out_facts(const RunLayout& layout);

}  // namespace tumbler::pipeline
