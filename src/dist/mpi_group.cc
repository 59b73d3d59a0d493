#ifdef TUMBLER_HAVE_MPI

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <vector>

// OpenMPI's header declares its C++ bindings, which were removed from MPI in 2012 and would have to be
// linked, unless told not to.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include "base/error.h"
#include "dist/group.h"

namespace tumbler::dist {
namespace {

void check(int code, const char* what) {
  if (code != MPI_SUCCESS) throw Error("dist", "{} failed with MPI error {}", what, code);
}

class MpiGroup final : public Group {
 public:
  MpiGroup() {
    check(MPI_Init(nullptr, nullptr), "MPI_Init");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }
  // A rank that ends by an exception must not wait for the others in MPI_Finalize; main() calls abort_job().
  ~MpiGroup() override {
    if (std::uncaught_exceptions() == 0) MPI_Finalize();
  }
  int rank() const noexcept override { return rank_; }
  int size() const noexcept override { return size_; }
  void sum(std::span<float> values) override { sum_in_rank_order(values, MPI_FLOAT); }
  void sum(std::span<double> values) override { sum_in_rank_order(values, MPI_DOUBLE); }
  void broadcast(std::span<std::byte> bytes) override {
    constexpr size_t kMost = size_t{1} << 30;  // MPI counts are int
    for (size_t at = 0; at < bytes.size(); at += kMost)
      check(MPI_Bcast(bytes.data() + at, static_cast<int>(std::min(kMost, bytes.size() - at)), MPI_BYTE, 0,
                      MPI_COMM_WORLD),
            "MPI_Bcast");
  }
  void barrier() override { check(MPI_Barrier(MPI_COMM_WORLD), "MPI_Barrier"); }

 private:
  // Reduce-scatter by all-to-all and an all-gather: each rank adds its slice of everybody's values in rank
  // order (MPI_Allreduce leaves the order to the library), and every value crosses the wire as often as in a
  // ring.
  template <class T>
  void sum_in_rank_order(std::span<T> values, MPI_Datatype type) {
    if (size_ == 1) return;
    const size_t n = static_cast<size_t>(size_);
    constexpr size_t kChunk = size_t{1} << 20;  // values a rank and round: scratch stays at a few MB
    std::vector<T> received(std::min(kChunk, values.size() / n + 1) * n);
    for (size_t at = 0; at < values.size();) {
      const size_t slice = std::min(kChunk, (values.size() - at) / n);
      if (slice == 0) {  // fewer values than ranks are left: every rank adds all of them
        const std::span<T> rest = values.subspan(at);
        received.resize(rest.size() * n);
        check(MPI_Allgather(rest.data(), static_cast<int>(rest.size()), type, received.data(),
                            static_cast<int>(rest.size()), type, MPI_COMM_WORLD),
              "MPI_Allgather");
        add_slices(rest, received, rest.size());
        return;
      }
      const std::span<T> chunk = values.subspan(at, slice * n);
      check(MPI_Alltoall(chunk.data(), static_cast<int>(slice), type, received.data(),
                         static_cast<int>(slice), type, MPI_COMM_WORLD),
            "MPI_Alltoall");
      const std::span<T> mine = chunk.subspan(static_cast<size_t>(rank_) * slice, slice);
      add_slices(mine, received, slice);
      check(MPI_Allgather(MPI_IN_PLACE, 0, type, chunk.data(), static_cast<int>(slice), type, MPI_COMM_WORLD),
            "MPI_Allgather");
      at += slice * n;
    }
  }
  template <class T>
  void add_slices(std::span<T> out, const std::vector<T>& slices, size_t slice) const {
    for (size_t i = 0; i < out.size(); ++i) {
      T total = slices[i];
      for (size_t r = 1; r < static_cast<size_t>(size_); ++r) total += slices[r * slice + i];
      out[i] = total;
    }
  }

  int rank_ = 0, size_ = 1;
};

}  // namespace

std::unique_ptr<Group> join_group() {
  // MPI_Init costs a second and opens sockets: only where a launcher has started us.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "SLURM_STEP_NUM_TASKS"})
    if (const char* value = std::getenv(name);
        value != nullptr && (std::atoi(value) > 1 || std::string_view(name) == "PMIX_RANK"))
      return std::make_unique<MpiGroup>();
  return std::make_unique<Group>();
}

void abort_job(int code) {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, code);
  std::exit(code);
}

}  // namespace tumbler::dist

#endif
