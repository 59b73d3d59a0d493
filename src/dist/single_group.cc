#include <cstdlib>

#include "base/error.h"
#include "dist/group.h"

#ifndef TUMBLER_HAVE_MPI

namespace tumbler::dist {

std::unique_ptr<Group> join_group() {
  const char* world = std::getenv("OMPI_COMM_WORLD_SIZE");
  if (world != nullptr && std::atoi(world) > 1)
    throw Error(
        "dist",
        "started as one of {} MPI ranks, but built without MPI; install libopenmpi-dev and build again",
        world);
  return std::make_unique<Group>();
}

void abort_job(int code) {
  std::exit(code);
}

}  // namespace tumbler::dist

#endif
