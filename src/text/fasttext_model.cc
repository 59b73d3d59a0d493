#include "text/fasttext_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "io/file.h"

namespace tumbler::text {
namespace {

constexpr int32_t kMagic = 793712314, kVersion = 12;
constexpr int64_t kMaxDim = 1 << 12, kMaxEntries = 1 << 28;

// Bounds-checked little-endian reads.
class Reader {
 public:
  Reader(std::string_view bytes, std::string path) : bytes_(bytes), path_(std::move(path)) {}
  template <class T>
  T read() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view take(size_t size) {
    if (bytes_.size() - at_ < size) fail("cut off");
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  template <class T>
  std::vector<T> array(int64_t count) {
    if (count < 0 || static_cast<uint64_t>(count) > (bytes_.size() - at_) / sizeof(T)) fail("cut off");
    std::vector<T> out(static_cast<size_t>(count));
    if (count > 0) std::memcpy(out.data(), take(out.size() * sizeof(T)).data(), out.size() * sizeof(T));
    return out;
  }
  std::string text() {
    const size_t end = bytes_.find('\0', at_);
    if (end == std::string_view::npos) fail("cut off");
    std::string out(bytes_.substr(at_, end - at_));
    at_ = end + 1;
    return out;
  }
  int64_t count(int64_t value, std::string_view what, int64_t most = kMaxEntries) const {
    if (value < 0 || value > most) fail(fmt::format("{} of {}", what, value));
    return value;
  }
  [[noreturn]] void fail(std::string_view why) const {
    throw Error("language.model", "{}: not a supervised fastText model that can be read: {}", path_, why);
  }

 private:
  std::string_view bytes_;
  std::string path_;
  size_t at_ = 0;
};

// A matrix of rows, dense or as product-quantised codes (Jégou et al. 2011).
class Matrix {
 public:
  int64_t rows = 0, cols = 0;

  void read_dense(Reader& in) {
    rows = in.count(in.read<int64_t>(), "rows");
    cols = in.count(in.read<int64_t>(), "columns", kMaxDim);
    dense_ = in.array<float>(rows * cols);
  }

  void read_quantised(Reader& in) {
    norms_ = in.read<uint8_t>() != 0;
    rows = in.count(in.read<int64_t>(), "rows");
    cols = in.count(in.read<int64_t>(), "columns", kMaxDim);
    codes_ = in.array<uint8_t>(in.read<int32_t>());
    quantiser_.read(in);
    if (quantiser_.dim != cols || static_cast<int64_t>(codes_.size()) != rows * quantiser_.parts)
      in.fail("codes do not fit the matrix");
    if (!norms_) return;
    norm_codes_ = in.array<uint8_t>(rows);
    norm_quantiser_.read(in);
    if (norm_quantiser_.dim != 1) in.fail("norms do not fit the matrix");
  }

  // out += row
  void add_row(int64_t row, float* out) const {
    if (!dense_.empty()) {
      const float* from = dense_.data() + row * cols;
      for (int64_t i = 0; i < cols; ++i) out[i] += from[i];
      return;
    }
    const float norm = norms_ ? norm_quantiser_.centroid(0, norm_codes_[static_cast<size_t>(row)])[0] : 1.0f;
    const uint8_t* codes = codes_.data() + row * quantiser_.parts;
    for (int64_t part = 0; part < quantiser_.parts; ++part) {
      const float* centroid = quantiser_.centroid(part, codes[part]);
      const int64_t size = quantiser_.size(part);
      for (int64_t i = 0; i < size; ++i) out[part * quantiser_.part_dim + i] += norm * centroid[i];
    }
  }

  float dot(int64_t row, const float* x, std::vector<float>& scratch) const {
    scratch.assign(static_cast<size_t>(cols), 0.0f);
    add_row(row, scratch.data());
    return std::inner_product(scratch.begin(), scratch.end(), x, 0.0f);
  }

