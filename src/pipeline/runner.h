// Runs the stages of a recipe one after another, each as a process of its own (`tumbler crawl …`, `tumbler
// data build …`), so that a stage can be run by hand with the very command that is shown, gives its memory
// back, and may be killed without harm to the others.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tumbler::pipeline {

// The command as one would type it: "tumbler generate --prompt 'The database server'".
std::string shell_line(const std::vector<std::string>& arguments);

struct Stage {
  std::string name;                   // "crawl": names its record and is what --from takes
  std::string title;                  // one line for people: "pages → clean, unique documents"
  std::vector<std::string> command;   // arguments of `tumbler`
  nlohmann::json settings;            // what the result depends on, beside the stages before it
  std::filesystem::path output;       // its directory (or file); removed by --from
  std::filesystem::path stdout_file;  // where its standard output goes; empty: to ours
};

// What a finished stage cost. Kept as RUN/pipeline/NAME.json; its presence with the right fingerprint means
// "done".
struct StageRecord {
  std::string name, title, fingerprint;
  std::vector<std::string> command;
  double seconds = 0;      // wall clock, attempts that failed included
  double cpu_seconds = 0;  // user + system, of it and its children
  int64_t peak_rss_bytes = 0;
  int64_t threads = 0;  // cores that were there
};

struct Events {
  std::function<void(const Stage&, size_t index, size_t count)> started;
  std::function<void(const Stage&, const StageRecord&)> skipped;  // was done before
  std::function<void(const Stage&, const StageRecord&)> finished;
};

// Runs what is not done yet. `from` (may be empty): forgets and removes the output of that stage and of all
// after it first. Throws Error where a stage fails (it has said why on stderr), where a finished stage was
// made with other settings, or where another run is at work in the same directory. SIGKILL at any moment
// loses only what the running stage cannot resume.
std::vector<StageRecord> run_stages(const std::vector<Stage>& stages,
                                    const std::filesystem::path& run_directory, const std::string& program,
                                    const std::string& from, const Events& events);

// The records in RUN/pipeline, in the order in which the stages ran.
std::vector<StageRecord> read_records(const std::filesystem::path& run_directory);

}  // namespace tumbler::pipeline
