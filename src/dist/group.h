// Group: the ranks that train one model together, and their collectives. MPI behind it, or a group of one for
// which every collective is a no-op, so that the training loop has one path. Only dist/mpi_group.cc includes
// <mpi.h>.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace tumbler::dist {

class Group {
 public:
  virtual ~Group() = default;
  virtual int rank() const noexcept { return 0; }
  virtual int size() const noexcept { return 1; }
  // values[i] = sum over ranks, in rank order, so that the result does not depend on timing.
  virtual void sum(std::span<float> /*values*/) {}
  virtual void sum(std::span<double> /*values*/) {}
  // values = rank 0's.
  virtual void broadcast(std::span<std::byte> /*bytes*/) {}
  virtual void barrier() {}
};

// The MPI job this process was started in (mpirun, srun), else a group of one. Throws Error where it was
// started by mpirun with more than one rank but built without MPI. Under MPI an Error that reaches main()
// must end the whole job: abort().
std::unique_ptr<Group> join_group();

// Ends all ranks (MPI_Abort), or just exits with `code` in a group of one.
[[noreturn]] void abort_job(int code);

}  // namespace tumbler::dist