 private:
  struct Quantiser {
    int64_t dim = 0, parts = 0, part_dim = 0, last_dim = 0;
    std::vector<float> centroids;  // (parts, 256, part_dim), the last part with last_dim
    void read(Reader& in) {
      dim = in.count(in.read<int32_t>(), "dimension", kMaxDim);
      parts = in.count(in.read<int32_t>(), "parts", kMaxDim);
      part_dim = in.count(in.read<int32_t>(), "dimension of a part", kMaxDim);
      last_dim = in.count(in.read<int32_t>(), "dimension of the last part", kMaxDim);
      if (parts < 1 || part_dim < 1 || (parts - 1) * part_dim + last_dim != dim || last_dim < 1 ||
          last_dim > part_dim)
        in.fail("parts do not add up");
      centroids = in.array<float>(dim * 256);
    }
    int64_t size(int64_t part) const { return part + 1 == parts ? last_dim : part_dim; }
    const float* centroid(int64_t part, uint8_t code) const {
      return centroids.data() + part * 256 * part_dim + code * size(part);
    }
  };
  bool norms_ = false;
  std::vector<float> dense_;
  std::vector<uint8_t> codes_, norm_codes_;
  Quantiser quantiser_, norm_quantiser_;
};

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
};

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\v' || c == '\f' || c == '\0';
}

}  // namespace

struct FasttextModel::State {
  int32_t dim = 0, min_n = 0, max_n = 0, buckets = 0, words = 0;
  bool hierarchical = false, pruned = false;
  std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>> word_ids;
  std::vector<std::string> labels;
  std::vector<int64_t> label_counts;
  std::unordered_map<int32_t, int32_t> kept_buckets;
  Matrix input, output;
  // The Huffman tree of hierarchical softmax: node i < labels are leaves.
  struct Node {
    int32_t left = -1, right = -1;
  };
  std::vector<Node> tree;

  void read(Reader& in);
  void read_dictionary(Reader& in);
  void build_tree();
  void add_ngrams(std::string_view word, std::vector<float>& sum, int64_t& rows) const;
  void add_bucket(uint32_t hash, std::vector<float>& sum, int64_t& rows) const;
  int64_t word_vector(std::string_view word, std::vector<float>& sum) const;
  std::pair<std::string, double> best_label(const std::vector<float>& hidden) const;
  std::pair<std::string, double> best_leaf(const std::vector<float>& hidden) const;
  std::pair<std::string, double> best_softmax(const std::vector<float>& hidden) const;
};

void FasttextModel::State::read(Reader& in) {
  if (in.read<int32_t>() != kMagic) in.fail("wrong magic number");
  if (const auto version = in.read<int32_t>(); version != kVersion)
    in.fail(fmt::format("version {}, expected {}", version, kVersion));
  dim = static_cast<int32_t>(in.count(in.read<int32_t>(), "dimension", kMaxDim));
  for (int i = 0; i < 4; ++i) in.read<int32_t>();  // window, epochs, min count, negatives
  const auto word_ngrams = in.read<int32_t>(), loss = in.read<int32_t>(), model = in.read<int32_t>();
  buckets = static_cast<int32_t>(in.count(in.read<int32_t>(), "buckets"));
  min_n = in.read<int32_t>();
  max_n = in.read<int32_t>();
  in.read<int32_t>();  // learning-rate updates
  in.read<double>();   // sampling
  if (model != 3) in.fail("it is not a classifier");
  if (word_ngrams > 1) in.fail("it has word n-grams");
  if (loss != 1 && loss != 3) in.fail("its loss is neither softmax nor hierarchical softmax");
  if (max_n > 16 || min_n < 0) in.fail("n-gram lengths");
  hierarchical = loss == 1;
  read_dictionary(in);
  const bool quantised = in.read<uint8_t>() != 0;
  quantised ? input.read_quantised(in) : input.read_dense(in);
  const bool quantised_output = in.read<uint8_t>() != 0;
  (quantised && quantised_output) ? output.read_quantised(in) : output.read_dense(in);
  const int64_t expected = words + (pruned ? static_cast<int64_t>(kept_buckets.size()) : buckets);
  if (input.cols != dim || output.cols != dim || input.rows < expected ||
      output.rows < static_cast<int64_t>(labels.size()) - (hierarchical ? 1 : 0))
    in.fail("matrices do not fit the dictionary");
  if (hierarchical) build_tree();
}

