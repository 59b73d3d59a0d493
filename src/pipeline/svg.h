// Charts as inline SVG: no script, sharp at any size, colours from the page's style sheet (class s0, s1… for
// series).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tumbler::pipeline {

// `text` with & < > " ' made safe for HTML text and attributes.
std::string escape_html(std::string_view text);

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending; NaN y leaves a gap
  bool dots = false;                              // mark each point (few points)
};

struct Axes {
  std::string x_label, y_label;
  bool log_x = false;
  bool from_zero = false;  // y axis starts at 0
};

// Lines over a grid, with a legend where there is more than one series. Points are thinned to what the width
// can show (smallest and largest of each column kept), so that long runs stay small.
std::string line_chart(const std::vector<Series>& series, const Axes& axes);

struct Bar {
  std::string label, value_text;
  double value = 0;
  int series = 0;      // colour
  std::string detail;  // tooltip
};

// Horizontal bars, longest value = full width.
std::string bar_chart(const std::vector<Bar>& bars);

}  // namespace tumbler::pipeline
