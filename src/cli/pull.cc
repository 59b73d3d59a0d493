// tumbler pull: brings a model from a Hugging Face hub or a URL.
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/progress_bar.h"
#include "formats/hub.h"
#include "io/download.h"

namespace fs = std::filesystem;

namespace tumbler::cli {
namespace {

struct Flags {
  std::string source, output, sha256, endpoint;
};

std::string environment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

// What a URL ends in, as a file name.
std::string name_in_url(const std::string& url) {
  const std::string path = url.substr(0, url.find_first_of("?#"));
  const std::string name = path.substr(path.rfind('/') + 1);
  if (name.empty() || name.front() == '.' || path.rfind('/') < path.find("://") + 3)
    throw Error("pull", "{}: it names no file", url);
  return name;
}

bool bring(const std::string& url, const fs::path& path, const io::DownloadOptions& options) {
  const auto progress = make_progress();
  return io::download(url, path, options, progress.get());
}

void pull_url(const Flags& flags) {
  const fs::path path =
      flags.output.empty() ? fs::path("models") / name_in_url(flags.source) : fs::path(flags.output);
  const bool fresh = bring(flags.source, path, {.sha256 = flags.sha256});
  std::cout << path.string() << (fresh ? "" : ": already there") << '\n';
}

void pull_hub(const Flags& flags) {
  if (!flags.sha256.empty())
    throw Error("pull", "--sha256 is for a URL; the hub tells the hashes of its files");
  const formats::HubModel model = formats::parse_hub_model(flags.source);
  const std::string endpoint =
      flags.endpoint.empty() ? environment("HF_ENDPOINT", "https://huggingface.co") : flags.endpoint;
  const std::string token = environment("HF_TOKEN", "");
  const auto files = formats::parse_hub_files(
      io::fetch(formats::hub_tree_url(endpoint, model), int64_t{16} << 20, {.token = token}),
      model.repository);
  const auto chosen = formats::choose_files(files, model);
  const fs::path directory =
      flags.output.empty() ? fs::path("models") / model.repository : fs::path(flags.output);
  for (const formats::HubFile& file : chosen)
    bring(formats::hub_file_url(endpoint, model, file.path), directory / file.path,
          {.size_bytes = file.size_bytes, .sha256 = file.sha256, .token = token});
  const bool gguf = chosen.size() == 1;
  std::cout << (gguf ? directory / chosen[0].path : directory).string() << '\n';
}

}  // namespace

void add_pull(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "pull", "Bring a model: resumes what was cut off, checks sizes and hashes. Prints where it is.");
  command
      ->add_option("source", flags->source,
                   "hf:owner/name, hf:owner/name:file.gguf, hf:owner/name@revision, or the URL of a file")
      ->required();
  command->add_option("--output", flags->output,
                      "directory (of a hub's model) or file (of a URL) to write; default: below models/");
  command->add_option("--sha256", flags->sha256, "what the file at the URL must have")
      ->check([](const std::string& text) {
        return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos
                   ? std::string()
                   : "got '" + text + "', expected 64 of 0-9a-f";
      });
  command->add_option("--endpoint", flags->endpoint,
                      "address of the hub; default: $HF_ENDPOINT, or huggingface.co");
  command->footer("HF_TOKEN in the environment is sent to the hub, for models that it shows to some only.");
  command->callback([flags] {
    if (flags->source.starts_with("http://") || flags->source.starts_with("https://"))
      pull_url(*flags);
    else
      pull_hub(*flags);
  });
}

}  // namespace tumbler::cli
