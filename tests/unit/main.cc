// doctest's own signal handler disturbs the sanitizers.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#define DOCTEST_CONFIG_NO_POSIX_SIGNALS
#include <doctest/doctest.h>

// What is undefined fails a test, rather than being printed on the way.
extern "C" const char* __ubsan_default_options();  // NOLINT: the sanitizer's name
extern "C" const char* __ubsan_default_options() { return "halt_on_error=1:print_stacktrace=1"; }  // NOLINT
