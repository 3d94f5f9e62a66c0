// The one main() of all doctest executables.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#define DOCTEST_CONFIG_IMPLEMENT  // the header comes before this file (tests/CMakeLists.txt)
#include <doctest/doctest.h>
