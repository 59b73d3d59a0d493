#include "pipeline/svg.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace tumbler::pipeline {
namespace {

constexpr double kWidth = 760, kHeight = 260, kLeft = 58, kRight = 14, kTop = 12, kBottom = 40;

struct Scale {
  double low, high, from, to;
  bool log;
  double operator()(double v) const {
    const double t =
        log ? (std::log(v) - std::log(low)) / (std::log(high) - std::log(low)) : (v - low) / (high - low);
    return from + t * (to - from);
  }
};

// 1, 2 or 5 times a power of ten, so that about `count` ticks fit.
double tick_step(double span, int count) {
  const double raw = span / count, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double m : {1.0, 2.0, 5.0})
    if (raw <= m * power) return m * power;
  return 10 * power;
}

std::string number(double v) {
  const double a = std::abs(v);
  if (a >= 1e6) return fmt::format("{:g}M", v / 1e6);
  if (a >= 1e4) return fmt::format("{:g}k", v / 1e3);
  if (a != 0 && a < 1e-3) return fmt::format("{:.0e}", v);
  return fmt::format("{:g}", std::round(v * 1e6) / 1e6 + 0.0);  // + 0.0: never "-0"
}

std::vector<double> ticks(const Scale& s, int count) {
  std::vector<double> out;
  if (s.log) {
    for (double p = std::pow(10, std::ceil(std::log10(s.low))); p <= s.high * 1.0001; p *= 10)
      out.push_back(p);
    return out;
  }
  const double step = tick_step(s.high - s.low, count);
  for (double v = std::ceil(s.low / step - 1e-9) * step; v <= s.high + step * 1e-9; v += step)
    out.push_back(v);
  return out;
}

// At most two points a pixel column: the smallest and the largest.
std::vector<std::pair<double, double>> thin(const std::vector<std::pair<double, double>>& points,
                                            const Scale& x) {
  const size_t columns = static_cast<size_t>(kWidth - kLeft - kRight);
  if (points.size() <= 2 * columns) return points;
  std::vector<std::pair<double, double>> out;
  for (size_t i = 0; i < points.size();) {
    const int column = static_cast<int>(x(points[i].first));
    size_t low = i, high = i, j = i;
    for (; j < points.size() && static_cast<int>(x(points[j].first)) == column; ++j) {
      if (points[j].second < points[low].second) low = j;
      if (points[j].second > points[high].second) high = j;
    }
    out.push_back(points[std::min(low, high)]);
    if (low != high) out.push_back(points[std::max(low, high)]);
    i = j;
  }
  return out;
}

std::string polyline(const Series& series, const Scale& x, const Scale& y, size_t index) {
  std::string path;
  bool pen_down = false;
  for (const auto& [px, py] : thin(series.points, x)) {
    if (std::isfinite(py)) path += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", x(px), y(py));
    pen_down = std::isfinite(py);
  }
  std::string out = fmt::format("<path class='line s{}' d='{}'/>", index, path);
  if (!series.dots) return out;
  for (const auto& [px, py] : series.points)
    if (std::isfinite(py))
      out += fmt::format(
          "<circle class='dot s{}' cx='{:.1f}' cy='{:.1f}' r='3'><title>{}: {:.4g} at {:g}</title></circle>",
          index, x(px), y(py), escape_html(series.name), py, px);
  return out;
}

std::string grid(const Scale& x, const Scale& y, const Axes& axes) {
  std::string out;
  for (const double v : ticks(y, 5))
    out += fmt::format(
        "<line class='grid' x1='{0}' x2='{1}' y1='{2:.1f}' y2='{2:.1f}'/>"
        "<text class='tick' x='{3}' y='{4:.1f}' text-anchor='end'>{5}</text>",
        kLeft, kWidth - kRight, y(v), kLeft - 6, y(v) + 4, number(v));
  for (const double v : ticks(x, 7))
    out += fmt::format("<text class='tick' x='{:.1f}' y='{}' text-anchor='middle'>{}</text>", x(v),
                       kHeight - kBottom + 18, number(v));
  return out + fmt::format("<text class='tick' x='{}' y='{}' text-anchor='end'>{}</text>", kWidth - kRight,
                           kHeight - 4, escape_html(axes.x_label));
}

struct Extent {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void add(double v) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
};

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  return out;
}

std::string line_chart(const std::vector<Series>& series, const Axes& axes) {
  Extent ex, ey;
  for (const Series& s : series)
    for (const auto& [x, y] : s.points) {
      if (!std::isfinite(y) || (axes.log_x && x <= 0)) continue;
      ex.add(x);
      ey.add(y);
    }
  if (!(ex.low <= ex.high)) return "<p class='note'>no points yet</p>";
  if (axes.from_zero) ey.add(0);
  if (ex.low == ex.high) ex.high = ex.low + 1;
  if (ey.low == ey.high) ey.high = ey.low + std::max(1e-6, std::abs(ey.low) * 0.1);
  const double margin = 0.04 * (ey.high - ey.low);
  const Scale x{ex.low, ex.high, kLeft, kWidth - kRight, axes.log_x};
  const Scale y{axes.from_zero ? ey.low : ey.low - margin, ey.high + margin, kHeight - kBottom, kTop, false};
  std::string body = grid(x, y, axes), legend;
  for (size_t i = 0; i < series.size(); ++i) {
    body += polyline(series[i], x, y, i);
    legend += fmt::format("<span class='key s{}'>{}</span> ", i, escape_html(series[i].name));
  }
  return fmt::format(
      "<figure><figcaption>{}{}</figcaption><svg viewBox='0 0 {} {}' role='img' "
      "aria-label='{}'>{}</svg></figure>",
      escape_html(axes.y_label), series.size() > 1 ? " " + legend : "", kWidth, kHeight,
      escape_html(axes.y_label), body);
}

std::string bar_chart(const std::vector<Bar>& bars) {
  double longest = 0;
  for (const Bar& bar : bars) longest = std::max(longest, bar.value);
  std::string out = "<div class='bars'>";
  for (const Bar& bar : bars)
    out += fmt::format(
        "<div class='bar' title='{}'><span class='label'>{}</span><span class='track'><span class='fill s{}' "
        "style='width:{:.2f}%'></span></span><span class='value'>{}</span></div>",
        escape_html(bar.detail), escape_html(bar.label), bar.series,
        longest > 0 ? 100 * std::max(0.0, bar.value) / longest : 0.0, escape_html(bar.value_text));
  return out + "</div>";
}

}  // namespace tumbler::pipeline
