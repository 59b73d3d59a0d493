// The models that a server has in memory, and those that it could have.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "chat/model_list.h"
#include "chat/server/hosted_model.h"

namespace tumbler::chat {

struct ListedModel {
  enum class State : uint8_t { here, loading, loaded };
  std::string id;
  FoundModel found;
  State state = State::here;
  bool recommended = false;
  std::string load_error = {};               // of the last attempt to load it
  std::shared_ptr<HostedModel> hosted = {};  // of loaded
};

class ModelRegistry {
 public:
  // `folders` are looked through for models; what is not there is left out.
  ModelRegistry(std::vector<std::string> folders, const HostOptions& options);
  ~ModelRegistry();
  ModelRegistry(const ModelRegistry&) = delete;
  ModelRegistry& operator=(const ModelRegistry&) = delete;

  // Throws ApiError 404 where no such model is loaded. Empty: the one that was loaded last.
  std::shared_ptr<HostedModel> get(const std::string& id) const;
  std::vector<std::shared_ptr<HostedModel>> loaded() const;  // oldest first
  std::vector<ListedModel> list() const;

  // Opens a model and returns when it can be used. Throws Error.
  std::shared_ptr<HostedModel> load(const std::string& path);
  // The same in the background. Only what list() shows can be opened so. Throws ApiError 404, or 409 where it
  // does not fit in memory, with the numbers.
  void start_loading(const std::string& path);
  // Ends what runs on it. Returns by how many bytes the process became smaller. Throws ApiError 404.
  int64_t eject(const std::string& id);
  // Ejects what was not used for so long.
  void eject_idle(double seconds);

 private:
  struct Loading {
    std::string path, error = {};
    bool done = false;
    std::thread thread = {};
  };
  std::string new_id(const std::filesystem::path& path) const;

  const std::vector<std::string> folders_;
  const HostOptions options_;
  const std::shared_ptr<std::mutex> turns_ = std::make_shared<std::mutex>();
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<HostedModel>> loaded_;
  std::vector<std::unique_ptr<Loading>> loadings_;
};

}  // namespace tumbler::chat
