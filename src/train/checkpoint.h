// Checkpoints: RUN/step_000100 is a Hugging Face directory with the trainer's state beside it, and
// checksums.json, which has size and hash (XXH3, 128 bits) of every other file. It appears by rename when all
// of it is on disk; a kill leaves at most a directory whose name ends in `.tmp`, which the next start
// removes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace tumbler::train {

struct Checkpoint {
  int64_t step;
  std::filesystem::path directory;
};

// All directories RUN/step_N, newest first.
std::vector<Checkpoint> list_checkpoints(const std::filesystem::path& run);

// What is wrong with a checkpoint: a file missing, of another size, or with a flipped byte. Nothing where it
// is whole.
std::optional<std::string> find_damage(const std::filesystem::path& checkpoint);

// The newest whole checkpoint of a run. Damaged newer ones are named in a warning and moved aside to
// step_N.damaged (they would be in the way of the run that makes that step again). Throws Error where there
// are checkpoints and all are damaged.
std::optional<Checkpoint> find_latest(const std::filesystem::path& run);

// `write_files` fills a new directory, which then becomes RUN/step_N. Files are hashed and fsynced here.
// Throws Error where anything fails (full disk); checkpoints that exist are left as they are, and the
// unfinished one is removed.
std::filesystem::path write_checkpoint(const std::filesystem::path& run, int64_t step,
                                       const std::function<void(const std::filesystem::path&)>& write_files);

// Removes all but the newest `keep` (at least 1) checkpoints.
void remove_old_checkpoints(const std::filesystem::path& run, int64_t keep);
// Removes what a killed writer or remover left behind.
void remove_leftovers(const std::filesystem::path& run);

// A model's directory: `path` itself where it has a config.json, the newest whole checkpoint where it is a
// run. Throws Error where it is neither.
std::filesystem::path get_model_directory(const std::filesystem::path& path);

}  // namespace tumbler::train