void FasttextModel::State::read_dictionary(Reader& in) {
  const int64_t size = in.count(in.read<int32_t>(), "dictionary size");
  words = static_cast<int32_t>(in.count(in.read<int32_t>(), "words", size));
  const int64_t n_labels = in.count(in.read<int32_t>(), "labels", size);
  in.read<int64_t>();  // tokens
  const auto n_pruned = in.read<int64_t>();
  if (words + n_labels != size || n_labels < 2) in.fail("words and labels do not add up");
  for (int64_t i = 0; i < size; ++i) {
    std::string word = in.text();
    const auto count = in.read<int64_t>();
    if (in.read<int8_t>() == 0) {
      if (i >= words) in.fail("a word among the labels");
      word_ids.emplace(std::move(word), static_cast<int32_t>(i));
    } else {
      if (i < words) in.fail("a label among the words");
      labels.push_back(std::move(word));
      label_counts.push_back(count);
    }
  }
  pruned = n_pruned >= 0;
  for (int64_t i = 0; i < in.count(std::max<int64_t>(n_pruned, 0), "pruned n-grams"); ++i) {
    const auto from = in.read<int32_t>(), to = in.read<int32_t>();
    if (to < 0 || to >= n_pruned) in.fail("a pruned n-gram out of range");
    kept_buckets.emplace(from, to);
  }
}

// Huffman code over label counts, which the file has in descending order.
void FasttextModel::State::build_tree() {
  const auto n = static_cast<int32_t>(labels.size());
  tree.assign(static_cast<size_t>(2 * n - 1), {});
  std::vector<int64_t> counts(tree.size(), int64_t{1000000000000000});
  std::copy(label_counts.begin(), label_counts.end(), counts.begin());
  int32_t leaf = n - 1, node = n;
  const auto smallest = [&](int32_t limit) {
    return leaf >= 0 &&
                   (node >= limit || counts[static_cast<size_t>(leaf)] < counts[static_cast<size_t>(node)])
               ? leaf--
               : node++;
  };
  for (int32_t i = n; i < 2 * n - 1; ++i) {
    const int32_t left = smallest(i), right = smallest(i);
    tree[static_cast<size_t>(i)] = {left, right};
    counts[static_cast<size_t>(i)] = counts[static_cast<size_t>(left)] + counts[static_cast<size_t>(right)];
  }
}

void FasttextModel::State::add_bucket(uint32_t hash, std::vector<float>& sum, int64_t& rows) const {
  if (buckets == 0) return;
  auto bucket = static_cast<int32_t>(hash % static_cast<uint32_t>(buckets));
  if (pruned) {
    const auto kept = kept_buckets.find(bucket);
    if (kept == kept_buckets.end()) return;
    bucket = kept->second;
  }
  input.add_row(words + bucket, sum.data());
  ++rows;
}

// Character n-grams of "<word>", min_n to max_n characters; single boundary marks do not count.
void FasttextModel::State::add_ngrams(std::string_view bounded, std::vector<float>& sum,
                                      int64_t& rows) const {
  const auto is_tail = [&](size_t i) { return (static_cast<unsigned char>(bounded[i]) & 0xc0) == 0x80; };
  for (size_t i = 0; i < bounded.size(); ++i) {
    if (is_tail(i)) continue;
    uint32_t h = 2166136261u;  // FNV-1a as fastText has it: bytes are sign-extended
    size_t j = i;
    for (int32_t n = 1; j < bounded.size() && n <= max_n; ++n) {
      do h = (h ^ static_cast<uint32_t>(static_cast<int8_t>(bounded[j++]))) * 16777619u;
      while (j < bounded.size() && is_tail(j));
      if (n >= min_n && !(n == 1 && (i == 0 || j == bounded.size()))) add_bucket(h, sum, rows);
    }
  }
}

// Sum of the vectors of a word and its n-grams; returns how many they are.
int64_t FasttextModel::State::word_vector(std::string_view word, std::vector<float>& sum) const {
  sum.assign(static_cast<size_t>(dim), 0.0f);
  int64_t rows = 0;
  if (const auto known = word_ids.find(word); known != word_ids.end()) {
    input.add_row(known->second, sum.data());
    ++rows;
  }
  if (max_n > 0 && word != "</s>") add_ngrams(fmt::format("<{}>", word), sum, rows);
  return rows;
}

