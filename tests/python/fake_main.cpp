// The executable in front of the acting host. `verdigris_fake unittest DIR` runs the Python tests of a folder inside
// the embedded interpreter.
#include <fmt/format.h>
#include <pybind11/eval.h>
#include <pybind11/pybind11.h>

#include <string_view>

#include "python/command_line.h"
#include "python/interpreter.h"
#include "tests/python/fake_host.h"

namespace {

int run_unit_tests(const char* executable, const char* folder) {
    python::Machine machine{&fake::make_host, 1};
    python::set_machine(&machine);
    const int status = python::with_interpreter(executable, [folder] {
        namespace py = pybind11;
        try {
            const auto unittest = py::module_::import("unittest");
            const auto suite = unittest.attr("TestLoader")().attr("discover")(folder, "*_test.py");
            const auto result = unittest.attr("TextTestRunner")(py::arg("verbosity") = 1).attr("run")(suite);
            const bool some = result.attr("testsRun").cast<int>() > 0;
            return some && result.attr("wasSuccessful")().cast<bool>() ? 0 : 1;
        } catch (py::error_already_set& error) {
            fmt::print(stderr, "{}\n", error.what());
            return 1;
        }
    });
    python::set_machine(nullptr);
    return status;
}

int hello() {
    fmt::print("the benchmark of the test\n");
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 3 && std::string_view{argv[1]} == "unittest") return run_unit_tests(argv[0], argv[2]);
    static constexpr python::Bench benches[] = {{"hello", "says hello", &hello}};
    return python::command_line(argc, argv, {&fake::make_host, benches});
}
