#include "chat/server/model_registry.h"

#include <algorithm>
#include <cstdio>
#include <fstream>

#include <malloc.h>
#include <unistd.h>

#include "base/log.h"
#include "chat/server/api_error.h"

namespace tumbler::chat {
namespace {

namespace fs = std::filesystem;

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

fs::path whole_path(const fs::path& path) {
  std::error_code error;
  fs::path out = fs::weakly_canonical(path, error);
  return error ? path : out;
}

// "smollm2-q8_0" of models/smollm2-q8_0.gguf, "base" of runs/quickstart/base.
std::string name_of(const fs::path& path) {
  const fs::path whole = whole_path(path);
  return whole.extension() == ".gguf" ? whole.stem().string() : whole.filename().string();
}

}  // namespace

ModelRegistry::ModelRegistry(std::vector<std::string> folders, const HostOptions& options)
    : folders_(std::move(folders)), options_(options) {}

ModelRegistry::~ModelRegistry() {
  for (const auto& loading : loadings_)
    if (loading->thread.joinable()) loading->thread.join();
}

std::shared_ptr<HostedModel> ModelRegistry::get(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  if (id.empty() && !loaded_.empty()) return loaded_.back();
  std::string names;
  for (const auto& model : loaded_) {
    if (model->id() == id) return model;
    names += names.empty() ? "" : ", ";
    names += model->id();
  }
  throw ApiError(404,
                 loaded_.empty() ? "no model is loaded; load one on the page, or start with --model"
                                 : fmt::format("model \"{}\" is not loaded; these are: {}", id, names),
                 "model", "model_not_found");
}

std::vector<std::shared_ptr<HostedModel>> ModelRegistry::loaded() const {
  const std::lock_guard lock(mutex_);
  return loaded_;
}

// The file's or directory's name, with that of the folder before it where there is one of that name already.
std::string ModelRegistry::new_id(const fs::path& path) const {
  const auto taken = [&](const std::string& id) {
    return std::any_of(loaded_.begin(), loaded_.end(), [&](const auto& model) { return model->id() == id; });
  };
  std::string id = name_of(path);
  for (fs::path folder = whole_path(path).parent_path(); taken(id) && folder.has_filename();
       folder = folder.parent_path())
    id.insert(0, folder.filename().string() + "/");
  const std::string base = id;
  for (int n = 2; taken(id); ++n) id = fmt::format("{}-{}", base, n);
  return id;
}

std::vector<ListedModel> ModelRegistry::list() const {
  std::vector<std::string> folders;
  for (const std::string& folder : folders_)
    if (fs::is_directory(folder)) folders.push_back(folder);
  std::vector<FoundModel> found = find_models(folders);
  const FoundModel* best = recommend(found, available_bytes());
  const std::lock_guard lock(mutex_);
  std::vector<ListedModel> out;
  for (const FoundModel& model : found)
    out.push_back({.id = name_of(model.path), .found = model, .recommended = &model == best});
  const auto entry = [&](const fs::path& path) -> ListedModel& {
    for (ListedModel& model : out)
      if (whole_path(model.found.path) == whole_path(path)) return model;
    out.push_back({.id = name_of(path), .found = look_at_model(path)});
    return out.back();
  };
  for (const auto& loading : loadings_) {
    ListedModel& model = entry(loading->path);
    model.load_error = loading->error;
    if (!loading->done) model.state = ListedModel::State::loading;
  }
  for (const auto& hosted : loaded_) {
    ListedModel& model = entry(hosted->open().path);
    model.id = hosted->id();
    model.state = ListedModel::State::loaded;
    model.load_error.clear();
    model.hosted = hosted;
  }
  return out;
}

std::shared_ptr<HostedModel> ModelRegistry::load(const std::string& path) {
  InferenceModel open = open_for_inference(path);
  const std::lock_guard lock(mutex_);
  for (const auto& model : loaded_)
    if (model->open().path == open.path) return model;
  auto hosted = std::make_shared<HostedModel>(new_id(open.path), std::move(open), options_, turns_);
  loaded_.push_back(hosted);
  return hosted;
}

void ModelRegistry::start_loading(const std::string& path) {
  const std::vector<ListedModel> all = list();
  const auto model =
      std::find_if(all.begin(), all.end(), [&](const ListedModel& m) { return m.found.path == path; });
  if (model == all.end())
    throw ApiError(404, fmt::format("{}: no such model among those listed", path), "path");
  if (!model->found.error.empty()) throw ApiError(409, model->found.error, "path");
  if (model->state != ListedModel::State::here) return;
  const int64_t needed = model->found.needed_bytes(), available = available_bytes();
  if (needed > available)
    throw ApiError(
        409,
        fmt::format("{} needs {:.1f} GB of memory, and {:.1f} GB are free; eject another model or "
                    "take a smaller one",
                    model->id, static_cast<double>(needed) / 1e9, static_cast<double>(available) / 1e9),
        "path", "out_of_memory");
  const std::lock_guard lock(mutex_);
  std::erase_if(loadings_, [&](const auto& loading) {
    if (!loading->done) return false;
    loading->thread.join();
    return true;
  });
  loadings_.push_back(std::make_unique<Loading>(Loading{.path = path}));
  Loading* const loading = loadings_.back().get();
  loading->thread = std::thread([this, loading] {
    std::string error;
    try {
      load(loading->path);
    } catch (const std::exception& e) {
      error = e.what();
      log::error("{}", error);
    }
    const std::lock_guard done_lock(mutex_);
    loading->error = error;
    loading->done = true;
  });
}

int64_t ModelRegistry::eject(const std::string& id) {
  std::shared_ptr<HostedModel> model = get(id);
  {
    const std::lock_guard lock(mutex_);
    std::erase(loaded_, model);
  }
  model->stop();
  const int64_t before = resident_bytes();
  // Requests that were under way let go of it when they have told their clients.
  const auto until = Clock::now() + std::chrono::seconds(10);
  while (model.use_count() > 1 && Clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  model.reset();
  ::malloc_trim(0);
  return std::max<int64_t>(0, before - resident_bytes());
}

void ModelRegistry::eject_idle(double seconds) {
  for (const auto& model : loaded())
    if (model->status().idle_seconds > seconds) {
      log::info("{} was not used for {:.0f} minutes and is ejected", model->id(), seconds / 60);
      try {
        eject(model->id());
      } catch (const ApiError&) {
        // Somebody else was faster.
      }
    }
}

}  // namespace tumbler::chat
