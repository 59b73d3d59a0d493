// <immintrin.h>. GCC 12 warns of uninitialised values inside its own _mm512_ functions (GCC bug 105593): not
// in that header, then.
#pragma once

#ifndef __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#ifndef __clang__
#pragma GCC diagnostic pop
#endif
