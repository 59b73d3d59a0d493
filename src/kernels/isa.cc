#include "kernels/isa.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include <cpuid.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include "base/check.h"
#include "base/error.h"
#include "kernels/table.h"

namespace tumbler::kernels {
namespace {

// __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the wide registers.
bool has_avx2() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool f16c = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
  return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

std::string host_isa_names() {
  std::string names;
  for (const Isa isa : host_isas()) names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  return names;
}

// oneDNN takes a limit only before its first use and then refuses; what it has taken by then it keeps. So a
// limit from TUMBLER_ISA always holds, and one set later may not: our own kernels change over, oneDNN's
// products stay as they were, which are as right but not of that ISA. Widening again is refused in the same
// way.
void limit_onednn(Isa isa) {
  static_cast<void>(dnnl_set_max_cpu_isa(isa == Isa::avx512 ? dnnl_cpu_isa_all : dnnl_cpu_isa_avx2));
}

Isa isa_at_start() {
  const std::vector<Isa> isas = host_isas();
  const char* wish = std::getenv("TUMBLER_ISA");
  if (wish == nullptr || *wish == '\0') return isas.back();
  for (const Isa isa : isas) {
    if (std::string_view(wish) != isa_name(isa)) continue;
    if (isa != isas.back()) limit_onednn(isa);
    return isa;
  }
  throw Error("kernels.isa",
              "TUMBLER_ISA: got '{}', expected one of {} on this machine; unset it to use the strongest",
              wish, host_isa_names());
}

std::atomic<Isa>& active() {
  static std::atomic<Isa> isa = isa_at_start();
  return isa;
}

std::atomic<const Table*> table_for_tests = nullptr;

}  // namespace

const char* isa_name(Isa isa) noexcept {
  switch (isa) {
    case Isa::ref:
      return "ref";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "?";
}

std::vector<Isa> host_isas() {
  std::vector<Isa> isas = {Isa::ref};
  if (has_avx2()) isas.push_back(Isa::avx2);
  if (has_avx512()) isas.push_back(Isa::avx512);
  return isas;
}

Isa active_isa() {
  return active().load(std::memory_order_relaxed);
}

void set_active_isa(Isa isa) {
  const std::vector<Isa> isas = host_isas();
  for (const Isa candidate : isas) {
    if (candidate != isa) continue;
    limit_onednn(isa);
    active().store(isa);
    return;
  }
  throw Error("kernels.isa", "instruction set: got {}, expected one of {} on this machine", isa_name(isa),
              host_isa_names());
}

bool has_fast_bf16() {
  return active_isa() == Isa::avx512 && __builtin_cpu_supports("avx512bf16");
}

DType best_dtype() {
  return has_fast_bf16() ? DType::bf16 : DType::f32;
}

int thread_count() {
  return omp_get_max_threads();
}

void set_thread_count(int threads) {
  CHECK(threads > 0, "got {} threads", threads);
  omp_set_num_threads(threads);
}

std::string describe_machine() {
  const dnnl_version_t* onednn = dnnl_version();
  return fmt::format("isa {}{}, {} thread{}, oneDNN {}.{}.{}", isa_name(active_isa()),
                     has_fast_bf16() ? " (bf16)" : "", thread_count(), thread_count() == 1 ? "" : "s",
                     onednn->major, onednn->minor, onednn->patch);
}

const Table& table() {
  if (const Table* test = table_for_tests.load(std::memory_order_relaxed)) return *test;
  switch (active_isa()) {
    case Isa::avx2:
      return kAvx2Table;
    case Isa::avx512:
      return kAvx512Table;
    case Isa::ref:
      break;
  }
  return kRefTable;
}

const PackedOps& packed_ops() {
  const Table& active = table();
  static const bool vnni = __builtin_cpu_supports("avx512vnni");
  return &active == &kAvx512Table && vnni ? kAvx512VnniPackedOps : active.packed;
}

void set_table_for_tests(const Table* table) {
  table_for_tests.store(table);
}

}  // namespace tumbler::kernels
