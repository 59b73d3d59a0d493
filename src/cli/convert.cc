// tumbler convert: a model between a Hugging Face directory and a GGUF file, quantised on the way.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "formats/chat_template_files.h"
#include "formats/gguf_model.h"

namespace tumbler::cli {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string in, out, type;
};

std::string megabytes(int64_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

// The last part of a path that may end in a slash.
std::string name_of(const fs::path& path) {
  const fs::path whole = fs::weakly_canonical(path);
  return fs::is_directory(whole) ? whole.filename().string() : whole.stem().string();
}

void write_gguf(const Flags& flags, const OpenModel& open) {
  const formats::GgufOptions options{
      .type = kernels::find_weight_type(flags.type.empty() ? "q8_0" : flags.type).value(),
      .name = name_of(flags.in),
      .chat_template = open.chat_template};
  const formats::GgufSummary summary =
      formats::save_gguf(flags.out, *open.model.parameters, open.model.files, &open.tokenizer, options);
  std::string line = fmt::format("{}: {},", flags.out, megabytes(summary.size_bytes));
  for (const auto& [type, count] : summary.tensors)
    line += fmt::format(" {} tensors {},", count, kernels::weight_type_name(type));
  line.pop_back();
  for (const std::string& fallback : summary.fallbacks) line += "; " + fallback;
  std::puts(line.c_str());
}

void write_directory(const Flags& flags, const OpenModel& open) {
  formats::ModelFiles files = open.model.files;
  if (flags.type == "f32")
    files.dtype = kernels::DType::f32;
  else if (flags.type == "bf16")
    files.dtype = kernels::DType::bf16;
  else if (!flags.type.empty())
    throw Error(
        "convert",
        "--type: got {}, expected f32 or bf16 for a Hugging Face directory; end OUT in .gguf for others",
        flags.type);
  formats::save_tokenizer(open.tokenizer, flags.out, open.chat_template);
  constexpr int64_t kShardBytes = 5'000'000'000;  // as transformers does
  formats::save_model(flags.out, *open.model.parameters, files, kShardBytes);
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(flags.out))
    if (entry.path().extension() == ".safetensors") bytes += static_cast<int64_t>(entry.file_size());
  std::puts(fmt::format("{}: {}, weights {}", flags.out, megabytes(bytes),
                        files.dtype == kernels::DType::f32 ? "f32" : "bf16")
                .c_str());
}

void convert(const Flags& flags) {
  if (fs::exists(flags.out) && !(fs::is_directory(flags.out) && fs::is_empty(flags.out)))
    throw Error("convert", "{}: exists already; move it away or name another OUT", flags.out);
  const OpenModel open = open_model(flags.in, kernels::DType::f32);
  if (fs::path(flags.out).extension() == ".gguf")
    write_gguf(flags, open);
  else
    write_directory(flags, open);
}

}  // namespace

void add_convert(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "convert", "Turn a Hugging Face directory into a GGUF file, or the other way; quantise.");
  command->add_option("IN", flags->in, "Hugging Face directory, .gguf file, or a run of tumbler pretrain")
      ->required();
  command->add_option("OUT", flags->out, "what to write: a GGUF file if it ends in .gguf, else a directory")
      ->required();
  command
      ->add_option(
          "--type", flags->type,
          "of matrices; default for GGUF q8_0, for a directory as they are. Rows that do not fit a type's "
          "blocks get a larger type")
      ->check(CLI::IsMember(
          {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k"}))
      ->capture_default_str();
  command->callback([flags] { convert(*flags); });
}

}  // namespace tumbler::cli
