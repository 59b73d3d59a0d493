// The report's parts about data and tokens.
#pragma once

#include <string>
#include <vector>

#include "pipeline/page.h"
#include "pipeline/report.h"

namespace tumbler::pipeline {

std::vector<Card> data_cards(const RunLayout& layout);
// Funnel by filter, reasons, languages, and some dropped pages to read.
std::string data_section(const RunLayout& layout);
// The vocabulary, compression, and a passage of held-out text coloured by token.
std::string tokens_section(const RunLayout& layout);

}  // namespace tumbler::pipeline
