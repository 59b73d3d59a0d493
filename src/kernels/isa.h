// Which instruction set the kernels use. Chosen once, from the machine or from TUMBLER_ISA=ref|avx2|avx512,
// and printed.
#pragma once

#include <string>
#include <vector>

#include "kernels/dtype.h"

namespace tumbler::kernels {

enum class Isa { ref, avx2, avx512 };

const char* isa_name(Isa isa) noexcept;
// All the host can run, weakest first. `avx2` means AVX2 + FMA + F16C, `avx512` F + BW + DQ + VL.
std::vector<Isa> host_isas();
// The one in force: the strongest, or TUMBLER_ISA. Throws Error where TUMBLER_ISA names one that the host
// lacks.
Isa active_isa();
// Changes it (tests and benchmarks run every kernel on every ISA). Not while kernels run. Also limits oneDNN.
void set_active_isa(Isa isa);
// True where bf16 matrix products are fast: avx512 in force and AVX512_BF16 (or AMX) on the machine.
bool has_fast_bf16();
// bf16 where has_fast_bf16(), else f32.
DType best_dtype();
// OpenMP's threads.
int thread_count();
void set_thread_count(int threads);
// "isa avx512 (bf16), 2 threads, oneDNN 2.6.3": printed at start-up by programs that compute.
std::string describe_machine();

}  // namespace tumbler::kernels