std::pair<std::string, double> FasttextModel::State::best_leaf(const std::vector<float>& hidden) const {
  // Depth first with the best leaf so far as the bound, which is what the library does for the top label.
  double best = -1e30;
  int32_t best_label = -1;
  std::vector<std::pair<int32_t, double>> stack = {{static_cast<int32_t>(tree.size()) - 1, 0.0}};
  const auto n = static_cast<int32_t>(labels.size());
  std::vector<float> scratch;
  while (!stack.empty()) {
    const auto [node, log_prob] = stack.back();
    stack.pop_back();
    if (log_prob < best) continue;
    const Node& at = tree[static_cast<size_t>(node)];
    if (at.left < 0) {
      best = log_prob;
      best_label = node;
      continue;
    }
    const double f =
        1.0 / (1.0 + std::exp(-static_cast<double>(output.dot(node - n, hidden.data(), scratch))));
    stack.push_back({at.left, log_prob + std::log(1.0 - f + 1e-5)});
    stack.push_back({at.right, log_prob + std::log(f + 1e-5)});
  }
  return {labels[static_cast<size_t>(best_label)], std::exp(best)};
}

std::pair<std::string, double> FasttextModel::State::best_softmax(const std::vector<float>& hidden) const {
  std::vector<float> scratch;
  std::vector<double> logits;
  for (size_t i = 0; i < labels.size(); ++i)
    logits.push_back(output.dot(static_cast<int64_t>(i), hidden.data(), scratch));
  const auto top = std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - *top);
  return {labels[static_cast<size_t>(top - logits.begin())], 1.0 / sum};
}

FasttextModel::FasttextModel(const std::filesystem::path& path) {
  const io::MappedFile file(path);
  Reader in(file.text(), path.string());
  auto state = std::make_unique<State>();
  state->read(in);
  state_ = std::move(state);
}

FasttextModel::~FasttextModel() = default;

namespace {

// Vectors of words that a thread has met, so that each is summed up once.
struct WordCache {
  const void* owner = nullptr;
  struct Entry {
    std::vector<float> sum;
    int64_t rows;
  };
  std::unordered_map<std::string, Entry, StringHash, std::equal_to<>> entries;
};
constexpr size_t kCacheEntries = 50'000, kCachedBytes = 32;

}  // namespace

std::pair<std::string, double> FasttextModel::predict(std::string_view text, bool newline_is_space) const {
  thread_local WordCache cache;
  if (cache.owner != state_.get() || cache.entries.size() > kCacheEntries) {
    cache.entries.clear();
    cache.owner = state_.get();
  }
  std::vector<float> hidden(static_cast<size_t>(state_->dim), 0.0f), sum;
  int64_t rows = 0;
  const auto add = [&](std::string_view word) {
    const auto found = cache.entries.find(word);
    if (found != cache.entries.end()) {
      for (size_t i = 0; i < hidden.size(); ++i) hidden[i] += found->second.sum[i];
      rows += found->second.rows;
      return;
    }
    const int64_t n = state_->word_vector(word, sum);
    for (size_t i = 0; i < hidden.size(); ++i) hidden[i] += sum[i];
    rows += n;
    if (word.size() <= kCachedBytes) cache.entries.emplace(std::string(word), WordCache::Entry{sum, n});
  };
  std::string joined;
  if (!newline_is_space && text.find('\n') != std::string_view::npos) {
    joined.assign(text);
    std::erase(joined, '\n');
    text = joined;
  }
  for (size_t i = 0; i < text.size();) {
    while (i < text.size() && is_space(text[i])) ++i;
    const size_t begin = i;
    while (i < text.size() && !is_space(text[i])) ++i;
    if (i > begin) add(text.substr(begin, i - begin));
  }
  add("</s>");
  if (rows == 0) return {"", 0.0};
  for (float& h : hidden) h /= static_cast<float>(rows);
  return state_->hierarchical ? state_->best_leaf(hidden) : state_->best_softmax(hidden);
}

}  // namespace tumbler::text
